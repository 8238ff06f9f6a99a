"""The fast engine: numba kernels over four-word integers, driven by a thread pool (spec 5.2).

    field        arithmetic modulo FIELD, for kernels
    points       batched complete affine addition, and what is built on it: kernels
    jacobian     Horner's rule on single points: a kernel
    scalars      sums and foldings modulo ORDER: kernels
    differences  what a round of the sumcheck sums over pairs of rows: kernels
    weighted     weighted sums of rows, and of signs: kernels
    residues     combinations modulo a word-sized q: kernels, and what drives them
    words        Python integers and bytes to arrays of words and back
    tables       multiples of the generators
    multiplication   multi-scalar multiplication and row commitments
    exact        products of integers by signs: a kernel, and what drives it
    jobs         work over rows of many tables, shared by the workers
    blocks       one table through the row rounds
    sumcheck     projections and the row rounds
    engine       NativeEngine

Importing this package compiles nothing and does not import numba.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from proofs.native.engine import NativeEngine

__all__ = ["NativeEngine"]


def __getattr__(name: str) -> object:
    if name == "NativeEngine":
        from proofs.native.engine import NativeEngine

        return NativeEngine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
