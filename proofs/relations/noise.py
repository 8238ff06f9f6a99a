"""In each group of errors and of the key the squares of cells and slack sum to E^2 (spec 5.1, claim 5)."""

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
NOISE_TABLES = (ERROR, ERROR_SLACK, KEY, KEY_SLACK)  # each is a class of weights of its own
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
    def tables(self) -> tuple[OwnTable, ...]:
        """Errors, their slack, the key, its slack."""
        sizes = []
        for groups in (self.errors, self.key):
            sizes += [(groups.rows, groups.columns), (groups.slack_rows, groups.slack_columns)]
        return tuple(OwnTable(name, *size) for name, size in zip(NOISE_TABLES, sizes, strict=True))

    @property
    def classes(self) -> Mapping[str, str]:
        """Each table is a class of its own."""
        return {name: name for name in NOISE_TABLES}

    @property
    def numbers(self) -> tuple[int, ...]:
        """N, q, T, E and the size of a group."""
        lattice = self.lattice
        return lattice.degree, lattice.modulus, lattice.plaintext_scale, lattice.noise_bound, GROUP_SIZE

    @property
    def squares_bound(self) -> int:
        """E^2 for each group of errors and of the key."""
        return (self.errors.count + self.key.count) * self.lattice.noise_bound**2

    @property
    def scalars(self) -> int:
        """theta_e and theta_k."""
        return 2

    def wrap_bounds(self, entry: int) -> Sequence[WrapBound]:
        """The largest group, cells and slack."""
        cells = max(groups.size + SQUARES for groups in (self.errors, self.key))
        return [WrapBound("noise", 2 * cells * entry**2)]

    def terms(self, weights: Weights, sent: Sent) -> Terms:
        """Squares of cells and slack weigh theta_e, of the key theta_k, with one factor for each group."""
        squares, total, names = dict[str, ColumnWeights](), 0, iter(NOISE_TABLES)
        for groups, theta in zip((self.errors, self.key), weights.scalars, strict=True):
            noise, slack = _weights(groups, theta, weights)
            squares[next(names)], squares[next(names)] = noise, slack
            rows = eq_prefix_sum(weights.row_point, groups.rows)
            total += theta * self.lattice.noise_bound**2 * _absent_rows(groups, weights) * rows
        return Terms(total=total, squares=squares)


def _weights(groups: NoiseGroups, theta: int, weights: Weights) -> tuple[ColumnWeights, ColumnWeights]:
    """Of the noise and of its slack: in every group the same, at whichever row the slack stands."""
    free = groups.size.bit_length() - 1
    group_point = weights.column_point[free : free + groups.per_row.bit_length() - 1]
    row_point = weights.row_point[groups.kept_variables : groups.row_variables]
    noise = ColumnWeights(theta * _absent_rows(groups, weights) % ORDER, free, group_point)
    return noise, ColumnWeights(theta, SQUARES.bit_length() - 1, [*group_point, *row_point])


def _absent_rows(groups: NoiseGroups, weights: Weights) -> int:
    """eq(tau, zero) over the row variables that slack tables turn into columns."""
    return product(1 - tau for tau in weights.row_point[groups.kept_variables : groups.row_variables])
