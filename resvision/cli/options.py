"""The options of `fit`, `validate` and `test` beside Lightning's own, and what ties options together."""

import inspect
from collections.abc import Callable
from importlib import import_module
from typing import Final, Literal

from jsonargparse import Namespace
from lightning.pytorch.cli import LightningArgumentParser

from resvision.batch import LabelKind
from resvision.data import VisionDataModule
from resvision.tasks import MultiTask, VisionTask

__all__ = ["ClassNames", "add_options", "class_names_for", "give_own_defaults", "settings_of_classes", "tie_to_data"]

ClassNames = list[str] | dict[LabelKind, list[str]]

#: Settings of an optimiser for which the tasks have a default of their own.
_OF_TASKS: Final = ("lr", "fused")


def add_options(parser: LightningArgumentParser, verb: str) -> None:
    """Add the options that `Request` has read from the words, for the help to list."""
    checkpoint = "Checkpoint: best, last, a run folder or a file."
    if verb != "fit":
        parser.add_argument("--run_dir", type=str | None, help="The run that best and last speak of.")
        parser.add_argument("--ckpt_path", type=str | None, help=checkpoint)
        return
    parser.add_argument("--run_dir", type=str | None, help="Folder of the run; default: runs/<config name>/<n>.")
    more = " The run goes on from it in a new folder."
    parser.add_argument("--ckpt_path", type=str | None, help=checkpoint + more)
    parser.add_argument(
        "--resume",
        type=Literal["auto"] | None,
        help="auto: go on with the run, in its folder, from its newest good checkpoint; begin it if there is none.",
    )


def tie_to_data(parser: LightningArgumentParser, class_names: Callable[[VisionDataModule], ClassNames]) -> None:
    """Let the task take from the data what both must agree on."""
    parser.link_arguments("seed_everything", "data.init_args.seed")
    for name, value_of in {"class_names": class_names, "in_channels": channels_of, "input_size": input_size_of}.items():
        parser.link_arguments("data", f"model.init_args.{name}", compute_fn=value_of, apply_on="instantiate")


def give_own_defaults(optimizer: Namespace, says: Callable[[str], bool]) -> None:
    """Give an optimiser that somebody named the defaults of its class.

    The parser carries over all that it knows of the one before which the new class takes too: SGD would decay weights
    because AdamW does.

    Args:
        optimizer: What was parsed, changed in place.
        says: Whether a word or a config holds a name.
    """
    module, _, name = optimizer.class_path.rpartition(".")
    if not says(name):
        return
    for setting, parameter in inspect.signature(getattr(import_module(module), name)).parameters.items():
        if setting in optimizer.init_args and setting not in _OF_TASKS and not says(setting):
            optimizer.init_args[setting] = parameter.default


def class_names_for(task: str, data: VisionDataModule) -> ClassNames:
    """Return the names of the classes, those of each kind of label where the data has several.

    Args:
        task: Class of the task, with its module or without.
        data: The data.

    Raises:
        ValueError: One of the two has several kinds of labels, and the other has not.
    """
    kinds, takes_kinds = data.class_names_by_kind, task.rpartition(".")[2] == MultiTask.__name__
    if kinds is None and takes_kinds:
        raise ValueError("MultiTask needs data with several kinds of labels, such as Shapes with task: multi")
    if kinds is None:
        return list(data.class_names)
    if not takes_kinds:
        raise ValueError(f"the data has labels for {', '.join(kinds)}, which together are for --model MultiTask")
    return {kind: list(names) for kind, names in kinds.items()}


def settings_of_classes() -> list[str]:
    """Return the settings of all tasks and data modules, as options, for suggestions."""
    found = {"model.optimizer.lr", "model.optimizer.weight_decay"}
    for section, base in (("model", VisionTask), ("data", VisionDataModule)):
        pending: list[type] = [base]
        while pending:
            derived: list[type] = pending.pop().__subclasses__()
            found.update(f"{section}.{name}" for kind in derived for name in inspect.signature(kind).parameters)
            pending += derived
    return sorted(found)


def channels_of(data: VisionDataModule) -> int:
    """Return how many channels the pictures have; the help shows this function's name."""
    return data.in_channels


def input_size_of(data: VisionDataModule) -> int | tuple[int, int] | None:
    """Return what pictures are resized to where the data has one size for all; only detection asks for it."""
    return getattr(data, "image_size", None)
