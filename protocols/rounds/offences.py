"""Who may be missing from a cohort without being isolated by it (spec 8.8).

An exemption from the differencing rule is as good as the evidence: a coordinator that could call anybody an offender
could isolate anybody. So trustees count only exclusions that the log itself proves (a client's second submission in a
round, more than f trustees disputing its share) and the faults of the current round that they have verified themselves.
"""

from __future__ import annotations

from proofs.engine import Engine
from proofs.errors import Rejected
from protocols.cohorts import INVALID_PROOF, MALFORMED
from protocols.differencing import check_candidate
from protocols.pinned import PinnedPolicy
from protocols.rounds.ledger import CurrentRound, Ledger, opened_on
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
    offenders = frozenset(ledger.offenders)
    minimum = pinned.policy.min_cohort
    try:
        check_candidate(earlier, cohort, offenders, minimum)
    except Rejected:
        suspects = frozenset().union(*earlier) - cohort
        proven = _proven(engine, pinned, current, suspects, blobs)
        if not proven:
            raise
        check_candidate(earlier, cohort, offenders | proven, minimum)


def _proven(
    engine: Engine, pinned: PinnedPolicy, current: CurrentRound, suspects: frozenset[str], blobs: BlobSource
) -> frozenset[str]:
    """Those of `suspects` whose submission of this round is excluded as malformed or invalid, and is."""
    excluded = current.cohort.message.excluded if current.cohort else ()
    called = {exclusion.index for exclusion in excluded if exclusion.reason in (MALFORMED, INVALID_PROOF)}
    submissions = [
        each.message for each in current.submissions if each.index in called and each.message.client in suspects
    ]
    faults = judge(engine, pinned, submissions, current.message.seed, blobs)
    return frozenset(each.client for each, fault in zip(submissions, faults, strict=True) if fault is not None)
