"""I8: what trustees said, whom the coordinator summed, and what was released for it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import Annotated

from auditor.blobs import Blobs, Roles
from auditor.case import Case
from auditor.checks.naming import first_acks, is_own, is_own_ack, is_signed
from auditor.checks.numbered import numbered
from auditor.checks.proofs import Proofs
from auditor.checks.readings import Doubtful, Readings
from auditor.checks.releases import Cohorts, Releases
from auditor.checks.rounds import NONE_HERE
from auditor.checks.submissions import first_submissions, key_trustees
from auditor.checks.verdicts import Verdicts, choice_of
from auditor.findings import Findings, counted
from auditor.index import Record, Round, SubmissionRecord, label
from auditor.reports.results import Kind, Place
from auditor.signed_log import SignedLog
from proofs.errors import Malformed, Rejected
from protocols import sharing
from protocols.cohorts import Choice, ack_digest, cohort_digest
from protocols.log.files import Damaged
from protocols.messages import Aggregate, CohortClosed, MissingParty, Release, RoundAborted, ShareAck
from protocols.noise_trustees import makes_cohort
from protocols.reasons import (
    BLAMELESS,
    DIFFERENCING,
    MISSING_RELEASES,
    NO_ACKNOWLEDGEMENT,
    NO_QUORUM,
    NO_RELEASE,
    OPENING_FAILED,
    SUPPRESSED,
    TOO_FEW_SUBMISSIONS,
    WRONG_RELEASE,
)

# Why a round may end without an aggregate, and why a party is missing from it (spec 8.9).

Wrong = tuple[Record[Release], Malformed | Rejected]  # a release, and what is wrong with it


@dataclass(frozen=True)
class Needs:
    """What I8 is handed."""

    case: Case
    log: SignedLog
    blobs: Annotated[Blobs, Roles("share_commitments", "share")]
    proofs: Proofs
    verdicts: Verdicts


@numbered("I8")
def check_cohorts(given: Needs, findings: Findings) -> Cohorts:
    """I8. 1. Acknowledgements: by trustees with a key in the round, one each, from the entry after RoundOpen on, of
    first submissions before them, with the right digest. 2. (A, Q) is what the rule of spec 8.7 gives, with the right
    digest, and a published checkpoint covers CohortClosed before anybody releases. 3. Releases: by trustees of Q, for
    this cohort and digest. 4. An Aggregate uses exactly t releases, ascending, each of which opens the sum of the
    cohort's share commitments. 5. An abort's reason is true, and it names exactly those who are missing.

    Notes name the trustees whose release is wrong, and who is in dispute: only
    for what they signed.
    """
    index = given.log.index
    index.report(findings)
    acks = released = 0
    releases = Releases()
    for found in given.log.rounds(findings):
        acks += _check_acks(given, findings, found)
        if found.cohort is not None:
            _check_choice(given, findings, found, found.cohort)
            released += _check_releases(given, findings, found, found.cohort, releases)
        if found.aggregate is not None:
            _check_used(given, findings, found, found.aggregate, releases)
        if found.aborted is not None:
            _check_abort(given, findings, found, found.aborted, releases)
    cohorts = sum(found.cohort is not None for found in index.rounds.values())
    checked = f"{counted(acks, 'acknowledgement')}, {counted(cohorts, 'cohort')}, {counted(released, 'release')}"
    return releases.left(checked)


def _check_acks(given: Needs, findings: Findings, found: Round) -> int:
    """Rule 1."""
    seen: set[str] = set()
    keyed = set(key_trustees(found))
    firsts = first_submissions(found)
    for entry in found.acks:
        name, message = label(entry.index, entry.message), entry.message
        findings.expect(name.at("round_open"), found.open.hash if found.open else None, message.round_open)
        if message.trustee not in keyed:
            findings.add(name, "a trustee with a key in this round", message.trustee)
        if message.trustee in seen:
            findings.add(name, "one acknowledgement a trustee and round", "another")
        seen.add(message.trustee)
        _check_ack_indices(given, findings, found, entry, firsts)
        members = [found.submissions[index] for index in message.acknowledged if index in found.submissions]
        digest = ack_digest(message.round_open, message.trustee, _pairs(members))
        findings.expect(name.at("digest"), digest, message.digest)
    return len(found.acks)


def _check_ack_indices(
    given: Needs, findings: Findings, found: Round, entry: Record[ShareAck], firsts: AbstractSet[int]
) -> None:
    """Rule 1, for one acknowledgement. firsts: each client's first submission of the round, by log index."""
    name, message = label(entry.index, entry.message), entry.message
    if found.open is not None:
        findings.expect(name.at("first"), found.open.index + 1, message.first)
    said = message.said()
    sound = {index for index in said if index in firsts and index < entry.index}
    for index in sorted(said.keys() - sound):
        findings.add(name.at("answers"), "a client's first submission of this round, before it", f"entry {index}")
    for dispute in message.disputed if is_own_ack(given.log, found, entry) else ():
        if dispute.index in sound and is_own(given.log, found, found.submissions[dispute.index]):
            client = found.submissions[dispute.index].client
            findings.note(f"{client} and {message.trustee} are in dispute: {dispute.reason}, entry {dispute.index}")


def _check_choice(given: Needs, findings: Findings, found: Round, entry: Record[CohortClosed]) -> None:
    """Rule 2."""
    name, message = label(entry.index, entry.message), entry.message
    choice = choice_of(given.verdicts, found)
    likely = given.verdicts.likely.get(found.number, choice)
    accepted = {*message.accepted}
    guessed = likely.accepted == message.accepted or (
        not given.log.knows_before(found) and any(_unsuppressed(each) >= accepted for each in (choice, likely))
    )
    kind = Kind.UNJUDGED if guessed else Kind.BROKEN
    findings.expect(name.at("accepted"), choice.accepted, message.accepted, kind)
    kind = Kind.UNJUDGED if likely.trustees == message.trustees else Kind.BROKEN
    findings.expect(name.at("trustees"), choice.trustees, message.trustees, kind)
    digest = cohort_digest(message.round_open, _pairs(found.accepted()), message.trustees)
    findings.expect(name.at("digest"), digest, message.digest)
    first = min((release.index for release in found.releases), default=None)
    if first is not None and not given.log.is_covered(entry.index, first):
        expected = f"a published checkpoint that covers it before the release of entry {first}"
        findings.add(name, expected, NONE_HERE, Kind.UNJUDGED)


def _unsuppressed(choice: Choice) -> set[int]:
    """The cohort without regard to those before."""
    return {index for index, reason in choice.left_out.items() if reason == SUPPRESSED}.union(choice.accepted)


def _check_releases(
    given: Needs, findings: Findings, found: Round, cohort: Record[CohortClosed], releases: Releases
) -> int:
    """Rule 3, and which releases are valid: the first of each trustee, if it opens the summed share commitments. What a
    trustee signed comes before what is in its name only."""
    shares: dict[int, tuple[Record[Release], sharing.Share]] = {}
    wrong: list[Wrong] = []
    trustees = {member.id for member in given.case.policy.trustees}
    for entry in sorted(found.releases, key=lambda each: each.index in given.log.index.disowned):
        name, message = label(entry.index, entry.message), entry.message
        sound = findings.expect(name.at("cohort"), cohort.hash, message.cohort)
        sound = findings.expect(name.at("digest"), cohort.message.digest, message.digest) and sound
        if message.trustee not in cohort.message.trustees:
            findings.add(name, f"a trustee of {', '.join(cohort.message.trustees)}", message.trustee)
        elif sound and message.trustee in trustees:
            share = _share(given, findings, entry, wrong, releases)
            if share is not None:
                shares.setdefault(given.case.pinned.share_point(message.trustee), (entry, share))
    releases.valid[found.number] = MappingProxyType(_valid(given, findings, found, shares, wrong, releases))
    releases.wrong |= _name_wrong(given, findings, found, cohort, wrong)
    return len(found.releases)


def _share(
    given: Needs, findings: Findings, entry: Record[Release], wrong: list[Wrong], releases: Releases
) -> sharing.Share | None:
    pinned = given.case.pinned
    try:
        data = given.blobs.read("share", entry.message.share)
    except Rejected as error:
        findings.reject(label(entry.index, entry.message), error)
        releases.doubted.update({entry.index} if isinstance(error, Damaged) else ())
        return None
    try:
        return sharing.Share.decode(data, pinned.secret_length)
    except Malformed as error:
        wrong.append((entry, error))
        return None


def _valid(
    given: Needs,
    findings: Findings,
    found: Round,
    shares: Mapping[int, tuple[Record[Release], sharing.Share]],
    wrong: list[Wrong],
    releases: Releases,
) -> dict[str, int]:
    """Log index of the valid release of each trustee; the others are added to `wrong`."""
    pinned, records = given.case.pinned, found.accepted()
    if not shares or not records:
        return {}
    try:
        commitments = [given.blobs.read("share_commitments", each.share_commitments) for each in records]
        points = {point: share for point, (_, share) in shares.items()}
        verdicts = sharing.verify_summed_shares(given.case.engine, points, commitments, pinned.policy.threshold)
    except Rejected as error:
        cohort = Place(f"round {found.number}", round=found.number)
        findings.reject(cohort.at("share commitments of the cohort"), error)
        releases.doubted.update(entry.index for entry in found.releases if isinstance(error, Damaged))
        return {}
    valid = {}
    for point, (entry, _) in shares.items():
        verdict = verdicts[point]
        if verdict is None:
            valid[entry.message.trustee] = entry.index
        else:
            wrong.append((entry, verdict))
    return valid


def _name_wrong(
    given: Needs, findings: Findings, found: Round, cohort: Record[CohortClosed], wrong: Sequence[Wrong]
) -> set[int]:
    """Name the trustees that signed these releases, if they did, for the very submissions that are here. Which these
    are."""
    signed = [(entry, error) for entry, error in wrong if is_signed(given.log, entry.index)]
    if not signed or not _digest_holds(found, cohort):
        return set()
    for entry, error in signed:
        trustee = entry.message.trustee
        findings.note(f"{trustee} is named: wrong release in round {found.number}, entry {entry.index} ({error})")
    return {entry.index for entry, _ in signed}


def _digest_holds(found: Round, entry: Record[CohortClosed]) -> bool:
    message = entry.message
    return message.digest == cohort_digest(message.round_open, _pairs(found.accepted()), message.trustees)


def _check_used(given: Needs, findings: Findings, found: Round, entry: Record[Aggregate], releases: Releases) -> None:
    """Rule 4."""
    name, message = label(entry.index, entry.message), entry.message
    valid = set(releases.of(found).values())
    threshold = given.case.policy.threshold
    if len(message.releases) != threshold or any(b <= a for a, b in pairwise(message.releases)):
        findings.add(name.at("releases"), f"{threshold} ascending log indices", str(message.releases))
    for index in sorted(set(message.releases) - valid):
        kind = Kind.UNJUDGED if index in releases.doubted else Kind.BROKEN
        findings.add(name.at("releases"), "a trustee's valid release for this cohort", f"entry {index}", kind)
    findings.expect(name.at("cohort"), found.cohort.hash if found.cohort else None, message.cohort)


def _check_abort(
    given: Needs, findings: Findings, found: Round, entry: Record[RoundAborted], releases: Releases
) -> None:
    """Rule 5."""
    name, message = label(entry.index, entry.message), entry.message
    findings.expect(name.at("round_open"), found.open.hash if found.open else None, message.round_open)
    findings.expect(name.at("cohort"), found.cohort.hash if found.cohort else None, message.cohort)
    if found.open is None:
        return
    reasons = dict(_true_reasons(given, found, releases))
    if message.reason not in reasons:
        expected = " or ".join(reasons) or "the round to go on: nothing stops it"
        kind = _kind_of_reason(given, found, message.reason, releases)
        findings.add(name.at("reason"), expected, message.reason, kind)
        if message.reason in BLAMELESS:
            findings.expect(name.at("missing"), _names(()), _names(message.missing))
        return
    missing = _names(reasons[message.reason])
    kind = Kind.BROKEN if message.reason in BLAMELESS else _kind_of_releases(found, releases)
    findings.expect(name.at("missing"), missing, _names(message.missing), kind)


def _kind_of_reason(given: Needs, found: Round, reason: str, releases: Releases) -> Kind:
    """Of a wrong reason: unjudged where what cannot be read might make it right. Nothing makes that of too few releases
    right where there are t, nor that of too few acknowledgements."""
    if found.cohort is not None:
        return _kind_of_releases(found, releases) if reason == OPENING_FAILED else Kind.BROKEN
    readings = _readings(given, found)
    rests = (reason == TOO_FEW_SUBMISSIONS and readings.may_be_too_few()) or (
        reason == DIFFERENCING and readings.may_be_differencing()
    )
    sure = given.proofs.unread.isdisjoint(found.submissions) and given.log.knows_before(found)
    return Kind.UNJUDGED if rests and not sure else Kind.BROKEN


def _readings(given: Needs, found: Round) -> Readings:
    """The round as far as it can be read."""
    earlier = None if found.open is None else given.log.index.opened_before(found.number, found.open.message.model)
    recent = given.case.policy.strict_consecutive and bool(given.log.index.recent_before(found.number))
    recent = recent or not given.log.knows_before(found)
    submissions = [
        Doubtful(
            index,
            record.client,
            given.proofs.faults.get(index),
            index in given.proofs.unread,
            index in given.proofs.copies,
            record.noise,
        )
        for index, record in sorted(found.submissions.items())
    ]
    return Readings(given.case.policy, submissions, first_acks(found), earlier, recent)


def _kind_of_releases(found: Round, releases: Releases) -> Kind:
    """Of a finding that rests on every release of a round."""
    return Kind.UNJUDGED if releases.are_doubted(found) else Kind.BROKEN


def _true_reasons(given: Needs, found: Round, releases: Releases) -> Iterator[tuple[str, tuple[MissingParty, ...]]]:
    """Every reason to abort that holds, with those it must name."""
    policy = given.case.policy
    if found.cohort is not None:
        valid = releases.of(found)
        if len(valid) < policy.threshold:
            yield MISSING_RELEASES, tuple(_unreleased(found, found.cohort.message, valid))
        else:
            yield OPENING_FAILED, ()  # I10 re-derives whether it did
        return
    acks = first_acks(found)
    choice = choice_of(given.verdicts, found)
    if len(acks) < policy.threshold:
        yield NO_QUORUM, tuple(MissingParty(t, NO_ACKNOWLEDGEMENT) for t in key_trustees(found) if t not in acks)
    clients = {record.client for record in found.submissions.values()}
    if not makes_cohort(policy, [found.submissions[index].client for index in choice.accepted]):
        if choice.suppressed:
            yield DIFFERENCING, ()
        elif len(acks) >= policy.threshold or not makes_cohort(policy, clients):
            yield TOO_FEW_SUBMISSIONS, ()


def _unreleased(found: Round, cohort: CohortClosed, valid: Mapping[str, int]) -> Iterator[MissingParty]:
    released = {release.message.trustee for release in found.releases}
    for trustee in cohort.trustees:
        if trustee not in valid:
            yield MissingParty(trustee, WRONG_RELEASE if trustee in released else NO_RELEASE)


def _pairs(records: list[SubmissionRecord]) -> list[tuple[str, bytes]]:
    return [(record.client, record.entry_hash) for record in records]


def _names(missing: tuple[MissingParty, ...]) -> str:
    return ", ".join(f"{each.party} ({each.reason})" for each in missing) or "nobody"
