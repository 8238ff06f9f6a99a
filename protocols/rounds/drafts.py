"""The coordinator's messages, as the log and the rules make them; nothing is signed here (spec 8.5)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice

from proofs.errors import Misuse
from protocols.blobs import blob_hash
from protocols.cohorts import cohort_digest
from protocols.contexts import round_seed
from protocols.log.checkpoint import Checkpoint
from protocols.messages import (
    DETAILS,
    Aggregate,
    CohortClosed,
    Detail,
    FederationClosed,
    MissingParty,
    RoundAborted,
    RoundClosed,
    RoundOpen,
    ShareAck,
)
from protocols.pinned import PinnedPolicy
from protocols.reasons import DISPUTED, UNACKNOWLEDGED
from protocols.rounds.closing import chosen
from protocols.rounds.ledger import CurrentRound, Ledger
from protocols.steps import step as server_steps
from protocols.steps.step import StepState
from protocols.submissions import Fault
from protocols.verdicts import ACCEPTED, HELD, VERDICTS, spell


def draft_open(
    pinned: PinnedPolicy, ledger: Ledger, head: Checkpoint, keys: Sequence[bytes], draw: bytes | None = None
) -> RoundOpen:
    """RoundOpen on the last published checkpoint `head`, behind RoundKeys of these hashes, not in `ledger` yet.

    draw: by which clients are drawn.
    """
    if ledger.model is None:
        raise Misuse("open_round: genesis first")
    return RoundOpen(
        federation=pinned.policy.federation,
        round=ledger.next_round,
        policy=pinned.hash,
        model=ledger.model,
        checkpoint_size=head.size,
        checkpoint_root=head.root,
        seed=round_seed(head.root, ledger.next_round, keys),
        changes=ledger.membership.root(),
        round_keys=tuple(range(ledger.size, ledger.size + len(keys))),
        round_key_hashes=tuple(keys),
        retry_of=ledger.retry_of,
        draw=draw,
        noise=None,
    )


def draft_cohort(pinned: PinnedPolicy, current: CurrentRound, faults: Mapping[int, Fault]) -> CohortClosed:
    """CohortClosed by the rule of spec 8.7, given the submissions that are at fault themselves, by index.

    A may be too small to be closed, and Q empty: that is for the caller to see.
    """
    acks = {ack.trustee: ack for ack in current.acks}
    choice = chosen(pinned, current, {index: fault.reason for index, fault in faults.items()})
    reasons = {index: fault.reason for index, fault in faults.items()} | dict(choice.left_out)
    verdicts = reasons | dict.fromkeys(choice.accepted, ACCEPTED)
    first, count = current.index + 1, len(current.submissions) + len(current.acks)
    accepted = set(choice.accepted)
    pairs = [(each.message.client, each.entry) for each in current.submissions if each.index in accepted]
    return CohortClosed(
        pinned.policy.federation,
        current.number,
        current.entry,
        first,
        spell(first, verdicts, VERDICTS, stop=first + count),
        tuple(islice(_details(reasons, faults, acks), DETAILS)),
        choice.trustees,
        cohort_digest(current.entry, pairs, choice.trustees),
    )


def _details(reasons: Mapping[int, str], faults: Mapping[int, Fault], acks: Mapping[str, ShareAck]) -> Iterator[Detail]:
    """What is known of exclusions beside the reason: of a fault the verifier's own words; else which trustees left the
    submission out, as far as 256 characters reach."""
    said = {name: ack.said() for name, ack in acks.items()}
    for index, reason in sorted(reasons.items()):
        text = ""
        if index in faults:
            text = faults[index].detail
        elif reason == DISPUTED:
            text = f"by {', '.join(name for name, words in said.items() if words.get(index, HELD) != HELD)}"
        elif reason == UNACKNOWLEDGED:
            text = f"by {', '.join(name for name, words in said.items() if words.get(index) != HELD)}"
        if text:
            yield Detail(index, text[:256])


def draft_aggregate(
    pinned: PinnedPolicy, current: CurrentRound, used: frozenset[str], blobs: Mapping[str, bytes]
) -> Aggregate:
    """Aggregate from the releases of the trustees in `used`; `blobs` by field."""
    if current.cohort is None:
        raise Misuse(f"round {current.number}: the cohort is not closed")
    hashes = {name: blob_hash(blob) for name, blob in blobs.items()}
    return Aggregate(
        federation=pinned.policy.federation,
        round=current.number,
        cohort=current.cohort.entry,
        releases=tuple(release.index for release in current.releases if release.message.trustee in used),
        ciphertext=hashes["ciphertext"],
        key=hashes["key"],
        plaintext=hashes["plaintext"],
        blindings=hashes["blindings"],
        noise=None,
        weight=None,
    )


def draft_close(
    pinned: PinnedPolicy, number: int, aggregate: bytes, state: StepState
) -> tuple[RoundClosed, dict[bytes, bytes]]:
    """RoundClosed behind the entry `aggregate`, and its blobs by hash; state: after the server step."""
    model, optimizer = server_steps.encode_model(state.model), server_steps.encode_optimizer(state)
    blobs = {blob_hash(blob): blob for blob in (model, optimizer) if blob is not None}
    remembered = None if optimizer is None else blob_hash(optimizer)
    return RoundClosed(pinned.policy.federation, number, aggregate, blob_hash(model), remembered), blobs


def draft_abort(
    pinned: PinnedPolicy, current: CurrentRound, reason: str, missing: Sequence[MissingParty]
) -> RoundAborted:
    """RoundAborted of the round as it stands."""
    cohort = current.cohort.entry if current.cohort else None
    return RoundAborted(pinned.policy.federation, current.number, current.entry, cohort, reason, tuple(missing))


def draft_end(pinned: PinnedPolicy, ledger: Ledger, reason: str) -> FederationClosed:
    """FederationClosed of a log between rounds."""
    if ledger.model is None:
        raise Misuse("close_federation: genesis first")
    return FederationClosed(pinned.policy.federation, pinned.hash, ledger.model, ledger.rounds, reason)
