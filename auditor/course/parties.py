"""Who took part in which round, and how: clients and trustees, each as runs of equal rounds."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from auditor.checks.naming import answers, is_signed
from auditor.index import Round, SubmissionRecord
from auditor.reports.course import (
    ABSENT,
    ALSO_OFFENCE,
    CONTRADICTED,
    HELD,
    KEYED,
    LEFT_OUT,
    NO_KEY,
    NOISE,
    NOT_ASKED,
    OFFENCE,
    RELEASED,
    SILENT,
    SUMMED,
    UNJUDGED,
    UNOPENED,
    UNTOLD,
    WRONG,
    Offence,
    Part,
    Row,
    runs_of,
)
from auditor.stories import Asked, Told, right_verdict
from protocols.policy import Member
from protocols.reasons import OFFENCES
from protocols.verdicts import ACCEPTED

MOST_CELLS = 400_000  # of clients by rounds that are listed
PartCell = tuple[Part, str]


def client_rows(
    told: Told, rounds: Sequence[Round], asked: Sequence[Asked], offences: Iterable[Offence]
) -> tuple[Row, ...]:
    """Of the policy's roster, as many as there is room for: clients that train, and trustees whose submissions are
    noise. asked: to whom each round was open. offences: those that are proved."""
    members = _listed(told.case.policy.roster, rounds)
    named: dict[int, set[str]] = {}
    for each in offences:
        named.setdefault(each.round, set()).add(each.party)
    columns = [
        _Clients.of(told, found, open_to, named.get(found.number, set()))
        for found, open_to in zip(rounds, asked, strict=True)
    ]
    return tuple(Row(name, runs_of([column.cell(name) for column in columns])) for name in members)


def trustee_rows(told: Told, rounds: Sequence[Round]) -> tuple[Row, ...]:
    """Of the policy's trustees."""
    members = _listed(told.case.policy.trustees, rounds)
    columns = [_Trustees.of(told, found) for found in rounds]
    return tuple(Row(name, runs_of([column.cell(name) for column in columns])) for name in members)


def submission_parts(told: Told, found: Round) -> dict[int, Part]:
    """What became of each submission of a round, by log index."""
    logged = {} if found.cohort is None else found.cohort.message.judged()
    return {index: _client_cell(told, found, record, logged)[0] for index, record in found.submissions.items()}


def _listed(members: Sequence[Member], rounds: Collection[Round]) -> list[str]:
    return [each.id for each in members[: MOST_CELLS // max(len(rounds), 1)]]


@dataclass(frozen=True)
class _Clients:
    """One round. said: what became of those who submitted, by client. whole: whether nothing of the round is missing.
    asked: to whom it was open."""

    said: Mapping[str, PartCell]
    whole: bool
    asked: Asked

    @classmethod
    def of(cls, told: Told, found: Round, asked: Asked, named: AbstractSet[str]) -> _Clients:
        said = {client: _with_offence(cell, client in named) for client, cell in _said(told, found).items()}
        return cls(said, told.log.is_whole(found.number), asked)

    def cell(self, client: str) -> PartCell:
        """Of a client, also of one that did not submit."""
        if client in self.said:
            return self.said[client]
        if not self.whole or self.asked.clients is None:
            return UNTOLD, ""
        why = self.asked.why_not(client)
        return (ABSENT, "") if why is None else (NOT_ASKED, why)


def _with_offence(cell: PartCell, named: bool) -> PartCell:
    """A cell, once it is known whether an offence of the client is proved: a verdict alone blames nobody."""
    part, why = cell
    if part is OFFENCE and not named:
        return LEFT_OUT, f"{why}, which is not proved to be its own doing"
    return (ALSO_OFFENCE, why) if part in (SUMMED, NOISE) and named else cell


def _said(told: Told, found: Round) -> dict[str, PartCell]:
    """Each client's own: the accepted submission, else the first that it signed, else what is there in its name."""
    logged = {} if found.cohort is None else found.cohort.message.judged()
    cells: dict[str, PartCell] = {}
    for record in sorted(found.submissions.values(), key=lambda each: _weight(told, logged, each)):
        cells.setdefault(record.client, _client_cell(told, found, record, logged))
    return cells


def _weight(told: Told, logged: Mapping[int, str], record: SubmissionRecord) -> tuple[bool, bool, int]:
    return logged.get(record.index) != ACCEPTED, not is_signed(told.log, record.index), record.index


def _client_cell(told: Told, found: Round, record: SubmissionRecord, logged: Mapping[int, str]) -> PartCell:
    said, right = logged.get(record.index), right_verdict(told, found, record)
    if said is None:
        return UNJUDGED, right if right is not None and right in OFFENCES else ""
    if right is not None and right != said and answers(found, record.round_open):
        return CONTRADICTED, f"the log says {said}, the audit finds {right}"
    if said == ACCEPTED:
        return ((NOISE if record.noise else SUMMED) if found.aggregate is not None else UNOPENED), ""
    return (OFFENCE if said in OFFENCES else LEFT_OUT), said


@dataclass(frozen=True)
class _Trustees:
    """One round, by trustee: who has a key, who acknowledged, who was asked to release, who did, and whose release is
    right or wrong, as far as this was judged."""

    keys: AbstractSet[str]
    acks: AbstractSet[str]
    asked: AbstractSet[str]
    released: AbstractSet[str]
    valid: AbstractSet[str] | None
    wrong: AbstractSet[str]
    whole: bool

    @classmethod
    def of(cls, told: Told, found: Round) -> _Trustees:
        valid = told.cohorts.releases.get(found.number)
        return cls(
            frozenset(each.message.trustee for each in found.keys),
            frozenset(each.message.trustee for each in found.acks),
            frozenset(() if found.cohort is None else found.cohort.message.trustees),
            frozenset(each.message.trustee for each in found.releases),
            None if valid is None else valid.keys(),
            frozenset(each.message.trustee for each in found.releases if each.index in told.cohorts.wrong),
            told.log.is_whole(found.number),
        )

    def cell(self, trustee: str) -> PartCell:
        """Of a trustee."""
        if trustee in self.wrong:
            return WRONG, ""
        if trustee in self.released:
            judged = self.valid is not None and trustee in self.valid
            return (RELEASED, "") if judged else (UNTOLD, "its release could not be judged, or does not count")
        return next(self._without_release(trustee))

    def _without_release(self, trustee: str) -> Iterator[PartCell]:
        if not self.whole:
            yield UNTOLD, ""
        if trustee in self.asked:
            yield SILENT, ""
        if trustee in self.acks:
            yield HELD, ""
        yield (KEYED if trustee in self.keys else NO_KEY), ""
