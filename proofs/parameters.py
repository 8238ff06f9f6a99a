"""Parameters of the short-vector argument and the inequalities they must satisfy (spec 5.3).

| symbol | name | meaning |
|---|---|---|
| d, R, C | shape | coordinates, rows with the private row, columns |
| B | norm_bound | exact L2 bound, fixed-point units |
| k | projections | random projections |
| P | projection_bound | floor(sqrt(B^2 R C)) + 1 > |s^T V t| for every table within the bound |
| M | mask_bound | 2^20 k P: masks are uniform in [-M, M] |
| Z | response_bound | M - P: a masked projection beyond it is not sent |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from proofs.curve import ORDER, POINT_SIZE, SCALAR_SIZE
from proofs.errors import Misuse
from proofs.shape import TableShape

MAXIMUM_NORM_BOUND = 2**40
MAXIMUM_PROJECTIONS = 4096
RESTART_BITS = 20  # an honest prover restarts with probability below 2^-20
FIRST_ROUND_DEGREE = 4  # the pad makes the first round quartic
LATER_ROUND_DEGREE = 2


@dataclass(frozen=True)
class ArgumentParameters:
    """What prover and verifier agree on beforehand; never read from a proof.

    dimension: d, 1 to 2^32. norm_bound: B, 1 to 2^40. projections: k, 360 to 4096, so that (3/4)^k <= 2^-149.
    Raises Misuse that names the inequality and both of its sides.
    """

    dimension: int
    norm_bound: int
    projections: int = 360

    minimum_projections: ClassVar[int] = 360

    def __post_init__(self) -> None:
        shape = self.shape
        if not 1 <= self.norm_bound <= MAXIMUM_NORM_BOUND:
            raise Misuse(f"norm bound: expected 1 <= B <= {MAXIMUM_NORM_BOUND}, found {self.norm_bound}")
        if not self.minimum_projections <= self.projections <= MAXIMUM_PROJECTIONS:
            allowed = f"{self.minimum_projections} <= k <= {MAXIMUM_PROJECTIONS}"
            raise Misuse(f"projections: expected {allowed}, found {self.projections}")
        largest = shape.cells * (4 * self.response_bound) ** 2
        if 2 * largest >= ORDER:
            raise Misuse(f"no wrap-around: expected 2 R C (4 Z)^2 < ord = {ORDER}, found {2 * largest}")

    @cached_property
    def shape(self) -> TableShape:
        return TableShape(self.dimension)

    @cached_property
    def projection_bound(self) -> int:
        """P: bounds |s^T V t| for signs s, t and every table V of norm B, by Cauchy-Schwarz."""
        return math.isqrt(self.norm_bound**2 * self.shape.cells) + 1

    @cached_property
    def mask_bound(self) -> int:
        """M: the masks of the projections are uniform in [-M, M]."""
        return (self.projections << RESTART_BITS) * self.projection_bound

    @cached_property
    def response_bound(self) -> int:
        """Z: the largest |z_j| that is sent and accepted."""
        return self.mask_bound - self.projection_bound

    @cached_property
    def response_width(self) -> int:
        """Bytes of one z_j, two's complement."""
        return self.response_bound.bit_length() // 8 + 1

    @cached_property
    def round_degrees(self) -> tuple[int, ...]:
        """Degree of each round's polynomial."""
        return (FIRST_ROUND_DEGREE,) + (LATER_ROUND_DEGREE,) * (self.shape.variables - 1)

    @cached_property
    def auxiliary_length(self) -> int:
        """Scalars under the auxiliary commitment: k masks, the pad, the constant and the coefficients of the mask."""
        return self.projections + 2 + sum(self.round_degrees)

    @cached_property
    def commitments_size(self) -> int:
        """Bytes of the row commitments."""
        return self.shape.rows * POINT_SIZE

    @cached_property
    def proof_size(self) -> int:
        """Bytes of a proof: every proof under these parameters has this size."""
        rounds = sum(self.round_degrees)
        scalars = 1 + rounds + 1 + 1 + self.shape.columns + 1 + self.auxiliary_length + 1
        return 3 * POINT_SIZE + self.projections * self.response_width + scalars * SCALAR_SIZE
