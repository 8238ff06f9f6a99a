"""The linear relations that the sumcheck leaves, as one form on what is opened (spec 5.7).

(L1) sum of the mask over the cube - <rho, y> + <masks, y'> + <shared, kappa>, (L2) the mask at r,
(L3) <t, eq(r_columns)> + sum_b eta^b p_b r_0 (1 - r_0), (L4) <rho, eq(r_rows)> minus the blinding of the update's rows,
joined as (L1) + kappa_2 (L2) + kappa_3 (L3) + kappa_4 (L4).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proofs.curve import ORDER
from proofs.parameters import ArgumentParameters
from proofs.polynomials import dot, scale
from proofs.relations.terms import FinalPoint, JoinedTerms
from proofs.transcript import OpeningWeights


def pad_at(x: int) -> int:
    """x (1 - x): zero at both ends, so a pad changes nothing on the cube."""
    return x * (1 - x) % ORDER


@dataclass(frozen=True)
class LinearForm:
    """Coefficients on the openings of the rows' combinations (C), of A (auxiliary_length), of E_0 (share_length); on
    the blinding of the update's rows."""

    table: list[int]
    auxiliary: list[int]
    share: list[int]
    blinding: int

    @property
    def parts(self) -> tuple[list[int], ...]:
        """On each vector that is opened, in their order: rows, A; with the encryption's proof the update's rows, which
        have the coefficients of all others, and E_0."""
        return (self.table, self.auxiliary, *((self.table, self.share) if self.share else ()))

    def at(self, vectors: Sequence[Sequence[int]], blinding: int = 0) -> int:
        """Value at openings, in the order of `parts`, and at the blinding of the update's rows."""
        parts = zip(self.parts, vectors, strict=True)
        return (sum(dot(part, vector) for part, vector in parts) + self.blinding * blinding) % ORDER


def linear_form(
    parameters: ArgumentParameters,
    projections: Sequence[int],
    terms: JoinedTerms,
    final: FinalPoint,
    opening: OpeningWeights,
) -> LinearForm:
    """projections: rho. terms: of all relations."""
    layout = parameters.layout
    half, pad = pow(2, layout.variables - 1, ORDER), opening.third * pad_at(final.point[0])
    auxiliary = [*(-rho % ORDER for rho in projections), *terms.masks]
    auxiliary += [pad * pow(opening.tables, index, ORDER) % ORDER for index in range(len(layout.tables))]
    auxiliary.append((2 * half + opening.second) % ORDER)
    for r, degree in zip(final.point, parameters.round_degrees, strict=True):
        auxiliary += [(half + opening.second * pow(r, power, ORDER)) % ORDER for power in range(1, degree + 1)]
    share, fourth = list[int](), opening.fourth
    if layout.apart:
        rows = scale(final.rows[: parameters.shape.data_rows], fourth)
        share = [*terms.shared, *[0] * (parameters.share_length - len(terms.shared) - len(rows)), *rows]
    return LinearForm(scale(final.columns, opening.third), auxiliary, share, -fourth % ORDER)
