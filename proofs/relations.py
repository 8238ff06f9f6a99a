"""What the sumcheck sums, and the linear relations it leaves (spec 5.7). Shared by prover and verifier.

| symbol | meaning |
|---|---|
| v, p | the table's multilinear extension, the pad: v'(x) = v(x) + p x_0 (1 - x_0) equals v on the cube |
| a | sum_j rho_j s_j(row) t_j(column) + theta [row = last data row] [column >= filled] eq(tau, column) |
| g | the mask g_0 + sum_i sum_(m >= 1) g_im x_i^m |
| r, w | the final point (rows first), w = v'(r) |

The sum over the cube of v'^2 + a v' + g is the claim; what is committed in A is (y, p, g_0, g_01, ..).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from proofs.curve import ORDER
from proofs.parameters import ArgumentParameters
from proofs.polynomials import dot, eq, eq_index, eq_prefix, eq_table
from proofs.transcript import RelationWeights


def pad_at(x: int) -> int:
    """x (1 - x): zero at both ends, so the pad changes nothing on the cube."""
    return x * (1 - x) % ORDER


def padding_columns(parameters: ArgumentParameters, weights: RelationWeights) -> list[int]:
    """The padding form of the last data row: theta eq(tau, c) for the C columns, zero where a coordinate stands."""
    filled = parameters.shape.filled_columns
    tail = eq_table(weights.padding_point)[filled:]
    return [0] * filled + [weights.padding * value % ORDER for value in tail]


def padding_at(parameters: ArgumentParameters, weights: RelationWeights, point: Sequence[int]) -> int:
    """The padding form at a point of `variables` coordinates, in time linear in them."""
    shape = parameters.shape
    rows, columns = point[: shape.row_variables], point[shape.row_variables :]
    filled = eq_prefix(weights.padding_point, columns, shape.filled_columns)
    rest = eq(weights.padding_point, columns) - filled
    return weights.padding * eq_index(rows, shape.data_rows - 1) * rest % ORDER


@dataclass(frozen=True)
class LinearForm:
    """Coefficients on the opening t of the row combination (C) and on the opening of A (auxiliary_length)."""

    table: list[int]
    auxiliary: list[int]

    def at(self, table: Sequence[int], auxiliary: Sequence[int]) -> int:
        """Value at a pair of vectors."""
        return (dot(self.table, table) + dot(self.auxiliary, auxiliary)) % ORDER


def linear_form(
    parameters: ArgumentParameters, weights: RelationWeights, point: Sequence[int], opening: tuple[int, int]
) -> LinearForm:
    """(L1) + opening[0] (L2) + opening[1] (L3), where (spec 5.7)

    (L1) sum of the mask over the cube - <rho, y>,   (L2) the mask at r,   (L3) <t, eq(r_columns)> + p r_0 (1 - r_0).
    """
    second, third = opening
    row_variables, half = parameters.shape.row_variables, pow(2, parameters.shape.variables - 1, ORDER)
    auxiliary = [-rho % ORDER for rho in weights.projections]
    auxiliary.append(third * pad_at(point[0]) % ORDER)
    auxiliary.append((2 * half + second) % ORDER)
    for r, degree in zip(point, parameters.round_degrees, strict=True):
        auxiliary += [(half + second * pow(r, power, ORDER)) % ORDER for power in range(1, degree + 1)]
    return LinearForm([third * value % ORDER for value in eq_table(point[row_variables:])], auxiliary)
