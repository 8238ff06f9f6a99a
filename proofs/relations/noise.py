"""In each group of errors and of the key the squares of cells and slack sum to E^2 (spec 5.1, claim 5).

Where noise for privacy takes the place of the errors, T = 1 and only the key is left here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proofs.curve import ORDER
from proofs.encryption import GROUP_SIZE, EncryptionParameters
from proofs.noise import SQUARES, NoiseGroups
from proofs.polynomials import eq_prefix_sum, product
from proofs.relations.relation import DirectRelation, OwnTable, Sent, Weights, WrapBound
from proofs.relations.terms import ColumnWeights, Terms
from proofs.shape import TableShape

ERROR, ERROR_SLACK, KEY, KEY_SLACK = "error", "error-slack", "key", "key-slack"
NOISE_COMMITMENTS = "encryption-commitments"


def key_groups(shape: TableShape, lattice: EncryptionParameters) -> NoiseGroups:
    """The key's N coefficients, row after row of min(C, N) columns."""
    columns = min(shape.columns, lattice.degree)
    return NoiseGroups(lattice.degree // columns, columns)


@dataclass(frozen=True)
class ShortNoise(DirectRelation):
    """lattice: N, q, T and E."""

    shape: TableShape
    lattice: EncryptionParameters

    name = "noise"
    commitments = NOISE_COMMITMENTS
    label = "encryption-weights"

    @property
    def errors(self) -> NoiseGroups:
        """Errors have the cells of the data rows, padding included: the ciphertext covers them."""
        return NoiseGroups(self.shape.data_rows, self.shape.columns)

    @property
    def key(self) -> NoiseGroups:
        """Of the key."""
        return key_groups(self.shape, self.lattice)

    @property
    def parts(self) -> tuple[tuple[str, str, NoiseGroups], ...]:
        """Names of a table and of its slack, and its groups: of the errors, where there are some, and of the key."""
        key = (KEY, KEY_SLACK, self.key)
        return ((ERROR, ERROR_SLACK, self.errors), key) if self.lattice.has_errors else (key,)

    @property
    def tables(self) -> tuple[OwnTable, ...]:
        """Errors, their slack, the key, its slack."""
        found = []
        for name, slack, groups in self.parts:
            found.append(OwnTable(name, groups.rows, groups.columns))
            found.append(OwnTable(slack, groups.slack_rows, groups.slack_columns))
        return tuple(found)

    @property
    def classes(self) -> Mapping[str, str]:
        """Each table is a class of its own."""
        return {table.name: table.name for table in self.tables}

    @property
    def numbers(self) -> tuple[int, ...]:
        """N, q, T, E and the size of a group."""
        lattice = self.lattice
        return lattice.degree, lattice.modulus, lattice.plaintext_scale, lattice.noise_bound, GROUP_SIZE

    @property
    def squares_bound(self) -> int:
        """E^2 for each group of errors and of the key."""
        return sum(groups.count for _, _, groups in self.parts) * self.lattice.noise_bound**2

    @property
    def scalars(self) -> int:
        """theta_e and theta_k, or theta_k alone."""
        return len(self.parts)

    def wrap_bounds(self, entry: int) -> Sequence[WrapBound]:
        """The largest group, cells and slack."""
        cells = max(groups.size + SQUARES for _, _, groups in self.parts)
        return [WrapBound("noise", 2 * cells * entry**2)]

    def terms(self, weights: Weights, sent: Sent) -> Terms:
        """Squares of cells and slack weigh theta_e, of the key theta_k, with one factor for each group."""
        squares, total = dict[str, ColumnWeights](), 0
        for (name, slack, groups), theta in zip(self.parts, weights.scalars, strict=True):
            squares[name], squares[slack] = group_weights(groups, theta, weights)
            total += group_total(groups, theta, weights, self.lattice.noise_bound)
        return Terms(total=total, squares=squares)


def group_weights(groups: NoiseGroups, theta: int, weights: Weights) -> tuple[ColumnWeights, ColumnWeights]:
    """Of the noise and of its slack: in every group the same, at whichever row the slack stands."""
    free = groups.size.bit_length() - 1
    group_point = weights.column_point[free : free + groups.per_row.bit_length() - 1]
    row_point = weights.row_point[groups.kept_variables : groups.row_variables]
    noise = ColumnWeights(theta * _absent_rows(groups, weights) % ORDER, free, group_point)
    return noise, ColumnWeights(theta, SQUARES.bit_length() - 1, [*group_point, *row_point])


def group_total(groups: NoiseGroups, theta: int, weights: Weights, bound: int) -> int:
    """What both sum to with these weights, where every group sums to bound^2."""
    rows = eq_prefix_sum(weights.row_point, groups.rows)
    return theta * bound**2 * _absent_rows(groups, weights) * rows


def _absent_rows(groups: NoiseGroups, weights: Weights) -> int:
    """eq(tau, zero) over the row variables that slack tables turn into columns."""
    return product(1 - tau for tau in weights.row_point[groups.kept_variables : groups.row_variables])
