"""The choice of a cohort, and the rule against differencing (spec 8.7, 8.8): functions of sets alone."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import combinations, product

from tests.independent.encoding import Body, Envelope, framed_hash
from tests.independent.noise_alone import demanded

REASONS = {
    "2": "duplicate",
    "r": "replayed",
    "m": "malformed",
    "i": "invalid-proof",
    "d": "disputed",
    "f": "cohort-full",
    "u": "unacknowledged",
    "s": "suppressed",
}


def places(body: Body, signs: str) -> list[int]:
    """The log indices at which a share-ack or a cohort-closed has one of these characters (8.5)."""
    text = body["answers" if "answers" in body else "verdicts"]
    return [body["first"] + i for i, sign in enumerate(text) if sign in signs]


def ack_digest(round_open: bytes, trustee: str, submissions: Sequence[tuple[str, bytes]]) -> bytes:
    parts = [part for pair in submissions for part in pair]
    return framed_hash("verifl/v1/acknowledgement", round_open, trustee, len(submissions), *parts)


def cohort_digest(round_open: bytes, members: Sequence[tuple[str, bytes]], trustees: Sequence[str]) -> bytes:
    parts = [part for pair in members for part in pair]
    return framed_hash("verifl/v1/cohort", round_open, len(members), *parts, len(trustees), *trustees)


def choose(
    policy: Body, valid: Sequence[int], acks: Mapping[str, Envelope], alone: set[int]
) -> tuple[list[int], list[str], dict[int, str]]:
    """A, Q and the reasons of all other valid submissions, from at most one acknowledgement a trustee."""
    reasons: dict[int, str] = {}
    candidates: list[int] = []
    for index in valid:
        disputes = sum(index in disputed(ack) for ack in acks.values())
        if disputes > policy["corrupt"]:
            reasons[index] = "disputed"
        elif len(candidates) == policy["max_cohort"]:
            reasons[index] = "cohort-full"
        else:
            candidates.append(index)
    order = [member["id"] for member in policy["trustees"]]
    held = {name: set(places(acks[name].body, "h")) & set(candidates) for name in order if name in acks}
    accepted, trustees = best(held, order, policy["threshold"], set(candidates), alone, demanded(policy))
    reasons |= {index: "unacknowledged" for index in candidates if index not in accepted}
    return sorted(accepted), trustees, reasons


def best(
    held: Mapping[str, set[int]],
    order: Sequence[str],
    threshold: int,
    candidates: set[int],
    alone: set[int],
    noise: int,
) -> tuple[set[int], list[str]]:
    """The set of trustees with enough common noise, then most common updates, then most common noise, then most
    trustees, then the first positions."""
    choices = []
    for names in combinations(held, threshold):
        common = candidates.intersection(*(held[name] for name in names))
        grown = [name for name in held if common <= held[name]]
        positions = [order.index(name) for name in grown]
        lacks = len(common & alone) < noise
        choices.append((lacks, -len(common - alone), -len(common & alone), -len(grown), positions, common, grown))
    if not choices:
        return set(), []
    chosen = min(choices, key=lambda choice: choice[:5])
    return chosen[5], chosen[6]


def disputed(ack: Envelope) -> set[int]:
    return set(places(ack.body, "deco"))


def small(side: set[str], least: int) -> set[str]:
    return side if len(side) < least else set()


def exposed_by(before: Sequence[tuple[bytes, set[str]]], model: bytes, later: set[str], least: int) -> set[str]:
    """The clients whom two or three consecutive sums show on alike models (8.8); cohorts with their models."""
    shown: set[str] = set()
    if before and before[-1][0] != model:
        last = before[-1][1]
        shown |= small(last - later, least) | small(later - last, least)
    if len(before) > 1 and {name for name, _ in before} != {model}:
        (_, first), (_, second) = before
        known = small(first - second, least) | small(second - first, least)
        for c in (-1, 0, 1):
            for e in (-1, 1):
                weights = {x: (x in first) + c * (x in second) + e * (x in later) for x in first | second | later}
                shown |= small({x for x, weight in weights.items() if weight}, least) - known
    return shown


def strictly_fine(
    before: Sequence[tuple[bytes, set[str]]], model: bytes, later: set[str], exempt: set[str], least: int
) -> bool:
    """Whether a cohort may follow these under `strict_consecutive` (8.8)."""
    shown = exposed_by(before, model, later, least)
    gone = before[-1][1] - later if before and before[-1][0] != model else set()
    return not (shown - (gone if gone <= exempt else set()) - exempt)


def suppress(
    policy_hash: bytes,
    minimum: int,
    clients: Mapping[int, str],
    accepted: Sequence[int],
    gone: set[str],
    exempt: set[str],
) -> list[int]:
    """The members of A that leave for those who are missing from the cohort before (8.7, step 5).

    clients: of each accepted submission. gone: the clients of the cohort before who are not in A.
    """
    if not gone or len(gone) >= minimum or gone <= exempt:
        return []
    return in_order(policy_hash, clients, accepted)[: minimum - len(gone)]


def in_order(policy_hash: bytes, clients: Mapping[int, str], accepted: Sequence[int]) -> list[int]:
    """The members of A as they leave."""
    return sorted(accepted, key=lambda index: framed_hash("verifl/v1/suppression", policy_hash, clients[index]))


def largest(
    before: Sequence[tuple[bytes, set[str]]],
    model: bytes,
    earlier: set[str] | None,
    candidates: Sequence[str],
    exempt: set[str],
    least: int,
) -> set[str]:
    """Who stays under `strict_consecutive` (8.7, step 6), of clients in the order in which they leave: every choice is
    tried, which is for small federations."""
    last, first = before[-1][1], before[-2][1] if len(before) > 1 else set()
    members = [client for client in candidates if earlier is None or client in earlier]
    sides = [[c for c in members if (c in last, c in first) == side] for side in product((True, False), repeat=2)]
    counts = [range(len(group) + 1) for group in sides[:3]]
    best: tuple[tuple[int, ...], set[str]] = ((), set())
    for numbers in product(*counts, {0, len(sides[3])}):
        staying = {c for group, n in zip(sides, numbers, strict=True) for c in group[len(group) - n :]}
        if len(staying) < least or (earlier is not None and not nests(earlier, staying, exempt, least)):
            continue
        rank = (len(staying), len(staying & last), len(staying & last & first), len(staying & first))
        if rank > best[0] and strictly_fine(before, model, staying, exempt, least):
            best = (rank, staying)
    return best[1]


def nests(earlier: Collection[str], later: Collection[str], exempt: Collection[str], min_cohort: int) -> bool:
    """Whether a cohort may be opened on a model after another one (8.8)."""
    gone = set(earlier) - set(later)
    return set(later) <= set(earlier) and (not gone or len(gone) >= min_cohort or gone <= set(exempt))


def endings(
    policy: Body,
    aborts: int,
    rounds: int,
    aborted: bool,
    failed: bool,
    clients: set[str],
    able: set[str],
    earlier: set[str] | None,
) -> set[str]:
    """The reasons for which a federation may be closed (8.9)."""
    least = policy["min_cohort"]

    def possible(among: set[str]) -> bool:
        if earlier is None:
            return len(among) >= least
        gone = len(earlier - among)
        return len(earlier) - (0 if gone == 0 else max(gone, least)) >= least

    true = {
        "aborts-spent": aborts > policy["max_aborts"],
        "rounds-spent": rounds >= policy["max_rounds"],
        "too-few-clients": not possible(clients),
        "budget-spent": possible(clients) and not possible(able),
        "no-cohort": failed,
        "continued": not aborted,
    }
    return {reason for reason, holds in true.items() if holds}
