"""Who is drawn for a round, where a policy says how many take part (spec 8.15).

Pure functions of the policy and of what is in the log: trustees compute them before they cosign, auditors again.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from functools import lru_cache

from proofs import domains
from proofs.errors import Rejected
from protocols import vrf
from protocols.contexts import frame, number, tagged_hash
from protocols.identities import SigningKey
from protocols.messages import RoundKey
from protocols.pinned import PinnedPolicy


def draw_input(policy_hash: bytes, round_number: int) -> bytes:
    """Of what each trustee gives the value of its function: nothing in it can be chosen once the policy is signed."""
    return frame(domains.DRAW, (policy_hash, number(round_number)))


def draw_proof(pinned: PinnedPolicy, round_number: int, trustee: str, keys: Iterable[SigningKey]) -> bytes | None:
    """RoundKey.draw; None where the policy draws nobody, or the trustee has lost the key that the policy enrols."""
    enrolled = pinned.trustee_key(trustee)
    key = next((each for each in keys if each.public_key == enrolled), None)
    if pinned.policy.per_round is None or key is None:
        return None
    return vrf.prove(key, draw_input(pinned.hash, round_number))


def draw_value(pinned: PinnedPolicy, message: RoundKey) -> bytes | None:
    """The value that a RoundKey gives to the draw, 64 bytes; None for none.

    Raises Rejected("draw") for what is not the one value under the key that the policy enrols, whatever was rotated,
    and for any under a policy that draws nobody.
    """
    if message.draw is None:
        return None
    if pinned.policy.per_round is None:
        raise Rejected("draw", "no value, as nobody is drawn", f"one by {message.trustee}")
    return _verified(pinned.trustee_key(message.trustee), draw_input(pinned.hash, message.round), message.draw)


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


def drawn(seed: bytes | None, count: int | None, clients: Iterable[str]) -> frozenset[str]:
    """The `count` clients whose hashes under the seed come first; all of them where nobody is drawn."""
    if seed is None or count is None:
        return frozenset(clients)
    return frozenset(heapq.nsmallest(count, clients, key=lambda client: _rank(seed, client)))


def _rank(seed: bytes, client: str) -> bytes:
    return tagged_hash(domains.DRAW_ORDER, (seed, client.encode()))
