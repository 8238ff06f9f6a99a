"""The tables of one argument and their places in the cube of its sumcheck (spec 5.1).

Cell (r, c) of a table is the point (bits of r, then bits of c) of the cube, each least significant bit first; rows and
columns that a table lacks are zero and exist nowhere. The commitments of the rows of all tables stand in this order.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate

from proofs.errors import Misuse
from proofs.relations.client_weight import WEIGHT_COMMITMENTS
from proofs.relations.noise import NOISE_COMMITMENTS
from proofs.relations.norm import NORM_COMMITMENTS
from proofs.relations.privacy_noise import PRIVACY_COMMITMENTS
from proofs.relations.range import RANGE_COMMITMENTS
from proofs.relations.relation import Relation
from proofs.shape import TableShape


class RowCommitments:
    """Whoever has commitments to rows, 33 bytes each: by their label in the transcript, of a relation's tables."""

    rows: Mapping[str, bytes]

    @property
    def commitments(self) -> bytes:
        """Of update and private row."""
        return self.rows.get(NORM_COMMITMENTS, b"")

    @property
    def range_commitments(self) -> bytes:
        """Of the range tables; empty without the range relation."""
        return self.rows.get(RANGE_COMMITMENTS, b"")

    @property
    def weight_commitments(self) -> bytes:
        """Of the tables of a hidden weight; empty without one."""
        return self.rows.get(WEIGHT_COMMITMENTS, b"")

    @property
    def privacy_noise_commitments(self) -> bytes:
        """Of the tables of noise for privacy, the noise itself first; empty without any."""
        return self.rows.get(PRIVACY_COMMITMENTS, b"")

    @property
    def encryption_commitments(self) -> bytes:
        """Of the noise tables; empty without the encryption's proof."""
        return self.rows.get(NOISE_COMMITMENTS, b"")


@dataclass(frozen=True)
class TableLayout:
    """One table. plain: its squares count in the norm; weights: the class of weights its squares take elsewhere."""

    name: str
    rows: int
    columns: int
    plain: bool
    weights: str | None


@dataclass(frozen=True)
class Layout:
    """All tables, in the order of the relations that bring them. Raises Misuse where relations do not go together."""

    shape: TableShape
    relations: tuple[Relation, ...]

    def __post_init__(self) -> None:
        relations = self.relations
        families = [relation.commitments for relation in relations if relation.tables or relation.commitments]
        _check_distinct("names of relations", [relation.name for relation in relations])
        _check_distinct("names of tables", [own.name for relation in relations for own in relation.tables])
        _check_distinct("labels of commitments", families)
        _check_distinct("tables with weights", [name for relation in relations for name in relation.classes])
        classes = [name for relation in relations for name in dict.fromkeys(relation.classes.values())]
        _check_distinct("classes of weights", classes)
        if "" in families:
            raise Misuse("relations: expected a label for the commitments of every table, found none")
        # all are joined in one sum: without a factor of its own a relation could make up for another (spec 5.12)
        weightless = [relation.name for relation in relations if not relation.scalars]
        if len(weightless) > 1:
            raise Misuse(f"relations: expected a weight in all but one, found none in {', '.join(weightless)}")
        plain = [relation.name for relation in relations if relation.plain]
        if len(plain) > 1:  # no factor tells the squares of one from those of another
            raise Misuse(f"relations: expected squares without weights in one at most, found in {', '.join(plain)}")
        self._check_apart()

    def _check_apart(self) -> None:
        """What stands under E_0 is bound by the opening of E_0, which there is only beside the rows that are opened
        apart; these have the first table's factor."""
        first = next(own.name for relation in self.relations for own in relation.tables)
        apart = [relation for relation in self.relations if relation.apart or relation.shared]
        if len(apart) > 1 or any(relation.apart != (first,) or not relation.shared for relation in apart):
            names = ", ".join(relation.name for relation in apart)
            expected = f"the rows of {first} apart and scalars under E_0, both in one relation or in none"
            raise Misuse(f"relations: expected {expected}, found {names}")

    @cached_property
    def tables(self) -> tuple[TableLayout, ...]:
        """The tables of all relations, in their order."""
        plain = [name for relation in self.relations for name in relation.plain]
        weights = {name: each for relation in self.relations for name, each in relation.classes.items()}
        return tuple(
            TableLayout(own.name, own.rows, own.columns, own.name in plain, weights.get(own.name))
            for relation in self.relations
            for own in relation.tables
        )

    @cached_property
    def families(self) -> Mapping[str, int]:
        """By the label of their commitments in the transcript: the rows of each relation's tables, where it has any."""
        rows = {relation.commitments: sum(own.rows for own in relation.tables) for relation in self.relations}
        return {label: count for label, count in rows.items() if count}

    @cached_property
    def apart(self) -> tuple[int, ...]:
        """Positions of the tables whose rows are opened apart from all others: none, or the update."""
        return tuple(self.index(name) for relation in self.relations for name in relation.apart)

    @cached_property
    def classes(self) -> tuple[str, ...]:
        """The classes of weights in force, in the order of the tables."""
        return tuple(dict.fromkeys(table.weights for table in self.tables if table.weights is not None))

    def by_name(self, values: Sequence[int]) -> Mapping[str, int]:
        """One value for each table."""
        return {table.name: value for table, value in zip(self.tables, values, strict=True)}

    def index(self, name: str) -> int:
        """Position of a table that is there."""
        return [table.name for table in self.tables].index(name)

    @cached_property
    def total_rows(self) -> int:
        """Rows of all tables: as many commitments."""
        return sum(table.rows for table in self.tables)

    @cached_property
    def total_cells(self) -> int:
        """Cells of all tables."""
        return sum(table.rows * table.columns for table in self.tables)

    @cached_property
    def spans(self) -> tuple[slice, ...]:
        """Where each table's rows stand among all rows."""
        stops = list(accumulate(table.rows for table in self.tables))
        return tuple(slice(stop - table.rows, stop) for stop, table in zip(stops, self.tables, strict=True))

    @cached_property
    def row_variables(self) -> int:
        """lr: ceil(log2 of the rows of the tallest table), at least 1."""
        return max(1, (max(table.rows for table in self.tables) - 1).bit_length())

    @cached_property
    def column_variables(self) -> int:
        """lc."""
        return self.shape.column_variables

    @cached_property
    def variables(self) -> int:
        """l, the dimension of the cube."""
        return self.row_variables + self.column_variables


def _check_distinct(what: str, names: Sequence[str]) -> None:
    for name, count in Counter(names).items():
        if count > 1:
            raise Misuse(f"relations: expected distinct {what}, found {name} {count} times")
