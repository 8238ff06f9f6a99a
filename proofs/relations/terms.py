"""What a relation adds to the sum over the cube: squares with weights, linear forms, and their sum (spec 5.7).

| symbol | meaning |
|---|---|
| v_b, w_b | a table's multilinear extension with its pad, and its value at the final point r |
| Q_b | 1 for plain tables, plus eq(tau_rows, row) W(column) for a table with a class of weights |
| a_b | the linear forms on a table |

A form is given once, so that the prover's coefficients and the verifier's value at a point cannot differ.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain

from proofs.curve import ORDER
from proofs.engine import Engine
from proofs.polynomials import add, dot, eq, eq_index, eq_prefix, eq_table, product, scale


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


@dataclass(frozen=True)
class SummedWeights:
    """W of a class to which several relations contribute; zero weights where none does."""

    parts: tuple[ColumnWeights, ...]

    def table(self) -> list[int]:
        """W(c) for every column up to the last that any part reaches."""
        return add(*(part.table() for part in self.parts)) if self.parts else []

    def total(self) -> int:
        """Sum over all columns."""
        return sum(part.total() for part in self.parts) % ORDER

    def at(self, column_point: Sequence[int]) -> int:
        """The multilinear extension at a point of all column variables."""
        return sum(part.at(column_point) for part in self.parts) % ORDER


@dataclass(frozen=True)
class SignedWeights:
    """On message times noise, cell by cell: s (factor + eq(tau_rows, row) W(column)), s the cell's sign and W the sum
    of `weights`."""

    factor: int = 0
    weights: tuple[ColumnWeights, ...] = ()

    def __add__(self, other: SignedWeights) -> SignedWeights:
        return SignedWeights((self.factor + other.factor) % ORDER, (*self.weights, *other.weights))


@dataclass(frozen=True, eq=False)
class FinalPoint:
    """r, its row and column parts, and eq(part, index) for every row and column."""

    point: Sequence[int]
    row_point: Sequence[int]
    column_point: Sequence[int]
    rows: list[int]
    columns: list[int]
    _cells: dict[tuple[int, int], list[int]] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, row_variables: int, point: Sequence[int]) -> FinalPoint:
        """Split after the row variables."""
        row_point, column_point = point[:row_variables], point[row_variables:]
        return cls(point, row_point, column_point, eq_table(row_point), eq_table(column_point))

    def cells(self, rows: int, columns: int) -> list[int]:
        """eq(r, cell) for the cells of a small table, row after row."""
        if (rows, columns) not in self._cells:
            self._cells[rows, columns] = [r * c % ORDER for r in self.rows[:rows] for c in self.columns[:columns]]
        return self._cells[rows, columns]


class Vector(ABC):
    """One side of a rank-one form: an entry for every row, or for every column, and zero behind the last."""

    @abstractmethod
    def values(self) -> list[int]:
        """The entries up to the first behind which all are zero."""

    @abstractmethod
    def at(self, point: Sequence[int], equal: Sequence[int]) -> int:
        """The multilinear extension at a point of all variables; equal: eq(point, index) of every index."""


@dataclass(frozen=True, eq=False)
class EqSlice(Vector):
    """eq(point, i) for start <= i < stop, else zero."""

    point: Sequence[int]
    start: int
    stop: int

    def values(self) -> list[int]:
        """`stop` scalars."""
        return [0] * self.start + eq_table(self.point)[self.start : self.stop]

    def at(self, point: Sequence[int], equal: Sequence[int]) -> int:
        """In time linear in the variables."""
        below = eq_prefix(self.point, point, self.start) if self.start else 0
        return (eq_prefix(self.point, point, self.stop) - below) % ORDER


@dataclass(frozen=True, eq=False)
class Single(Vector):
    """1 at one index, else zero."""

    index: int

    def values(self) -> list[int]:
        """`index` zeros, then 1."""
        return [0] * self.index + [1]

    def at(self, point: Sequence[int], equal: Sequence[int]) -> int:
        """eq(point, index)."""
        return eq_index(point, self.index)


@dataclass(frozen=True, eq=False)
class Listed(Vector):
    """Entries one by one."""

    entries: list[int]

    def values(self) -> list[int]:
        """The entries."""
        return self.entries

    def at(self, point: Sequence[int], equal: Sequence[int]) -> int:
        """The entries times eq(point, .), in time linear in them."""
        return dot(self.entries, equal[: len(self.entries)])


@dataclass(frozen=True)
class RankOneForm:
    """factor left(row) right(column), on each of these tables with a multiple of its own."""

    left: Vector
    right: Vector
    tables: Mapping[str, int]
    factor: int = 1

    def at(self, final: FinalPoint, evaluations: Mapping[str, int]) -> int:
        """sum_b a_b(r) w_b."""
        on_tables = sum(multiple * evaluations[name] for name, multiple in self.tables.items())
        rows = self.left.at(final.row_point, final.rows)
        return self.factor * rows * self.right.at(final.column_point, final.columns) * on_tables % ORDER


class SmallForm(ABC):
    """A linear form on one table that is small enough to have all its coefficients written out."""

    table: str

    @abstractmethod
    def coefficients(self) -> list[int]:
        """For every cell of the table, row after row."""

    @abstractmethod
    def at(self, engine: Engine, final: FinalPoint) -> int:
        """a_b(r)."""


@dataclass(frozen=True)
class Terms:
    """sum over the cube of squares, forms and signed products = total + <masks, y'> + <shared, kappa>, over honest
    tables.

    squares: what the relation adds to W of classes of weights. total: from what is public, or has been sent. masks:
    coefficients of the masks of the integers that the relation sends. shared: of the first scalars under E_0. plain:
    by table, what the relation adds to the 1 that all squares of a plain table weigh. signed: of message times noise.
    """

    total: int = 0
    squares: Mapping[str, ColumnWeights] = field(default_factory=dict)
    plain: Mapping[str, int] = field(default_factory=dict)
    signed: SignedWeights = SignedWeights()
    forms: Sequence[RankOneForm] = ()
    small: Sequence[SmallForm] = ()
    masks: Sequence[int] = ()
    shared: Sequence[int] = ()


@dataclass(frozen=True)
class JoinedTerms:
    """The same of all relations: squares by class, with what each of them adds."""

    total: int
    squares: Mapping[str, SummedWeights]
    plain: Mapping[str, int]
    signed: SignedWeights
    forms: Sequence[RankOneForm]
    small: Sequence[SmallForm]
    masks: Sequence[int]
    shared: Sequence[int]

    @classmethod
    def of(cls, parts: Iterable[Terms]) -> JoinedTerms:
        """In their order."""
        found = list(parts)
        squares, plain = dict[str, tuple[ColumnWeights, ...]](), dict[str, int]()
        for part in found:
            for name, weights in part.squares.items():
                squares[name] = (*squares.get(name, ()), weights)
            for name, factor in part.plain.items():
                plain[name] = (plain.get(name, 0) + factor) % ORDER
        return cls(
            total=sum(part.total for part in found) % ORDER,
            squares={name: SummedWeights(weights) for name, weights in squares.items()},
            plain=plain,
            signed=sum((part.signed for part in found), start=SignedWeights()),
            forms=list(chain.from_iterable(part.forms for part in found)),
            small=list(chain.from_iterable(part.small for part in found)),
            masks=list(chain.from_iterable(part.masks for part in found)),
            shared=list(chain.from_iterable(part.shared for part in found)),
        )

    def forms_at(self, engine: Engine, final: FinalPoint, evaluations: Mapping[str, int]) -> int:
        """sum_b a_b(r) w_b, but for the projections."""
        total = sum(form.at(final, evaluations) for form in self.forms)
        return (total + sum(form.at(engine, final) * evaluations[form.table] for form in self.small)) % ORDER
