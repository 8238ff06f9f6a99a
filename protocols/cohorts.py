"""Who is summed, and which trustees are asked for it (spec 8.6 and 8.7).

Pure functions of the policy and of what is in the log. The coordinator decides with them, trustees recompute the
choice before they cosign it, auditors recompute everything.

A the cohort (log indices of submissions), Q the trustees asked to release, m trustees, t threshold, f corrupt. P the
clients of the cohort that was opened last on the round's model, if there is one: a repetition must not isolate any.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from functools import reduce
from itertools import combinations, compress, pairwise
from operator import and_

from proofs import domains
from proofs.errors import Misuse, Rejected
from protocols.contexts import number, tagged_hash
from protocols.messages import ShareAck
from protocols.noise_trustees import makes_cohort, noise_needed, noise_trustees
from protocols.policy import Policy
from protocols.privacy.differencing import Cohort, may_leave
from protocols.privacy.suppression import largest_cohort
from protocols.reasons import (
    COHORT_FULL,
    DISPUTED,
    EXEMPTING,
    SUPPRESSED,
    UNACKNOWLEDGED,
)

MOST_TRUSTEES = 16  # subsets of trustees are enumerated: at most C(16, 8) = 12870


@dataclass(frozen=True)
class Judged:
    """A submission of the round: log index, client, and its own fault (one of the first four reasons), None for a
    valid one; as somebody says or found."""

    index: int
    client: str
    fault: str | None


@dataclass(frozen=True)
class Choice:
    """A and Q, both ascending (Q in the policy's order), and why each other valid submission is left out.

    `trustees` is empty if fewer than t trustees acknowledged anything at all.
    """

    accepted: tuple[int, ...]
    trustees: tuple[str, ...]
    left_out: Mapping[int, str]

    @property
    def suppressed(self) -> int:
        """How many left for those who are missing."""
        return sum(reason == SUPPRESSED for reason in self.left_out.values())


def cohort_digest(round_open: bytes, members: Iterable[tuple[str, bytes]], trustees: Sequence[str]) -> bytes:
    """CohortClosed.digest: binds the RoundOpen entry hash, (client, submission entry hash) of A ascending by log
    index, and Q in the policy's order. It names nothing by position in a log."""
    return tagged_hash(domains.COHORT, (round_open, *_counted_pairs(members), *_counted_names(trustees)))


def ack_digest(round_open: bytes, trustee: str, members: Iterable[tuple[str, bytes]]) -> bytes:
    """ShareAck.digest: binds the RoundOpen entry hash, the trustee, and (client, submission entry hash) of what it
    acknowledges, ascending by log index."""
    return tagged_hash(domains.ACKNOWLEDGEMENT, (round_open, trustee.encode(), *_counted_pairs(members)))


def disputed_by_quorum(policy: Policy, acks: Mapping[str, ShareAck]) -> frozenset[int]:
    """The submissions, by log index, that more than f trustees dispute: at least one of these is honest."""
    votes = Counter(index for ack in acks.values() for index in {dispute.index for dispute in ack.disputed})
    return frozenset(index for index, count in votes.items() if count > policy.corrupt)


def choose(
    policy: Policy,
    policy_hash: bytes,
    submissions: Sequence[Judged],
    acks: Mapping[str, ShareAck],
    earlier: AbstractSet[str] | None,
    recent: Sequence[Cohort] = (),
    model: bytes = b"",
) -> Choice:
    """A and Q of a round by the rule of spec 8.7, all of it.

    submissions: all of the round, ascending by index. acks: its acknowledgements by trustee id. earlier: P, None on a
    model on which no cohort was opened. Then members of A leave, in the order of `suppression_order`, until nobody is
    isolated by those who are missing. A may come out smaller than `min_cohort`; what is smaller before stays as it is.
    recent, model: the cohorts of the one or two rounds opened last, and the round's model; they count only under
    `strict_consecutive`. Raises as `choose_cohort`.
    """
    members = {each.index: each.client for each in submissions if each.fault is None}
    adding = noise_trustees(policy)
    noise = frozenset(index for index, client in members.items() if client in adding)
    choice = choose_cohort(policy, list(members), acks, noise)
    if not makes_cohort(policy, [members[index] for index in choice.accepted]):
        return choice
    if policy.strict_consecutive and recent:
        return _strict(policy, policy_hash, submissions, choice, earlier, recent, model)
    return choice if earlier is None else _hiding(policy, policy_hash, submissions, choice, earlier)


def _hiding(
    policy: Policy, policy_hash: bytes, submissions: Sequence[Judged], choice: Choice, earlier: AbstractSet[str]
) -> Choice:
    """Members who are in `earlier` leave until those who are missing from it are hidden."""
    members = _training(policy, submissions, choice)
    if len(earlier) >= len(members) + policy.min_cohort:
        return choice
    gone = earlier - members.keys()
    if may_leave(gone, exempt_clients(submissions, choice), policy.min_cohort):
        return choice
    leaving = suppression_order(policy_hash, members.keys() & earlier)[: policy.min_cohort - len(gone)]
    return _without(choice, [members[client] for client in leaving])


def _strict(
    policy: Policy,
    policy_hash: bytes,
    submissions: Sequence[Judged],
    choice: Choice,
    earlier: AbstractSet[str] | None,
    recent: Sequence[Cohort],
    model: bytes,
) -> Choice:
    """The same towards the one or two cohorts opened last, on whatever models; of all that is lawful the largest."""
    members = _training(policy, submissions, choice)
    order, exempt = suppression_order(policy_hash, members), exempt_clients(submissions, choice)
    stay = largest_cohort(recent, model, earlier, order, exempt, policy.min_cohort)
    return _without(choice, [members[client] for client in order if client not in stay])


def _training(policy: Policy, submissions: Sequence[Judged], choice: Choice) -> dict[str, int]:
    """The members of A whose update may show: log index by client."""
    clients, adding = {each.index: each.client for each in submissions}, noise_trustees(policy)
    return {clients[index]: index for index in choice.accepted if clients[index] not in adding}


def suppression_order(policy_hash: bytes, clients: Iterable[str]) -> list[str]:
    """The order in which clients of a cohort leave: fixed by the policy, so that no server chooses it."""
    return sorted(clients, key=lambda client: tagged_hash(domains.SUPPRESSION, (policy_hash, client.encode())))


def exempt_clients(submissions: Sequence[Judged], choice: Choice) -> set[str]:
    """The clients whose one submission of the round is at fault in a way that exempts (spec 8.8). A second one might be
    good, and its client honest."""
    counts = Counter(each.client for each in submissions)
    return {
        each.client
        for each in submissions
        if counts[each.client] == 1 and (each.fault or choice.left_out.get(each.index)) in EXEMPTING
    }


def _without(choice: Choice, leaving: Sequence[int]) -> Choice:
    left_out = dict(choice.left_out) | dict.fromkeys(leaving, SUPPRESSED)
    accepted = tuple(index for index in choice.accepted if index not in left_out)
    return replace(choice, accepted=accepted, left_out=dict(sorted(left_out.items())))


def choose_cohort(
    policy: Policy, valid: Sequence[int], acks: Mapping[str, ShareAck], noise: AbstractSet[int] = frozenset()
) -> Choice:
    """A and Q by the rule of spec 8.7, steps 1 to 4: without regard to earlier cohorts.

    valid: log indices, ascending, of the submissions with no fault of their own. acks: the round's acknowledgements
    by trustee id. noise: those of `valid` that are noise alone. Submissions disputed by more than f trustees leave; of
    the others the first `max_cohort` are candidates. Over sets Q of at least t trustees that acknowledged, A is the
    candidates that all of Q acknowledged: take one with the noise that is needed, if there is one, then with most
    updates, then with most noise, then the largest Q, then the lexicographically first Q by position in the policy.
    Raises Rejected("policy-trustees") for more than MOST_TRUSTEES, Misuse for a `valid` that is not ascending.
    """
    if len(policy.trustees) > MOST_TRUSTEES:
        raise Rejected("policy-trustees", f"at most {MOST_TRUSTEES} trustees", str(len(policy.trustees)))
    if any(later <= earlier for earlier, later in pairwise(valid)):
        raise Misuse("valid: expected ascending log indices")
    disputed = disputed_by_quorum(policy, acks)
    candidates = [index for index in valid if index not in disputed][: policy.max_cohort]
    held = {
        position: _mask(candidates, frozenset(acks[member.id].acknowledged))
        for position, member in enumerate(policy.trustees)
        if member.id in acks
    }
    known = _Noise(_mask(candidates, noise), noise_needed(policy))
    common, quorum = _best(held, policy.threshold, known)
    accepted = tuple(compress(candidates, map(int, f"{common:b}".zfill(len(candidates)))))
    left_out = dict.fromkeys(valid, COHORT_FULL)
    left_out |= dict.fromkeys(candidates, UNACKNOWLEDGED) | dict.fromkeys(disputed & left_out.keys(), DISPUTED)
    for index in accepted:
        del left_out[index]
    return Choice(accepted, tuple(policy.trustees[position].id for position in quorum), left_out)


def _mask(candidates: Sequence[int], acknowledged: AbstractSet[int]) -> int:
    """A set of candidates as bits, the first of them the highest: one operation of integers then compares two sets."""
    return int("0" + "".join("01"[index in acknowledged] for index in candidates), 2)


@dataclass(frozen=True)
class _Noise:
    """Of the candidates those that are noise alone, as bits, and how many of them a cohort needs."""

    mask: int
    needed: int

    def rank(self, common: int) -> tuple[bool, int, int]:
        """By which one set of candidates comes before another: whether it lacks noise, its updates, its noise."""
        noise = (common & self.mask).bit_count()
        return noise < self.needed, noise - common.bit_count(), -noise


def _best(held: Mapping[int, int], threshold: int, noise: _Noise) -> tuple[int, tuple[int, ...]]:
    """(A, Q), A as a mask: with enough noise, then most updates, then most noise, then largest Q, then first Q. Sets of
    exactly t suffice: each grows to everybody who holds all of its A, and a best Q has the A of any t of its members. Q
    determines A, so that no tie is left."""
    cores = (reduce(and_, core) for core in combinations(held.values(), threshold))
    choices = ((common, tuple(who for who, mask in held.items() if mask & common == common)) for common in cores)
    return min(choices, key=lambda choice: (*noise.rank(choice[0]), -len(choice[1]), choice[1]), default=(0, ()))


def _counted_pairs(members: Iterable[tuple[str, bytes]]) -> list[bytes]:
    pairs = list(members)
    return [number(len(pairs)), *(part for client, entry in pairs for part in (client.encode(), entry))]


def _counted_names(names: Sequence[str]) -> list[bytes]:
    return [number(len(names)), *(name.encode() for name in names)]
