"""When a cohort may be closed and a round aborted, by what the log shows (spec 8.7 and 8.9)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

from proofs.errors import Rejected
from protocols.cohorts import Choice, Judged, choose, cohort_digest
from protocols.ending import Past, endings
from protocols.messages import CohortClosed, MissingParty, RoundAborted
from protocols.noise_trustees import in_words, makes_cohort, noise_needed
from protocols.pinned import PinnedPolicy
from protocols.reasons import (
    DIFFERENCING,
    DUPLICATE,
    MISSING_RELEASES,
    NO_ACKNOWLEDGEMENT,
    NO_QUORUM,
    NO_RELEASE,
    OPENING_FAILED,
    OWN_FAULTS,
    SUPPRESSED,
    TOO_FEW_SUBMISSIONS,
    WRONG_RELEASE,
)
from protocols.rounds.ledger import (
    CurrentRound,
    Ledger,
    able_clients,
    clients_in_force,
    clients_of,
    noise_in_force,
    opened_on,
    recent_cohorts,
)
from protocols.verdicts import ACCEPTED


def check_cohort(pinned: PinnedPolicy, current: CurrentRound, message: CohortClosed) -> None:
    """The choice follows from the acknowledgements and from which submissions are called faulty; whether these are
    is for those with the blobs to judge.

    1. There is a verdict on each of the round's submissions, and on nothing else.
    2. Exactly the later submissions of a client are excluded as duplicates.
    3. A, Q and the other exclusions are those of spec 8.7.
    4. Details are of exclusions, ascending.
    5. A has min_cohort clients that train, and the noise that it needs; |A| <= max_cohort and |Q| >= t.
    6. The digest is right.
    Raises Rejected("cohort"), ("cohort-size"), ("cohort-digest").
    """
    verdicts = message.judged()
    _check_places(current, message, verdicts)
    faults = {index: reason for index, reason in verdicts.items() if reason in OWN_FAULTS}
    choice = chosen(pinned, current, faults)
    _check_verdicts(faults | dict(choice.left_out) | dict.fromkeys(choice.accepted, ACCEPTED), verdicts)
    if message.trustees != choice.trustees:
        raise Rejected("cohort", f"Q = {', '.join(choice.trustees)}", ", ".join(message.trustees))
    _check_details(message)
    accepted = set(message.accepted)
    pairs = [(each.message.client, each.entry) for each in current.submissions if each.index in accepted]
    _check_size(pinned, message, [client for client, _ in pairs])
    expected_digest = cohort_digest(current.entry, pairs, message.trustees)
    if message.digest != expected_digest:
        raise Rejected("cohort-digest", expected_digest.hex(), message.digest.hex())


def chosen(pinned: PinnedPolicy, current: CurrentRound, faults: Mapping[int, str]) -> Choice:
    """A and Q of the round by spec 8.7, with these faults of submissions, by log index, taken for true."""
    submissions = [Judged(each.index, each.message.client, faults.get(each.index)) for each in current.submissions]
    acks = {ack.trustee: ack for ack in current.acks}
    earlier, recent = clients_of(pinned, current.earlier), recent_cohorts(pinned, current)
    return choose(pinned.policy, pinned.hash, submissions, acks, earlier, recent, current.message.model)


def _check_places(current: CurrentRound, message: CohortClosed, verdicts: Mapping[int, str]) -> None:
    first, count = current.index + 1, len(current.submissions) + len(current.acks)
    if (message.first, len(message.verdicts)) != (first, count):
        found = f"{len(message.verdicts)} from entry {message.first}"
        raise Rejected("cohort", f"verdicts on the {count} entries from {first}", found)
    submissions = {each.index for each in current.submissions}
    if odd := submissions ^ verdicts.keys():
        said = "a submission" if min(odd) in submissions else "none"
        raise Rejected("cohort", "a verdict on each submission", f"entry {min(odd)}, which is {said}")
    later = submissions - {each.index for each in current.first_submissions()}
    if odd := later ^ {index for index, reason in verdicts.items() if reason == DUPLICATE}:
        expected = "a duplicate" if min(odd) in later else "the client's first"
        raise Rejected("cohort", f"entry {min(odd)}: {expected}", verdicts[min(odd)])


def _check_verdicts(expected: Mapping[int, str], found: Mapping[int, str]) -> None:
    for index, reason in found.items():
        if expected[index] != reason:
            raise Rejected("cohort", f"entry {index}: {expected[index]}", reason)


def _check_details(message: CohortClosed) -> None:
    indices = tuple(each.index for each in message.details)
    _ascending("details", indices)
    if odd := set(indices).difference(each.index for each in message.excluded):
        raise Rejected("cohort", "details of exclusions", f"one of entry {min(odd)}")


def _check_size(pinned: PinnedPolicy, message: CohortClosed, members: Sequence[str]) -> None:
    policy = pinned.policy
    if not makes_cohort(policy, members) or len(members) > policy.max_cohort:
        raise Rejected("cohort-size", in_words(policy), str(len(members)))
    if len(message.trustees) < policy.threshold:
        raise Rejected("cohort-size", f"at least {policy.threshold} trustees", str(len(message.trustees)))


def check_abort(pinned: PinnedPolicy, current: CurrentRound, message: RoundAborted) -> None:
    """The reason fits the phase, and the missing parties are the right ones.

    Before CohortClosed: too-few-submissions and differencing name nobody, and the first is no way around no-quorum: t
    trustees acknowledged, or fewer than min_cohort clients submitted; no-quorum names every trustee without an
    acknowledgement, and fewer than t gave one. After it: missing-releases names every trustee of Q whose release is
    not in the log, and those whose release is wrong, leaving fewer than t; opening-failed needs t releases.
    Raises Rejected("abort").
    """
    cohort = current.cohort
    if message.cohort != (cohort.entry if cohort else None):
        raise Rejected("abort", "the round's cohort-closed, if any", "another")
    threshold = pinned.policy.threshold
    if _names_nobody(current, message.reason, threshold):
        _check_missing(message, ())
        uncertain = message.reason == TOO_FEW_SUBMISSIONS and len(current.acks) < threshold
        if uncertain and enough_submitted(pinned, current):
            raise Rejected("abort", f"{NO_QUORUM}: {threshold} acknowledgements would show how few", message.reason)
    elif cohort is None and message.reason == NO_QUORUM:
        if len(current.acks) >= threshold:
            raise Rejected("abort", f"fewer than {threshold} acknowledgements", str(len(current.acks)))
        _check_missing(message, unacknowledged(current))
    elif cohort is not None and message.reason == MISSING_RELEASES:
        wrong = frozenset(each.party for each in message.missing if each.reason == WRONG_RELEASE)
        _check_missing(message, unreleased(current, wrong))
        if len(cohort.message.trustees) - len(message.missing) >= threshold:
            raise Rejected("abort", f"fewer than {threshold} valid releases", f"missing only {message.missing}")
    else:
        raise Rejected("abort", "a reason of this phase of the round", message.reason)


def _names_nobody(current: CurrentRound, reason: str, threshold: int) -> bool:
    if current.cohort is None:
        return reason in (TOO_FEW_SUBMISSIONS, DIFFERENCING)
    return reason == OPENING_FAILED and len(current.releases) >= threshold


def enough_submitted(pinned: PinnedPolicy, current: CurrentRound) -> bool:
    """Whether enough clients have submitted, and trustees their noise, rightly or not."""
    return makes_cohort(pinned.policy, [each.message.client for each in current.first_submissions()])


def is_cohort(pinned: PinnedPolicy, current: CurrentRound, message: CohortClosed) -> bool:
    """Whether what is accepted is large enough to be summed."""
    accepted = set(message.accepted)
    members = [each.message.client for each in current.submissions if each.index in accepted]
    return makes_cohort(pinned.policy, members)


def why_too_few(message: CohortClosed) -> str:
    """Why this cohort is none: too few of all that came, or of those that nobody had to leave for."""
    suppressed = any(each.reason == SUPPRESSED for each in message.excluded)
    return DIFFERENCING if suppressed else TOO_FEW_SUBMISSIONS


def ending_reasons(pinned: PinnedPolicy, ledger: Ledger) -> tuple[str, ...]:
    """The reasons for which the federation may be closed, of a log between rounds (`protocols.ending.endings`)."""
    earlier = clients_of(pinned, opened_on(ledger, ledger.model or b""))
    noisy = len(noise_in_force(pinned, ledger)) >= noise_needed(pinned.policy)
    clients, able = frozenset[str](), frozenset[str]()  # nobody can be in a cohort that has too little noise
    if noisy:
        clients, able = frozenset(clients_in_force(pinned, ledger)), frozenset(able_clients(pinned, ledger))
    rounds = (ledger.aborts, ledger.rounds, ledger.retry_of is not None, ledger.failed)
    return endings(pinned.policy, Past(*rounds, clients, able, earlier))


def unacknowledged(current: CurrentRound) -> tuple[MissingParty, ...]:
    """Trustees with a key in the round and no acknowledgement, in the order of the keys."""
    known = {ack.trustee for ack in current.acks}
    return tuple(MissingParty(key.trustee, NO_ACKNOWLEDGEMENT) for key in current.keys if key.trustee not in known)


def unreleased(current: CurrentRound, wrong: frozenset[str]) -> tuple[MissingParty, ...]:
    """Trustees of Q without a release in the log, or with one that is `wrong`, in Q's order."""
    released = {release.message.trustee for release in current.releases}
    asked = current.cohort.message.trustees if current.cohort else ()
    return tuple(
        MissingParty(trustee, WRONG_RELEASE if trustee in released else NO_RELEASE)
        for trustee in asked
        if trustee in wrong or trustee not in released
    )


def _check_missing(message: RoundAborted, expected: Sequence[MissingParty]) -> None:
    if message.missing != tuple(expected):
        names = ", ".join(f"{each.party} ({each.reason})" for each in expected) or "nobody"
        found = ", ".join(f"{each.party} ({each.reason})" for each in message.missing) or "nobody"
        raise Rejected("abort", names, found)


def _ascending(name: str, indices: Sequence[int]) -> None:
    if any(later <= earlier for earlier, later in pairwise(indices)):
        raise Rejected("cohort", f"{name} ascending", str(tuple(indices))[:200])
