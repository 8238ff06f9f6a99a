"""What the sumcheck sums, and the linear relations it leaves (spec 5.7). Shared by prover and verifier.

| symbol | meaning |
|---|---|
| v_b, p_b | a table's multilinear extension, its pad: v'_b(x) = v_b(x) + p_b x_0 (1 - x_0) equals v_b on the cube |
| Q_b | 1 for update and private row, plus eq(tau_rows, row) W(column) for a table with a class of weights |
| a_b | sum_j rho_j s_j(row) t_j(column) + the forms of padding, range and encryption |
| g | the mask g_0 + sum_i sum_(m >= 1) g_im x_i^m |
| r, w_b | the final point (rows first), w_b = v'_b(r) |

The sum over the cube of sum_b (Q_b v'_b^2 + a_b v'_b) + g is the claim; committed in A is (y, y', p, g_0, g_01, ..).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from proofs.curve import ORDER
from proofs.encryption import KEY_DIGIT_BITS, KEY_DIGITS, EncryptionParameters, EncryptionStatement
from proofs.engine import Engine, Table
from proofs.layout import ERROR, ERROR_SLACK, KEY, KEY_SLACK, RANGE, RANGE_TABLES, UPDATE
from proofs.noise import SQUARES, NoiseGroups
from proofs.parameters import ArgumentParameters
from proofs.polynomials import dot, eq, eq_index, eq_prefix, eq_prefix_sum, eq_table, product, scale
from proofs.transcript import CellWeights, OpeningWeights, RelationWeights


def pad_at(x: int) -> int:
    """x (1 - x): zero at both ends, so a pad changes nothing on the cube."""
    return x * (1 - x) % ORDER


@dataclass(frozen=True)
class ColumnWeights:
    """W(c) = factor eq(point, bits of c behind the `free` lowest), and zero from column 2^(free + len(point)) on."""

    factor: int
    free: int
    point: Sequence[int]

    def table(self) -> list[int]:
        """W(c) for every column up to the first that is always zero."""
        return [value for value in scale(eq_table(self.point), self.factor) for _ in range(1 << self.free)]

    def total(self) -> int:
        """Sum over all columns."""
        return (self.factor << self.free) % ORDER

    def at(self, column_point: Sequence[int]) -> int:
        """The multilinear extension at a point of all column variables."""
        end = self.free + len(self.point)
        absent = product(1 - coordinate for coordinate in column_point[end:])
        return self.factor * eq(self.point, column_point[self.free : end]) * absent % ORDER


def column_weights(parameters: ArgumentParameters, weights: RelationWeights) -> dict[str, ColumnWeights]:
    """The weights of every class in force, in the layout's order."""
    layout, found = parameters.layout, {}
    if parameters.segments:
        found[RANGE] = ColumnWeights(weights.range, 0, weights.column_point)
    if parameters.encryption is not None:
        found[ERROR], found[ERROR_SLACK] = _noise_weights(layout.error_groups, weights.error, weights)
        found[KEY], found[KEY_SLACK] = _noise_weights(layout.key_groups, weights.key, weights)
    return found


def _noise_weights(groups: NoiseGroups, theta: int, weights: RelationWeights) -> tuple[ColumnWeights, ColumnWeights]:
    """Of the noise and of its slack: in every group the same, at whichever row the slack stands."""
    free = groups.size.bit_length() - 1
    group_point = weights.column_point[free : free + groups.per_row.bit_length() - 1]
    row_point = weights.row_point[groups.kept_variables : groups.row_variables]
    noise = ColumnWeights(theta * _absent_rows(groups, weights) % ORDER, free, group_point)
    return noise, ColumnWeights(theta, SQUARES.bit_length() - 1, [*group_point, *row_point])


def _absent_rows(groups: NoiseGroups, weights: RelationWeights) -> int:
    """eq(tau, zero) over the row variables that slack tables turn into columns."""
    return product(1 - tau for tau in weights.row_point[groups.kept_variables : groups.row_variables])


def public_sum(parameters: ArgumentParameters, weights: RelationWeights) -> int:
    """What the squares of an honest prover's tables, weighted, sum to: B^2 and the bounds of range and noise."""
    total = parameters.norm_bound**2
    point = [*weights.column_point, *weights.row_point]
    for segment in parameters.segments:
        cells = eq_prefix_sum(point, segment.stop) - eq_prefix_sum(point, segment.start)
        total += weights.range * segment.bound**2 * cells
    if parameters.encryption is not None:
        layout, bound = parameters.layout, parameters.encryption.noise_bound
        for groups, theta in ((layout.error_groups, weights.error), (layout.key_groups, weights.key)):
            rows = eq_prefix_sum(weights.row_point, groups.rows)
            total += theta * bound**2 * _absent_rows(groups, weights) * rows
    return total % ORDER


@dataclass(frozen=True)
class EncryptionRelation:
    """The S combinations of y = a k + T e + u modulo q: the weights, and what makes forms on tables of them.

    cells: c, the weights of the cells. key: (S, N) in [0, q), the coefficients on the key.
    """

    lattice: EncryptionParameters
    cells: CellWeights
    key: Table


def combine(
    engine: Engine, parameters: ArgumentParameters, cells: CellWeights, statement: EncryptionStatement
) -> EncryptionRelation | None:
    """The combinations with these weights; None without the encryption's proof."""
    lattice = parameters.encryption
    if lattice is None:
        return None
    key = engine.adjoint_combinations(statement.elements.coefficients, cells.rows, cells.columns, lattice.modulus)
    return EncryptionRelation(lattice, cells, key)


def combined_ciphertext(
    engine: Engine, parameters: ArgumentParameters, relation: EncryptionRelation, ciphertext: Table
) -> tuple[int, ...]:
    """Y: the S combinations of the ciphertext's residues with the relation's weights, in [0, q)."""
    shape, cells = parameters.shape, relation.cells
    table = ciphertext.reshape(shape.data_rows, shape.columns)
    return tuple(engine.residue_combinations(table, cells.rows, cells.columns, relation.lattice.modulus))


@dataclass(frozen=True, repr=False)
class RankOneForm:
    """left(row) right(column), on the tables at these positions, each with a factor. Absent rows and columns: zero."""

    left: Sequence[int]
    right: Sequence[int]
    factors: Mapping[int, int]


def padding_form(parameters: ArgumentParameters, weights: RelationWeights) -> RankOneForm:
    """theta_p [row = last data row] [column >= filled] eq(tau, column), on the update."""
    shape = parameters.shape
    tail = eq_table(weights.column_point)[shape.filled_columns :]
    right = [0] * shape.filled_columns + scale(tail, weights.padding)
    return RankOneForm([0] * (shape.data_rows - 1) + [1], right, {parameters.layout.index(UPDATE): 1})


def range_form(parameters: ArgumentParameters, weights: RelationWeights) -> RankOneForm:
    """theta_r eq(tau, (row, column)) on the data rows of the first range table: the a of u^2 + a^2 + a + b^2 + c^2."""
    rows = eq_table(weights.row_point)[: parameters.shape.data_rows]
    right = scale(eq_table(weights.column_point), weights.range)
    return RankOneForm(rows, right, {parameters.layout.index(RANGE_TABLES[0]): 1})


def cell_forms(
    parameters: ArgumentParameters, weights: RelationWeights, relation: EncryptionRelation
) -> list[RankOneForm]:
    """omega_s c_s on the update, and T times it on the errors."""
    layout, cells = parameters.layout, relation.cells
    factors = {layout.index(UPDATE): 1, layout.index(ERROR): relation.lattice.plaintext_scale}
    return [
        RankOneForm(scale(left.tolist(), omega), right.tolist(), factors)
        for omega, left, right in zip(weights.quotients, cells.rows, cells.columns, strict=True)
    ]


def key_form(weights: RelationWeights, relation: EncryptionRelation) -> list[int]:
    """Coefficients on the key's N cells: sum_s omega_s alpha_s[i] + zeta xi^(i div 10) 2^(24 (i mod 10))."""
    combined = [dot(weights.quotients, column) for column in zip(*relation.key.tolist(), strict=True)]
    form, base = [], weights.packing
    for start in range(0, len(combined), KEY_DIGITS):
        digits = combined[start : start + KEY_DIGITS]
        form += [(value + (base << KEY_DIGIT_BITS * i)) % ORDER for i, value in enumerate(digits)]
        base = base * weights.packing_base % ORDER
    return form


@dataclass(frozen=True)
class FinalPoint:
    """r, its row and column parts, and eq(part, index) for every row and column."""

    point: Sequence[int]
    row_point: Sequence[int]
    column_point: Sequence[int]
    rows: list[int]
    columns: list[int]

    @classmethod
    def of(cls, parameters: ArgumentParameters, point: Sequence[int]) -> FinalPoint:
        """Split after the row variables."""
        row_point = point[: parameters.layout.row_variables]
        column_point = point[parameters.layout.row_variables :]
        return cls(point, row_point, column_point, eq_table(row_point), eq_table(column_point))


def forms_at(
    engine: Engine,
    parameters: ArgumentParameters,
    weights: RelationWeights,
    relation: EncryptionRelation | None,
    final: FinalPoint,
    evaluations: Sequence[int],
) -> int:
    """sum_b w_b a_b(r) but for the projections: the forms above, at r."""
    layout = parameters.layout
    update = evaluations[layout.index(UPDATE)]
    total = update * _padding_at(parameters, weights, final)
    if parameters.segments:
        columns = eq(weights.column_point, final.column_point)
        rows = eq_prefix(weights.row_point, final.row_point, parameters.shape.data_rows)
        total += evaluations[layout.index(RANGE_TABLES[0])] * weights.range * rows * columns
    if relation is not None:
        message = update + relation.lattice.plaintext_scale * evaluations[layout.index(ERROR)]
        total += message * _cells_at(weights, relation.cells, final)
        total += evaluations[layout.index(KEY)] * _key_form_at(engine, parameters, weights, relation, final)
    return total % ORDER


def _padding_at(parameters: ArgumentParameters, weights: RelationWeights, final: FinalPoint) -> int:
    """`padding_form` at r, in time linear in the variables."""
    shape = parameters.shape
    filled = eq_prefix(weights.column_point, final.column_point, shape.filled_columns)
    rest = eq(weights.column_point, final.column_point) - filled
    return weights.padding * eq_index(final.row_point, shape.data_rows - 1) * rest % ORDER


def _cells_at(weights: RelationWeights, cells: CellWeights, final: FinalPoint) -> int:
    """sum_s omega_s c_s(r)."""
    rows = final.rows[: cells.rows.shape[1]]
    return sum(
        omega * dot(left.tolist(), rows) * dot(right.tolist(), final.columns)
        for omega, left, right in zip(weights.quotients, cells.rows, cells.columns, strict=True)
    )


def _key_form_at(
    engine: Engine,
    parameters: ArgumentParameters,
    weights: RelationWeights,
    relation: EncryptionRelation,
    final: FinalPoint,
) -> int:
    """`key_form` at r."""
    groups, base = parameters.layout.key_groups, weights.packing
    columns = final.columns[: groups.columns]
    cells = [row * column % ORDER for row in final.rows[: groups.rows] for column in columns]
    total = dot(weights.quotients, engine.weighted_rows(relation.key, cells))
    for start in range(0, len(cells), KEY_DIGITS):
        digits = enumerate(cells[start : start + KEY_DIGITS])
        total += base * sum(value << KEY_DIGIT_BITS * i for i, value in digits)
        base = base * weights.packing_base % ORDER
    return total


@dataclass(frozen=True)
class LinearForm:
    """Coefficients on the openings of the rows' combinations (C), of A (auxiliary_length), of E_0 (share_length)."""

    table: list[int]
    auxiliary: list[int]
    share: list[int]

    def at(
        self, table: Sequence[int], auxiliary: Sequence[int], update: Sequence[int] = (), share: Sequence[int] = ()
    ) -> int:
        """Value at openings; those of all rows and of the update's alone have the same coefficients."""
        total = dot(self.table, table) + dot(self.auxiliary, auxiliary)
        if update:
            total += dot(self.table, update) + dot(self.share, share[: len(self.share)])
        return total % ORDER


def linear_form(
    parameters: ArgumentParameters, weights: RelationWeights, final: FinalPoint, opening: OpeningWeights
) -> LinearForm:
    """(L1) + kappa_2 (L2) + kappa_3 (L3), where (spec 5.7)

    (L1) sum of the mask over the cube - <rho, y> - q <omega, y'> + zeta sum_s xi^s kappa_s,   (L2) the mask at r,
    (L3) <t, eq(r_columns)> + sum_b eta^b p_b r_0 (1 - r_0).
    """
    layout = parameters.layout
    half, pad = pow(2, layout.variables - 1, ORDER), opening.third * pad_at(final.point[0])
    auxiliary = [-rho % ORDER for rho in weights.projections]
    share: list[int] = []
    if parameters.encryption is not None:
        auxiliary += [-parameters.encryption.modulus * omega % ORDER for omega in weights.quotients]
        power = weights.packing
        for _ in range(parameters.encryption.key_scalars):
            share.append(power)
            power = power * weights.packing_base % ORDER
    auxiliary += [pad * pow(opening.tables, index, ORDER) % ORDER for index in range(len(layout.tables))]
    auxiliary.append((2 * half + opening.second) % ORDER)
    for r, degree in zip(final.point, parameters.round_degrees, strict=True):
        auxiliary += [(half + opening.second * pow(r, power, ORDER)) % ORDER for power in range(1, degree + 1)]
    return LinearForm(scale(final.columns, opening.third), auxiliary, share)
