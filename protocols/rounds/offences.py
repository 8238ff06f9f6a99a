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
from protocols.cohorts import DISPUTED, INVALID_PROOF, MALFORMED
from protocols.differencing import check_nested
from protocols.pinned import PinnedPolicy
from protocols.rounds.ledger import CurrentRound, LoggedSubmission, clients_of
from protocols.submissions import BlobSource, judge


def check_cohort_difference(engine: Engine, pinned: PinnedPolicy, current: CurrentRound, blobs: BlobSource) -> None:
    """Rule P6 for the closed cohort of `current`, against the latest cohort opened on its model before.

    Blobs are read, and proofs verified, only if the rule depends on a client excluded in this round for its
    submission. Raises Rejected("differencing"), or Rejected("blob-...") where the evidence cannot be had.
    """
    earlier = clients_of(pinned, current.earlier)
    if earlier is None:
        return
    cohort = frozenset(each.message.client for each in current.members())
    disputed = disputed_clients(current)
    minimum = pinned.policy.min_cohort
    try:
        check_nested(earlier, cohort, disputed, minimum)
    except Rejected:
        proven = _proven(engine, pinned, current, earlier - cohort, blobs)
        if not proven:
            raise
        check_nested(earlier, cohort, disputed | proven, minimum)


def disputed_clients(current: CurrentRound) -> frozenset[str]:
    """Clients whose one submission of the round the closed cohort leaves out as disputed, as the rules of the log have
    shown it to be."""
    return frozenset(each.message.client for each in _excluded(current, DISPUTED))


def _proven(
    engine: Engine, pinned: PinnedPolicy, current: CurrentRound, suspects: frozenset[str], blobs: BlobSource
) -> frozenset[str]:
    """Those of `suspects` whose one submission of this round is excluded as malformed or invalid, and is."""
    called = _excluded(current, MALFORMED, INVALID_PROOF)
    submissions = [each.message for each in called if each.message.client in suspects]
    faults = judge(engine, pinned, submissions, current.message.seed, blobs)
    return frozenset(each.client for each, fault in zip(submissions, faults, strict=True) if fault is not None)


def _excluded(current: CurrentRound, *reasons: str) -> Iterator[LoggedSubmission]:
    """The submissions that the cohort leaves out for one of these reasons, of clients with no other in the round: a
    second one might be good, and its client honest."""
    excluded = current.cohort.message.excluded if current.cohort else ()
    called = {exclusion.index for exclusion in excluded if exclusion.reason in reasons}
    counts = Counter(each.message.client for each in current.submissions)
    return (each for each in current.submissions if each.index in called and counts[each.message.client] == 1)
