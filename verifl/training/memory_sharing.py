"""Which tensors share memory, cell by cell: ties, transposed ties, views, and elements that are one cell."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Form = tuple[object, ...]
Bytes = NDArray[np.bool_]


@dataclass(frozen=True)
class Sharing:
    """What holds among named tensors; one without elements shares nothing.

    same: the first name of the tensor with the very same cells, perhaps in another order (a transposed tie), of every
    tensor that has one before it. within: (part, whole) where every cell of one belongs to the other, which has more.
    across: pairs that share some cells in another way. folded: tensors of whom several elements are one cell.
    """

    same: dict[str, str] = field(default_factory=dict)
    within: list[tuple[str, str]] = field(default_factory=list)
    across: list[tuple[str, str]] = field(default_factory=list)
    folded: list[str] = field(default_factory=list)

    def first(self, name: str) -> str:
        """The first name of the tensor's cells: its own, unless it is tied to another."""
        while name in self.same:
            name = self.same[name]
        return name

    def owner(self, name: str) -> str | None:
        """The first name of what a tensor is tied to, or a part of; None where it stands alone or is the first."""
        return self.same.get(name) or next((whole for part, whole in self.within if part == name), None)

    def words(self, name: str) -> str:
        """How a tensor hangs on others: ", tied to 'a'", ", a view of 'b'", or nothing."""
        if name in self.same:
            return f", tied to {self.same[name]!r}"
        return "".join(f", a view of {whole!r}" for part, whole in self.within if part == name)


def sharing(tensors: Mapping[str, Tensor]) -> Sharing:
    """Compare strided tensors, on whatever devices; near linear where few of them overlap."""
    found, first = Sharing(), dict[Form, str]()
    for name, tensor in tensors.items():
        if tensor.numel() == 0:
            continue
        if _is_folded(tensor):
            found.folded.append(name)
        owner = first.setdefault(_form(tensor), name)
        if owner != name:
            found.same[name] = owner
    for one, other in _near({name: tensors[name] for name in first.values()}):
        _compare(found, one, other, tensors)
    return Sharing(
        {name: found.first(name) for name in found.same},
        [pair for pair in found.within if not found.same.keys() & set(pair)],
        [pair for pair in found.across if not found.same.keys() & set(pair)],
        found.folded,
    )


def _form(tensor: Tensor) -> Form:
    """The cells of a tensor whatever the order of its dimensions: equal forms, same cells."""
    dims = sorted((stride, size) for stride, size in zip(tensor.stride(), tensor.shape, strict=True) if size > 1)
    merged: list[tuple[int, int]] = []
    for stride, size in dims:
        if merged and stride == merged[-1][0] * merged[-1][1]:
            merged[-1] = (merged[-1][0], merged[-1][1] * size)
        else:
            merged.append((stride, size))
    return (tensor.device, tensor.dtype, tensor.data_ptr(), *merged)


def _span(tensor: Tensor) -> tuple[int, int]:
    """(first byte, behind the last byte) of the cells."""
    reach = sum(stride * (size - 1) for stride, size in zip(tensor.stride(), tensor.shape, strict=True))
    return tensor.data_ptr(), tensor.data_ptr() + (reach + 1) * tensor.element_size()


def _near(tensors: Mapping[str, Tensor]) -> Iterator[tuple[str, str]]:
    """Pairs whose spans meet, in order of their names in `tensors`."""
    order = {name: number for number, name in enumerate(tensors)}
    spans = sorted((str(tensor.device), *_span(tensor), name) for name, tensor in tensors.items())
    open_: list[tuple[str, int, str]] = []
    for device, start, stop, name in spans:
        open_ = [each for each in open_ if each[0] == device and each[1] > start]
        for _, _, other in open_:
            yield (other, name) if order[other] < order[name] else (name, other)
        open_.append((device, stop, name))


def _compare(found: Sharing, one: str, other: str, tensors: Mapping[str, Tensor]) -> None:
    (start, stop), (first, last) = _span(tensors[one]), _span(tensors[other])
    start, stop = min(start, first), max(stop, last)
    mine, theirs = _cells(tensors[one], start, stop), _cells(tensors[other], start, stop)
    if not (mine & theirs).any():
        return
    beyond, missing = bool((mine & ~theirs).any()), bool((theirs & ~mine).any())
    if tensors[one].dtype != tensors[other].dtype or (beyond and missing):
        found.across.append((one, other))
    elif not beyond and not missing:
        found.same[other] = one
    else:
        found.within.append((other, one) if beyond else (one, other))


def _cells(tensor: Tensor, start: int, stop: int) -> Bytes:
    """Which of the bytes from `start` to `stop` belong to the tensor."""
    mask, size = np.zeros(stop - start, dtype=np.bool_), tensor.element_size()
    window = mask[tensor.data_ptr() - start :]
    strides = (*(stride * size for stride in tensor.stride()), 1)
    np.lib.stride_tricks.as_strided(window, (*tensor.shape, size), strides)[...] = True
    return mask


def _is_folded(tensor: Tensor) -> bool:
    """Whether several elements are one cell; where the strides do not tell, the cells are counted."""
    reach = 1
    for stride, size in sorted(zip(tensor.stride(), tensor.shape, strict=True)):
        if size > 1 and stride < reach:
            start, stop = _span(tensor)
            return int(np.count_nonzero(_cells(tensor, start, stop))) < tensor.numel() * tensor.element_size()
        reach += stride * (size - 1)
    return False
