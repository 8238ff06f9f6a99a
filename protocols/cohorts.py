"""Who is summed, and which trustees are asked for it (spec 8.6 and 8.7).

Pure functions of the policy and of what is in the log. The coordinator decides with them, trustees recompute the
digests before they sign, auditors recompute everything.

A the cohort (log indices of submissions), Q the trustees asked to release, m trustees, t threshold, f corrupt.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise

from proofs import domains
from proofs.errors import Misuse, Rejected
from protocols.contexts import number, tagged_hash
from protocols.messages import ShareAck
from protocols.policy import Policy

# Why a submission is not in the cohort, in order of precedence: the first that holds is the reason (spec 8.6).
DUPLICATE = "duplicate"  # an earlier submission of the same client and round is in the log
REPLAYED = "replayed"  # its commitments, ciphertext or proof occur in an earlier submission of any round
MALFORMED = "malformed"  # the ciphertext or the share commitments do not decode
INVALID_PROOF = "invalid-proof"  # the validity proof does not verify
DISPUTED = "disputed"  # more than f trustees dispute its share, so an honest one does
COHORT_FULL = "cohort-full"  # max_cohort earlier submissions are in
UNACKNOWLEDGED = "unacknowledged"  # a trustee in Q does not hold its share

EXCLUSIONS = (DUPLICATE, REPLAYED, MALFORMED, INVALID_PROOF, DISPUTED, COHORT_FULL, UNACKNOWLEDGED)

# Reasons that prove the client's own fault. A replay does not: whoever copies first makes the original the replay.
OFFENCES = frozenset({DUPLICATE, MALFORMED, INVALID_PROOF, DISPUTED})

# Those that exempt a client from the differencing rule (spec 8.8). Whoever loses its store and submits again is honest.
EXEMPTING = OFFENCES - {DUPLICATE}

MAX_TRUSTEES = 16  # subsets of trustees are enumerated: at most C(16, 8) = 12870


@dataclass(frozen=True)
class Choice:
    """A and Q, both ascending (Q in the policy's order), and why each other valid submission is left out.

    `trustees` is empty if fewer than t trustees acknowledged anything at all.
    """

    accepted: tuple[int, ...]
    trustees: tuple[str, ...]
    left_out: Mapping[int, str]


def cohort_digest(round_open: bytes, members: Iterable[tuple[str, bytes]], trustees: Sequence[str]) -> bytes:
    """CohortClosed.digest: binds the RoundOpen entry hash, (client, submission entry hash) of A ascending by log
    index, and Q in the policy's order. It names nothing by position in a log."""
    return tagged_hash(domains.COHORT, (round_open, *_counted_pairs(members), *_counted_names(trustees)))


def ack_digest(round_open: bytes, trustee: str, members: Iterable[tuple[str, bytes]]) -> bytes:
    """ShareAck.digest: binds the RoundOpen entry hash, the trustee, and (client, submission entry hash) of what it
    acknowledges, ascending by log index."""
    return tagged_hash(domains.ACKNOWLEDGEMENT, (round_open, trustee.encode(), *_counted_pairs(members)))


def disputed_by_quorum(policy: Policy, index: int, acks: Mapping[str, ShareAck]) -> bool:
    """Whether more than f trustees dispute the submission at `index`: at least one of them is honest."""
    return sum(any(dispute.index == index for dispute in ack.disputed) for ack in acks.values()) > policy.corrupt


def choose_cohort(policy: Policy, valid: Sequence[int], acks: Mapping[str, ShareAck]) -> Choice:
    """A and Q by the rule of spec 8.7.

    valid: log indices, ascending, of the submissions with no fault of their own. acks: the round's acknowledgements
    by trustee id. Submissions disputed by more than f trustees leave; of the others the first `max_cohort` are
    candidates. Over sets Q of at least t trustees that acknowledged, A is the candidates that all of Q acknowledged:
    take the largest A, then the largest Q, then the lexicographically first Q by position in the policy.
    Raises Rejected("policy-trustees") for more than MAX_TRUSTEES, Misuse for a `valid` that is not ascending.
    """
    if len(policy.trustees) > MAX_TRUSTEES:
        raise Rejected("policy-trustees", f"at most {MAX_TRUSTEES} trustees", str(len(policy.trustees)))
    if any(later <= earlier for earlier, later in pairwise(valid)):
        raise Misuse("valid: expected ascending log indices")
    undisputed = [index for index in valid if not disputed_by_quorum(policy, index, acks)]
    candidates = undisputed[: policy.max_cohort]
    held = {
        position: frozenset(acks[member.id].acknowledged)
        for position, member in enumerate(policy.trustees)
        if member.id in acks
    }
    accepted, quorum = _best(candidates, held, policy.threshold)
    trustees = tuple(policy.trustees[position].id for position in quorum)
    left_out = {index: _why_left_out(index, undisputed, candidates) for index in valid if index not in set(accepted)}
    return Choice(accepted, trustees, left_out)


def _best(
    candidates: Sequence[int], held: Mapping[int, frozenset[int]], threshold: int
) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Largest A, then largest Q, then first Q. Sets of exactly t suffice: each grows to everybody who holds all of
    its A, and a best Q has the A of any t of its members."""
    best: tuple[tuple[int, ...], tuple[int, ...]] = ((), ())
    best_key: tuple[int, int, tuple[int, ...]] | None = None
    for core in combinations(sorted(held), threshold):
        common = frozenset.intersection(*(held[position] for position in core))
        accepted = tuple(index for index in candidates if index in common)
        members = frozenset(accepted)
        quorum = tuple(position for position in sorted(held) if members <= held[position])
        key = (-len(accepted), -len(quorum), quorum)
        if best_key is None or key < best_key:
            best, best_key = (accepted, quorum), key
    return best


def _why_left_out(index: int, undisputed: Sequence[int], candidates: Sequence[int]) -> str:
    if index not in undisputed:
        return DISPUTED
    return UNACKNOWLEDGED if index in candidates else COHORT_FULL


def _counted_pairs(members: Iterable[tuple[str, bytes]]) -> list[bytes]:
    pairs = list(members)
    return [number(len(pairs)), *(part for client, entry in pairs for part in (client.encode(), entry))]


def _counted_names(names: Sequence[str]) -> list[bytes]:
    return [number(len(names)), *(name.encode() for name in names)]
