"""One party's story (spec 9.2): what the log has by it and about it, round by round, and what the audit makes of that.

It re-derives nothing: it tells what the checks left, so it says neither more nor less than they do.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any

from auditor.case import Case
from auditor.checks.accounting import Accounting
from auditor.checks.approvals import Approvals
from auditor.checks.epsilons import in_words
from auditor.checks.naming import RoundStatements, answers, excuse, is_own_ack, statements
from auditor.checks.proofs import Proofs
from auditor.checks.releases import Cohorts
from auditor.checks.submissions import invited_clients, knows_invited
from auditor.checks.verdicts import Verdicts
from auditor.findings import Result, Unavailable, counted
from auditor.index import Record, Round, SubmissionRecord
from auditor.outcomes import CheckRun
from auditor.reports.results import CheckResult, Event, Finding, Story, printable
from auditor.signed_log import SignedLog
from proofs.errors import Malformed, Misuse, Rejected
from protocols.log.checkpoint import parse_note
from protocols.messages import COORDINATOR, KeyRotation, RoundAborted
from protocols.reasons import INVALID_PROOF, OFFENCES
from protocols.verdicts import ACCEPTED

CLIENT, TRUSTEE, SERVER = "client", "trustee", "server"
_LISTED = 20  # missing entries, in a story
UNKNOWN_CAUSE = "it sent none, or the server did not log it"
NOT_SIGNED = "is not signed by this party, for this federation and with its key in force"


@dataclass(frozen=True)
class Told:
    """What stories are told from: the case, and what the checks left. A check that left nothing adds nothing."""

    case: Case
    log: SignedLog
    proofs: Proofs
    verdicts: Verdicts
    cohorts: Cohorts
    approvals: Approvals
    accounting: Accounting

    @classmethod
    def of(cls, case: Case, ended: Mapping[type[Result], CheckRun[Any]]) -> Told:
        """From how the checks ended."""
        left: dict[type, Any] = {type(outcome.left): outcome.left for outcome in ended.values()}
        return cls(
            case,
            left.get(SignedLog, SignedLog()),
            left.get(Proofs, Proofs()),
            left.get(Verdicts, Verdicts()),
            left.get(Cohorts, Cohorts()),
            left.get(Approvals, Approvals()),
            left.get(Accounting, Accounting()),
        )


def require_party(case: Case, party: str) -> None:
    """Raise Misuse where the policy opens and knows nobody of this name."""
    if case.pinned_policy is None or _roles(case, party):
        return
    known = f"its parties are its clients, its trustees and {COORDINATOR}"
    raise Misuse(f"explain: the policy knows no {printable(party)!r}; {known}")


def explain(told: Told, results: Sequence[CheckResult], party: str) -> Story:
    """The story of `party`, once all checks have been run."""
    roles = _roles(told.case, party) if told.case.pinned_policy is not None else ()
    events = tuple(_events(told, party, roles))
    found = tuple((result.id, each) for result in results for each in result.findings)
    if SERVER not in roles:
        found = tuple((check, each) for check, each in found if _mentions(each, party))
    return Story(printable(party), roles, events, found)


def _roles(case: Case, party: str) -> tuple[str, ...]:
    policy = case.policy
    having = {
        CLIENT: any(member.id == party for member in policy.roster),
        TRUSTEE: any(member.id == party for member in policy.trustees),
        SERVER: party == COORDINATOR,
    }
    return tuple(role for role, has in having.items() if has)


def _mentions(finding: Finding, party: str) -> bool:
    word = re.compile(rf"(?<![a-z0-9._-]){re.escape(party)}(?![a-z0-9_-]|\.[a-z0-9])")
    return any(word.search(text) for text in (finding.where, *finding.texts))


def _events(told: Told, party: str, roles: Sequence[str]) -> Iterator[Event]:
    if told.log.filed is None:
        why = (
            "no checkpoint signs the entries that are here"
            if told.case.foreign is None
            else "this is another policy's log"
        )
        yield Event(0, None, f"{why}: nothing can be told", holds=False)
        return
    if told.log.gaps:
        named = ", ".join(map(str, sorted(told.log.gaps)[:_LISTED])) + (
            " and more" if len(told.log.gaps) > _LISTED else ""
        )
        yield Event(0, None, f"entries that are missing, and may be about it: {named}")
    if told.log.cut is not None:
        text = f"only the first {told.log.cut} entries are whole: what comes after them cannot be told"
        yield Event(0, None, text, holds=False)
    yield from _approvals(told, party, roles)
    yield from _changes(told, party)
    if TRUSTEE in roles:
        yield _cosignatures(told, party)
    yield from _spent(told, party)
    tellers: dict[str, Callable[[Told, Round, str], Iterator[Event]]] = {
        CLIENT: _client_round,
        TRUSTEE: _trustee_round,
        SERVER: _server_round,
    }
    for found in told.log.index.in_order():
        for role in roles:
            yield from tellers[role](told, found, party)
    if SERVER in roles and told.log.index.ending is not None:
        entry, _ = told.log.index.ending
        yield Event(0, entry.index, f"closed the federation: {printable(entry.message.reason)}")


def _approvals(told: Told, party: str, roles: Sequence[str]) -> Iterator[Event]:
    """Of the policy, where it demands some; in Genesis, which is entry 0."""
    demanded, missing = told.case.pinned.approvers, told.approvals.missing
    if missing is None:
        return
    if party in demanded:
        text = "approved the policy" if party not in missing else "no valid approval of the policy by it is in the log"
        yield Event(0, 0, text, holds=party not in missing)
    if SERVER in roles:
        text = f"published {len(demanded) - len(missing)} of {counted(len(demanded), 'approval')} of the policy"
        yield Event(0, 0, text, holds=not missing)


def _changes(told: Told, party: str) -> Iterator[Event]:
    """Rotations and revocations of its key."""
    for entry in told.log.index.changes:
        if entry.message.party == party:
            text = "rotated its key" if isinstance(entry.message, KeyRotation) else "its key was revoked by the issuer"
            yield Event(0, entry.index, text)


def _spent(told: Told, party: str) -> Iterator[Event]:
    """Of a client's privacy, where the policy has a budget."""
    account = told.accounting.account
    for each in account.clients if account is not None else ():
        if each.client == party:
            cohorts = f"{counted(each.cohorts, 'closed cohort')} of the {each.allowed} that its budget allows"
            former = f", and in {each.former} of former federations" if each.former else ""
            spent = f"{in_words(each.epsilon)} is spent"
            alone = f"{in_words(each.alone)} of {counted(each.sent, 'submission')} with more corrupt trustees"
            text = f"is in {cohorts}{former}: {spent}, {alone} (P5 says what that means)"
            yield Event(0, None, text, holds=each.cohorts <= each.allowed)


def _disowned(number: int, entry: int, what: str) -> Event:
    """All there is to say of an entry in the party's name that it did not sign."""
    return Event(number, entry, f"{what} in its name {NOT_SIGNED}", holds=False)


# ---- a client ----


def _client_round(told: Told, found: Round, party: str) -> Iterator[Event]:
    records = [record for record in found.submissions.values() if record.client == party]
    if not records and found.open is not None:
        why = asked_in(told, found).why_not(party) or UNKNOWN_CAUSE
        yield Event(found.number, None, f"no submission in the log: {why}")
    if not records:
        return
    known = statements(told.case.policy, told.log, found)
    shares = _shares(found, known)
    logged = {} if found.cohort is None else found.cohort.message.judged()
    for record in records:
        if record.index in told.log.index.disowned:
            yield _disowned(found.number, record.index, "a submission")
            continue
        yield Event(found.number, record.index, "submitted")
        if held := shares.held.get(record.index):
            yield Event(found.number, record.index, f"its share acknowledged by {', '.join(held)}")
        for name, reason in shares.disputed.get(record.index, ()) if answers(found, record.round_open) else ():
            text = f"in dispute with {name}, who says {printable(reason)}: one of them lies"
            yield Event(found.number, record.index, text)
        yield _verdict(told, found, record, known, logged.get(record.index, "no verdict"))


@dataclass(frozen=True)
class Asked:
    """To whom a round was open. clients: None where that cannot be told. in_force: who was a client when it was opened.
    spent: whose privacy budget was. repeats: whether it repeats a cohort."""

    clients: AbstractSet[str] | None
    in_force: AbstractSet[str]
    spent: AbstractSet[str]
    repeats: bool

    def why_not(self, party: str) -> str | None:
        """Why the round was not open to a client; None where it was, or where that cannot be told."""
        if self.clients is None or party in self.clients:
            return None
        if party not in self.in_force:
            return "it was revoked before"
        if party in self.spent:
            return "its privacy budget is spent"
        return (
            "it was not in the cohort that this round repeats"
            if self.repeats
            else "it was not drawn, so nobody asked it"
        )


def asked_in(told: Told, found: Round) -> Asked:
    """Who was asked in a round; nobody can tell where it has no RoundOpen here."""
    nobody_knows = Asked(None, frozenset(), frozenset(), repeats=False)
    if found.open is None:
        return nobody_knows
    case, index, opened = told.case, told.log.index, found.open.index
    try:
        budget = case.budget
    except Unavailable:  # it follows from parameters that cannot be used
        return nobody_knows
    charges = Counter[str]() if budget is None else index.charges_before(opened)
    known = knows_invited(case, told.log, found)
    return Asked(
        invited_clients(case, index, found, charges) if known else None,
        frozenset(index.clients_at(case.policy, opened)),
        frozenset() if budget is None else budget.exhausted(charges, (each.id for each in case.policy.roster)),
        index.opened_before(found.number, found.opens[0].message.model) is not None,
    )


@dataclass(frozen=True)
class _Shares:
    """What trustees said of the shares of a round's submissions, by log index: who holds one, who disputes it, why."""

    held: Mapping[int, Sequence[str]]
    disputed: Mapping[int, Sequence[tuple[str, str]]]


def _shares(found: Round, known: RoundStatements) -> _Shares:
    held: dict[int, list[str]] = {index: [] for index in found.submissions}
    disputed: dict[int, list[tuple[str, str]]] = {index: [] for index in found.submissions}
    for name, ack in known.acks.items():
        for index in held.keys() & ack.acknowledged:
            held[index].append(name)
        for dispute in ack.disputed:
            if dispute.index in disputed:
                disputed[dispute.index].append((name, dispute.reason))
    return _Shares(held, disputed)


def _verdict(told: Told, found: Round, record: SubmissionRecord, known: RoundStatements, said: str) -> Event:
    if found.cohort is None:
        return Event(found.number, record.index, f"no verdict: {_end(found)}{_unjudged(told, found, record, known)}")
    right = right_verdict(told, found, record)
    text = f"accepted; {_sum(found)}" if said == ACCEPTED else f"excluded: {printable(said)}"
    if not answers(found, record.round_open):
        text += ". It answers another RoundOpen than the round's: the audit finds nothing about it"
    elif right is not None and right != said:
        text += f". The audit finds: {right}"
    text += _details(told, found, record, right, known)
    return Event(found.number, record.index, text, None if right is None else right == said)


def _unjudged(told: Told, found: Round, record: SubmissionRecord, known: RoundStatements) -> str:
    """What the audit finds of a submission on which the log has no verdict."""
    right = right_verdict(told, found, record)
    if right in OFFENCES:
        return f". The audit finds: {right}{_details(told, found, record, right, known)}"
    return "" if right is None else ". The audit finds no fault in it"


def _details(told: Told, found: Round, record: SubmissionRecord, verdict: str | None, known: RoundStatements) -> str:
    """The check that a proof fails, and why an offence is none of this client's."""
    text = f" ({printable(told.proofs.failed[record.index])})" if verdict == INVALID_PROOF else ""
    if verdict in OFFENCES and (why := excuse(told.log, found, record, verdict, known)) is not None:
        text += f". Not its offence: {why}"
    return text


def right_verdict(told: Told, found: Round, record: SubmissionRecord) -> str | None:
    """The verdict that I7 derived; None where it could not, or where it is about another RoundOpen."""
    choice = told.verdicts.choices.get(found.number)
    own = told.proofs.faults.get(record.index)
    if choice is None or record.index in told.proofs.unread or not answers(found, record.round_open):
        return None
    return own or choice.left_out.get(record.index) or ACCEPTED


def _sum(found: Round) -> str:
    return f"its update is in the sum of entry {found.aggregate.index}" if found.aggregate else _end(found)


def _end(found: Round) -> str:
    """How the round ended, if without a sum."""
    if found.aborted is not None:
        return f"the round was aborted, {printable(found.aborted.message.reason)} (entry {found.aborted.index})"
    return "the round has not ended in this log"


# ---- a trustee ----


def _cosignatures(told: Told, party: str) -> Event:
    signed = [size for size in sorted(told.log.roots) if party in _signers(told, size)]
    text = f"cosigned {len(signed)} of {counted(len(told.log.roots), 'checkpoint')}"
    return Event(0, None, f"{text}, the last of {signed[-1]} entries" if signed else text)


def _signers(told: Told, size: int) -> set[str]:
    try:
        return {signature.name for signature in parse_note(told.case.reader.note(size)).signatures[1:]}
    except (Malformed, Rejected):
        return set()


def _trustee_round(told: Told, found: Round, party: str) -> Iterator[Event]:
    keys = [entry for entry in found.keys if entry.message.trustee == party]
    if found.open is not None and not keys:
        yield Event(found.number, None, "no round key in the log: it takes no part in the round")
    for key in keys:
        if key.index in told.log.index.disowned:
            yield _disowned(found.number, key.index, "a round key")
        else:
            yield Event(found.number, key.index, "made a round key")
    yield from _acknowledgement(told, found, party, asked=bool(keys))
    yield from _release(told, found, party)
    if found.aborted is not None:
        yield from _missing(found.number, found.aborted, party)


def _acknowledgement(told: Told, found: Round, party: str, *, asked: bool) -> Iterator[Event]:
    acks = [entry for entry in found.acks if entry.message.trustee == party]
    if asked and found.open is not None and not acks:
        yield Event(found.number, None, f"no acknowledgement in the log: {UNKNOWN_CAUSE}")
    for ack in acks:
        if ack.index in told.log.index.disowned:
            yield _disowned(found.number, ack.index, "an acknowledgement")
            continue
        held = counted(len(ack.message.acknowledged), "submission")
        yield Event(found.number, ack.index, f"acknowledged its shares of {held}")
        for dispute in ack.message.disputed if is_own_ack(told.log, found, ack) else ():
            record = found.submissions.get(dispute.index)
            whom = record.client if record is not None else f"entry {dispute.index}"
            reason = printable(dispute.reason)
            yield Event(found.number, ack.index, f"disputes the share of {whom}, {reason}: one of them lies")


def _release(told: Told, found: Round, party: str) -> Iterator[Event]:
    releases = [entry for entry in found.releases if entry.message.trustee == party]
    if found.cohort is not None and party in found.cohort.message.trustees and not releases:
        yield Event(found.number, None, f"was asked to release; no release in the log: {UNKNOWN_CAUSE}")
    used = found.aggregate.message.releases if found.aggregate is not None else ()
    for release in releases:
        if release.index in told.log.index.disowned:
            yield _disowned(found.number, release.index, "a release")
            continue
        how = "released, and its share was used" if release.index in used else "released; its share was not needed"
        valid = told.cohorts.releases.get(found.number)
        if valid is None:
            yield Event(found.number, release.index, how)
        elif valid.get(party) == release.index:
            yield Event(found.number, release.index, how, holds=True)
        elif release.index in told.cohorts.wrong:
            text = "released a share that does not open the cohort's sum"
            yield Event(found.number, release.index, text, holds=False)
        else:
            text = "a release that the audit does not count: for another cohort, or not its first"
            yield Event(found.number, release.index, text)


def _missing(number: int, entry: Record[RoundAborted], party: str) -> Iterator[Event]:
    for each in entry.message.missing:
        if each.party == party:
            yield Event(number, entry.index, f"the abort names it: {printable(each.reason)}")


# ---- the server ----


def _server_round(told: Told, found: Round, _: str) -> Iterator[Event]:
    if found.open is not None:
        again = "" if found.open.message.retry_of is None else f", again after round {found.open.message.retry_of}"
        said = f"opened the round for {counted(len(found.keys), 'trustee')}{again}"
        yield Event(found.number, found.open.index, said)
        yield Event(found.number, None, f"logged {counted(len(found.submissions), 'submission')}")
    for cohort in found.cohorts:
        yield _cohort(told, found, cohort.index, len(cohort.message.accepted), len(cohort.message.excluded))
    for aggregate in found.aggregates:
        yield Event(found.number, aggregate.index, "published the sum")
    for closed in found.closes:
        yield Event(found.number, closed.index, "closed the round with the next model")
    for aborted in found.aborts:
        missing = ", ".join(each.party for each in aborted.message.missing)
        reason = printable(aborted.message.reason)
        yield Event(found.number, aborted.index, f"aborted the round: {reason}{missing and f', for want of {missing}'}")


def _cohort(told: Told, found: Round, index: int, accepted: int, excluded: int) -> Event:
    text = f"closed a cohort: {accepted} accepted, {excluded} excluded"
    choice = told.verdicts.choices.get(found.number)
    first = found.cohort is not None and found.cohort.index == index
    if choice is None or found.cohort is None:
        return Event(found.number, index, text)
    return Event(found.number, index, text, holds=first and found.cohort.message.accepted == choice.accepted)
