"""What an audit says (spec 9.2): one result per numbered check, with its evidence, as a value.

Strings that come out of a transcript were written by whoever is being audited: `printable` makes every one of them
safe for a terminal before it enters a report.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from enum import StrEnum
from fractions import Fraction
from typing import Any

from auditor.reports.course import Course
from protocols.audit_checks import AUDIT_CHECKS

MAX_TEXT = 240  # characters of one quoted string
MAX_COMMAND = 4096  # characters of a warning, whose command is to be copied
MAX_FINDINGS = 50  # findings listed per check; the rest are counted


class Status(StrEnum):
    """How one check ends."""

    PASS = "pass"  # noqa: S105  the word of the report, no password
    FAIL = "fail"
    SKIPPED = "skipped"
    NOT_APPLICABLE = "not-applicable"


class Kind(StrEnum):
    """What a finding shows (spec 9.2).

    BROKEN: a rule, by whoever signed what is there. DAMAGED: the copy is not what was published, or not all of it.
    UNJUDGED: a rule could not be judged for such damage. OTHER: the copy is of another federation or policy.
    """

    BROKEN = "rule-broken"
    OTHER = "other-federation"
    UNJUDGED = "unjudged"
    DAMAGED = "damaged"


class Outcome(StrEnum):
    """How an audit ends: yes, or one of the three kinds of no. A broken rule outranks all else."""

    ACCEPTED = "accepted"
    BROKEN = "rule-broken"
    OTHER = "other-federation"
    DAMAGED = "damaged"


def outcome_of(kinds: Collection[Kind]) -> Outcome:
    """The kind of no that findings of these kinds make together."""
    if Kind.BROKEN in kinds:
        return Outcome.BROKEN
    return Outcome.OTHER if Kind.OTHER in kinds else Outcome.DAMAGED


def printable(text: str, limit: int = MAX_TEXT) -> str:
    """`text` with every character that is not printable escaped, cut to `limit` characters."""
    few = text[: limit + 1]  # what comes behind is not shown
    shown = "".join(c if c.isprintable() else c.encode("unicode_escape", "surrogatepass").decode() for c in few)
    return shown if len(shown) <= limit else shown[: limit - 3] + "..."


OF_PARTY = ("key-rotation", "revocation")  # types of entries that are called by whom they are about


@dataclass(frozen=True)
class Place:
    """What a finding is about: an entry of the log, a file, a round, the policy; `field` is of any of these.

    text: how it is called, where it is not called by what follows. entry: log index. type, party, round: of the entry,
    as far as they are known; the party that must have signed it, but of a revocation the party that is revoked.
    """

    text: str = ""
    entry: int | None = None
    type: str | None = None
    party: str | None = None
    round: int | None = None
    file: str | None = None
    field: str | None = None

    def at(self, field: str) -> Place:
        """A field of this."""
        return replace(self, field=field)

    def __str__(self) -> str:
        return self._whole() if self.field is None else f"{self._whole()}, {self.field}"

    def _whole(self) -> str:
        if self.text or self.entry is None:
            return self.text or self.file or ""
        if self.type is None:
            return f"entry {self.entry}"
        of = "of" if self.type in OF_PARTY else "by"
        party = f" {of} {self.party}" if self.party else ""
        return f"entry {self.entry} ({self.type}{party}{f', round {self.round}' if self.round else ''})"

    def to_dict(self) -> dict[str, int | str | None]:
        """Plain values; texts made safe for a terminal."""
        text = {name: value if value is None else printable(value) for name, value in self._texts().items()}
        return {"entry": self.entry, "round": self.round, **text}

    def _texts(self) -> dict[str, str | None]:
        return {"type": self.type, "party": self.party, "file": self.file, "field": self.field}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong: where, what the rules demand there, and what is there, as values. by: of a broken rule,
    who answers for it: the coordinator, who signed it into the log, or the issuer, who signed the policy."""

    place: Place
    expected: Any
    found: Any
    kind: Kind = Kind.BROKEN
    by: str | None = None

    @property
    def where(self) -> str:
        """The place in words."""
        return printable(str(self.place))

    @property
    def texts(self) -> tuple[str, str]:
        """What the rules demand, and what is there, in words."""
        return printable(shown(self.expected)), printable(shown(self.found))

    def to_dict(self) -> dict[str, Any]:
        """Plain values: what is wrong in words, its kind, who answers for it, and the fields of its place."""
        expected, found = self.texts
        plain = {"where": self.where, "expected": expected, "found": found}
        return {**plain, "kind": self.kind.value, "by": self.by, **self.place.to_dict()}


def shown(value: object) -> str:
    """A value as a finding quotes it."""
    if value is None:
        return "nothing"
    return value.hex() if isinstance(value, bytes) else str(value)


@dataclass(frozen=True)
class CheckResult:
    """The end of one check.

    checked: what was looked at and how much of it. reason: why it was skipped or does not apply, else empty.
    notes: what a reader should know although it is no failure. warnings: what to put right, though it is none. omitted:
    findings beyond MAX_FINDINGS, counted only.
    """

    id: str
    title: str
    status: Status
    checked: str
    reason: str = ""
    findings: tuple[Finding, ...] = ()
    omitted: int = 0
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def acceptable(self) -> bool:
        """Whether an audit with this result may still accept."""
        if self.status is Status.SKIPPED:
            return AUDIT_CHECKS.find(self.id).may_be_skipped
        if self.status is Status.NOT_APPLICABLE:
            return AUDIT_CHECKS.find(self.id).may_not_apply
        return self.status is Status.PASS

    def to_dict(self) -> dict[str, Any]:
        """Plain values; `findings` as `Finding.to_dict` gives them."""
        return {
            "id": self.id,
            "title": self.title,
            "status": self.status.value,
            "checked": self.checked,
            "reason": self.reason,
            "findings": [finding.to_dict() for finding in self.findings],
            "omitted": self.omitted,
            "notes": list(self.notes),
            "warnings": list(self.warnings),
        }


@dataclass(frozen=True)
class CheckpointSummary:
    """The checkpoint that was audited. hash: SHA-256 of the note file, in hexadecimal."""

    size: int
    root: str
    hash: str
    cosigners: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"size": self.size, "root": self.root, "hash": self.hash, "cosigners": list(self.cosigners)}


@dataclass(frozen=True)
class ModelSummary:
    """The last model that the log has: of the last round that closed, 0 for the initial one. hash: SHA-256 of its file,
    in hexadecimal; that it follows from the rounds is for I11."""

    round: int
    hash: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"round": self.round, "hash": self.hash}


@dataclass(frozen=True)
class Event:
    """One thing that the log says of a party. round: 0 for what belongs to none. entry: its log index, if it has one.
    holds: that the audit re-derived it (true), found otherwise (false), or that it is for nobody to re-derive (null).
    """

    round: int
    entry: int | None
    text: str
    holds: bool | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {"round": self.round, "entry": self.entry, "text": self.text, "holds": self.holds}


@dataclass(frozen=True)
class Story:
    """What the log has by one party and about it. roles: client, trustee, server. findings: with the number of their
    check, those that mention the party; all of them for the server, who wrote the log."""

    party: str
    roles: tuple[str, ...]
    events: tuple[Event, ...]
    findings: tuple[tuple[str, Finding], ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain values; each finding with the number of its check."""
        return {
            "party": self.party,
            "roles": list(self.roles),
            "events": [event.to_dict() for event in self.events],
            "findings": [{"check": check, **finding.to_dict()} for check, finding in self.findings],
        }


@dataclass(frozen=True)
class ClientAccount:
    """What one client has spent. cohorts: closed ones with it, whatever became of them; former: those of federations
    whose budget this one goes on with. allowed: how many cohorts the policy allows it here. submissions: of it in the
    log. sent: how many it may have sent, logged or not. epsilon: of the cohorts, alone: of all that it may have sent,
    if more trustees are corrupt than the policy says; None where none is proved, see `Spent`."""

    client: str
    cohorts: int
    former: int
    allowed: int
    submissions: int
    sent: int
    epsilon: Fraction | None
    alone: Fraction | None

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        plain = {
            "client": self.client,
            "cohorts": self.cohorts,
            "former_cohorts": self.former,
            "cohorts_allowed": self.allowed,
            "submissions": self.submissions,
            "submissions_sent_at_most": self.sent,
        }
        return {**plain, "epsilon": decimal(self.epsilon), "epsilon_alone": decimal(self.alone)}


@dataclass(frozen=True)
class Account:
    """What a log has spent of its clients' privacy, by the policy and the log alone. budget, delta: what the policy
    allows to each client. sensitivity, variance: B W and sigma^2, in units and units^2; adders: h. replaced: epsilon
    and delta of all cohorts that the budget allows, at twice the sensitivity: compared with any other updates, not with
    zero; None beyond 1024. meaning, assumptions: in words, what the epsilons are of, and what each of them rests on
    that no audit can check. clients: of the whole roster, ascending."""

    budget: Fraction
    delta: Fraction
    sensitivity: int
    variance: Fraction
    adders: int
    replaced: tuple[Fraction, Fraction] | None
    meaning: tuple[str, ...]
    assumptions: tuple[str, ...]
    clients: tuple[ClientAccount, ...]

    @property
    def largest(self) -> ClientAccount:
        """That of a client who has spent most."""
        return max(self.clients, key=lambda each: (each.epsilon is None, each.epsilon or 0))

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "unit": "client",
            "adjacency": "zero-out",
            "budget": {"epsilon": decimal(self.budget), "delta": decimal(self.delta)},
            "sensitivity": self.sensitivity,
            "variance": decimal(self.variance),
            "honest_adders": self.adders,
            "epsilon": decimal(self.largest.epsilon),
            "replaced": self.replaced and dict(zip(("epsilon", "delta"), map(decimal, self.replaced), strict=True)),
            "meaning": list(self.meaning),
            "assumptions": list(self.assumptions),
            "clients": [each.to_dict() for each in self.clients],
        }


def decimal(value: Fraction | None) -> float | None:
    """As a number that JSON has."""
    return None if value is None else float(value)


@dataclass(frozen=True)
class Results:
    """All that an audit found. trusted: what was taken on the transcript's own word (empty when a policy was pinned).
    model: None where the log could not be read so far.
    story: one party's, where it was asked for. account: what was spent of the clients' privacy, where the policy has a
    budget and P5 could count. course: what the federation did, where it was asked for; for pages, not for JSON."""

    transcript: str
    version: str
    engine: str
    pinned: bool
    federation: str | None
    policy_hash: str | None
    checkpoint: CheckpointSummary | None
    checks: tuple[CheckResult, ...]
    trusted: tuple[str, ...]
    seconds: float
    model: ModelSummary | None = None
    story: Story | None = None
    account: Account | None = None
    course: Course | None = None

    @property
    def accepted(self) -> bool:
        """Every check of spec 9 is there, and each one passed, or is one that may be skipped or not apply."""
        complete = tuple(result.id for result in self.checks) == AUDIT_CHECKS.names
        return complete and all(result.acceptable for result in self.checks)

    @property
    def outcome(self) -> Outcome:
        """Accepted, or which kind of no."""
        if self.accepted:
            return Outcome.ACCEPTED
        return outcome_of({finding.kind for result in self.checks for finding in result.findings})

    @property
    def broken(self) -> tuple[tuple[CheckResult, Finding], ...]:
        """The rules that were broken."""
        found = ((result, finding) for result in self.checks for finding in result.findings)
        return tuple((result, finding) for result, finding in found if finding.kind is Kind.BROKEN)

    @property
    def unjudged(self) -> tuple[str, ...]:
        """What could not be judged, by check: where evidence is missing, or why the whole check is."""
        lines = []
        for result in self.checks:
            lacking = [finding for finding in result.findings if finding.kind is Kind.UNJUDGED]
            if lacking:
                more = f" and {len(lacking) - 1} more" if len(lacking) > 1 else ""
                lines.append(f"{result.id} {result.title}: {lacking[0].where}{more}")
            elif result.status is Status.SKIPPED and not result.acceptable:
                lines.append(f"{result.id} {result.title}: {result.reason}")
        return tuple(lines)

    def check(self, number: str) -> CheckResult:
        """The result of check `number`; raises KeyError for a number that is not in the report."""
        for result in self.checks:
            if result.id == number:
                return result
        raise KeyError(number)

    def summary(self) -> dict[str, Any]:
        """Everything but the checks, as plain values."""
        return {
            "accepted": self.accepted,
            "outcome": self.outcome.value,
            "broken": [{"check": result.id, "where": each.where, "by": each.by} for result, each in self.broken],
            "unjudged": list(self.unjudged),
            "transcript": self.transcript,
            "version": self.version,
            "engine": self.engine,
            "pinned": self.pinned,
            "federation": self.federation,
            "policy_hash": self.policy_hash,
            "checkpoint": None if self.checkpoint is None else self.checkpoint.to_dict(),
            "model": None if self.model is None else self.model.to_dict(),
            "trusted": list(self.trusted),
            "seconds": round(self.seconds, 3),
        }

    def to_dict(self) -> dict[str, Any]:
        """The report as plain values, for JSON: `summary`, `checks` in the order of spec 9, `account` and `story`, if
        any."""
        account = {} if self.account is None else {"account": self.account.to_dict()}
        story = {} if self.story is None else {"story": self.story.to_dict()}
        return {**self.summary(), "checks": [result.to_dict() for result in self.checks], **account, **story}

    def __repr__(self) -> str:
        failed = [result.id for result in self.checks if result.status is Status.FAIL]
        said = "accepted" if self.accepted else f"rejected: {', '.join(failed) or 'not every check ran'}"
        return f"<audit of {self.transcript}: {said}>"
