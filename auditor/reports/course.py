"""What a federation did, as values (spec 9.2): what was agreed, who took part in which round and how, what each round
came to, and which evidence there is. A page shows it; it says neither more nor less than the checks.

Texts of a transcript are here as they are: whoever writes them out makes them safe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from protocols.policy import Policy


@dataclass(frozen=True)
class Part:
    """What became of a party in a round. sign: one character for it. words: what it means."""

    name: str
    sign: str
    words: str


SUMMED = Part("summed", "●", "its update is in the sum that was opened")
ALSO_OFFENCE = Part(
    "summed-and-offence", "⊗", "its update is in the sum, and a second thing that it sent is an offence"
)
NOISE = Part("noise-summed", "◆", "its noise is in the sum that was opened")
UNOPENED = Part("unopened", "◐", "in the cohort of a round whose sum the log does not have")
LEFT_OUT = Part("left-out", "○", "submitted, and left out for a reason that is no fault of its own")
OFFENCE = Part("offence", "✕", "submitted, and excluded for a fault")
UNJUDGED = Part("no-verdict", "◌", "submitted; the round has no verdict on it")
CONTRADICTED = Part("contradicted", "!", "the log says one thing of it, and this audit finds another")
ABSENT = Part("absent", "–", "asked; no submission of it is in the log")
NOT_ASKED = Part("not-asked", "·", "not asked in this round")
RELEASED = Part("released", "●", "released its share of the sum, and the share is right")
WRONG = Part("wrong-release", "✕", "released a share that does not open the sum")
SILENT = Part("silent", "–", "asked for its share of the sum; no release of it is in the log")
HELD = Part("held", "◐", "acknowledged shares; was not asked to release")
KEYED = Part("keyed", "◌", "made a round key; no acknowledgement of it is in the log")
NO_KEY = Part("no-key", "·", "made no round key: took no part in the round")
UNTOLD = Part("untold", "?", "cannot be told: entries of the round are missing here, or do not suffice")

CLIENT_PARTS = (SUMMED, ALSO_OFFENCE, UNOPENED, LEFT_OUT, OFFENCE, UNJUDGED, CONTRADICTED, ABSENT, NOT_ASKED, UNTOLD)
NOISE_PARTS = (NOISE, *CLIENT_PARTS)
TRUSTEE_PARTS = (RELEASED, WRONG, SILENT, HELD, KEYED, NO_KEY, UNTOLD)


@dataclass(frozen=True, slots=True)
class Run:
    """The same part in consecutive rounds. first: the place of the first in `Course.rounds`; count: how many. why: the
    reason that the log, or the audit, gives; empty for none."""

    part: Part
    first: int
    count: int
    why: str = ""


@dataclass(frozen=True)
class Row:
    """A party in all rounds, as runs, ascending and without gaps."""

    party: str
    runs: tuple[Run, ...]

    def counts(self) -> Mapping[Part, int]:
        """In how many rounds it had each part, of those that it had."""
        found: dict[Part, int] = {}
        for run in self.runs:
            found[run.part] = found.get(run.part, 0) + run.count
        return found


def runs_of(cells: Sequence[tuple[Part, str]]) -> tuple[Run, ...]:
    """Cells, one a round, with equal neighbours put together."""
    runs: list[Run] = []
    for place, (part, why) in enumerate(cells):
        if runs and (runs[-1].part, runs[-1].why) == (part, why):
            runs[-1] = Run(part, runs[-1].first, runs[-1].count + 1, why)
        else:
            runs.append(Run(part, place, 1, why))
    return tuple(runs)


@dataclass(frozen=True)
class RoundCourse:
    """One round. opened: the entry of its RoundOpen, None where none is here. asked, submitted, summed: of clients that
    train; noise: of how many trustees there is noise in the sum. left_out: of both. released: how many trustees have a
    valid release. ending: closed, aborted or open; reason: of an abort; model: what it closed with, in hexadecimal."""

    number: int
    opened: int | None
    submitted: int
    summed: int
    left_out: int
    asked: int | None
    acknowledged: int
    released: int
    ending: str
    reason: str = ""
    model: str = ""
    retry_of: int | None = None
    last: int | None = None  # the entry that ends it
    noise: int = 0
    missing: tuple[tuple[str, str], ...] = ()  # whom an abort names, and why


@dataclass(frozen=True)
class CitedEntry:
    """An entry of the log as evidence. hash: of its envelope, in hexadecimal, empty where it is not here. file: of the
    transcript, that holds it; place: its place in that, from 0."""

    index: int
    type: str
    party: str
    round: int
    hash: str
    file: str
    place: int


@dataclass(frozen=True)
class Blob:
    """Content-addressed bytes as evidence: what they are, and their SHA-256 in hexadecimal."""

    role: str
    hash: str


@dataclass(frozen=True)
class Offence:
    """What the log proves of a client or a trustee: only for what it signed. offence: a word of the specification.
    detail: the check that fails. blobs: what shows it, beside the entry."""

    party: str
    role: str
    round: int
    entry: int
    offence: str
    detail: str = ""
    blobs: tuple[Blob, ...] = ()


@dataclass(frozen=True)
class OpenDispute:
    """A trustee says that a client's share is wrong: one of them lies, and nobody can tell which."""

    trustee: str
    client: str
    round: int
    entry: int
    reason: str


@dataclass(frozen=True)
class RoundEvidence:
    """The references of one round, as far as they lead to its end. nodes: entries with their layer and caption; edges:
    from what is referred to, to what refers to it, with whether the sum flows along it. whole: how many nodes and edges
    there are, where those here stand for several."""

    round: int
    nodes: tuple[Node, ...]
    edges: tuple[tuple[int, int, bool], ...]
    whole: tuple[int, int]


@dataclass(frozen=True)
class Node:
    """One entry, or several of one type that stand together. id: the first of their indices. count: how many. fault:
    whether a finding is about one of them."""

    id: int
    layer: int
    type: str
    caption: str
    count: int = 1
    part: Part | None = None
    fault: bool = False


@dataclass(frozen=True)
class Course:
    """All of it. policy: what was agreed; None where it does not open. sound: whether its numbers can be used: else
    they may be absurd. lacking: why there are no rounds, where the log cannot be read; else empty. clients, trustees,
    noise: the rows that are listed, of the policy's members. more_changes: changes of keys that are not listed.
    gaps: how many entries are missing here; cut: how many are judged of a log that is not whole, None if it is."""

    policy: Policy | None
    sound: bool = True
    lacking: str = ""
    entries: int = 0
    rounds: tuple[RoundCourse, ...] = ()
    beyond: int = 0  # rounds that are not listed
    clients: tuple[Row, ...] = ()
    trustees: tuple[Row, ...] = ()
    noise: tuple[Row, ...] = ()  # trustees whose submissions are noise
    offences: tuple[Offence, ...] = ()
    more_offences: int = 0
    disputes: tuple[OpenDispute, ...] = ()
    more_disputes: int = 0
    evidence: tuple[RoundEvidence, ...] = ()
    drawable: tuple[int, ...] = ()  # rounds with an aggregate
    cited: tuple[CitedEntry, ...] = ()
    changes: tuple[tuple[int, str, str], ...] = ()  # entry, party, what of its key
    more_changes: int = 0
    ending: tuple[int, str] | None = None  # entry and reason of FederationClosed
    gaps: int = 0
    cut: int | None = None

    def numbers(self) -> Iterator[int]:
        """Of the rounds that are listed."""
        return (each.number for each in self.rounds)
