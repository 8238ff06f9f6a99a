"""Policies with noise: every condition at both of its edges, what is derived, and how many rounds a budget allows."""

from __future__ import annotations

from dataclasses import asdict, replace
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.errors import Misuse, Rejected
from protocols.encoding import decode, encode
from protocols.lattice.parameters import MODULI, SMALL_MODULI
from protocols.noise import (
    account_of,
    carried_budgets,
    delta_of,
    deviation_of,
    epsilon_of,
    guesses_of,
    own_variance,
    rounds_each,
)
from protocols.noise_derivation import least_norm_bound, with_noise
from protocols.noise_trustees import CLIENTS
from protocols.parameters import require_sound
from protocols.policy import AddedNoise, Member, NoiseLaw, Policy, PrivacyBudget, WeightRule
from protocols.privacy.accounting import NoiseRule
from tests.protocols.noisy_policies import (
    BUDGET,
    EDGES,
    HONEST,
    NOISY,
    ROUNDS,
    TRUSTED,
    UNITS,
    V,
    budget,
    lattice,
    noise,
)
from tests.protocols.test_parameters import failing


def test_a_derived_policy_meets_everything() -> None:
    assert failing(NOISY) == []
    require_sound(NOISY)
    assert decode(Policy, encode(NOISY)) == NOISY


@pytest.mark.parametrize(("name", "wrong", "right"), EDGES, ids=[f"{i}-{name}" for i, (name, *_) in enumerate(EDGES)])
def test_each_condition_at_its_edge(name: str, wrong: Policy, right: Policy | None) -> None:
    assert name in failing(wrong)
    assert right is None or name not in failing(right)


def test_without_noise_nothing_is_asked() -> None:
    assert not [name for name in failing(UNITS) if name.startswith(("noise", "budget"))]
    with pytest.raises(Misuse, match="one without"):
        account_of(UNITS)


def test_numbers_are_read_exactly() -> None:
    assert epsilon_of(BUDGET) == 8
    assert delta_of(BUDGET) == Fraction(1, 10**5)
    rule = account_of(noise(variance=100_001, variance_divisor=3))
    assert rule.variance == Fraction(100_001, 3)
    assert (rule.sensitivity, rule.adders, rule.delta) == (256, HONEST, Fraction(1, 10**5))
    weighed = replace(NOISY, weights=WeightRule("declared", 7, "3ff0000000000000"))
    assert account_of(weighed).sensitivity == 7 * 256


@pytest.mark.parametrize(
    ("clients", "honest", "guesses"), [(8, 3, 28), (100, 60, 120), (1000, 920, 429), (1000, 500, 1025)]
)
def test_the_guesses_of_the_proof_are_those_of_the_table(clients: int, honest: int, guesses: int) -> None:
    """Spec 11.4, of 50 rounds at epsilon 8."""
    roster = tuple(Member(f"client{i:04}", i.to_bytes(32, "big")) for i in range(clients))
    assert guesses_of(replace(noise(honest=honest), roster=roster, max_rounds=50)) == guesses


def test_a_proof_that_says_nothing_of_a_server_that_chooses_last_is_none() -> None:
    """Half of a thousand clients: every party refuses, as it would pass an epsilon that is not proved."""
    roster = tuple(Member(f"client{i:04}", i.to_bytes(32, "big")) for i in range(1000))
    large = replace(
        noise(honest=500), roster=roster, min_cohort=500, max_cohort=1000, lattice=lattice(modulus=0xFFF0001).lattice
    )
    with pytest.raises(Rejected, match="draw fewer clients by per_round") as refused:
        require_sound(large)
    assert (refused.value.check, refused.value.found) == ("policy-noise-hiding", "left = 1150")
    require_sound(replace(large, per_round=510))


def test_deviations_count_every_submission_that_there_can_be() -> None:
    each = deviation_of(NOISY) / (2 * NOISY.max_rounds * len(NOISY.roster))
    assert deviation_of(replace(NOISY, max_rounds=7)) == 14 * len(NOISY.roster) * each
    assert deviation_of(replace(NOISY, roster=NOISY.roster[:5])) == 10 * NOISY.max_rounds * each
    assert account_of(NOISY).deviation == deviation_of(NOISY)


def test_with_noise_of_trustees() -> None:
    """What is derived meets everything; clients alone are counted, and each deviation is by its own law."""
    assert failing(TRUSTED) == []
    assert decode(Policy, encode(TRUSTED)) == TRUSTED
    assert rounds_each(TRUSTED) == ROUNDS
    assert account_of(TRUSTED).adders == 2
    assert TRUSTED.noise is not None
    assert TRUSTED.noise.error is not None
    assert own_variance(TRUSTED) == 64
    alone = replace(TRUSTED.noise, by=CLIENTS, error=None)
    of_client = replace(alone, **asdict(TRUSTED.noise.error))
    (carried,) = carried_budgets(TRUSTED, {"client1": 2, "trustee0": 2})
    assert (carried.own_variance, [each.client for each in carried.charges]) == (64, ["client1"])
    ours, theirs = (deviation_of(replace(NOISY, noise=law)) / len(NOISY.roster) for law in (of_client, alone))
    assert deviation_of(TRUSTED) == len(NOISY.roster) * ours + 5 * theirs


def test_the_rounds_of_a_client_are_what_was_derived_for() -> None:
    assert rounds_each(NOISY) == ROUNDS
    assert rounds_each(replace(NOISY, max_rounds=ROUNDS - 1)) == ROUNDS - 1
    assert rounds_each(budget(epsilon_millionths=1_000_000)) == 0
    assert rounds_each(noise(variance=V - V // 100)) == ROUNDS - 1


@pytest.mark.parametrize("weight", [1, 1000])
def test_the_modulus_is_the_smallest(weight: int) -> None:
    found = with_noise(replace(UNITS, weights=WeightRule("declared", weight, "3ff0000000000000")), BUDGET, HONEST, 5)
    assert failing(found) == []
    at = (*SMALL_MODULI, *MODULI).index(found.lattice.modulus)
    smaller = replace(found, lattice=replace(found.lattice, modulus=(*SMALL_MODULI, *MODULI)[at - 1]))
    assert at == 0 if weight == 1 else "decryption" in failing(smaller)


@pytest.mark.parametrize(
    ("policy", "message"),
    [
        (replace(UNITS, update=replace(UNITS.update, norm_bound=2**36)), "no sigma up to"),
        (replace(UNITS, dimension=10, update=replace(UNITS.update, norm_bound=4)), "too little to tell"),
        (replace(UNITS, max_cohort=2**17), "max_cohort must be"),
    ],
)
def test_what_does_not_fit_is_refused(policy: Policy, message: str) -> None:
    with pytest.raises(Misuse, match=message):
        with_noise(policy, BUDGET, HONEST, ROUNDS)


def test_the_least_norm_bound() -> None:
    assert [least_norm_bound(d) for d in (1, 4096, 4097, 10**6)] == [256, 256, 260, 4000]


ANY = st.integers(0, 2**63 - 1) | st.integers(0, 100)


@given(
    numbers=st.tuples(*[ANY] * 6),
    said=st.tuples(ANY, ANY),
    other=st.tuples(ANY, ANY, ANY, ANY),
    words=st.tuples(st.sampled_from(["discrete-gaussian", ""]), st.sampled_from(["clients", "trustees"])),
)
def test_checks_are_total_on_decoded_policies(
    numbers: tuple[int, ...], said: tuple[int, int], other: tuple[int, ...], words: tuple[str, str]
) -> None:
    error = NoiseLaw(*other, said[0]) if said[1] % 2 else None
    members = TRUSTED if other[0] % 2 else NOISY
    policy = replace(members, noise=AddedNoise(*words, *numbers, error), privacy_budget=PrivacyBudget(*said))
    assert failing(policy)
    rounds, dimension, bound, weight = other
    policy = replace(policy, max_rounds=rounds, dimension=dimension, weights=replace(NOISY.weights, largest=weight))
    assert failing(replace(policy, update=replace(NOISY.update, norm_bound=bound)))


def test_the_account_is_that_of_the_rule() -> None:
    rule = account_of(NOISY)
    assert isinstance(rule, NoiseRule)
    assert rule.holds(Fraction(8), ROUNDS)
    assert not rule.holds(Fraction(8), ROUNDS + 1)
