"""A GPU that computes on the CPU: what can be told of one without having it.

Its tensors say that they are on another device, and their values lie on the CPU. So whatever takes tensors of two
devices together raises an error, and whatever waits for the device's values is seen.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final, Self, TypeVar
from unittest import mock

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only
from torchmetrics import Metric

__all__ = ["FakeGPU"]

ModuleType = TypeVar("ModuleType", bound=nn.Module)

_DEVICE: Final = torch.device("cuda:0")
_ATEN: Final = torch.ops.aten
#: Operators whose result, or its shape, is made of values.
_WAITING: Final = {
    _ATEN._local_scalar_dense.default: "a number",
    _ATEN.nonzero.default: "the places that are not 0",
    _ATEN._unique2.default: "the values that differ",
    _ATEN.repeat_interleave.Tensor: "how often to repeat",
    _ATEN.equal.default: "whether all is equal",
}
#: Operators that take indices from the CPU along.
_INDEXING: Final = (_ATEN.index.Tensor, _ATEN.index_put.default, _ATEN.index_put_.default)


class _There(Tensor):
    """A tensor of the device; `held` has its values."""

    held: Tensor

    def __new__(cls, held: Tensor) -> Self:
        outside = torch.empty_strided(held.shape, held.stride(), dtype=held.dtype, device="meta")
        there = Tensor._make_subclass(  # as torch makes its own fake tensors
            cls, outside, held.requires_grad, dispatch_device=True, device_for_backend_keys=_DEVICE
        )
        there.held = held.detach()
        return there

    @property
    def device(self) -> torch.device:  # type: ignore[override]  # what C++ asks for, too
        return _DEVICE

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __repr__(self) -> str:  # type: ignore[override]  # without options
        return f"_There({self.held})"

    __torch_function__ = torch._C._disabled_torch_function_impl  # type: ignore[assignment]  # as every subclass does

    @classmethod
    def __torch_dispatch__(  # type: ignore[override]  # called with these
        cls, func: Any, types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        return _compute(func, args, kwargs or {})


def _compute(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    """Compute on the values, and put the result where the device would have it."""
    if func is torch.ops.prim.device.default:
        return args[0].device
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
    there = [tensor for tensor in tensors if isinstance(tensor, _There)]
    others = [tensor for tensor in tensors if not isinstance(tensor, _There) and tensor.ndim > 0]
    if there and others and func not in (*_INDEXING, _ATEN.copy_.default):
        raise RuntimeError(f"{func} takes tensors of two devices, {_DEVICE} and {others[0].device}")
    target = kwargs.get("device")
    if target is not None and target.type != "meta":
        kwargs = kwargs | {"device": torch.device("cpu")}
    plain_args, plain_kwargs = tree_map_only(_There, lambda tensor: tensor.held, (args, kwargs))
    result = func(*plain_args, **plain_kwargs)
    for given, plain in zip(tree_leaves((args, kwargs)), tree_leaves((plain_args, plain_kwargs)), strict=True):
        if plain is result:  # what was changed in place is what it was
            return given
    goes_there = bool(there) if target is None else target.type == _DEVICE.type
    return tree_map_only(Tensor, _There, result) if goes_there else result


class _Watch(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Notes what is waited for."""

    def __init__(self, has_fp64: bool) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.has_fp64 = has_fp64
        self.waited_for: list[str] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        result = _compute(func, args, kwargs)
        if func in (_ATEN._to_copy.default, _ATEN.copy_.default):
            self._watch_copy(args, kwargs, result)
        elif any(isinstance(leaf, _There) for leaf in tree_leaves(args)):
            is_mask = func in _INDEXING and any(index is not None and index.dtype == torch.bool for index in args[1])
            if is_mask or func in _WAITING:
                self.waited_for.append(_WAITING.get(func, "what a mask leaves"))
        for leaf in tree_leaves(result):
            if isinstance(leaf, _There) and leaf.dtype == torch.float64 and not self.has_fp64:
                raise TypeError(f"{func} makes float64, which the device does not have")
        return result

    def _watch_copy(self, args: Any, kwargs: Any, result: Tensor) -> None:
        source = args[1] if len(args) > 1 and isinstance(args[1], Tensor) else args[0]
        is_asynchronous = kwargs.get("non_blocking") or (len(args) > 2 and args[2])
        if source.device != result.device and not is_asynchronous:
            self.waited_for.append(f"{tuple(source.shape)} from {source.device} to {result.device}")


class FakeGPU:
    """Takes modules and batches, and watches what is done with them.

    Args:
        has_fp64: Whether it computes in float64, as Apple's do not.
    """

    def __init__(self, *, has_fp64: bool = True) -> None:
        self._has_fp64 = has_fp64
        # Lets torch believe in a device that no driver knows, as its own fake tensors do.
        torch._C._ensureCUDADeviceGuardSet()

    def take_module(self, module: ModuleType) -> ModuleType:
        """Put parameters, buffers and the states of metrics there; what else a module has stays where it is."""
        for part in module.modules():
            for name, parameter in part._parameters.items():
                if parameter is not None:
                    part._parameters[name] = nn.Parameter(self._put(parameter), parameter.requires_grad)
            for name, buffer in part._buffers.items():
                if buffer is not None:
                    part._buffers[name] = self._put(buffer)
            if isinstance(part, Metric):
                part._device = _DEVICE
                for name, default in part._defaults.items():
                    if isinstance(default, Tensor):
                        part._defaults[name] = self._put(default)
                    setattr(part, name, self.take(getattr(part, name)))
        return module

    def take(self, value: Any) -> Any:
        """Return what stands in a batch, with its tensors there."""
        return tree_map_only(Tensor, self._put, value)

    def _put(self, tensor: Tensor) -> Tensor:
        if tensor.dtype == torch.float64 and not self._has_fp64:
            raise TypeError("float64, which the device does not have")
        return _There(tensor)

    @contextmanager
    def working(self, autocast: torch.dtype | None = None) -> Iterator[list[str]]:
        """Let it work; what is waited for meanwhile is in the list."""
        with (
            mock.patch("torch.cuda.is_available", return_value=True),
            mock.patch("torch.cuda.is_bf16_supported", return_value=True),
        ):
            precision = torch.autocast("cuda", autocast or torch.bfloat16, enabled=autocast is not None)
        before = torch._C._only_lift_cpu_tensors()
        torch._C._set_only_lift_cpu_tensors(True)
        try:
            # Without cuDNN, whose operators the CPU does not have.
            without = torch.backends.cudnn.flags(enabled=False)
            with mock.patch("torch.cuda._lazy_init"), without, _Watch(self._has_fp64) as watch, precision:
                yield watch.waited_for
        finally:
            torch._C._set_only_lift_cpu_tensors(before)
