"""Parameters, put into the groups that an optimiser treats differently."""

from collections.abc import Iterable
from typing import Any

from torch import nn
from torch.optim import Optimizer

__all__ = ["apply_factors", "parameter_groups"]


def parameter_groups(parameters: Iterable[nn.Parameter], name: str = "all") -> list[dict[str, Any]]:
    """Split parameters, frozen ones too, into those to decay and the norms and biases, which are not.

    He et al. 2019, Bag of Tricks (arXiv:1812.01187), section 3.1.

    Args:
        parameters: Of a whole model or of a part of it.
        name: Of the group to decay; that of the others is `<name>/no_decay`. A group that would be empty is left out.
    """
    parameters = list(parameters)
    decay = [parameter for parameter in parameters if parameter.ndim > 1]
    no_decay = [parameter for parameter in parameters if parameter.ndim <= 1]
    groups: list[dict[str, Any]] = [
        {"name": name, "params": decay},
        {"name": f"{name}/no_decay", "params": no_decay, "weight_decay": 0.0},
    ]
    return [group for group in groups if group["params"]]


def apply_factors(optimizer: Optimizer) -> None:
    """Give each group its part, `lr_factor`, of the learning rate that the optimiser was built with."""
    for group in optimizer.param_groups:
        if "lr_factor" in group:
            # Not in place: groups may share a learning rate that is a tensor.
            group["lr"] = group["lr"] * group["lr_factor"]
