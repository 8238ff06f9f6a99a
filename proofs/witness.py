"""What the client commits to: its update, its noise, and the squares that fill sums up to their bounds (spec 5.9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import singledispatch
from io import BytesIO

import numpy as np
from numpy.typing import NDArray

from proofs.curve import ORDER, POINT_SIZE
from proofs.decompositions import four_square_table, range_roots
from proofs.encryption import KEY_DIGIT_BITS, KEY_DIGITS
from proofs.engine import Engine, Table
from proofs.errors import Misuse
from proofs.layout import Layout, RowCommitments
from proofs.noise import NoiseGroups
from proofs.parameters import ArgumentParameters
from proofs.randomness import Randomness, uniform_scalars
from proofs.relations.client_weight import CELLS, USED, ClientWeight
from proofs.relations.noise import KEY, ShortNoise
from proofs.relations.norm import Norm
from proofs.relations.packing import Packing
from proofs.relations.range import Range
from proofs.relations.relation import Relation
from proofs.relations.scale import WEIGHT_CELL, Scale
from proofs.squares import four_squares

_LIMB_BITS = 20
_CHUNK = 2**20  # products of two limbs are at most 2^40 in magnitude, so sums of this many at most 2^60


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class Noise:
    """Key and errors of an encryption: int32 (N,) and int8 (data_cells,). Secret, for one round."""

    key: NDArray[np.int32]
    errors: NDArray[np.int8]


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class CommittedUpdate(RowCommitments):
    """The argument's tables with their commitments; secret but for `rows`.

    tables: int64, one for each of the layout's, in its order: the update, row after row, is the first.
    row_blindings: one scalar for every row of every table.
    """

    tables: tuple[Table, ...]
    row_blindings: tuple[int, ...]
    rows: Mapping[str, bytes]

    @property
    def message(self) -> NDArray[np.int64]:
        """The cells of the data rows, int64 (data_cells,): what is encrypted."""
        return self.tables[0].reshape(-1)

    @property
    def blindings(self) -> tuple[int, ...]:
        """Of the data rows: what is shared behind the packed key."""
        return self.row_blindings[: len(self.tables[0])]


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


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class WitnessInputs:
    """What the tables are filled from. noise: none without the encryption's proof."""

    update: NDArray[np.int64]
    noise: Noise | None
    rand: Randomness

    def weight(self, scale: Scale) -> int:
        """w, the last coordinate, where a weight is hidden there; else 1. Raises Misuse for one out of range."""
        if scale.largest_weight is None:
            return 1
        weight = int(self.update[-1])
        if not 1 <= weight <= scale.largest_weight:
            raise Misuse(f"weight: expected 1 <= w <= W = {scale.largest_weight}, found {weight}")
        return weight


@singledispatch
def filled_tables(relation: Relation, secrets: WitnessInputs) -> list[Table]:  # noqa: ARG001  of any relation
    """The relation's own tables in its order; of a relation without any, none.

    Raises Misuse for secrets of a wrong shape or dtype, or beyond the relation's bounds.
    """
    return []


@filled_tables.register
def _(relation: Norm, secrets: WitnessInputs) -> list[Table]:
    """int64 (data_rows, C) and (1, C) whose squares sum to B^2 exactly, or to (B^2 + 1) w^2."""
    shape, update = relation.shape, secrets.update
    if update.shape != (shape.dimension,) or update.dtype != np.int64:
        raise Misuse(f"update: expected int64 ({shape.dimension},), found {update.dtype} {update.shape}")
    weight = secrets.weight(relation.scale)
    bound = relation.norm_bound * weight
    slack = relation.total * weight**2 - norm_squared(update, bound)
    if slack < 0:
        raise Misuse(f"update: expected squared norm <= B^2 = {bound**2}, found {bound**2 - slack}")
    table = np.zeros((shape.data_rows, shape.columns), dtype=np.int64)
    table.reshape(-1)[: shape.dimension] = update
    private = np.zeros((1, shape.columns), dtype=np.int64)
    private[0, :4] = four_squares(slack, secrets.rand)
    return [table, private]


@filled_tables.register
def _(relation: Range, secrets: WitnessInputs) -> list[Table]:
    """a, b, c with u^2 + a^2 + a + b^2 + c^2 = beta^2 on every coordinate, or beta^2 w^2; zero on the padding."""
    shape, weight = relation.shape, secrets.weight(relation.scale)
    tables = np.zeros((3, shape.data_cells), dtype=np.int64)
    for segment in relation.segments:
        magnitudes = np.abs(secrets.update[segment.start : segment.stop])
        largest, bound = int(magnitudes.max()), segment.bound * weight
        if largest > bound:
            place = f"in [{segment.start}, {segment.stop})"
            raise Misuse(f"update: expected every |coordinate| {place} <= beta = {bound}, found {largest}")
        tables[:, segment.start : segment.stop] = range_roots(magnitudes, bound).T
    return list(tables.reshape(3, shape.data_rows, shape.columns))


@filled_tables.register
def _(relation: ClientWeight, secrets: WitnessInputs) -> list[Table]:
    """The weight and the roots of (w - 1) (W - w), then the squares of all of these."""
    largest = relation.largest
    weight = secrets.weight(Scale(largest))
    roots = np.zeros((1, CELLS), dtype=np.int64)
    roots[0, WEIGHT_CELL] = weight
    roots[0, 1:USED] = four_squares((weight - 1) * (largest - weight), secrets.rand)
    return [roots, roots**2]


@filled_tables.register
def _(relation: ShortNoise, secrets: WitnessInputs) -> list[Table]:
    """Errors, their slack, key, its slack. A group of squares beyond E^2 has chance below 2^-129 per honest table."""
    if secrets.noise is None:
        raise Misuse("noise: expected the errors and the key for an encryption's proof, found none")
    noise, bound = secrets.noise, relation.lattice.noise_bound
    errors = _noise_pair(noise.errors, relation.errors, "errors", bound)
    return [*errors, *_noise_pair(noise.key, relation.key, "key", bound)]


def _noise_pair(values: NDArray[np.integer], groups: NoiseGroups, name: str, bound: int) -> tuple[Table, Table]:
    cells = groups.rows * groups.columns
    if values.shape != (cells,) or not np.issubdtype(values.dtype, np.integer):
        raise Misuse(f"{name}: expected {cells} integers, found {values.dtype} {values.shape}")
    table = values.astype(np.int64).reshape(groups.rows, groups.columns)
    if max(int(table.max()), -int(table.min())) > bound:
        raise Misuse(f"{name}: expected magnitudes of at most E = {bound}, found more")
    slack = bound**2 - groups.square_sums(table)
    if int(slack.min()) < 0:
        raise Misuse(f"{name}: expected groups of norm at most E = {bound}, found more; draw noise again")
    return table, groups.slack_table(four_square_table(bound**2)[slack])


def commit_tables(
    engine: Engine, parameters: ArgumentParameters, tables: Sequence[Table], rand: Randomness
) -> CommittedUpdate:
    """Row commitments to all tables of the layout, with fresh uniform blindings."""
    blindings = uniform_scalars(rand, sum(len(table) for table in tables))
    encoded, start = b"", 0
    for table in tables:
        encoded += engine.commit_rows(table, blindings[start : start + len(table)])
        start += len(table)
    stream = BytesIO(encoded)
    rows = {label: stream.read(POINT_SIZE * count) for label, count in parameters.layout.families.items()}
    return CommittedUpdate(tuple(tables), tuple(blindings), rows)


def witness_tables(
    parameters: ArgumentParameters, update: NDArray[np.int64], rand: Randomness, noise: Noise | None = None
) -> tuple[Table, ...]:
    """The tables of the layout, in its order, for an update int64 (d,) in fixed-point units and its encryption's noise.

    Raises Misuse if the exact norm, a coordinate or the noise exceeds its bound, or for a wrong shape or dtype.
    """
    if noise is not None and parameters.encryption is None:
        raise Misuse("noise: expected none without an encryption's proof, found some")
    secrets = WitnessInputs(update, noise, rand)
    return tuple(table for relation in parameters.relations for table in filled_tables(relation, secrets))


def commit_update(
    engine: Engine,
    parameters: ArgumentParameters,
    update: NDArray[np.int64],
    rand: Randomness,
    noise: Noise | None = None,
) -> CommittedUpdate:
    """Commit to an update within the bounds and to the noise of its encryption: raises Misuse as `witness_tables`.

    The blindings are as secret as the update, and must be fresh for every submission.
    """
    return commit_tables(engine, parameters, witness_tables(parameters, update, rand, noise), rand)


def shared_scalars(parameters: ArgumentParameters, committed: CommittedUpdate) -> list[int]:
    """What stands under E_0 in order, modulo ORDER: nothing without the encryption's proof."""
    parts = (shared_of(relation, parameters.layout, committed) for relation in parameters.relations)
    return [scalar % ORDER for part in parts for scalar in part]


@singledispatch
def shared_of(relation: Relation, layout: Layout, committed: CommittedUpdate) -> Sequence[int]:  # noqa: ARG001  of any
    """The relation's part of it."""
    return ()


@shared_of.register
def _(relation: Packing, layout: Layout, committed: CommittedUpdate) -> Sequence[int]:  # noqa: ARG001  dispatched on
    """The packed key, then the blindings of the data rows."""
    return [*packed_key(committed.tables[layout.index(KEY)]), *committed.blindings]


def packed_key(key: NDArray[np.integer]) -> list[int]:
    """ceil(N / 10) integers: sum_i key[10 s + i] 2^(24 i), of the key's coefficients in order. Not reduced."""
    coefficients = [int(value) for value in key.reshape(-1)]
    groups = (coefficients[start : start + KEY_DIGITS] for start in range(0, len(coefficients), KEY_DIGITS))
    return [sum(digit << (KEY_DIGIT_BITS * i) for i, digit in enumerate(group)) for group in groups]
