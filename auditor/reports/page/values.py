"""All that a page says, as values. The template computes nothing: what it shows is here, and tested here.

Texts may be a transcript's own words: `to_html` makes every one of them safe. `checks` are numbers of checks, which
the page links to; `entry` is a log index.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from auditor.reports.clauses import Clause
from auditor.reports.course import Blob, CitedEntry, Part
from auditor.reports.results import CheckResult, Finding, Outcome, Story


class PromiseStanding(StrEnum):
    """What an audit says of a promise."""

    KEPT = "verified"
    PARTLY = "verified in part"
    BROKEN = "broken"
    UNKNOWN = "could not be established"
    NONE = "not promised"


@dataclass(frozen=True)
class Identity:
    """What was audited, when, and by what. policy: SHA-256 in hexadecimal, `none` where it does not open. model: of
    which round the last model is, and its hash. made: date and
    time, UTC. statement: SHA-256 of the signed statement of the same audit, empty where none was made."""

    federation: str
    transcript: str
    policy: str
    pinned: bool
    checkpoint: str
    root: str
    model: tuple[str, str] | None
    entries: int | None
    cosigners: tuple[str, ...]
    version: str
    engine: str
    made: str
    seconds: float
    statement: str = ""


@dataclass(frozen=True)
class KindOfNo:
    """One of the three kinds of no. given: whether it is the answer."""

    name: str
    meaning: str
    given: bool


@dataclass(frozen=True)
class PageVerdict:
    """word: accepted, or rejected, and why, in few words. sentence: the whole of it. advice: what to do about it.
    broken: the rules that were broken. unjudged: what could not be judged. believed: what an unpinned audit took on the
    transcript's word."""

    outcome: Outcome
    word: str
    sentence: str
    advice: str
    answers: tuple[KindOfNo, ...]
    broken: tuple[Broken, ...] = ()
    more_broken: int = 0
    unjudged: tuple[str, ...] = ()
    believed: tuple[str, ...] = ()
    contradiction: Conflict | None = None


@dataclass(frozen=True)
class Broken:
    """A rule that was broken: of which check, where, by whom."""

    check: str
    title: str
    where: str
    by: str
    entry: int | None


@dataclass(frozen=True)
class Conflict:
    """That a transcript does not continue what was accepted before. notes: the signed checkpoints, with whose they
    are."""

    kind: str
    what: str
    notes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Promise:
    """What was promised. found: the checks that looked at it, with what they looked at, in numbers."""

    text: str
    standing: PromiseStanding
    found: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Promises:
    """What was promised to somebody."""

    to: str
    why: str
    promises: tuple[Promise, ...]


@dataclass(frozen=True)
class TableCell:
    """Consecutive rounds of one party. said: rounds, what it means, and why."""

    part: Part
    count: int
    said: str


@dataclass(frozen=True)
class PartyRow:
    """A party in all rounds. strips: for many rounds, a path for each part, in units of one round. summary: in
    words."""

    party: str
    cells: tuple[TableCell, ...]
    strips: tuple[tuple[Part, str], ...]
    summary: str


@dataclass(frozen=True)
class PartyTable:
    """Parties by rounds. width: how many rounds. columns: their numbers; as cells where there are few, else as strips
    with ticks (place, number). parts: those that occur. beyond: parties that are not listed."""

    width: int
    columns: tuple[int, ...]
    cells: bool
    ticks: tuple[tuple[int, int], ...]
    rows: tuple[PartyRow, ...]
    parts: tuple[Part, ...]
    beyond: int = 0


@dataclass(frozen=True)
class RoundRow:
    """A round, or several alike in a row. entries: the first and the last of it, as far as they are here."""

    numbers: str
    what: str
    took_part: str
    trustees: str
    result: str
    model: str
    entry: int | None
    ended: str


@dataclass(frozen=True)
class Curve:
    """A metric by rounds, as it was published: nobody verifies it. path: in a box of 0 to 1000 by 0 to 100."""

    name: str
    path: str
    first: str
    last: str
    least: str
    most: str
    points: int


@dataclass(frozen=True)
class Bars:
    """How many clients were in each round, and how: stacked bars in a box of `width` by 100. paths: by the name of a
    part. most: what 100 stands for."""

    width: int
    paths: tuple[tuple[str, str], ...]
    most: int
    ticks: tuple[tuple[float, int], ...]
    described: str


@dataclass(frozen=True)
class Rounds:
    """The course of the rounds. lacking: why there are none; beyond: rounds that are not listed."""

    said: str
    rows: tuple[RoundRow, ...]
    bars: Bars | None
    curves: tuple[Curve, ...]
    curves_from: str
    changes: tuple[tuple[int, str, str], ...]
    more_changes: int = 0
    beyond: int = 0


@dataclass(frozen=True)
class Box:
    """A node of a drawing, with its upper left corner and size. said: all of it in words."""

    x: int
    y: int
    width: int
    height: int
    name: str
    below: str
    part: str
    fault: bool
    said: str
    entry: int | None


@dataclass(frozen=True)
class Drawing:
    """The evidence graph of a round. headings: of its layers, each with its place. flows, mentions: paths of edges
    along which the sum flows, and of the others."""

    round: int
    width: int
    height: int
    headings: tuple[tuple[int, str], ...]
    boxes: tuple[Box, ...]
    flows: str
    mentions: str
    said: str
    opened: bool


@dataclass(frozen=True)
class LedgerRow:
    """What clients have spent of their privacy; several alike in a row. All numbers are under the account's
    assumptions, with a client as the unit."""

    clients: str
    cohorts: str
    spent: str
    alone: str
    submissions: str


@dataclass(frozen=True)
class Privacy:
    """facts: by name. notes: of P1 to P7, each with its check. unit: what epsilon means, here and wherever this page
    says it; meaning: the same in detail. assumptions: what it rests on. ledger: empty without a budget."""

    facts: tuple[tuple[str, str, tuple[str, ...]], ...]
    notes: tuple[tuple[str, str], ...]
    unit: str
    meaning: tuple[str, ...]
    assumptions: tuple[str, ...]
    ledger: tuple[LedgerRow, ...]
    ledger_said: str
    more_ledger: int = 0


@dataclass(frozen=True)
class Named:
    """An offence that the log proves, with its evidence and how anybody verifies it."""

    party: str
    role: str
    round: int
    entry: CitedEntry | None
    what: str
    check: str
    blobs: tuple[Blob, ...]
    verify: tuple[str, ...]


@dataclass(frozen=True)
class Offences:
    """said: how many, in a sentence. disputes: of which nobody can tell who lies."""

    said: str
    named: tuple[Named, ...]
    disputes: tuple[tuple[int, str], ...]
    more: int = 0
    more_disputes: int = 0


@dataclass(frozen=True)
class CheckRow:
    """A check, as it ended. word: pass, fail, not made, does not apply. means: what it is about, for people."""

    result: CheckResult
    word: str
    means: str
    findings: tuple[tuple[Finding, str], ...]


@dataclass(frozen=True)
class Duty:
    """A duty of a law, with how each of its checks ended in this audit."""

    clause: Clause
    checks: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Annex:
    """Which check is evidence for which duty, by law."""

    orientation: str
    laws: tuple[tuple[str, tuple[Duty, ...]], ...]


@dataclass(frozen=True)
class Again:
    """How to repeat the audit: commands with what each is for."""

    commands: tuple[tuple[str, str], ...]
    hints: tuple[str, ...]


@dataclass(frozen=True)
class Page:
    """The whole page, in its order. What cannot be said is None or empty, and `lacking` says why."""

    identity: Identity
    verdict: PageVerdict
    promises: tuple[Promises, ...]
    lacking: str
    clients: PartyTable | None
    trustees: PartyTable | None
    noise: PartyTable | None
    rounds: Rounds | None
    drawings: tuple[Drawing, ...]
    undrawn: str
    privacy: Privacy | None
    offences: Offences | None
    story: Story | None
    more_story: int
    limits: tuple[str, ...]
    checks: tuple[CheckRow, ...]
    entries: tuple[CitedEntry, ...]
    annex: Annex | None
    again: Again
