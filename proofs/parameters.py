"""Parameters of the short-vector argument and the inequalities they must satisfy (spec 5.3).

| symbol | name | meaning |
|---|---|---|
| d, C | shape | coordinates, columns |
| B | norm_bound | exact L2 bound, fixed-point units |
| beta | coordinate_bound, groups | exact bounds on coordinates |
| N, q, T, E | encryption | ring, plaintext scale, bound on noise |
| k | projections | random projections |
| F^2 | squares_bound | bounds the sum of squares of all cells of an honest prover |
| P, M, Z | projection_bound, .. | of the projections: |s^T V t| < P, masks in [-M, M], Z = M - P |
| P', M', Z' | quotient_* | the same of the quotients of the encryption's combinations |
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import ClassVar

from proofs.curve import ORDER, POINT_SIZE, SCALAR_SIZE
from proofs.encryption import RESIDUE_SIZE, EncryptionParameters
from proofs.errors import Misuse
from proofs.layout import NOISE_TABLES, PRIVATE, RANGE_TABLES, UPDATE, Layout
from proofs.ranges import CoordinateGroup, coordinate_segments
from proofs.shape import TableShape

MAXIMUM_NORM_BOUND = 2**40
MAXIMUM_PROJECTIONS = 4096
RESTART_BITS = 20  # an honest prover restarts with probability below 2^-20 for its projections, and for its quotients
PAD_DEGREE = 2  # of the pad in the first variable
SUMMAND_DEGREE = 2
WEIGHTED_SUMMAND_DEGREE = 3


@dataclass(frozen=True)
class WrapBound:
    """A relation cannot wrap around the group order: left < ORDER must hold."""

    name: str
    left: int


@dataclass(frozen=True)
class ArgumentParameters:
    """What prover and verifier agree on beforehand; never read from a proof.

    dimension: d, 1 to 2^32. norm_bound: B, 1 to 2^40. projections: k, 360 to 4096, so that (3/4)^k <= 2^-149.
    coordinate_bound: beta of the coordinates outside all `groups`, 0 to 2^20; None for no bounds on coordinates.
    encryption: None for no proof of encryption. Raises Misuse that names the inequality and both of its sides.
    """

    dimension: int
    norm_bound: int
    projections: int = 360
    coordinate_bound: int | None = None
    groups: tuple[CoordinateGroup, ...] = ()
    encryption: EncryptionParameters | None = None

    minimum_projections: ClassVar[int] = 360

    def __post_init__(self) -> None:
        if not 1 <= self.norm_bound <= MAXIMUM_NORM_BOUND:
            raise Misuse(f"norm bound: expected 1 <= B <= {MAXIMUM_NORM_BOUND}, found {self.norm_bound}")
        if not self.minimum_projections <= self.projections <= MAXIMUM_PROJECTIONS:
            allowed = f"{self.minimum_projections} <= k <= {MAXIMUM_PROJECTIONS}"
            raise Misuse(f"projections: expected {allowed}, found {self.projections}")
        if self.coordinate_bound is None and self.groups:
            raise Misuse("groups: expected a coordinate bound for the coordinates outside them, found none")
        for bound in self.wrap_bounds:
            if bound.left >= ORDER:
                raise Misuse(f"no wrap-around ({bound.name}): expected less than ord = {ORDER}, found {bound.left}")

    @cached_property
    def shape(self) -> TableShape:
        return TableShape(self.dimension)

    @cached_property
    def layout(self) -> Layout:
        return Layout(self.shape, self.coordinate_bound is not None, self.encryption)

    @cached_property
    def segments(self) -> tuple[CoordinateGroup, ...]:
        """Every coordinate's bound: slices that cover the vector; none without a coordinate bound."""
        if self.coordinate_bound is None:
            return ()
        return coordinate_segments(self.dimension, self.coordinate_bound, self.groups)

    @cached_property
    def squares_bound(self) -> int:
        """F^2: the squares of the update and its slack sum to B^2, those of the range tables to at most beta^2 a
        coordinate, those of a noise group and its slack to E^2."""
        total = self.norm_bound**2
        total += sum((segment.stop - segment.start) * segment.bound**2 for segment in self.segments)
        if self.encryption is not None:
            groups = self.layout.error_groups.count + self.layout.key_groups.count
            total += groups * self.encryption.noise_bound**2
        return total

    @cached_property
    def projection_bound(self) -> int:
        """P: bounds |s^T V t| for signs s, t and all tables of an honest prover, by Cauchy-Schwarz."""
        cells = self.layout.total_rows * self.shape.columns
        return math.isqrt(self.squares_bound * cells) + 1

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
        return _signed_width(self.response_bound)

    @cached_property
    def quotients(self) -> int:
        """S: combinations of the encryption's equations, 0 without its proof."""
        return 0 if self.encryption is None else self.encryption.combinations

    @cached_property
    def combination_bound(self) -> int:
        """L: bounds |combination of u + T e + a k - y| for entries within their exact bounds."""
        lattice = self.encryption
        if lattice is None:
            return 0
        cells = self.shape.data_cells << (2 * lattice.weight_bits)
        messages = cells * (lattice.plaintext_scale * lattice.noise_bound + self.norm_bound)
        return messages + (lattice.degree * lattice.noise_bound + 1) * lattice.modulus

    @cached_property
    def quotient_mask_bound(self) -> int:
        """M': the masks of the quotients are uniform in [-M', M']; P' = floor(L / q) + 1 bounds an honest quotient."""
        return 0 if self.encryption is None else (self.quotients << RESTART_BITS) * self._honest_quotient

    @cached_property
    def quotient_bound(self) -> int:
        """Z': the largest masked quotient that is sent and accepted."""
        return 0 if self.encryption is None else self.quotient_mask_bound - self._honest_quotient

    @cached_property
    def _honest_quotient(self) -> int:
        return self.combination_bound // self.encryption.modulus + 1 if self.encryption is not None else 0

    @cached_property
    def quotient_width(self) -> int:
        """Bytes of one masked quotient, two's complement."""
        return _signed_width(self.quotient_bound)

    @cached_property
    def wrap_bounds(self) -> tuple[WrapBound, ...]:
        """What must stay below ORDER (spec 5.3): entries are within 4 Z by the projections, then exactly bounded."""
        entry = 4 * self.response_bound
        bounds = [WrapBound("projections", 2 * entry), WrapBound("norm", 2 * self.shape.cells * entry**2)]
        if self.segments:
            largest = max(segment.bound for segment in self.segments)
            bounds.append(WrapBound("range", 2 * (4 * entry**2 + entry + largest**2)))
        if self.encryption is not None:
            cells = max(groups.size + 4 for groups in (self.layout.error_groups, self.layout.key_groups))
            bounds.append(WrapBound("noise", 2 * cells * entry**2))
            quotients = self.encryption.modulus * self.quotient_bound
            bounds.append(WrapBound("encryption", 2 * (self.combination_bound + quotients)))
        return tuple(bounds)

    @cached_property
    def round_degrees(self) -> tuple[int, ...]:
        """Degree of each round's polynomial: with weighted squares one more; the pad adds two in the first round."""
        later = WEIGHTED_SUMMAND_DEGREE if self.layout.classes else SUMMAND_DEGREE
        return (later + PAD_DEGREE,) + (later,) * (self.layout.variables - 1)

    @cached_property
    def auxiliary_length(self) -> int:
        """Scalars under A: masks of projections and quotients, pads, constant and coefficients of the mask."""
        return self.projections + self.quotients + len(self.layout.tables) + 1 + sum(self.round_degrees)

    @cached_property
    def share_length(self) -> int:
        """Scalars under E_0: the packed key and the blindings of the data rows; 0 without the encryption's proof."""
        return 0 if self.encryption is None else self.encryption.key_scalars + self.shape.data_rows

    @cached_property
    def commitments_size(self) -> int:
        """Bytes of the row commitments of update and private row."""
        return self._points_of(UPDATE, PRIVATE)

    @cached_property
    def range_commitments_size(self) -> int:
        """Bytes of the row commitments of the range tables."""
        return self._points_of(*RANGE_TABLES)

    @cached_property
    def encryption_commitments_size(self) -> int:
        """Bytes of the row commitments of the noise tables."""
        return self._points_of(*NOISE_TABLES)

    def _points_of(self, *names: str) -> int:
        return POINT_SIZE * sum(table.rows for table in self.layout.tables if table.name in names)

    @cached_property
    def proof_size(self) -> int:
        """Bytes of a proof: every proof under these parameters has this size."""
        points, scalars = 3, 1 + sum(self.round_degrees) + len(self.layout.tables) + 1
        scalars += self.shape.columns + 1 + self.auxiliary_length + 1
        if self.encryption is not None:
            points, scalars = points + 2, scalars + self.shape.columns + self.share_length + 1
        integers = self.projections * self.response_width + self.quotients * (RESIDUE_SIZE + self.quotient_width)
        return points * POINT_SIZE + integers + scalars * SCALAR_SIZE


def _signed_width(bound: int) -> int:
    return bound.bit_length() // 8 + 1
