"""What the client commits to: its update, and four squares that fill its norm up to the bound (spec 5.1)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from proofs.engine import Engine, Table
from proofs.errors import Misuse
from proofs.parameters import ArgumentParameters
from proofs.randomness import Randomness, uniform_scalars
from proofs.squares import four_squares

_LIMB_BITS = 20
_CHUNK = 2**20  # products of two limbs are at most 2^40 in magnitude, so sums of this many at most 2^60


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class CommittedUpdate:
    """A table within the bound with its commitments; secret but for `commitments`.

    table: int64 (R, C), the update row after row, then the private row with four squares in its first cells.
    blindings: R scalars. commitments: R * 33 bytes, D_r = sum_c table[r, c] G_c + blindings[r] H.
    """

    table: Table
    blindings: tuple[int, ...]
    commitments: bytes


def norm_squared(vector: NDArray[np.int64], bound: int) -> int:
    """Exact sum of squares of the int64 vector; raises Misuse if an entry is beyond `bound` <= 2^40 in magnitude."""
    largest = max(int(vector.max(initial=0)), -int(vector.min(initial=0)))
    if largest > bound:
        raise Misuse(f"update: expected every |coordinate| <= B = {bound}, found {largest}")
    total = 0
    for start in range(0, vector.size, _CHUNK):
        chunk = vector[start : start + _CHUNK]
        high = chunk >> _LIMB_BITS
        low = chunk - (high << _LIMB_BITS)
        pairs = ((high, high, 2 * _LIMB_BITS), (high, low, _LIMB_BITS + 1), (low, low, 0))
        total += sum(int((x * y).sum()) << shift for x, y, shift in pairs)
    return total


def witness_table(parameters: ArgumentParameters, update: NDArray[np.int64], rand: Randomness) -> Table:
    """int64 (R, C) whose squares sum to B^2 exactly; raises Misuse for a wrong shape, dtype, or a norm above B."""
    shape = parameters.shape
    if update.shape != (shape.dimension,) or update.dtype != np.int64:
        raise Misuse(f"update: expected int64 ({shape.dimension},), found {update.dtype} {update.shape}")
    slack = parameters.norm_bound**2 - norm_squared(update, parameters.norm_bound)
    if slack < 0:
        found = parameters.norm_bound**2 - slack
        raise Misuse(f"update: expected squared norm <= B^2 = {parameters.norm_bound**2}, found {found}")
    table = np.zeros((shape.rows, shape.columns), dtype=np.int64)
    table.reshape(-1)[: shape.dimension] = update
    table[shape.data_rows, :4] = four_squares(slack, rand)
    return table


def commit_table(engine: Engine, table: Table, rand: Randomness) -> CommittedUpdate:
    """Row commitments with fresh uniform blindings."""
    blindings = uniform_scalars(rand, len(table))
    return CommittedUpdate(table, tuple(blindings), engine.commit_rows(table, blindings))


def commit_update(
    engine: Engine, parameters: ArgumentParameters, update: NDArray[np.int64], rand: Randomness
) -> CommittedUpdate:
    """Commit to an update of norm at most B: int64 (d,), fixed-point units.

    Raises Misuse if the exact norm exceeds the bound, or for a wrong shape or dtype. The blindings are as secret as
    the update, and must be fresh for every submission.
    """
    return commit_table(engine, witness_table(parameters, update, rand), rand)
