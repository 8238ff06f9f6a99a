"""Who may be missing from a cohort without being isolated by it (spec 8.8).

An exemption from the differencing rule is as good as the evidence: a coordinator that could call anybody an offender
could isolate anybody. So a client is exempt only for its one submission of the current round, and only if more than f
acknowledgements dispute it, which the log itself shows, or if whoever asks has verified its fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from proofs.engine import Engine
from proofs.errors import Rejected
from protocols.cohorts import INVALID_PROOF, MALFORMED, disputed_by_quorum
from protocols.differencing import check_candidate
from protocols.pinned import PinnedPolicy
from protocols.rounds.ledger import CurrentRound, Ledger, LoggedSubmission, opened_on
from protocols.submissions import BlobSource, judge


def check_cohort_difference(
    engine: Engine, pinned: PinnedPolicy, ledger: Ledger, current: CurrentRound, blobs: BlobSource
) -> None:
    """Rule P6 for the closed cohort of `current`, against every cohort opened on its model before.

    Blobs are read, and proofs verified, only if the rule depends on a client excluded in this round for its
    submission. Raises Rejected("differencing"), or Rejected("blob-...") where the evidence cannot be had.
    """
    cohort = frozenset(each.message.client for each in current.members())
    earlier = opened_on(pinned, ledger, current.message.model)
    disputed = disputed_clients(pinned, current)
    minimum = pinned.policy.min_cohort
    try:
        check_candidate(earlier, cohort, disputed, minimum)
    except Rejected:
        suspects = frozenset().union(*earlier) - cohort
        proven = _proven(engine, pinned, current, suspects, blobs)
        if not proven:
            raise
        check_candidate(earlier, cohort, disputed | proven, minimum)


def disputed_clients(pinned: PinnedPolicy, current: CurrentRound) -> frozenset[str]:
    """Clients whose one submission of this round more than f trustees dispute."""
    acks = {ack.trustee: ack for ack in current.acks}
    disputed = disputed_by_quorum(pinned.policy, acks)
    return frozenset(each.message.client for each in _single(current) if each.index in disputed)


def _proven(
    engine: Engine, pinned: PinnedPolicy, current: CurrentRound, suspects: frozenset[str], blobs: BlobSource
) -> frozenset[str]:
    """Those of `suspects` whose one submission of this round is excluded as malformed or invalid, and is."""
    excluded = current.cohort.message.excluded if current.cohort else ()
    called = {exclusion.index for exclusion in excluded if exclusion.reason in (MALFORMED, INVALID_PROOF)}
    submissions = [
        each.message for each in _single(current) if each.index in called and each.message.client in suspects
    ]
    faults = judge(engine, pinned, submissions, current.message.seed, blobs)
    return frozenset(each.client for each, fault in zip(submissions, faults, strict=True) if fault is not None)


def _single(current: CurrentRound) -> Iterator[LoggedSubmission]:
    """The submissions of clients with no other in the round: a second one might be good, and its client honest."""
    counts = Counter(each.message.client for each in current.submissions)
    return (each for each in current.submissions if counts[each.message.client] == 1)
