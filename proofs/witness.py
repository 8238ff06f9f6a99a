"""What the client commits to: its update, its noise, and the squares that fill sums up to their bounds (spec 5.9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import singledispatch
from io import BytesIO
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from proofs.curve import ORDER, POINT_SIZE
from proofs.decompositions import four_square_table, range_roots
from proofs.encryption import KEY_DIGIT_BITS, KEY_DIGITS
from proofs.engine import Engine, Table
from proofs.errors import Misuse
from proofs.layout import Layout, RowCommitments
from proofs.noise import NoiseGroups
from proofs.noise_witness import SignedNoise
from proofs.parameters import ArgumentParameters
from proofs.privacy_noise import NoiseSigns
from proofs.randomness import Randomness, uniform_scalars
from proofs.relations.client_weight import CELLS, USED, ClientWeight
from proofs.relations.noise import KEY, ShortNoise
from proofs.relations.norm import UPDATE, Norm
from proofs.relations.packing import Packing
from proofs.relations.privacy_noise import PrivacyNoise
from proofs.relations.range import Range
from proofs.relations.relation import Relation
from proofs.relations.scale import WEIGHT_CELL, Scale
from proofs.shape import TableShape
from proofs.squares import four_squares, norm_squared
from proofs.wiping import wipe


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class Noise:
    """Key and errors of an encryption: int32 (N,) and int8 (data_cells,). Secret, for one round.

    errors: empty where noise for privacy takes their place.
    """

    key: NDArray[np.int32]
    errors: NDArray[np.int8] = field(default_factory=lambda: np.empty(0, dtype=np.int8))


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class CommittedUpdate(RowCommitments):
    """The argument's tables with their commitments; secret but for `rows`.

    tables: int64, one for each of the layout's, in its order: the update, row after row, is the first; with noise for
    privacy the message is. row_blindings: one scalar for every row of every table. signs: of that noise, public.
    """

    tables: tuple[Table, ...]
    row_blindings: tuple[int, ...]
    rows: Mapping[str, bytes]
    signs: NoiseSigns | None = None

    @property
    def message(self) -> NDArray[np.int64]:
        """The cells of the data rows, int64 (data_cells,): what is encrypted."""
        return self.tables[0].reshape(-1)

    @property
    def blindings(self) -> tuple[int, ...]:
        """Of the data rows: what is shared behind the packed key."""
        return self.row_blindings[: len(self.tables[0])]


@dataclass(frozen=True, repr=False, eq=False)  # secret: stays out of messages
class WitnessInputs:
    """What the tables are filled from. noise: none without the encryption's proof. signed: of privacy, if any."""

    update: NDArray[np.int64]
    noise: Noise | None
    rand: Randomness
    signed: SignedNoise | None = None

    def privacy(self, shape: TableShape) -> SignedNoise:
        """The noise for privacy; raises Misuse where there is none of these cells."""
        if self.signed is None:
            raise Misuse("noise: expected committed noise for privacy with its signs, found none")
        expected, found = (shape.data_rows, shape.columns), self.signed.committed.noise.shape
        if found != expected:
            raise Misuse(f"noise: expected {expected}, found {found}")
        return self.signed

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
    if relation.noise is not None:
        signed = secrets.privacy(shape)
        signed_cells = signed.signs.times(signed.committed.noise)
        table += signed_cells
        wipe(signed_cells)
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
def _(relation: PrivacyNoise, secrets: WitnessInputs) -> list[Table]:
    """As they are committed to already."""
    return list(secrets.privacy(relation.shape).committed.tables)


@filled_tables.register
def _(relation: ShortNoise, secrets: WitnessInputs) -> list[Table]:
    """Errors, their slack, key, its slack. A group of squares beyond E^2 has chance below 2^-129 per honest table."""
    if secrets.noise is None:
        raise Misuse("noise: expected the errors and the key for an encryption's proof, found none")
    noise, bound = secrets.noise, relation.lattice.noise_bound
    if (noise.errors.size == 0) == relation.lattice.has_errors:
        raise Misuse("noise: expected errors where no noise for privacy takes their place, and only there")
    key = _noise_pair(noise.key, relation.key, "key", bound)
    if not relation.lattice.has_errors:
        return [*key]
    return [*_noise_pair(noise.errors, relation.errors, "errors", bound), *key]


def _noise_pair(values: NDArray[np.integer], groups: NoiseGroups, name: str, bound: int) -> tuple[Table, Table]:
    cells = groups.rows * groups.columns
    if values.shape != (cells,) or not np.issubdtype(values.dtype, np.integer):
        raise Misuse(f"{name}: expected {cells} integers, found {values.dtype} {values.shape}")
    table = values.astype(np.int64).reshape(groups.rows, groups.columns)
    if max(int(table.max()), -int(table.min())) > bound:
        raise Misuse(f"{name}: expected magnitudes of at most E = {bound}, found more")
    slack = groups.square_sums(table)
    np.subtract(bound**2, slack, out=slack)
    if int(slack.min()) < 0:
        raise Misuse(f"{name}: expected groups of norm at most E = {bound}, found more; draw noise again")
    roots = four_square_table(bound**2)[slack]
    tables = table, groups.slack_table(roots)
    wipe(slack, roots)
    return tables


def commit_tables(
    engine: Engine,
    parameters: ArgumentParameters,
    tables: Sequence[Table],
    rand: Randomness,
    signed: SignedNoise | None = None,
) -> CommittedUpdate:
    """Row commitments to all tables of the layout, with fresh uniform blindings. signed: noise for privacy, which is
    committed to already."""
    known = {} if signed is None else signed.committed.by_table
    near = {} if signed is None else {UPDATE: signed.committed.known}  # u + s o n is nearer to n than to zeros
    names = [table.name for table in parameters.layout.tables]
    fresh = sum(len(table) for name, table in zip(names, tables, strict=True) if name not in known)
    drawn, blindings, encoded = iter(uniform_scalars(rand, fresh)), list[int](), b""
    for name, table in zip(names, tables, strict=True):
        own = known[name].blindings if name in known else tuple(islice(drawn, len(table)))
        encoded += known[name].encoded if name in known else engine.commit_rows(table, own, near.get(name))
        blindings += own
    stream = BytesIO(encoded)
    rows = {label: stream.read(POINT_SIZE * count) for label, count in parameters.layout.families.items()}
    return CommittedUpdate(tuple(tables), tuple(blindings), rows, None if signed is None else signed.signs)


def witness_tables(
    parameters: ArgumentParameters,
    update: NDArray[np.int64],
    rand: Randomness,
    noise: Noise | None = None,
    signed: SignedNoise | None = None,
) -> tuple[Table, ...]:
    """The tables of the layout, in its order, for an update int64 (d,) in fixed-point units and its encryption's noise.

    signed: committed noise for privacy with its signs, where the parameters ask for some. Raises Misuse if the exact
    norm, a coordinate or the noise exceeds its bound, or for a wrong shape or dtype.
    """
    if noise is not None and parameters.encryption is None:
        raise Misuse("noise: expected none without an encryption's proof, found some")
    if signed is not None and parameters.privacy_noise is None:
        raise Misuse("noise: expected none for privacy, found some")
    secrets, tables = WitnessInputs(update, noise, rand, signed), list[Table]()
    with ExitStack() as unless_all:
        for relation in parameters.relations:
            filled = filled_tables(relation, secrets)
            if not isinstance(relation, PrivacyNoise):  # whose tables are the caller's
                unless_all.callback(wipe, *filled)
            tables += filled
        unless_all.pop_all()
    return tuple(tables)


def commit_update(
    engine: Engine,
    parameters: ArgumentParameters,
    update: NDArray[np.int64],
    rand: Randomness,
    noise: Noise | None = None,
    signed: SignedNoise | None = None,
) -> CommittedUpdate:
    """Commit to an update within the bounds and to the noise of its encryption: raises Misuse as `witness_tables`.

    The blindings are as secret as the update, and must be fresh for every submission. With noise for privacy it is the
    message that is committed to, and what is returned has the commitments of the noise as well.
    """
    tables = witness_tables(parameters, update, rand, noise, signed)
    return commit_tables(engine, parameters, tables, rand, signed)


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
