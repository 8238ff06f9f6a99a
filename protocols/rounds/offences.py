"""Who may be missing from a cohort without being isolated by it (spec 8.8).

An exemption from the differencing rule is as good as the evidence: a coordinator that could call anybody an offender
could isolate anybody. So a client is exempt only for its one submission of the current round, and only if more than f
acknowledgements dispute it, which the log itself shows, or if whoever asks has verified its fault.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator

from proofs.engine import Engine
from proofs.errors import Rejected
from protocols.encoding import decode
from protocols.messages import Submission
from protocols.pinned import PinnedPolicy
from protocols.privacy.differencing import Cohort, check_consecutive, check_nested
from protocols.reasons import DISPUTED, INVALID_PROOF, MALFORMED
from protocols.rounds.ledger import CurrentRound, ExcusedSubmission, LoggedSubmission, clients_of, recent_cohorts
from protocols.submissions import BlobSource, judge


def check_cohort_difference(engine: Engine, pinned: PinnedPolicy, current: CurrentRound, blobs: BlobSource) -> None:
    """Rule P6 for the closed cohort of `current`, against the latest cohort opened on its model before; and that all
    which this one rests on is true. Whoever releases may not have looked at it: it was not asked, or refused.

    Blobs are read, and proofs verified, only if the rule depends on a client excluded for its submission, in this round
    or an earlier one on the model. Raises Rejected("differencing"), or Rejected("blob-...") where the evidence cannot
    be had.
    """
    relied_on = excused_submissions(pinned, current)
    false = [each.client for each in relied_on if not _is_at_fault(engine, pinned, each, blobs)]
    if false:
        expected = "submissions at fault of those who left the cohorts on this model"
        raise Rejected("differencing", expected, f"a difference of {', '.join(sorted(set(false)))}")
    check_hidden(pinned, current, disputed_clients(current) | _clients_excused_now(current, relied_on))


def excused_submissions(pinned: PinnedPolicy, current: CurrentRound) -> tuple[ExcusedSubmission, ...]:
    """What the closed cohort of `current` rests on, after what the one before it on the model does: if the rule does
    not hold with those exempt who are disputed, which the log itself shows, the submissions that are called faulty of
    all clients whom it looks at. So what is exempt in the choice of a cohort is exempt for whoever releases, too."""
    before = current.earlier.excused if current.earlier is not None else ()
    try:
        check_hidden(pinned, current, disputed_clients(current))
    except Rejected:
        bases = [current.earlier, *(current.recent if pinned.policy.strict_consecutive else ())]
        known = frozenset[str]().union(*(clients_of(pinned, base) or () for base in bases))
        called = (each for each in _excluded(current, MALFORMED, INVALID_PROOF) if each.message.client in known)
        number, seed = current.number, current.message.seed
        return (*before, *(ExcusedSubmission(each.message.client, number, seed, each.body) for each in called))
    return before


def _clients_excused_now(current: CurrentRound, relied_on: Iterable[ExcusedSubmission]) -> frozenset[str]:
    return frozenset(each.client for each in relied_on if each.round == current.number)


def check_hidden(pinned: PinnedPolicy, current: CurrentRound, exempt: frozenset[str]) -> None:
    """Raise Rejected("differencing") unless the closed cohort may follow those before it, with these clients exempt."""
    cohort = current.cohort_clients(pinned)
    earlier, minimum = clients_of(pinned, current.earlier), pinned.policy.min_cohort
    if earlier is not None:
        check_nested(earlier, cohort, exempt, minimum)
    if pinned.policy.strict_consecutive:
        later = Cohort(current.message.model, cohort)
        check_consecutive(recent_cohorts(pinned, current), later, exempt, minimum)


def disputed_clients(current: CurrentRound) -> frozenset[str]:
    """Clients whose one submission of the round the closed cohort leaves out as disputed, as the rules of the log have
    shown it to be."""
    return frozenset(each.message.client for each in _excluded(current, DISPUTED))


def _is_at_fault(engine: Engine, pinned: PinnedPolicy, excused: ExcusedSubmission, blobs: BlobSource) -> bool:
    return judge(engine, pinned, [decode(Submission, excused.body)], excused.seed, blobs) != [None]


def _excluded(current: CurrentRound, *reasons: str) -> Iterator[LoggedSubmission]:
    """The submissions that the cohort leaves out for one of these reasons, of clients with no other in the round: a
    second one might be good, and its client honest."""
    excluded = current.cohort.message.excluded if current.cohort else ()
    called = {exclusion.index for exclusion in excluded if exclusion.reason in reasons}
    counts = Counter(each.message.client for each in current.submissions)
    return (each for each in current.submissions if each.index in called and counts[each.message.client] == 1)
