"""The module of every turn: as the task's model() made it, with nothing in it that an earlier turn did.

A turn gets a deep copy. Tensors that do not travel, a frozen base of gigabytes, are not held once more for it: their
pages are shared with the original until something is written into them, and what is written is the turn's own
(a private mapping of a memory file). A model that cannot be copied is made anew by model(), under the same seed.
"""

from __future__ import annotations

import contextlib
import gc
import hashlib
import mmap
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from copy import deepcopy
from io import BufferedRandom
from types import FunctionType, MethodType
from typing import Any

import torch
from torch import Tensor, UntypedStorage, nn

from proofs.errors import Misuse
from verifl.tasks.user_code import user_code
from verifl.training.memory_sharing import sharing
from verifl.training.module_state import bits_of, same_bits, state_of

LENT = 1 << 16  # bytes of a storage from which its pages are shared
LARGE = 1 << 26  # bytes of a model that may not wait for Python's garbage collector
_SEARCHED = 1_000_000  # objects of a copy that are looked at


class FreshModels:
    """Gives modules on `device`, each as `make` makes it. own: names of the tensors that do not travel."""

    def __init__(self, model: nn.Module, make: Callable[[], nn.Module], own: Collection[str], device: str) -> None:
        """model: what `make` made first. Raises Misuse where there is no way to have it a second time."""
        self._make, self._device = make, device
        self._lent = _Lent(model, own)
        self._original: nn.Module | None = None
        self._digests: Mapping[str, bytes] = {}
        self._large = sum(tensor.nbytes for tensor in state_of(model).values()) >= LARGE
        hindrance = self._take_copy(model)
        if hindrance:
            self._make_anew(model, own, hindrance)
        if not self._is_there(model):
            self._check_move(model)

    def fresh(self) -> nn.Module:
        """One more of them."""
        if self._large:
            gc.collect()  # of the turn before, which hooks may have tied into a cycle
        made = self._make() if self._original is None else self._lent.copy(self._original, self._lent.map())
        return self._moved(made)

    def changed(self, name: str, tensor: Tensor) -> bool:
        """Whether a tensor that does not travel has other bits than it had from model()."""
        if self._original is None:
            return _digest(tensor) != self._digests[name]
        return not same_bits(tensor, state_of(self._original)[name], self._lent.let_go)

    def is_home(self, tensor: Tensor) -> bool:
        """Whether a tensor is on a device of the kind that modules are given on."""
        return tensor.device.type == torch.device(self._device).type

    def _moved(self, model: nn.Module) -> nn.Module:
        if self._is_there(model):
            return model
        with user_code(f"task: the model cannot be moved to {self._device}"):
            return model.to(self._device)

    def _is_there(self, model: nn.Module) -> bool:
        return all(map(self.is_home, _tensors(model)))

    def _check_move(self, model: nn.Module) -> None:
        """Tensors that share memory still do on the device: Module.to() keeps what is one parameter, and no views."""
        before, after = sharing(state_of(model)), sharing(state_of(self.fresh()))
        for name in [*before.same, *(part for part, _ in before.within)]:
            if before.words(name) != after.words(name):
                raise Misuse(
                    f"tensors: {name!r} does not follow {before.owner(name)!r}, whose memory it shares, to "
                    f"{self._device}; make them one parameter, or compute one from the other in forward()"
                )

    def _take_copy(self, model: nn.Module) -> str:
        """Keep a copy of the model, which its task may hold, too; or say why a deep copy would not do."""
        mapping = self._lent.map()
        try:
            with user_code("copy.deepcopy() fails"):
                copy = self._lent.copy(model, mapping)
        except Misuse as error:
            return str(error)
        held = [name for name, tensor in state_of(model).items() if not self._lent.holds(tensor)]
        if difference := _difference(model, copy, held):
            return f"{difference!r} is another in its copy"
        if _reaches(copy, _identities(model)):
            return "a hook or attribute of its copy leads back to the model itself"
        self._lent.adopt(model, copy, mapping)
        self._original = copy
        return ""

    def _make_anew(self, model: nn.Module, own: Collection[str], hindrance: str) -> None:
        state, again = state_of(model), self._make()
        if _reaches(again, _identities(model)):
            why = "model() gave parts of it a second time"
        elif difference := _difference(model, again, own):
            why = f"{difference!r} was another in a second call of model() under the same seed"
        else:
            self._digests = {name: _digest(state[name]) for name in own}
            self._lent.close()
            return
        raise Misuse(
            f"task: the model can neither be copied ({hindrance}) nor made again ({why}), and clients must not train "
            "on what another left; make it anew in every call of model()"
        )


class _Lent:
    """Copies modules; large storages in which nothing travels stay in one file of memory, mapped privately."""

    def __init__(self, model: nn.Module, own: Collection[str]) -> None:
        self._places: dict[int, tuple[int, int]] = {}  # address of a storage in the original -> (offset, bytes)
        self._file: BufferedRandom | None = None
        self._total = 0
        self._original: mmap.mmap | None = None
        travelling = {_address(each) for name, each in state_of(model).items() if name not in own}
        tensors = [each for each in _tensors(model) if each.device.type == "cpu" and _address(each) not in travelling]
        sizes = {_address(each): each.untyped_storage().nbytes() for each in tensors}
        sizes = {address: size for address, size in sizes.items() if size >= LENT}
        if not sizes or not hasattr(os, "memfd_create"):
            return
        starts, total = {}, 0
        for address, size in sizes.items():
            starts[address], total = total, total + -(-size // mmap.PAGESIZE) * mmap.PAGESIZE
        try:
            descriptor = os.memfd_create("verifl")
        except OSError:  # a sandbox that has none: copies will be copies
            return
        os.truncate(descriptor, total)
        self._file, self._total = os.fdopen(descriptor, "r+b"), total
        self._take_in(self._file, tensors, starts, sizes)

    def map(self) -> mmap.mmap | None:
        """The file as private memory: what is written there goes no further; None where there is no file."""
        if self._file is None:
            return None
        return mmap.mmap(self._file.fileno(), self._total, flags=mmap.MAP_PRIVATE)

    def close(self) -> None:
        """Nothing will be copied."""
        if self._file is not None:
            self._file.close()
        self._file, self._places = None, {}

    def copy(self, model: nn.Module, mapping: mmap.mmap | None) -> nn.Module:
        """A deep copy with the same ties and views, the same hooks and attributes of parameters, and no gradients.

        mapping: a fresh one, for what lies in the file.
        """
        storages, memo, pairs = dict[int, UntypedStorage](), dict[int, Any](), list[tuple[Tensor, Tensor]]()
        if mapping is not None:
            storages |= {each: _window(mapping, *place) for each, place in self._places.items()}
        for tensor in _tensors(model):
            if type(tensor) in (Tensor, nn.Parameter) and tensor.is_leaf and _address(tensor):
                new = _on(tensor, storages)
                pairs.append((tensor, new))
                memo[id(tensor)] = new
        copy = deepcopy(model, memo)
        for tensor, new in pairs:
            new.__dict__.update(deepcopy(tensor.__dict__, memo))
            for hooks in ("_backward_hooks", "_post_accumulate_grad_hooks"):
                if getattr(tensor, hooks, None):
                    setattr(new, hooks, deepcopy(getattr(tensor, hooks), memo))
        return copy

    def holds(self, tensor: Tensor) -> bool:
        """Whether a tensor of the original lies in the file."""
        return _address(tensor) in self._places

    def let_go(self) -> None:
        """Pages of the file that were read through the original count once more in this process: no longer."""
        if self._original is not None:
            self._original.madvise(mmap.MADV_DONTNEED)  # none was written

    def adopt(self, model: nn.Module, copy: nn.Module, mapping: mmap.mmap | None) -> None:
        """From now on `copy`, made of `model` with `mapping`, is what copies are made of."""
        pairs = zip(_tensors(model), _tensors(copy), strict=True)
        moved = {_address(one): _address(other) for one, other in pairs}
        self._places = {moved[address]: place for address, place in self._places.items()}
        self._original = mapping

    def _take_in(
        self, file: BufferedRandom, tensors: list[Tensor], starts: Mapping[int, int], sizes: Mapping[int, int]
    ) -> None:
        """Move storage by storage into the file; the model's tensors are mapped from there, too."""
        mapping = mmap.mmap(file.fileno(), self._total, flags=mmap.MAP_PRIVATE)
        for address, start in starts.items():
            mine = [each for each in tensors if _address(each) == address]
            file.seek(start)
            file.write(_bytes_of(mine[0].untyped_storage()).numpy().data)
            file.flush()
            new = _window(mapping, start, sizes[address])
            for tensor in mine:
                tensor.data = _view(tensor, new)
            self._places[new.data_ptr()] = (start, sizes[address])


def _digest(tensor: Tensor) -> bytes:
    return hashlib.sha256(bits_of(tensor).numpy().data).digest()


def _difference(model: nn.Module, copy: nn.Module, compared: Collection[str]) -> str:
    """The first tensor that two models do not each have for themselves and trainable alike, or with other bits where
    these are compared; empty if there is none."""
    one, other = state_of(model), state_of(copy)
    if [*one] != [*other]:
        return next((name for name in (*one, *other) if name not in one or name not in other), "order of tensors")
    shared, again = sharing(one), sharing(other)
    taken = {_address(tensor) for tensor in _tensors(model)} - {0}
    for name, tensor in one.items():
        if _address(other[name]) in taken or shared.words(name) != again.words(name):
            return name
        if (tensor.is_leaf, tensor.requires_grad) != (other[name].is_leaf, other[name].requires_grad):
            return name  # of a compiled script, which a copy cannot be trained as
        if name in compared and not same_bits(tensor, other[name]):
            return name
    return ""


def _tensors(model: nn.Module) -> list[Tensor]:
    """Every parameter and buffer once, the passing ones included."""
    return list({id(tensor): tensor for tensor in (*model.parameters(), *model.buffers())}.values())


def _identities(model: nn.Module) -> set[int]:
    return {id(each) for each in (*model.modules(), *_tensors(model))}


def _address(tensor: Tensor) -> int:
    return tensor.untyped_storage().data_ptr() if tensor.numel() else 0


def _on(tensor: Tensor, storages: dict[int, UntypedStorage]) -> Tensor:
    """The tensor on a storage of the copy, which is made where it has none yet."""
    address = _address(tensor)
    if address not in storages:
        storages[address] = tensor.untyped_storage().clone()
    data = _view(tensor, storages[address])
    if type(tensor) is nn.Parameter:
        return nn.Parameter(data, tensor.requires_grad)
    return data.requires_grad_(tensor.requires_grad)


def _view(tensor: Tensor, storage: UntypedStorage) -> Tensor:
    empty = torch.empty(0, dtype=tensor.dtype, device=tensor.device)
    return empty.set_(storage, tensor.storage_offset(), tensor.shape, tensor.stride())


def _bytes_of(storage: UntypedStorage) -> Tensor:
    empty = torch.empty(0, dtype=torch.uint8, device="cpu")
    return empty.set_(storage, 0, (storage.nbytes(),), (1,))


def _window(mapping: mmap.mmap, start: int, size: int) -> UntypedStorage:
    return torch.frombuffer(mapping, dtype=torch.uint8, count=size, offset=start).untyped_storage()


def _reaches(root: object, targets: Collection[int]) -> bool:
    """Whether one of the objects with these ids hangs on `root`: closures of functions count, globals do not."""
    seen, waiting = set[int](), [root]
    while waiting and len(seen) < _SEARCHED:
        current = waiting.pop()
        if id(current) in targets:
            return True
        if id(current) not in seen:
            seen.add(id(current))
            waiting.extend(_held(current))
    return False


def _held(value: object) -> Iterator[object]:
    """What a value holds, of the kinds that models are made of."""
    if isinstance(value, dict):
        yield from value.values()
    elif isinstance(value, list | tuple | set | frozenset):
        yield from value
    elif isinstance(value, FunctionType):
        for cell in value.__closure__ or ():
            with contextlib.suppress(ValueError):  # a cell that is empty yet
                yield cell.cell_contents
        yield from (value.__defaults__ or ())
        yield from (value.__kwdefaults__ or {}).values()
    elif isinstance(value, MethodType):
        yield value.__self__
        yield value.__func__
    elif isinstance(value, Tensor):
        yield from (value._backward_hooks, getattr(value, "_post_accumulate_grad_hooks", None), vars(value))
    elif not isinstance(value, type | str | bytes | int | float | complex):
        yield from getattr(value, "__dict__", {}).values()
        if type(value).__module__ == "functools":
            yield from (getattr(value, "func", None), getattr(value, "args", ()), getattr(value, "keywords", {}))
