"""Tables of the negacyclic number-theoretic transform modulo X^n + 1 and q (spec 6.3).

Evaluations never leave this package: the protocol speaks of coefficients only, so the choice of root is free.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from proofs.arrays import Words
from proofs.machine.workers import map_chunks


@dataclass(frozen=True, eq=False)
class TransformTables:
    """Powers of psi and of its inverse in bit-reversed order, uint64 (n,), and 1/n, (2,), with Shoup companions."""

    roots: Words
    companions: Words
    inverse_roots: Words
    inverse_companions: Words
    scale: Words


@cache
def tables(degree: int, modulus: int) -> TransformTables:
    """The tables for a ring of `degree` n (a power of two) and a prime `modulus` = 1 mod 2n below 2^62."""
    psi = _primitive_root(degree, modulus)
    roots = _bit_reversed_powers(psi, degree, modulus)
    inverse_roots = _bit_reversed_powers(pow(psi, -1, modulus), degree, modulus)
    scale = pow(degree, -1, modulus)
    return TransformTables(
        _words(roots),
        companions(roots, modulus),
        _words(inverse_roots),
        companions(inverse_roots, modulus),
        _words([scale, (scale << 64) // modulus]),
    )


def companions(values: list[int], modulus: int) -> Words:
    """floor(w 2^64 / q) for every w in [0, q)."""
    return _words([(value << 64) // modulus for value in values])


def transform(rows: Words, modulus: int) -> Words:
    """Evaluations of every row of `rows` (count, n), entries in [0, q); the argument is overwritten and returned."""
    from protocols.lattice.kernels import transform_rows

    table = tables(rows.shape[1], modulus)

    def run(start: int, stop: int) -> None:
        transform_rows(rows[start:stop], table.roots, table.companions, np.uint64(modulus))

    map_chunks(run, len(rows))
    return rows


def multiply(public: Words, element: NDArray[np.int64], modulus: int) -> Words:
    """Every transformed row of `public` (count, n) times one ring element (n,), any integers: residues in [0, q)."""
    from protocols.lattice.kernels import multiply_rows

    table = tables(public.shape[1], modulus)
    factor = transform((element % modulus).astype(np.uint64).reshape(1, -1), modulus)[0]
    factor_companions = companions(factor.tolist(), modulus)
    out = np.empty_like(public)

    def run(start: int, stop: int) -> None:
        inverse = (table.inverse_roots, table.inverse_companions, table.scale, np.uint64(modulus))
        multiply_rows(public[start:stop], factor, factor_companions, *inverse, out[start:stop])

    map_chunks(run, len(public))
    return out


def _primitive_root(degree: int, modulus: int) -> int:
    """psi with psi^n = -1: then psi has order 2n."""
    candidates = (pow(base, (modulus - 1) // (2 * degree), modulus) for base in range(2, modulus))
    return next(root for root in candidates if pow(root, degree, modulus) == modulus - 1)


def _bit_reversed_powers(root: int, degree: int, modulus: int) -> list[int]:
    bits = degree.bit_length() - 1
    powers = [1]
    for _ in range(degree - 1):
        powers.append(powers[-1] * root % modulus)
    return [powers[int(format(i, f"0{bits}b")[::-1], 2)] for i in range(degree)]


def _words(values: list[int]) -> Words:
    return np.array(values, dtype=np.uint64)
