"""What follows a norm, chosen by a word."""

from collections.abc import Callable
from functools import partial
from typing import Literal, get_args

from torch import nn

from resvision.layers.choices import check_choice

__all__ = ["Activation", "ActivationFactory", "activation_factory", "rectifier"]

Activation = Literal["relu", "sigmoid"]
ActivationFactory = Callable[[], nn.Module]

rectifier: ActivationFactory = partial(nn.ReLU, inplace=True)
"""Builds the activation of nearly all networks."""


def activation_factory(activation: Activation) -> ActivationFactory:
    """Return what builds an activation.

    Args:
        activation: `relu`; or `sigmoid`, with which deep networks were thought not to be trainable.

    Raises:
        ValueError: `activation` is none of these.
    """
    check_choice("activation", activation, get_args(Activation))
    return rectifier if activation == "relu" else nn.Sigmoid
