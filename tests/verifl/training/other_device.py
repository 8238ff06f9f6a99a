"""A pretend accelerator, for machines that have none: to torch a device of its own, as CUDA is.

Its tensors are torch's own, with storages, views and addresses. But nothing can be read at these addresses: what
takes one for the CPU's memory dies. The bytes lie elsewhere, at the same offsets, and there the CPU's own kernels do
every operation, so that results are the CPU's, bit for bit. Tensors of two devices meet in copies only; anywhere else
they raise what they raise on CUDA.
"""

from __future__ import annotations

import mmap
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, UntypedStorage
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves, tree_map

NAME = "pretend"
AVAILABLE = hasattr(backend_registration, "_setup_privateuseone_for_python_backend")  # experimental
_SIZE = 1 << 28  # bytes of addresses; none is given a second time
_ALIGNED = 64
_ATEN = torch.ops.aten
_CPU = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
_KEPT: list[torch.library.Library] = []  # a registration lasts as long as its library


class _Memory:
    """Addresses for torch, and the bytes that are meant by them."""

    def __init__(self) -> None:
        flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS
        self._addresses = mmap.mmap(-1, _SIZE, flags=flags, prot=0)
        self._start = np.frombuffer(self._addresses, dtype=np.uint8).ctypes.data
        self._bytes = torch.frombuffer(mmap.mmap(-1, _SIZE, flags=flags), dtype=torch.uint8).untyped_storage()
        self._used = 0

    def allocate(self, size: int) -> UntypedStorage:
        address = self._start + self._used
        self._used += -(-max(size, 1) // _ALIGNED) * _ALIGNED
        if self._used > _SIZE:
            raise MemoryError(f"{NAME}: out of memory")
        storage: UntypedStorage = torch._C._construct_storage_from_data_pointer(address, torch.device(NAME, 0), size)
        return storage

    def on_host(self, tensor: Tensor) -> Tensor:
        """A tensor of the CPU on the bytes of a pretend one; any other as it is."""
        if tensor.device.type != NAME:
            return tensor
        bare = torch.empty(0, dtype=tensor.dtype, device="cpu")
        if tensor.numel() == 0:
            return bare.as_strided(tensor.shape, tensor.stride())
        place = (tensor.data_ptr() - self._start) // tensor.element_size()
        return bare.set_(self._bytes, place, tensor.shape, tensor.stride())

    def on_device(self, host: Tensor, arguments: Sequence[Tensor]) -> Tensor:
        """What an operation on the bytes gave: a view of one of its arguments, or new."""
        if host.untyped_storage().data_ptr() != self._bytes.data_ptr():
            device = _empty_strided(host.shape, host.stride(), dtype=host.dtype)
            self.on_host(device).copy_(host)
            return device
        address = self._start + host.data_ptr() - self._bytes.data_ptr()
        for storage in (each.untyped_storage() for each in arguments if each.device.type == NAME):
            if storage.data_ptr() <= address < storage.data_ptr() + storage.nbytes():
                place = (address - storage.data_ptr()) // host.element_size()
                return _placed(host.dtype, storage, place, host.shape, host.stride())
        raise RuntimeError(f"{NAME}: a view of nothing that was given")


_MEMORY = _Memory()


def register() -> None:
    """Make the device known to torch: for the whole process, and for good."""
    backend_registration._setup_privateuseone_for_python_backend(NAME)
    fallback, own = torch.library.Library("_", "IMPL"), torch.library.Library("aten", "IMPL")
    fallback.fallback(_compute, "PrivateUse1")
    own.impl("empty.memory_format", _empty, "PrivateUse1")
    own.impl("empty_strided", _empty_strided, "PrivateUse1")
    own.impl("_copy_from", _copy_from, "PrivateUse1")
    own.impl("as_strided", _as_strided, "PrivateUse1")
    own.impl("set_.source_Storage_storage_offset", _set, "PrivateUse1")
    _KEPT.extend((fallback, own))
    UntypedStorage.clone = _clone  # type: ignore[method-assign]  # which no operation is behind
    # Module.to() keeps the parameters that a model has, as it does between the devices that torch itself knows
    torch.__future__.set_swap_module_params_on_conversion(True)


def _compute(operation: torch._ops.OpOverload, *args: Any, **kwargs: Any) -> Any:
    """Every operation that has nothing of its own below."""
    given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
    _check_devices(operation, given)
    hosts = {id(each): _MEMORY.on_host(each) for each in given}
    back = {id(hosts[id(each)]): each for each in given}

    def host(value: Any) -> Any:
        if isinstance(value, torch.device):
            return torch.device("cpu") if value.type == NAME else value
        return hosts[id(value)] if isinstance(value, Tensor) else value

    def device(value: Any) -> Any:
        if not isinstance(value, Tensor):
            return value
        return back[id(value)] if id(value) in back else _MEMORY.on_device(value, given)

    result = _form(operation, args)(*tree_map(host, args), **tree_map(host, kwargs))
    for each in given:
        _follow(each, hosts[id(each)])
    return tree_map(device, result)


def _form(operation: torch._ops.OpOverload, args: Sequence[Any]) -> Any:
    """The operation; where a number is given for a tensor, whichever of its forms takes that."""
    for value, wanted in zip(args, operation._schema.arguments, strict=False):
        if isinstance(value, int | float) and isinstance(wanted.type, torch.TensorType):
            return operation.overloadpacket
    return operation


def _follow(tensor: Tensor, host: Tensor) -> None:
    """An operation has given an empty tensor a size, to write its result there."""
    if tensor.shape != host.shape:
        if tensor.numel():
            raise RuntimeError(f"{NAME}: only an empty tensor can be resized")
        found = _MEMORY.on_device(host, ())
        _set(tensor, found.untyped_storage(), 0, found.shape, found.stride())


def _check_devices(operation: torch._ops.OpOverload, given: Sequence[Tensor]) -> None:
    """As CUDA does: a number of the CPU may meet tensors of the device, anything else may not."""
    devices = list(dict.fromkeys(str(each.device) for each in given if each.dim() or each.device.type == NAME))
    if operation is _ATEN.equal.default and len({str(each.device) for each in given}) > 1:
        one, other = given
        raise RuntimeError(f"Cannot compare two tensors on different devices. Got: {one.device} and {other.device}")
    if len(devices) > 1:
        raise RuntimeError(
            f"Expected all tensors to be on the same device, but found at least two devices, {' and '.join(devices)}!"
        )


def _empty(size: Sequence[int], *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    return _empty_strided(size, torch.empty(size, device="meta").stride(), dtype=dtype)


def _empty_strided(size: Sequence[int], stride: Sequence[int], *, dtype: torch.dtype | None = None, **_: Any) -> Tensor:
    kind = dtype or torch.get_default_dtype()
    last = sum((length - 1) * step for length, step in zip(size, stride, strict=True)) if 0 not in size else -1
    return _placed(kind, _MEMORY.allocate((last + 1) * kind.itemsize), 0, size, stride)


def _placed(
    dtype: torch.dtype, storage: UntypedStorage, place: int, size: Sequence[int], stride: Sequence[int]
) -> Tensor:
    return _set(torch._C._acc.create_empty_tensor([0], dtype), storage, place, size, stride)


def _set(
    tensor: Tensor, storage: UntypedStorage, place: int, size: Sequence[int], stride: Sequence[int] = ()
) -> Tensor:
    operation = _ATEN.set_.source_Storage_storage_offset
    result: Tensor = operation.redispatch(_CPU, tensor, storage, place, list(size), list(stride))
    return result


def _clone(storage: UntypedStorage) -> UntypedStorage:
    size = storage.nbytes()
    copy = torch.empty(size, dtype=torch.uint8, device=storage.device).untyped_storage()
    _bytes_of(copy).copy_(_bytes_of(storage))
    return copy


def _bytes_of(storage: UntypedStorage) -> Tensor:
    bare = torch.empty(0, dtype=torch.uint8, device=storage.device)
    return bare.set_(storage, 0, (storage.nbytes(),), (1,))


def _as_strided(tensor: Tensor, size: Sequence[int], stride: Sequence[int], place: int | None = None) -> Tensor:
    result: Tensor = _ATEN.as_strided.default.redispatch(_CPU, tensor, size, stride, place)
    return result


def _copy_from(source: Tensor, target: Tensor, non_blocking: bool = False) -> Tensor:
    _MEMORY.on_host(target).copy_(_MEMORY.on_host(source))
    return target
