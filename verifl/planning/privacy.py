"""What noise hides, what it costs the mean, and what it lets a poisoner send: for a plan, before training.

Numbers here are for people, in floating point; what is enforced is exact (`protocols.noise`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from fractions import Fraction
from typing import Any

from proofs.errors import Misuse
from protocols.noise import (
    MARGIN_BITS,
    account_of,
    budget_of,
    colluding_clients,
    delta_of,
    epsilon_of,
    guesses_of,
    law_of,
    noise_cells,
    variance_of,
)
from protocols.noise_derivation import derive_noise, least_norm_bound
from protocols.noise_trustees import CLIENTS, noise_needed, noise_trustees, training_clients
from protocols.parameters import security_of
from protocols.policy import AddedNoise, NoiseLaw, Policy

SENSIBLE = 0.25  # of the ratio of signal to noise in a round: below it training hardly sees its updates
TRIES_BITS, CHANCE_BITS = 60, 40  # Q and p of spec 12.3


@dataclass(frozen=True)
class Poison:
    """How far one accepted submission can move a sum, in units, but with probability p: along one coordinate, along a
    flat direction, in all; and what there is beside it: B W, and the noise of an honest cohort in one direction."""

    one_cell: float
    flat: float
    length: float
    bound: float
    honest: float


@dataclass(frozen=True)
class Alternative:
    """What to change, and the ratio of signal to noise in a round with that."""

    change: str
    ratio: float


@dataclass(frozen=True)
class PrivacyPlan:
    """epsilon, delta: of the budget. by: who adds it. adders, honest: in a smallest cohort, and h of them. colluding:
    of the whole roster, for how many the noise is enough, beside corrupt trustees that are clients; None for any.
    trustees, corrupt: m and f. rounds, rounds_most: least and largest K of a client of the roster, after what each
    spent before. sigma: of one adder, in units. multiplier: z, of all honest adders beside W B. epsilons: by rounds
    here that the budget allows, of the client that spent most before, None beyond 1024. replaced: epsilon and delta of
    all that the budget allows, at twice the sensitivity: compared with any other updates. ratio: of signal to noise, of
    the mean of a full cohort's aligned updates of full length in one round. bytes_each: of a ciphertext, a coordinate.
    hiding, security: bits that the proof of privacy takes off (spec 11.4), and of the estimate that they are taken off.
    clients: of the roster. poison: of a client. trustee: of one that adds noise; None where none does."""

    epsilon: float
    delta: float
    by: str
    adders: int
    honest: int
    colluding: int | None
    trustees: int
    corrupt: int
    rounds: int
    rounds_most: int
    sigma: float
    multiplier: float
    epsilons: tuple[tuple[int, float | None], ...]
    replaced: tuple[float, float] | None
    ratio: float
    poison: Poison
    trustee: Poison | None
    bytes_each: int
    hiding: int
    security: int
    clients: int
    alternatives: tuple[Alternative, ...]

    @property
    def proved(self) -> bool:
        """Whether enough of the estimate is left for a server that chooses the cohort last (spec 11.4)."""
        return self.hiding + MARGIN_BITS <= self.security

    def notes(self) -> list[str]:
        """What of these numbers should be known before anybody trains."""
        found = []
        if self.ratio < SENSIBLE:
            better = ", ".join(f"{each.change} ({each.ratio:.2g})" for each in self.alternatives)
            found.append(
                f"privacy: the mean of one round is {self.ratio:.2g} times as long as its noise: training will hardly "
                f"learn from it; it would be better with {better}"
            )
        if self.delta * self.clients >= 1:
            found.append(
                f"privacy: delta {self.delta:g} is no less than 1 / {self.clients}, the number of clients: with that "
                "chance epsilon may not hold, and all of a client's data be seen; write delta = 1e-5, say"
            )
        if self.rounds_most == 0:
            found.append("privacy: the budget has no room for a round; see the conditions")
        elif self.rounds == 0:
            found.append("privacy: who spent most before has nothing left, and is not asked (`verifl status`)")
        if not self.proved:
            found.append(
                f"privacy: of a server that chooses the cohort after it has seen all ciphertexts nothing is proved: "
                f"2^{self.hiding} guesses are too many for an estimate of {self.security} bits, so nobody accepts this "
                "policy; few or nearly all of those who are asked should be the honest ones of a smallest cohort: "
                "lower or raise limits.min_cohort, or ask fewer by limits.per_round"
            )
        return found

    def advice(self) -> list[str]:
        """What a plan says of who may collude; a run has words of its own."""
        strong = "the noise is enough only if no client of the whole roster tells the server its noise, or chooses it"
        return [f"privacy: privacy.colluding is 0: {strong}"] if self.colluding == 0 else []

    def to_dict(self) -> dict[str, Any]:
        """For `--format json`."""
        return {
            **{name: value for name, value in asdict(self).items() if name != "epsilons"},
            "epsilons": [{"rounds": rounds, "epsilon": epsilon} for rounds, epsilon in self.epsilons],
            "unit": "a client, its updates replaced by zero",
        }


def privacy_plan(policy: Policy, rounds: int | None = None) -> PrivacyPlan | None:
    """Of a policy with noise whose numbers make sense, else None. rounds: wanted of each client, K where not given."""
    noise, budget = policy.noise, policy.privacy_budget
    if noise is None or budget is None:
        return None
    try:
        rule, account, guesses = account_of(policy), budget_of(policy), guesses_of(policy)
    except Misuse:
        return None
    training = training_clients(policy)
    if account is None or not training:
        return None
    ranked = account.ranked(member.id for member in training)
    least, most = account.rounds(ranked[-1]), account.rounds(ranked[0])
    wanted = least if rounds is None else rounds
    sigma, reach = math.sqrt(variance_of(noise)), rule.sensitivity
    replaced = account.replaced(account.furthest(ranked))
    shown = [(k, account.spent(ranked[-1], k).epsilon) for k in _rounds_shown(min(wanted, least))]
    return PrivacyPlan(
        float(epsilon_of(budget)),
        float(delta_of(budget)),
        noise.by,
        noise_needed(policy) or policy.min_cohort,
        noise.honest,
        colluding_clients(policy, noise.honest),
        len(policy.trustees),
        policy.corrupt,
        least,
        most,
        sigma,
        sigma * math.sqrt(noise.honest) / reach,
        tuple((k, None if found is None else float(found)) for k, found in shown),
        None if replaced is None else (float(replaced[0]), float(replaced[1])),
        _ratio(policy, noise),
        _poison(policy, law_of(noise, 1), reach),
        _poison(policy, noise, 0) if noise_trustees(policy) else None,
        -(-policy.lattice.modulus.bit_length() // 8),
        guesses,
        security_of(policy.lattice),
        len(policy.roster),
        tuple(_alternatives(policy, max(wanted, 1))),
    )


def _rounds_shown(wanted: int) -> Sequence[int]:
    """Fewer than are wanted, and as many; what was spent before where there are none."""
    return sorted({1, max(wanted // 4, 1), max(wanted // 2, 1), wanted}) if wanted else [0]


def _ratio(policy: Policy, noise: AddedNoise) -> float:
    """Of the length of a sum of longest updates, all alike, to that of its noise."""
    adding = len(noise_trustees(policy))
    clients = policy.max_cohort - adding
    return clients * _reach(policy) / math.sqrt(policy.dimension * _variance(policy, noise))


def _variance(policy: Policy, noise: AddedNoise) -> Fraction:
    """Of a coordinate of a largest sum."""
    adding = len(noise_trustees(policy))
    return adding * variance_of(noise) + (policy.max_cohort - adding) * variance_of(law_of(noise, 1))


def _reach(policy: Policy) -> int:
    return policy.weights.largest * policy.update.norm_bound


def _poison(policy: Policy, own: AddedNoise | NoiseLaw, reach: int) -> Poison:
    """Of an update of at most `reach`, with noise by this law: Theorem 2 of spec 12.2, its third term for one cell and
    for a flat direction."""
    noise = policy.noise
    if noise is None:
        raise Misuse("expected a policy with noise, found one without")
    cells, group = noise_cells(policy.dimension)
    spread = min(own.group_bound**2 * (cells // group), own.ceiling) / cells
    flat = math.sqrt(2 * spread * (TRIES_BITS + CHANCE_BITS) * math.log(2))
    length, honest = math.sqrt(own.ceiling), math.sqrt(_variance(policy, noise))
    return Poison(reach + own.group_bound, reach + min(flat, length), reach + length, reach, honest)


def _alternatives(policy: Policy, rounds: int) -> list[Alternative]:
    """More clients, of whom as many collude; fewer rounds; a smaller model."""
    noise = policy.noise
    adding = len(noise_trustees(policy))
    assumed = 0 if noise is None else policy.min_cohort - noise.honest
    largest = 4 * (policy.max_cohort - adding)
    more = replace(policy, max_cohort=largest + adding, min_cohort=4 * policy.min_cohort)
    small = max(policy.dimension // 10, 1)
    fewer = max(rounds // 4, 1)
    smaller = replace(
        policy,
        dimension=small,
        update=replace(policy.update, norm_bound=max(policy.update.norm_bound, least_norm_bound(small))),
    )
    found = [
        (f"four times as many clients, {largest:,} in a cohort", more, rounds),
        (f"a tenth of the coordinates, {small:,}", smaller, rounds),
    ]
    if fewer < rounds:
        found.append((f"a quarter of the rounds, {fewer:,}", policy, fewer))
    return [
        Alternative(change, ratio)
        for change, other, count in found
        if (ratio := _ratio_with(other, _honest(other, assumed), count)) is not None
    ]


def _honest(policy: Policy, assumed: int) -> int:
    """h of another policy of whose adders as many are not honest; of trustees the same."""
    trustees = policy.noise is not None and noise_trustees(policy)
    return policy.noise.honest if policy.noise is not None and trustees else policy.min_cohort - assumed


def _ratio_with(policy: Policy, honest: int, rounds: int) -> float | None:
    if policy.privacy_budget is None:
        return None
    try:
        by = CLIENTS if policy.noise is None else policy.noise.by
        noise = derive_noise(policy, policy.privacy_budget, honest, rounds, by)
    except Misuse:
        return None
    return _ratio(policy, noise)
