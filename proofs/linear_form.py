"""The linear relations that the sumcheck leaves, as one form on what is opened (spec 5.7).

(L1) sum of the mask over the cube - <rho, y> + <masks, y'> + <shared, kappa>, (L2) the mask at r,
(L3) <t, eq(r_columns)> + sum_b eta^b p_b r_0 (1 - r_0), joined as (L1) + kappa_2 (L2) + kappa_3 (L3).
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
    """Coefficients on the openings of the rows' combinations (C), of A (auxiliary_length), of the first of E_0."""

    table: list[int]
    auxiliary: list[int]
    share: Sequence[int]

    def at(
        self, table: Sequence[int], auxiliary: Sequence[int], update: Sequence[int] = (), share: Sequence[int] = ()
    ) -> int:
        """Value at openings; those of all rows and of the update's alone have the same coefficients."""
        total = dot(self.table, table) + dot(self.auxiliary, auxiliary)
        total += dot(self.table[: len(update)], update) + dot(self.share, share[: len(self.share)])
        return total % ORDER


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
    return LinearForm(scale(final.columns, opening.third), auxiliary, terms.shared)
