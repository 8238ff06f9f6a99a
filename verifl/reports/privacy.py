"""What a plan says of noise and its budget, as text for people."""

from __future__ import annotations

import math

from protocols.noise_trustees import TRUSTEES
from verifl.planning.privacy import CHANCE_BITS, TRIES_BITS, PrivacyPlan


def privacy_lines(plan: PrivacyPlan | None, fraction_bits: int) -> list[str]:
    """Some twenty lines, none without noise."""
    if plan is None:
        return []
    return [*_claim_lines(plan), *_number_lines(plan, fraction_bits), *_poison_lines(plan, fraction_bits)]


def _claim_lines(plan: PrivacyPlan) -> list[str]:
    others = plan.adders - plan.honest
    rests = [
        f"  rests on    {plan.honest} of {plan.adders} {plan.by} of every cohort being honest, with secret noise, so",
        f"              that {others} may tell theirs; on at most f corrupt trustees; on cryptography; on no client",
    ]
    if plan.by == TRUSTEES:
        rests = [
            f"  rests on    the noise of {plan.adders} trustees in every cohort, of whom {plan.honest} are honest,",
            "              as at most f are corrupt, whoever the clients are; on cryptography; on no client",
        ]
    return [
        f"Privacy: epsilon {plan.epsilon:g}, delta {plan.delta:g}, of a client (not of a person in its data)",
        "  what        all that is published differs little between a client's updates and zeros in their place;",
        f"              for any other data in its place: {_others(plan.replaced)} in all its rounds",
        *rests,
        "              taking part, or weighing, by what its data say (docs/spec/10-privacy.md)",
        f"  rounds      each client may be in {plan.rounds:,} closed cohorts",
    ]


def _number_lines(plan: PrivacyPlan, fraction_bits: int) -> list[str]:
    real, whose = math.ldexp(plan.sigma, -fraction_bits), plan.by.removesuffix("s")
    shown = "  ".join(f"{_epsilon(epsilon)} after {rounds:,}" for rounds, epsilon in plan.epsilons)
    proved = f"2^{plan.hiding} guesses of {plan.security} bits" + ("" if plan.proved else ": too many; see below")
    return [
        f"  epsilon     {shown}",
        f"  noise       sigma = {plan.sigma:,.1f} units = {real:.4g} by each {whose}; z = {plan.multiplier:.3g}",
        f"  signal      the mean of a full cohort's aligned updates is {plan.ratio:.3g} times as long as its noise",
        f"  bytes       {plan.bytes_each} a coordinate of a ciphertext",
        f"  proof       against a server that chooses the cohort last: {proved}",
    ]


def _poison_lines(plan: PrivacyPlan, fraction_bits: int) -> list[str]:
    poison = plan.poison

    def real(units: float) -> str:
        return f"{math.ldexp(units, -fraction_bits):.4g}"

    return [
        f"  poison      a client with 2^{TRIES_BITS} tries moves a sum by more with probability 2^-{CHANCE_BITS}",
        "              at most, if discrete logarithms are harder than is proved (docs/spec/12-poison.md, 12.3):",
        f"              {real(poison.one_cell)} in one coordinate, {real(poison.flat)} in a direction over them all,",
        f"              {real(poison.length)} in all; without noise {real(poison.bound)}; honest noise of a cohort",
        f"              has a deviation of {real(poison.honest)} in any direction",
    ]


def _others(value: tuple[float, float] | None) -> str:
    return "epsilon over 1024" if value is None else f"epsilon {value[0]:.4g}, delta {value[1]:.3g},"


def _epsilon(value: float | None) -> str:
    return "over 1024" if value is None else f"{value:.4g}"
