"""Noise for differential privacy: the bounds that are proved of it, and its public signs (spec 5.1, 12.1).

A client commits to noise n, only then learns signs s, and encrypts m = u + s o n, o cell by cell. So what it adds is
bounded, and hardly in a direction of its choice.
"""

from __future__ import annotations

from dataclasses import dataclass

from proofs.challenger import Challenger
from proofs.curve import POINT_SIZE
from proofs.domains import NOISE_SIGNS
from proofs.engine import Signs, Table
from proofs.errors import Misuse
from proofs.shape import TableShape

MAXIMUM_GROUP_BOUND = 2**28
MAXIMUM_MESSAGE = 2**40


@dataclass(frozen=True)
class NoiseBounds:
    """What is proved of the noise n, one integer for each cell of the data rows, padding included.

    group: E_n, 1 to 2^28: the root of the sum of squares in every group of 64 cells, or as many as a row has. floor,
    ceiling: L and U, 0 <= L <= U, on the sum of all squares. Raises Misuse outside these.
    """

    group: int
    floor: int
    ceiling: int

    def __post_init__(self) -> None:
        if not 1 <= self.group <= MAXIMUM_GROUP_BOUND:
            raise Misuse(f"noise: expected 1 <= E_n <= {MAXIMUM_GROUP_BOUND}, found {self.group}")
        if not 0 <= self.floor <= self.ceiling:
            raise Misuse(f"noise: expected 0 <= L <= U, found L = {self.floor} and U = {self.ceiling}")


@dataclass(frozen=True, eq=False)
class NoiseSigns:
    """Public: the signs of the cells, int8 (data_rows, C) with entries -1 and 1, and what the argument's challenges
    depend on first, 64 bytes."""

    table: Signs
    state: bytes

    def times(self, noise: Table) -> Table:
        """s o n for noise (data_rows, C)."""
        product: Table = self.table * noise
        return product


def noise_signs(shape: TableShape, sign_context: bytes, commitments: bytes) -> NoiseSigns:
    """A function of what is public before the noise is drawn, and of the commitments to its rows.

    commitments: of the relation's tables, those of the noise first, whatever follows. Total on bytes of any length.
    """
    challenger = Challenger(NOISE_SIGNS)
    challenger.absorb("sign-context", sign_context)
    challenger.absorb("noise-commitments", commitments[: POINT_SIZE * shape.data_rows])
    bits = challenger.bits("noise-signs", shape.data_rows, shape.columns)
    return NoiseSigns(1 - 2 * bits, challenger.state)
