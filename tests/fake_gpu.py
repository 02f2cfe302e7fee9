"""A GPU that computes nothing: what can be told of one without having it.

Its tensors have a shape and a device, but no values. So whatever would wait for a value raises an error (an `item`, a
shape that depends on values), and so does whatever takes tensors of two devices together.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode
from torchmetrics import Metric

__all__ = ["FakeGPU"]


class _Copies(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts what is copied from one device to another, which is waited for unless it is asked for otherwise."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.seen: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = func(*args, **kwargs)
        if func in (torch.ops.aten._to_copy.default, torch.ops.aten.copy_.default):
            source, target = args[1] if func is torch.ops.aten.copy_.default else args[0], result
            if source.device != target.device and not kwargs.get("non_blocking"):
                self.seen.append(f"{tuple(source.shape)} from {source.device} to {target.device}")
        return result


class FakeGPU:
    """Takes modules and batches, and watches what is done with them."""

    def __init__(self) -> None:
        self._mode = FakeTensorMode()

    def _empty(self, value: Tensor) -> Tensor:
        with self._mode:
            return torch.empty_strided(value.shape, value.stride(), dtype=value.dtype, device="cuda")

    def take_module(self, module: nn.Module) -> None:
        """Put parameters, buffers and the states of metrics there; what else a module has stays where it is."""
        for part in module.modules():
            for name, parameter in part._parameters.items():
                if parameter is not None:
                    part._parameters[name] = nn.Parameter(self._empty(parameter), parameter.requires_grad)
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = self._empty(buffer)
            if isinstance(part, Metric):
                for name, default in part._defaults.items():
                    if isinstance(default, Tensor):
                        part._defaults[name] = self._empty(default)
                        setattr(part, name, self._empty(getattr(part, name)))

    def take(self, value: Any) -> Any:
        """Return what stands in a batch, with its tensors there."""
        if isinstance(value, Tensor):
            return self._empty(value)
        if isinstance(value, dict):
            return {name: self.take(each) for name, each in value.items()}
        return [self.take(each) for each in value] if isinstance(value, list) else value

    @contextmanager
    def working(self, autocast: torch.dtype | None = None) -> Iterator[list[str]]:
        """Let it work; what is copied to it or from it meanwhile, and waited for, is in the list."""
        with (
            mock.patch("torch.cuda.is_available", return_value=True),
            mock.patch("torch.cuda.is_bf16_supported", return_value=True),
        ):
            precision = torch.autocast("cuda", autocast or torch.bfloat16, enabled=autocast is not None)
        with self._mode, _Copies() as copies, precision:
            yield copies.seen
