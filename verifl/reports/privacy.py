"""What a plan says of noise and its budget, as text for people."""

from __future__ import annotations

import math

from protocols.noise_trustees import TRUSTEES
from verifl.planning.privacy import CHANCE_BITS, TRIES_BITS, Poison, PrivacyPlan


def privacy_lines(plan: PrivacyPlan | None, fraction_bits: int) -> list[str]:
    """Some twenty lines, none without noise."""
    if plan is None:
        return []
    numbers = _number_lines(plan, fraction_bits)
    return [*_claim_lines(plan), *numbers, *_assumed_lines(plan), *_poison_lines(plan, fraction_bits)]


def _claim_lines(plan: PrivacyPlan) -> list[str]:
    shown = "  ".join(f"{_epsilon(epsilon)} after {rounds:,}" for rounds, epsilon in plan.epsilons)
    budget = f"Privacy: epsilon {plan.epsilon:g}, delta {plan.delta:g}"
    spent = " by who spent most" if plan.epsilons[0][0] == 0 or plan.rounds != plan.rounds_most else ""
    return [
        f"{budget}, of a client with all its data (not of a person in it)",
        "  what        all that is published differs little between a client's updates and zeros in their place;",
        f"              for any other data in its place: {_others(plan.replaced)} in all its rounds",
        f"  budget      each client may be in {_rounds(plan)}; one that is closed counts, whatever becomes of it",
        f"  spent       epsilon {shown}{spent}: what a budget of so many would promise",
    ]


def _rounds(plan: PrivacyPlan) -> str:
    """K, of everybody; of who has least and most left, where they spent before."""
    if plan.rounds == plan.rounds_most:
        return f"{plan.rounds:,} sums (closed cohorts)"
    return f"{plan.rounds:,} to {plan.rounds_most:,} more sums (closed cohorts), after what it spent"


def _number_lines(plan: PrivacyPlan, fraction_bits: int) -> list[str]:
    real, whose = math.ldexp(plan.sigma, -fraction_bits), plan.by.removesuffix("s")
    return [
        f"  noise       sigma = {plan.sigma:,.1f} units = {real:.4g} by each {whose}; z = {plan.multiplier:.3g}",
        f"  signal      the mean of a full cohort's aligned updates is {plan.ratio:.3g} times as long as its noise",
        f"  bytes       {plan.bytes_each} a coordinate of a ciphertext",
    ]


def _assumed_lines(plan: PrivacyPlan) -> list[str]:
    """What nobody can check."""
    left = "" if plan.proved else ": too many; see below"
    corrupt = f"at most {plan.corrupt} of the {plan.trustees} trustees are corrupt (trustees.corrupt)"
    adding = [
        f"  assumed     of the whole roster at most {plan.colluding} clients tell the server their noise, or choose it",
        f"              (privacy.colluding), so that {plan.honest} of any {plan.adders} in a sum are honest;",
        f"              {corrupt};",
    ]
    if plan.by == TRUSTEES:
        adding = [
            f"  assumed     {corrupt}, so that {plan.honest} are honest of",
            f"              any {plan.adders} whose noise is in a sum, whoever the clients are;",
        ]
    return [
        *adding,
        "              no client takes part, or weighs, by what its data say;",
        "              clip norm and model do not follow from these;",
        f"              cryptography: of an estimate of {plan.security} bits the proof takes {plan.hiding} off{left}.",
        "              Nobody can check these: docs/privacy.md",
    ]


def _poison_lines(plan: PrivacyPlan, fraction_bits: int) -> list[str]:
    poison = plan.poison

    def real(units: float) -> str:
        return f"{math.ldexp(units, -fraction_bits):.4g}"

    length, flat, cell, bound = (real(each) for each in (poison.length, poison.flat, poison.one_cell, poison.bound))
    noise, tries = real(poison.honest), f"2^{TRIES_BITS} tries"
    return [
        "  poison      noise that hides a client hides a cheat, too. In a sum an honest update, without noise, has a",
        f"              length of {bound}; what a client can add has {length}, along one direction {flat}, in one",
        f"              coordinate {cell}. The noise of a full cohort has {noise} along any direction. With {tries}",
        f"              a client moves a sum by more with probability 2^-{CHANCE_BITS} at most, if discrete logarithms",
        "              are harder than is proved (docs/spec/12-poison.md, 12.3)",
        *_trustee_lines(plan.trustee, fraction_bits),
    ]


def _trustee_lines(poison: Poison | None, fraction_bits: int) -> list[str]:
    if poison is None:
        return []
    one, flat, length = (
        f"{math.ldexp(units, -fraction_bits):.4g}" for units in (poison.one_cell, poison.flat, poison.length)
    )
    reach = f"{one} in one coordinate, {flat} along one direction, {length} in all"
    return [f"              a corrupt trustee, by its noise: {reach}"]


def _others(value: tuple[float, float] | None) -> str:
    return "epsilon over 1024" if value is None else f"epsilon {value[0]:.4g}, delta {value[1]:.3g},"


def _epsilon(value: float | None) -> str:
    return "over 1024" if value is None else f"{value:.4g}"
