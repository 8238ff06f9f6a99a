"""Sums of ciphertexts modulo q in torch, on the CPU or on a CUDA device (spec 6.5).

Bit-identical to `protocols.summation.add_residues`: residues are integers, so neither the order nor the device can
change a sum. Overflow-safe by construction: floor((2^63 - 1) / (q - 1)) residues below q fit in one int64, and no more
than that many are added before a reduction modulo q. The arrays are streamed, a batch at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from proofs.errors import Misuse

if TYPE_CHECKING:
    import torch

Residues = NDArray[np.int64]
Summation = Callable[[Iterable[Residues], int], Residues]

BATCH_BYTES = 64 << 20
MODULUS_LIMIT = 1 << 62


def resolve_device(name: str) -> str:
    """`auto` becomes `cuda` where there is one and `cpu` elsewhere; raises Misuse for `cuda` where there is none."""
    if name not in ("auto", "cpu", "cuda"):
        raise Misuse(f"device: expected auto, cpu or cuda, found {name!r}")
    if name == "cpu":
        return "cpu"
    import torch

    available = torch.cuda.is_available()
    if name == "cuda" and not available:
        raise Misuse("device: cuda was asked for, but torch finds no CUDA device here; use --device cpu or auto")
    return "cuda" if available else "cpu"


def summation_on(device: str, batch_bytes: int = BATCH_BYTES) -> Summation:
    """A function (arrays, modulus) -> sum on `device` (auto, cpu or cuda), as `add_residues` takes them."""
    resolved = resolve_device(device)

    def add(arrays: Iterable[Residues], modulus: int) -> Residues:
        return add_residues(arrays, modulus, resolved, batch_bytes)

    return add


def add_residues(
    arrays: Iterable[Residues], modulus: int, device: str = "cpu", batch_bytes: int = BATCH_BYTES
) -> Residues:
    """Sum modulo `modulus` of int64 arrays of one shape (cells,), residues in [0, modulus).

    Holds one accumulator and one batch of at most about `batch_bytes` on the device. Raises Misuse for no arrays, other
    shapes or dtypes, a residue out of range, or a modulus outside [2, 2^62).
    """
    import torch

    if not 2 <= modulus < MODULUS_LIMIT:
        raise Misuse(f"modulus: expected at least 2 and below 2^62, found {modulus}")
    headroom = (2**63 - 1) // (modulus - 1)
    total: torch.Tensor | None = None
    for batch in _batches(arrays, headroom - 1, batch_bytes):
        stacked = torch.from_numpy(np.stack(batch)).to(device)
        _check_range(stacked, modulus)
        partial = stacked.sum(dim=0)
        if total is not None:
            if total.shape != partial.shape:
                raise Misuse(f"arrays: expected {tuple(total.shape)} cells throughout, found {tuple(partial.shape)}")
            partial += total
        total = partial.remainder_(modulus)
    if total is None:
        raise Misuse("arrays: expected at least one ciphertext to sum")
    result: Residues = total.cpu().numpy()
    return result


def _batches(arrays: Iterable[Residues], most: int, batch_bytes: int) -> Iterable[list[Residues]]:
    """Lists of at most `most` arrays of one shape: with the accumulator, most + 1 residues meet in one int64."""
    batch: list[Residues] = []
    for array in arrays:
        if array.dtype != np.int64 or array.ndim != 1:
            raise Misuse(f"arrays: expected one-dimensional int64, found {array.dtype} of shape {array.shape}")
        if batch and array.shape != batch[0].shape:
            raise Misuse(f"arrays: expected {batch[0].shape} cells throughout, found {array.shape}")
        batch.append(array)
        if len(batch) >= most or len(batch) * array.nbytes >= batch_bytes:
            yield batch
            batch = []
    if batch:
        yield batch


def _check_range(stacked: torch.Tensor, modulus: int) -> None:
    if stacked.numel() and (int(stacked.min()) < 0 or int(stacked.max()) >= modulus):
        raise Misuse(f"arrays: a residue is outside [0, {modulus})")
