"""Which entry may come next in a log (spec 8.5): one function per message type, each a numbered rule of the spec.

A trustee cosigns only logs in which every entry passed; the coordinator writes only such entries. These rules need
entries and the policy, no blobs: what blobs show is judged in `protocols.submissions` and `protocols.opening`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from proofs.errors import Misuse, Rejected
from protocols import hpke
from protocols.approvals import require_named
from protocols.cohorts import ack_digest
from protocols.contexts import round_seed
from protocols.envelopes import Entry, Envelope, check_signature
from protocols.hashes import sha256
from protocols.membership import Membership, changed_by
from protocols.messages import (
    Aggregate,
    CohortClosed,
    FederationClosed,
    Genesis,
    KeyRotation,
    Release,
    Revocation,
    RoundAborted,
    RoundClosed,
    RoundKey,
    RoundMessage,
    RoundOpen,
    ShareAck,
    Submission,
    type_of,
)
from protocols.participation import draw_value
from protocols.pinned import PinnedPolicy
from protocols.rounds.closing import check_abort, check_cohort, ending_reasons
from protocols.rounds.ledger import (
    CurrentRound,
    Ledger,
    LoggedCohort,
    LoggedKey,
    LoggedRelease,
    LoggedStep,
    LoggedSubmission,
    OpenedCohort,
    charged,
    check_budget,
    client_bitmap,
    draw_key,
    expected_draw,
    is_in,
    open_to,
    opened_on,
    packed_weights,
    weight_in,
    with_opened,
    without_excuses,
)
from protocols.rounds.offences import excused_submissions
from protocols.rounds.phases import check_order
from protocols.steps.registry import server_rule
from protocols.submissions import check_extras, check_stated
from protocols.weights import check_same_weight

MOST_SUBMISSIONS = 2  # of a client in a round
_MARK = 16  # bytes of a used key's hash


@dataclass(frozen=True)
class _Place:
    """Where an entry stands, and what names it."""

    index: int
    hash: bytes


def apply(pinned: PinnedPolicy, ledger: Ledger, entry: Entry, root: bytes) -> Ledger:
    """The ledger after one more entry; `root` is the root of the log of `ledger.size` entries before it.

    Raises Rejected with the rule's name for an entry that may not stand here.
    """
    message = entry.message
    if not isinstance(message, KeyRotation | Revocation):
        check_author(pinned, ledger.membership, entry.envelope)
    pinned.require_own(message.federation, getattr(message, "policy", pinned.hash))
    check_order(ledger, entry.envelope.type)
    if ledger.current is None and ledger.size >= ledger.ended:
        ledger = replace(ledger, roots=(*ledger.roots, root))
    if isinstance(message, KeyRotation | Revocation):
        ledger = _change(pinned, ledger, entry)
    else:
        ledger = _step(pinned, ledger, message, _Place(ledger.size, entry.hash))
    return replace(ledger, size=ledger.size + 1)


def check_author(pinned: PinnedPolicy, membership: Membership, envelope: Envelope) -> None:
    """The signature of the party that this type of entry demands, by its key in force.

    Raises Rejected("signature"), ("unknown-..."), ("revoked"). Changes of the membership check their own.
    """
    signer = type_of(envelope.message).signer
    if signer == "client":
        key = membership.key(envelope.signer, pinned.client_key(envelope.signer))
    elif signer == "trustee":
        key = membership.key(envelope.signer, pinned.trustee_key(envelope.signer))
    else:
        key = pinned.policy.log_key
    check_signature(envelope, key)


def _change(pinned: PinnedPolicy, ledger: Ledger, entry: Entry) -> Ledger:
    """Between rounds, before the first round key: whom a round was opened with stays in force to its end."""
    membership = changed_by(pinned, ledger.membership, ledger.size, entry.data, entry.envelope, ledger.ended)
    return replace(ledger, membership=membership, barred=_still_barred(pinned, membership, ledger.barred))


def _step(
    pinned: PinnedPolicy, ledger: Ledger, message: Genesis | RoundMessage | FederationClosed, place: _Place
) -> Ledger:
    if isinstance(message, Genesis):
        return _genesis(pinned, ledger, message)
    if isinstance(message, FederationClosed):
        return _federation_closed(pinned, ledger, message)
    if isinstance(message, RoundKey):
        return _round_key(pinned, ledger, message, place)
    if isinstance(message, RoundOpen):
        return _round_open(pinned, ledger, message, place)
    current = _current(ledger, message)
    match message:
        case Submission():
            return _submission(pinned, ledger, current, message, place)
        case ShareAck():
            return _share_ack(ledger, current, message)
        case CohortClosed():
            return _cohort_closed(pinned, ledger, current, message, place)
        case Release():
            return _release(ledger, current, message, place)
        case Aggregate():
            return _aggregate(pinned, ledger, current, message, place)
        case RoundClosed():
            return _round_closed(pinned, ledger, current, message, place)
        case RoundAborted():
            return _round_aborted(pinned, ledger, current, message, place)


def _genesis(pinned: PinnedPolicy, ledger: Ledger, message: Genesis) -> Ledger:
    _same("model", pinned.policy.initial_model, message.model)
    require_named(pinned, message)
    return replace(ledger, model=message.model)


def _round_key(pinned: PinnedPolicy, ledger: Ledger, message: RoundKey, place: _Place) -> Ledger:
    _next_number(pinned, ledger, message.round)
    if message.trustee in ledger.barred:
        raise Rejected("barred-trustee", "trustees that released", f"{message.trustee}, who did not")
    if any(key.trustee == message.trustee for key in ledger.keys):
        raise Rejected("round-keys", "one key a trustee and round", f"another by {message.trustee}")
    hpke.check_public_key(message.public_key)
    mark = sha256(message.public_key)[:_MARK]
    if mark in {ledger.used_keys[start : start + _MARK] for start in range(0, len(ledger.used_keys), _MARK)}:
        raise Rejected("round-keys", "a key that no round had before", f"a used one by {message.trustee}")
    due = draw_key(pinned, ledger, message.trustee)
    value = draw_value(pinned, message, () if due is None else (due,))
    key = LoggedKey(place.index, place.hash, message.trustee, message.public_key, value)
    return replace(ledger, keys=(*ledger.keys, key), used_keys=ledger.used_keys + mark)


def _round_open(pinned: PinnedPolicy, ledger: Ledger, message: RoundOpen, place: _Place) -> Ledger:
    _next_number(pinned, ledger, message.round)
    _same("model", ledger.model or b"", message.model)
    _same("changes", ledger.membership.root(), message.changes)
    if message.retry_of != ledger.retry_of:
        raise Rejected("retry", f"retry_of {ledger.retry_of}", str(message.retry_of))
    _check_checkpoint(ledger, message, place)
    indices = tuple(key.index for key in ledger.keys)
    if message.round_keys != indices or len(indices) < pinned.policy.threshold:
        expected = f"all round keys {indices}, {pinned.policy.threshold} or more"
        raise Rejected("round-keys", expected, str(message.round_keys))
    if message.round_key_hashes != tuple(key.entry for key in ledger.keys):
        raise Rejected("round-keys", "the entry hashes of these round keys, in this order", "others")
    _same("seed", round_seed(message.checkpoint_root, message.round, message.round_key_hashes), message.seed)
    _same("draw", expected_draw(pinned, ledger) or b"", message.draw or b"")
    nothing = ((), bytes(len(pinned.policy.roster)), (), None, (), None, ())
    earlier = opened_on(ledger, message.model)
    drawn = open_to(pinned, ledger, message.draw, earlier)
    current = CurrentRound(place.index, place.hash, message, ledger.keys, *nothing, drawn, earlier, ledger.recent)
    return replace(ledger, rounds=message.round, roots=(), keys=(), current=current, draw=message.draw)


def _check_checkpoint(ledger: Ledger, message: RoundOpen, place: _Place) -> None:
    if not ledger.ended <= message.checkpoint_size <= place.index:
        expected = f"a checkpoint of {ledger.ended} to {place.index} entries"
        raise Rejected("seed", expected, str(message.checkpoint_size))
    _same("seed", ledger.roots[message.checkpoint_size - ledger.ended], message.checkpoint_root)


def _submission(
    pinned: PinnedPolicy, ledger: Ledger, current: CurrentRound, message: Submission, place: _Place
) -> Ledger:
    _same("round-open", current.entry, message.round_open)
    if message.client not in pinned.noise_trustees:
        _check_asked(pinned, ledger, current, message)
    check_stated(pinned, message)
    if current.earlier is not None and message.client not in pinned.noise_trustees:
        before = weight_in(pinned, current.earlier, message.client)
        check_same_weight(before, current.earlier.round, message.weight)
    check_extras(pinned, message)
    client = pinned.client_position(message.client)
    if current.counts[client] >= MOST_SUBMISSIONS:
        raise Rejected("duplicate", "at most two submissions, the second as evidence", f"a third by {message.client}")
    trustees = tuple(share.trustee for share in message.shares)
    expected = tuple(key.trustee for key in current.keys)
    if trustees != expected:
        raise Rejected("shares", ", ".join(expected), ", ".join(trustees))
    counts = bytearray(current.counts)
    counts[client] += 1
    logged = LoggedSubmission.of(place.index, place.hash, message)
    current = replace(current, submissions=(*current.submissions, logged), counts=bytes(counts))
    return replace(ledger, current=current)


def _check_asked(pinned: PinnedPolicy, ledger: Ledger, current: CurrentRound, message: Submission) -> None:
    """A client that trains is asked only with something left of its budget, and with those of a cohort before."""
    if current.earlier is not None and not is_in(pinned, current.earlier.clients, message.client):
        cohort = f"a client of round {current.earlier.round}, the last cohort opened on this model"
        raise Rejected("retry-member", cohort, message.client)
    check_budget(pinned, ledger, message.client)
    if not is_in(pinned, current.drawn, message.client):
        raise Rejected("undrawn", f"one of the clients that are drawn for round {current.number}", message.client)


def _share_ack(ledger: Ledger, current: CurrentRound, message: ShareAck) -> Ledger:
    _same("round-open", current.entry, message.round_open)
    if all(key.trustee != message.trustee for key in current.keys):
        raise Rejected("acknowledgement", "a trustee with a key in this round", message.trustee)
    if any(ack.trustee == message.trustee for ack in current.acks):
        raise Rejected("acknowledgement", "one a trustee and round", f"another by {message.trustee}")
    if message.first != current.index + 1:
        raise Rejected("acknowledgement", f"answers from entry {current.index + 1} on", f"from {message.first}")
    firsts = {each.index: each for each in current.first_submissions()}
    for index in (*message.acknowledged, *(dispute.index for dispute in message.disputed)):
        if index not in firsts:
            raise Rejected("acknowledgement", "a client's first submission of this round", f"entry {index}")
    pairs = [(firsts[index].message.client, firsts[index].entry) for index in message.acknowledged]
    _same("ack-digest", ack_digest(current.entry, message.trustee, pairs), message.digest)
    return replace(ledger, current=replace(current, acks=(*current.acks, message)))


def _cohort_closed(
    pinned: PinnedPolicy, ledger: Ledger, current: CurrentRound, message: CohortClosed, place: _Place
) -> Ledger:
    _same("round-open", current.entry, message.round_open)
    check_cohort(pinned, current, message)
    current = replace(current, cohort=LoggedCohort(place.index, place.hash, message))
    clients = current.cohort_clients(pinned)
    excused = excused_submissions(pinned, current)
    accepted = current.accepted_submissions()
    stated = {each.message.client: each.message.weight for each in accepted if each.message.client in clients}
    weights = packed_weights(pinned, stated)
    opened = OpenedCohort(current.number, current.message.model, client_bitmap(pinned, clients), excused, weights)
    recent = (*ledger.recent[-1:], replace(opened, excused=(), weights=b""))
    charges = charged(pinned, ledger, clients)
    return replace(ledger, current=current, opened=with_opened(ledger, opened), recent=recent, charges=charges)


def _release(ledger: Ledger, current: CurrentRound, message: Release, place: _Place) -> Ledger:
    cohort = _closed_cohort(current)
    _same("cohort", cohort.entry, message.cohort)
    _same("cohort-digest", cohort.message.digest, message.digest)
    if message.trustee not in cohort.message.trustees:
        raise Rejected("release", f"a trustee of {', '.join(cohort.message.trustees)}", message.trustee)
    if any(release.message.trustee == message.trustee for release in current.releases):
        raise Rejected("release", "one a trustee and round", f"another by {message.trustee}")
    release = LoggedRelease(place.index, message)
    return replace(ledger, current=replace(current, releases=(*current.releases, release)))


def _aggregate(
    pinned: PinnedPolicy, ledger: Ledger, current: CurrentRound, message: Aggregate, place: _Place
) -> Ledger:
    cohort = _closed_cohort(current)
    _same("cohort", cohort.entry, message.cohort)
    _ascending("releases", "releases", message.releases)
    logged = {release.index for release in current.releases}
    if len(message.releases) != pinned.policy.threshold or not logged.issuperset(message.releases):
        raise Rejected("releases", f"{pinned.policy.threshold} of the entries {sorted(logged)}", str(message.releases))
    opened = (message.plaintext, message.blindings)
    return replace(ledger, current=replace(current, aggregate=place.hash, opened=opened))


def _round_closed(
    pinned: PinnedPolicy, ledger: Ledger, current: CurrentRound, message: RoundClosed, place: _Place
) -> Ledger:
    _same("aggregate", current.aggregate or b"", message.aggregate)
    rule = server_rule(pinned.policy.step.rule)
    if (message.optimizer is None) != (not rule.moments):
        raise Rejected("optimizer", f"what {rule.name} keeps", "another")
    ended = replace(ledger, model=message.model, retry_of=None, barred=(), current=None, failed=False)
    opened = without_excuses(ledger, current.message.model)
    size, step = place.index + 1, _logged_step(ledger, current, message)
    return replace(ended, ended=size, settled=size, step=step, opened=opened)


def _logged_step(ledger: Ledger, current: CurrentRound, message: RoundClosed) -> LoggedStep:
    optimizer = ledger.step.after[1:] if ledger.step is not None else ()
    after = (message.model,) if message.optimizer is None else (message.model, message.optimizer)
    summed = tuple(each.body for each in current.accepted_submissions())
    before = (current.message.model, *optimizer)
    return LoggedStep(current.number, current.message.seed, before, after, summed, *current.opened)


def _round_aborted(
    pinned: PinnedPolicy, ledger: Ledger, current: CurrentRound, message: RoundAborted, place: _Place
) -> Ledger:
    _same("round-open", current.entry, message.round_open)
    check_abort(pinned, current, message)
    barred, failed = ledger.barred, current.cohort is None
    if not failed:
        barred = _still_barred(pinned, ledger.membership, (*barred, *(missing.party for missing in message.missing)))
    ended = replace(ledger, retry_of=current.number, barred=barred, current=None, failed=failed)
    return replace(ended, aborts=ledger.aborts + (not failed), ended=place.index + 1)


def _federation_closed(pinned: PinnedPolicy, ledger: Ledger, message: FederationClosed) -> Ledger:
    _same("model", ledger.model or b"", message.model)
    if message.rounds != ledger.rounds:
        raise Rejected("rounds", str(ledger.rounds), str(message.rounds))
    true = ending_reasons(pinned, ledger)
    if message.reason not in true:
        raise Rejected("ending", " or ".join(true) or "another round: nothing ends the federation", message.reason)
    return replace(ledger, closed=message.reason)


def _still_barred(pinned: PinnedPolicy, membership: Membership, barred: tuple[str, ...]) -> tuple[str, ...]:
    """Nobody, if fewer than t trustees in force would be left: an outage must not end the federation."""
    left = {member.id for member in membership.trustees(pinned.policy)} - set(barred)
    return barred if len(left) >= pinned.policy.threshold else ()


def _current(ledger: Ledger, message: RoundMessage) -> CurrentRound:
    """The open round, if the message is about it."""
    current = ledger.current
    if current is None:
        raise Misuse("the order of entries is checked first")
    if message.round != current.number:
        raise Rejected("round", str(current.number), str(message.round))
    return current


def _next_number(pinned: PinnedPolicy, ledger: Ledger, number: int) -> None:
    if number != ledger.rounds + 1 or number > pinned.policy.max_rounds:
        raise Rejected("round", f"{ledger.rounds + 1}, at most {pinned.policy.max_rounds}", str(number))
    if ledger.aborts > pinned.policy.max_aborts:
        expected = f"no round after more than {pinned.policy.max_aborts} aborts of opened rounds"
        raise Rejected("abort-cap", expected, str(ledger.aborts))


def _closed_cohort(current: CurrentRound) -> LoggedCohort:
    if current.cohort is None:
        raise Misuse("the order of entries is checked first")
    return current.cohort


def _ascending(check: str, name: str, indices: Sequence[int]) -> None:
    if any(later <= earlier for earlier, later in pairwise(indices)):
        raise Rejected(check, f"{name} ascending", str(tuple(indices))[:200])


def _same(check: str, expected: bytes, found: bytes) -> None:
    if expected != found:
        raise Rejected(check, expected.hex(), found.hex())
