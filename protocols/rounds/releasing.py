"""What a trustee says of the shares that it holds: its acknowledgement, and its release of their sum (spec 8.5, 8.9).

Functions from what is in log and store to the messages; which of them it may say is for `check_release`, and for the
trustee.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from proofs.engine import Engine
from proofs.errors import Rejected
from protocols import sharing
from protocols.blobs import blob_hash
from protocols.cohorts import ack_digest
from protocols.envelopes import open_envelope, seal
from protocols.identities import SigningKey
from protocols.messages import Dispute, Release, ShareAck
from protocols.noise_trustees import in_words
from protocols.pinned import PinnedPolicy
from protocols.rounds.closing import is_cohort
from protocols.rounds.exchange import ReleasePackage
from protocols.rounds.ledger import CurrentRound, Ledger, LoggedCohort
from protocols.rounds.lineage import check_step
from protocols.rounds.offences import check_cohort_difference
from protocols.sharing import Share
from protocols.submissions import BlobSource
from protocols.verdicts import ANSWERS, HELD, spell


def draft_ack(
    pinned: PinnedPolicy, current: CurrentRound, trustee: str, held: Iterable[int], disputed: Iterable[Dispute]
) -> ShareAck:
    """That it holds the shares of these submissions, by log index, and disputes those."""
    known, first = frozenset(held), current.index + 1
    answers = dict.fromkeys(known, HELD) | {each.index: each.reason for each in disputed}
    pairs = [(each.message.client, each.entry) for each in current.first_submissions() if each.index in known]
    return ShareAck(
        pinned.policy.federation,
        current.number,
        current.entry,
        trustee,
        first,
        spell(first, answers, ANSWERS),
        ack_digest(current.entry, trustee, pairs),
    )


def acknowledged(ack: bytes | None) -> tuple[int, ...]:
    """The submissions whose shares a trustee said it holds, by log index; none before it said so."""
    message = open_envelope(ack).message if ack is not None else None
    return message.acknowledged if isinstance(message, ShareAck) else ()


def check_release(
    engine: Engine,
    pinned: PinnedPolicy,
    trustee: str,
    ledger: Ledger,
    held: Iterable[int],
    blobs: BlobSource,
) -> None:
    """Rules 3 to 7 of `Trustee.release`, for the closed cohort of the open round; held: what it acknowledged."""
    current = ledger.current
    if current is None:
        raise Rejected("order", "an open round", "none")
    cohort, known = closed_cohort(current).message, frozenset(held)
    if trustee not in cohort.trustees:
        raise Rejected("release", f"one of {', '.join(cohort.trustees)}", trustee)
    for index in cohort.accepted:
        if index not in known:
            raise Rejected("unacknowledged", "submissions that it acknowledged", f"entry {index}")
    if not is_cohort(pinned, current, cohort):
        raise Rejected("cohort-size", in_words(pinned.policy), str(len(cohort.accepted)))
    check_cohort_difference(engine, pinned, current, blobs)
    if ledger.step is not None:
        check_step(engine, pinned, ledger.step, blobs)


def closed_cohort(current: CurrentRound) -> LoggedCohort:
    """The cohort of a round; raises Rejected("order") while it collects."""
    if current.cohort is None:
        raise Rejected("order", "a closed cohort", f"round {current.number} is collecting")
    return current.cohort


def sum_held(pinned: PinnedPolicy, shares: bytes, held: Sequence[int], wanted: Iterable[int]) -> Share:
    """The sum of the shares of some submissions; shares: of all in `held`, one after the other."""
    positions = {index: position for position, index in enumerate(held)}
    size, length = pinned.share_size, pinned.secret_length
    starts = (positions[index] * size for index in wanted)
    return sharing.sum_shares(Share.decode(shares[start : start + size], length) for start in starts)


def sign_release(
    pinned: PinnedPolicy, number: int, cohort: LoggedCohort, trustee: str, share: Share, key: SigningKey
) -> ReleasePackage:
    """A trustee's release of this sum for a cohort."""
    blob = share.encode()
    message = Release(pinned.policy.federation, number, cohort.entry, cohort.message.digest, trustee, blob_hash(blob))
    return ReleasePackage(seal(message, trustee, key), blob)
