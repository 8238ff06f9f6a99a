"""Sums of ciphertexts modulo q in torch, in batches, on the CPU or on a CUDA device (spec 6.5).

Bit-identical to the numpy twin `protocols.summation.add_residues`: residues are integers, so neither the order nor the
device can change a sum. Overflow-safe by the same inequality, 0 <= sum < held q <= floor(2^63 / q) q <= 2^63. The
arrays are streamed, a batch at a time; their range is checked on the host: nothing waits for the device before the end.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from proofs.errors import Misuse
from protocols.rounds.aggregation import Summation
from protocols.summation import Residues, group_size
from verifl.formatting import DEVICE, DEVICES

if TYPE_CHECKING:
    import torch

MODULUS_LIMIT = 1 << 62
BATCH_BYTES = 8 << 20  # smaller arrays go to the device together, larger ones one at a time
_SIGN = 63  # shifted right by as much, a word of 64 bits is -1 if it is negative, else 0


def resolve_device(name: str) -> str:
    """`auto` becomes `cuda` where there is one and `cpu` elsewhere; raises Misuse for one that is not there."""
    if re.fullmatch(DEVICE, name) is None:
        raise Misuse(f"device: expected {DEVICES}, found {name!r}")
    if name == "cpu":
        return "cpu"
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        return "cuda" if count else "cpu"
    if not count:
        raise Misuse(f"device: {name} was asked for, but torch finds no CUDA device here; use --device cpu or auto")
    if int(name.partition(":")[2] or 0) >= count:
        raise Misuse(f"device: {name} was asked for, but torch finds {count} here, from cuda:0 to cuda:{count - 1}")
    return name


def summation_on(device: str) -> Summation:
    """A function (arrays, modulus) -> sum on `device` (auto, cpu or cuda), as `add_residues` takes them."""
    resolved = resolve_device(device)

    def add(arrays: Iterable[Residues], modulus: int) -> Residues:
        return add_residues(arrays, modulus, resolved)

    return add


def add_residues(arrays: Iterable[Residues], modulus: int, device: str, batch_bytes: int = BATCH_BYTES) -> Residues:
    """Sum modulo `modulus`, in torch, of int64 arrays of one shape (cells,), residues in [0, modulus).

    Holds the sum and one batch on the device, an array more while it is reduced; a batch is of `batch_bytes`, or one
    array. Raises Misuse for no arrays, other shapes or dtypes, a residue out of range, or a modulus outside [2, 2^62).
    """
    if not 2 <= modulus < MODULUS_LIMIT:
        raise Misuse(f"modulus: expected at least 2 and below 2^62, found {modulus}")
    total = _DeviceSum(modulus, device)
    for batch in _batches(arrays, modulus, batch_bytes):
        total.add(batch)
    return total.finish()


def _batches(arrays: Iterable[Residues], modulus: int, batch_bytes: int) -> Iterator[Residues]:
    """(count, cells) each: at most h = floor(g / 2) arrays, for which there is always room after a reduction."""
    most, batch, cells = group_size(modulus) // 2, list[Residues](), None
    for array in arrays:
        _check_residues(array, modulus)
        cells = len(array) if cells is None else cells
        if len(array) != cells:
            raise Misuse(f"arrays: expected {cells} cells throughout, found {len(array)}")
        batch.append(array)
        if len(batch) == most or (len(batch) + 1) * array.nbytes > batch_bytes:
            yield _together(batch)
            batch.clear()
    if batch:
        yield _together(batch)


def _together(batch: list[Residues]) -> Residues:
    return np.stack(batch) if len(batch) > 1 else batch[0][np.newaxis]


class _DeviceSum:
    """A sum of residues on a device. It is below `held` moduli."""

    def __init__(self, modulus: int, device: str) -> None:
        self._modulus, self._device = modulus, device
        self._group, self._held = group_size(modulus), 0
        self._total: torch.Tensor | None = None

    def add(self, batch: Residues) -> None:
        """Add at most g - h arrays."""
        lent = _lend(batch).to(self._device)
        if self._total is None:
            self._total = lent.sum(dim=0) if len(batch) > 1 else lent[0].clone()
        else:
            if self._held + len(batch) > self._group:
                self._reduce(self._total)
            self._total.add_(lent.sum(dim=0) if len(batch) > 1 else lent[0])
        self._held += len(batch)

    def finish(self) -> Residues:
        """The sum in [0, modulus), on the host; Misuse if nothing was added."""
        if self._total is None:
            raise Misuse("arrays: expected at least one ciphertext to sum")
        result: Residues = self._total.remainder_(self._modulus).cpu().numpy()
        return result

    def _reduce(self, total: torch.Tensor) -> None:
        """Subtract h q, h = floor(g / 2), and give it back where the sum became negative."""
        half = self._group // 2
        multiple = half * self._modulus
        total.sub_(multiple)
        total.add_((total >> _SIGN).bitwise_and_(multiple))
        self._held = self._group - half


def _lend(array: Residues) -> torch.Tensor:
    """The array's own memory, which is only read. What torch does not take, read-only or reversed, is copied."""
    import torch

    return torch.from_numpy(np.require(array, requirements=["C", "W"]))


def _check_residues(array: Residues, modulus: int) -> None:
    if array.dtype != np.int64 or array.ndim != 1:
        raise Misuse(f"arrays: expected one-dimensional int64, found {array.dtype} of shape {array.shape}")
    # Read without a sign a negative residue is 2^63 or more: one pass for both bounds.
    if array.size and array.view(np.uint64).max() >= modulus:
        raise Misuse(f"arrays: a residue is outside [0, {modulus})")
