"""Who is drawn for a round, where a policy says how many take part (spec 8.15).

Pure functions of the policy and of what is in the log: trustees compute them before they cosign, auditors again.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache

from proofs import domains
from proofs.errors import Rejected
from protocols import vrf
from protocols.contexts import frame, number, tagged_hash
from protocols.identities import SigningKey
from protocols.messages import RoundKey
from protocols.pinned import PinnedPolicy
from protocols.policy import Policy


def draw_input(policy_hash: bytes, round_number: int) -> bytes:
    """Of what each trustee gives the value of its function: nothing in it can be chosen once the policy is signed."""
    return frame(domains.DRAW, (policy_hash, number(round_number)))


def draw_proof(pinned: PinnedPolicy, round_number: int, due: bytes | None, keys: Iterable[SigningKey]) -> bytes | None:
    """RoundKey.draw of a trustee by its key `due`, the public one; None for none, or where it has lost that key."""
    key = next((each for each in keys if each.public_key == due), None)
    return None if key is None else vrf.prove(key, draw_input(pinned.hash, round_number))


def draw_value(pinned: PinnedPolicy, message: RoundKey, rightful: Sequence[bytes]) -> bytes | None:
    """The value that a RoundKey gives to the draw, 64 bytes; None for none.

    rightful: by which keys of its trustee it may be, none in a repetition. Raises Rejected("draw") for what is the
    value under none of them, and for any under a policy that draws nobody.
    """
    if message.draw is None:
        return None
    if pinned.policy.per_round is None or not rightful:
        raise Rejected("draw", "no value, as nobody is drawn", f"one by {message.trustee}")
    *others, last = rightful
    for key in others:
        try:
            return _verified(key, draw_input(pinned.hash, message.round), message.draw)
        except Rejected:
            continue
    return _verified(last, draw_input(pinned.hash, message.round), message.draw)


_verified = lru_cache(maxsize=1024)(vrf.verify)  # of the keys of a round, when each further one is tried


def draw_seed(pinned: PinnedPolicy, round_number: int, values: Mapping[str, bytes]) -> bytes | None:
    """RoundOpen.draw of a round that repeats none, from the values of its round keys by trustee; None where the policy
    draws nobody. Raises Rejected("draw") for values of f trustees or fewer: an honest one is to be among them."""
    policy = pinned.policy
    if policy.per_round is None:
        return None
    if len(values) <= policy.corrupt:
        raise Rejected("draw", f"values of more than {policy.corrupt} trustees", f"{len(values)}")
    named = [(member.id, values[member.id]) for member in policy.trustees if member.id in values]
    parts = (part for trustee, value in named for part in (trustee.encode(), value))
    return tagged_hash(domains.DRAW_SEED, (pinned.hash, number(round_number), number(len(named)), *parts))


@dataclass(frozen=True)
class Ranked:
    """Among whom clients are drawn: those of `before`, of whom `left` are still in force."""

    before: Set[str]
    left: Set[str]


def asked(policy: Policy, seed: bytes | None, ranked: Ranked) -> frozenset[str]:
    """To whom a round is open that repeats no opened one: to the clients left where nobody is drawn.

    Nobody takes the place of a client that left since, as whoever writes the log knows the draw before it logs that;
    but where fewer than `min_cohort` of those drawn are left, the next in order are asked, up to so many.
    """
    if seed is None or policy.per_round is None:
        return frozenset(ranked.left)
    kept = drawn(seed, policy.per_round, ranked.before) & ranked.left
    return kept if len(kept) >= policy.min_cohort else drawn(seed, policy.min_cohort, ranked.left)


def drawn(seed: bytes, count: int, clients: Iterable[str]) -> frozenset[str]:
    """The `count` clients whose hashes under the seed come first, or all where they are fewer."""
    return frozenset(heapq.nsmallest(count, clients, key=lambda client: _rank(seed, client)))


def _rank(seed: bytes, client: str) -> bytes:
    return tagged_hash(domains.DRAW_ORDER, (seed, client.encode()))
