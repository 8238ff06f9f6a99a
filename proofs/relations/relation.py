"""What a relation is to the argument (spec 5.1, 5.3, 5.5, 5.7). Every default is that of a relation without the thing.

A relation knows its own part and no other. Once its challenges are drawn it makes its terms.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar

from proofs.challenger import Challenger
from proofs.encryption import EncryptionStatement
from proofs.engine import Engine
from proofs.privacy_noise import NoiseSigns
from proofs.relations.terms import Terms

RESTART_BITS = 20  # an honest prover restarts with probability below 2^-20 for its projections, and for its quotients

Statements = Sequence[EncryptionStatement]  # what a claim is about beside its rows: one with the encryption, else none


@dataclass(frozen=True)
class OwnTable:
    """A table that a relation brings with it."""

    name: str
    rows: int
    columns: int


@dataclass(frozen=True)
class WrapBound:
    """A relation cannot wrap around the group order: left < ORDER must hold."""

    name: str
    left: int


@dataclass(frozen=True)
class MaskedIntegers:
    """`count` integers that are sent with masks over them; honest ones are at most `honest` in magnitude."""

    count: int
    honest: int

    @property
    def mask_bound(self) -> int:
        """The masks are uniform in [-mask_bound, mask_bound]."""
        return (self.count << RESTART_BITS) * self.honest

    @property
    def bound(self) -> int:
        """The largest magnitude that is sent and accepted."""
        return self.mask_bound - self.honest

    @property
    def width(self) -> int:
        """Bytes of one, two's complement."""
        return signed_width(self.bound)


NO_INTEGERS = MaskedIntegers(0, 0)


def signed_width(bound: int) -> int:
    """Bytes of an integer of at most `bound` in magnitude, two's complement."""
    return bound.bit_length() // 8 + 1


@dataclass(frozen=True)
class Weights:
    """Of one relation: its own scalars, and tau, one coordinate for each row and each column variable."""

    scalars: Sequence[int]
    row_point: Sequence[int]
    column_point: Sequence[int]


@dataclass(frozen=True)
class Sent:
    """Of one relation: the residues and the masked integers of its that stand in the proof."""

    combinations: Sequence[int] = ()
    quotients: Sequence[int] = ()


class Drawn(ABC):
    """A relation with the challenges that it draws before anything is sent."""

    def check(self, engine: Engine, statements: Statements, sent: Sent) -> None:
        """Raise Rejected where what was sent is not what follows from the statement (V5)."""

    @abstractmethod
    def terms(self, weights: Weights, sent: Sent) -> Terms:
        """What the relation adds to the sum over the cube."""


class Relation(ABC):
    """A relation in force."""

    name: ClassVar[str]
    commitments: ClassVar[str] = ""  # label of the row commitments of its tables
    label: ClassVar[str] = ""  # of the draw of its scalars; neighbours with one label share the draw
    before_point: ClassVar[bool] = False  # whether its scalars are drawn before tau

    @property
    def tables(self) -> tuple[OwnTable, ...]:
        """Its own, in order."""
        return ()

    @property
    def plain(self) -> tuple[str, ...]:
        """Tables whose squares count as they are."""
        return ()

    @property
    def classes(self) -> Mapping[str, str]:
        """By table: the class of weights that its squares take."""
        return {}

    @property
    def apart(self) -> tuple[str, ...]:
        """Tables whose rows are opened apart from all others, with blindings that are shared."""
        return ()

    @property
    def numbers(self) -> tuple[int, ...]:
        """Its part of the statement, below 2^256 each."""
        return ()

    @property
    def squares_bound(self) -> int:
        """Bounds the sum of squares of its tables' cells, those of an honest prover."""
        return 0

    @property
    def scalars(self) -> int:
        """How many weights it draws."""
        return 0

    @property
    def combinations(self) -> int:
        """How many residues it sends."""
        return 0

    @property
    def quotients(self) -> MaskedIntegers:
        """The integers that it sends."""
        return NO_INTEGERS

    @property
    def shared(self) -> int:
        """Scalars under E_0."""
        return 0

    def wrap_bounds(self, entry: int) -> Sequence[WrapBound]:
        """Its inequalities, for entries of at most `entry` in magnitude."""
        return ()

    def check_statement(self, statements: Statements) -> None:
        """Raise Malformed for a statement of another shape (V1), Misuse where that is the caller's mistake."""

    def check_range(self, sent: Sent) -> None:
        """Raise Rejected where something sent is out of its range (V4)."""

    @abstractmethod
    def draw(
        self, engine: Engine, challenger: Challenger, statements: Statements, signs: NoiseSigns | None = None
    ) -> Drawn:
        """Its first challenges, once all rows and masks are committed. signs: of noise for privacy, where there is."""


class DirectRelation(Relation, Drawn):
    """A relation that draws nothing but its weights."""

    def draw(
        self, engine: Engine, challenger: Challenger, statements: Statements, signs: NoiseSigns | None = None
    ) -> Drawn:
        """Itself: it has nothing to draw."""
        return self
