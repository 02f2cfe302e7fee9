"""What libraries say of cases that are as they should be here, left out."""

import logging
import warnings

__all__ = ["quieten"]


def quieten() -> None:
    """Leave out what Lightning says of cases that are as they should be here."""
    # Lightning asks torch in a way that torch has renamed.
    warnings.filterwarnings("ignore", message=".*treespec, LeafSpec")
    # A run that goes on may have a folder of its own; what counts of the one before, it takes along.
    warnings.filterwarnings("ignore", message="The dirpath has changed|Checkpoint directory .* is not empty")
    # albumentations takes a list where its default is a pair.
    warnings.filterwarnings("ignore", message=r"\s*Dump of a value that does not round-trip")
    # No workers are right where the model computes on the CPU, and small splits are short on purpose.
    warnings.filterwarnings("ignore", message=".*does not have many workers")
    warnings.filterwarnings("ignore", message=".*is smaller than the logging interval")
    # Weights have 32 bits in mixed precision, so the size that the summary tells is right.
    warnings.filterwarnings("ignore", message="Precision (bf16|16)-mixed is not supported by the model summary")
    # It would advertise a product of its makers and list the accelerators that are not there.
    for name in ("lightning.pytorch.utilities.rank_zero", "lightning.fabric.utilities.seed"):
        logging.getLogger(name).setLevel(logging.WARNING)
