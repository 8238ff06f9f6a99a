"""Derived parameters meet every condition; every condition is tested at its edge."""

from __future__ import annotations

import math
from dataclasses import asdict, is_dataclass, replace
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from proofs.encryption import NOISE_BOUND
from proofs.errors import Misuse, Rejected
from protocols.derivation import (
    coordinate_units,
    default_fraction_bits,
    derive,
    derive_lattice,
    derive_update,
    largest_derivable_cohort,
)
from protocols.lattice.parameters import MODULI, TAIL
from protocols.parameters import LARGEST_COHORT, check_policy, largest_cohort, require_sound
from protocols.policy import (
    CoordinateRule,
    FormerFederation,
    Member,
    Policy,
    ScaleRule,
    StepRule,
    TensorSpec,
    WeightRule,
)
from protocols.steps.doubles import format_double
from protocols.steps.fedavg import FedAvg, fedavg
from protocols.steps.fedavgm import fedavgm
from protocols.steps.fedopt import fedadagrad, fedadam, fedyogi
from protocols.steps.rule import spelled
from protocols.steps.step import apply_step, fullest_update, initial_state
from protocols.weights import EQUAL_WEIGHTS
from tests.independent.parameters import Numbers
from tests.independent.policies import number_conditions


def sound(dimension: int = 1000, clients: int = 8, max_cohort: int = 8, clip: float = 1.0) -> Policy:
    update, lattice = derive(dimension, clip, None, max_cohort)
    return Policy(
        federation="test",
        origin="test.example/log",
        log_key=bytes([1]) * 32,
        issuer_key=bytes([2]) * 32,
        trustees=tuple(Member(f"trustee{i}", bytes([10 + i]) * 32) for i in range(5)),
        threshold=4,
        corrupt=2,
        roster=tuple(Member(f"client{i}", bytes([100 + i]) * 32) for i in range(clients)),
        min_cohort=2,
        max_cohort=max_cohort,
        max_rounds=10,
        max_aborts=2,
        per_round=None,
        strict_consecutive=False,
        tensors=(TensorSpec("w", (dimension,), "float32", False),),
        dimension=dimension,
        initial_model=bytes(32),
        update=update,
        lattice=lattice,
        step=fedavg(),
        projections=360,
        required_checks=("I9", "P6"),
        approvals=(),
        task=None,
        initial_file=None,
        previous=None,
        weights=EQUAL_WEIGHTS,
        noise=None,
        privacy_budget=None,
    )


GOOD = sound()
ALICE, BOB = GOOD.roster[0], GOOD.trustees[0]


def failing(policy: Policy) -> list[str]:
    return [condition.name for condition in check_policy(policy) if not condition.holds]


def lattice(policy: Policy, **changes: Any) -> Policy:
    return replace(policy, lattice=replace(policy.lattice, **changes))


def update(policy: Policy, **changes: Any) -> Policy:
    return replace(policy, update=replace(policy.update, **changes))


@given(
    dimension=st.integers(1, 2**24),
    clip=st.floats(min_value=1e-6, max_value=1e6),
    bits=st.none() | st.integers(0, 60),
    cohort=st.integers(2, LARGEST_COHORT),
)
def test_what_is_derived_is_sound(dimension: int, clip: float, bits: int | None, cohort: int) -> None:
    try:
        rules = derive(dimension, clip, bits, cohort)
    except Misuse:
        assume(False)
    policy = replace(
        GOOD,
        max_cohort=cohort,
        dimension=dimension,
        tensors=(TensorSpec("w", (dimension,), "float32", False),),
        update=rules[0],
        lattice=rules[1],
    )
    assert set(failing(policy)) <= {"step-floor"}
    fullest = fullest_update(policy)
    assert ("step-floor" in failing(policy)) == (fullest.vanishes or fullest.length < 2.0**-16)
    assert largest_cohort(*rules) >= cohort
    smaller = [q for q in MODULI if q < rules[1].modulus]
    assert not any(2 * cohort * (TAIL * rules[1].plaintext_scale + rules[0].norm_bound) < q for q in smaller)


def test_the_default_resolution_follows_the_dimension() -> None:
    assert default_fraction_bits(10, 1.0) == 12
    assert default_fraction_bits(2**20, 1.0) == 15
    assert default_fraction_bits(2**20, 0.25) == 17
    assert default_fraction_bits(10, 1e9) == 0


def test_largest_cohort_is_exact() -> None:
    rules = derive(1000, 1.0, None, 8)
    most = largest_cohort(*rules)
    assert failing(replace(GOOD, max_cohort=most)) == []
    assert set(failing(replace(GOOD, max_cohort=most + 1))) & {"scale", "decryption", "key-digits"}


@pytest.mark.parametrize(
    ("clip", "units"), [(0.0, 0), (-0.0, 0), (2.0**-16, 1), (0.01, 655), (0.05, 3276), (1.0, 65536), (1e300, 65536)]
)
def test_a_coordinate_bound_is_rounded_down_and_at_most_the_norm_bound(clip: float, units: int) -> None:
    rule = derive_update(100, 1.0, 16)
    assert coordinate_units(clip, rule) == units
    assert units * 2.0**-16 <= max(clip, 0.0)


@pytest.mark.parametrize(
    ("clip", "bits", "message"),
    [
        (-1.0, 16, "here: expected a finite number, 0 or more, found -1.0"),
        (float("nan"), 16, "here: expected a finite number, 0 or more, found nan"),
        (float("inf"), 16, "here: expected a finite number, 0 or more, found inf"),
        (1e-9, 16, "here: 1e-09 is less than one unit, 2^-16 = 1.53e-05; use 0 to freeze, a larger bound, or fraction"),
        (5e-324, 16, "a larger bound$"),
        (0.5, 30, "at most 2^20 units; use 0.0009765625 or less, or fewer fraction_bits"),
    ],
)
def test_coordinate_bounds_out_of_range_are_misuse(clip: float, bits: int, message: str) -> None:
    with pytest.raises(Misuse) as excinfo:
        coordinate_units(clip, derive_update(100, 1.0, bits), "here")
    assert message.rstrip("$") in str(excinfo.value)
    assert not message.endswith("$") or str(excinfo.value).endswith(message[:-1])


def test_the_advice_on_resolution_suffices() -> None:
    assert coordinate_units(1e-9, derive_update(100, 1.0, 30)) == 1
    assert coordinate_units(0.0009765625, derive_update(100, 1.0, 30)) == 2**20


@pytest.mark.parametrize("encryption_proof", [False, True])
@pytest.mark.parametrize("bits", [16, 28, 40])
def test_the_largest_cohort_that_parameters_exist_for(bits: int, encryption_proof: bool) -> None:
    rule = derive_update(100, 1.0, bits)
    most = largest_derivable_cohort(rule, encryption_proof)
    assert largest_cohort(rule, derive_lattice(rule, most, encryption_proof)) >= most
    with pytest.raises(Misuse):
        derive_lattice(rule, most + 1, encryption_proof)


def test_with_any_coordinate_bound_every_cohort_fits() -> None:
    with pytest.raises(Misuse, match=r"or set coordinate_bound to 1\.52587890625e-05 or less$"):
        derive(2**20, 1.0, 36, 1000)
    for proof, noise in ((False, TAIL), (True, NOISE_BOUND)):
        assert derive(2**20, 1.0, 36, (2**23 - 1) // noise, coordinate_clip=2.0**-16, encryption_proof=proof)


def test_a_budget_that_does_not_fit_says_what_to_change() -> None:
    with pytest.raises(Misuse) as excinfo:
        derive(2**20, 1.0, 36, 1000)
    message = str(excinfo.value)
    assert str(MODULI[-1]) in message
    assert "max_cohort from 1000 to 381" in message
    assert "fraction_bits from 36 to 33" in message
    assert derive(2**20, 1.0, 36, 381)
    assert derive(2**20, 1.0, 33, 1000)
    with pytest.raises(Misuse):
        derive(2**20, 1.0, 36, 382)
    with pytest.raises(Misuse):
        derive(2**20, 1.0, 34, 1000)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0, 1.0, None, 8), "dimension"),
        ((10, 1.0, None, 1), "max_cohort"),
        ((10, 1.0, None, LARGEST_COHORT + 1), "max_cohort"),
        ((10, -1.0, None, 8), "clip norm"),
        ((10, 1.0, -1, 8), "fraction_bits"),
        ((10, 1.0, 50, 8), "use 12 fraction bits"),
        ((10, 1e-3, 2, 8), "use 22 fraction bits"),
        ((10, 1e15, None, 8), "use another clip norm"),
    ],
)
def test_arguments_out_of_range_are_misuse(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(Misuse, match=message):
        derive(*arguments)


def test_the_good_policy_meets_everything() -> None:
    assert failing(GOOD) == []
    require_sound(GOOD)
    assert all(condition.explanation for condition in check_policy(GOOD))


def roster_of(count: int) -> tuple[Member, ...]:
    return tuple(Member(f"c{number:05}", number.to_bytes(32, "big")) for number in range(count))


def test_names_are_unique() -> None:
    names = [condition.name for condition in check_policy(GOOD)]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("quorum-intersection", replace(GOOD, corrupt=3)),
        ("quorum-intersection", replace(GOOD, threshold=3)),
        ("corrupt-below-threshold", replace(GOOD, corrupt=4)),
        ("threshold-reachable", replace(GOOD, threshold=6)),
        ("trustees", replace(GOOD, trustees=tuple(Member(f"t{i}", i.to_bytes(32, "big")) for i in range(65)))),
        ("trustee-ids", replace(GOOD, trustees=(*GOOD.trustees[:4], replace(BOB, public_key=bytes(32))))),
        ("trustee-keys", replace(GOOD, trustees=(*GOOD.trustees[:4], replace(BOB, id="zoe")))),
        ("client-ids", replace(GOOD, roster=(ALICE, replace(ALICE, public_key=bytes(32)), *GOOD.roster[1:]))),
        ("client-keys", replace(GOOD, roster=(replace(ALICE, id="a"), *GOOD.roster))),
        ("roster-order", replace(GOOD, roster=GOOD.roster[::-1])),
        ("one-key-per-id", replace(GOOD, roster=(*GOOD.roster, Member("trustee0", bytes(32))))),
        ("one-id-per-key", replace(GOOD, roster=(*GOOD.roster, Member("zoe", BOB.public_key)))),
        ("role-names", replace(GOOD, roster=(*GOOD.roster, Member("coordinator", bytes(32))))),
        ("log-key", replace(GOOD, log_key=BOB.public_key)),
        ("issuer-key", replace(GOOD, issuer_key=ALICE.public_key)),
        ("min-cohort", replace(GOOD, min_cohort=1)),
        ("cohort-range", replace(GOOD, min_cohort=8, max_cohort=7)),
        ("roster-size", replace(GOOD, roster=GOOD.roster[:1])),
        ("max-rounds", replace(GOOD, max_rounds=0)),
        ("max-rounds-limit", replace(GOOD, max_rounds=2**16 + 1)),
        ("cohort-entry", replace(GOOD, roster=roster_of(18_500))),
        ("roster-changes", replace(GOOD, roster=roster_of(7_790))),
        ("required-checks", replace(GOOD, required_checks=("I99",))),
        ("approvals", replace(GOOD, approvals=("trustee", "client"))),
        ("approvals", replace(GOOD, approvals=("client", "client"))),
        ("approvals", replace(GOOD, approvals=("coordinator",))),
        ("previous-size", replace(GOOD, previous=FormerFederation("former", bytes(32), 0, bytes(32)))),
        ("previous-name", replace(GOOD, previous=FormerFederation("test", bytes(32), 1, bytes(32)))),
        ("tensor-names", replace(GOOD, tensors=(replace(GOOD.tensors[0], shape=(500,)),) * 2)),
        ("tensor-types", replace(GOOD, tensors=(replace(GOOD.tensors[0], dtype="int64"),))),
        ("tensor-roles", replace(GOOD, tensors=(replace(GOOD.tensors[0], role="buffer"),))),
        ("dimension", replace(GOOD, dimension=999)),
        ("dimension-positive", replace(GOOD, dimension=0, tensors=())),
        ("dimension-limit", replace(GOOD, dimension=2**28 + 1)),
        ("norm-bound-positive", update(GOOD, norm_bound=0)),
        ("norm-bound-limit", update(GOOD, norm_bound=2**40 + 1)),
        ("fraction-bits", update(GOOD, fraction_bits=129)),
        ("coordinate-scales", update(GOOD, scales=(ScaleRule(0, 1, 64),))),
        ("plaintext-int64", replace(update(GOOD, norm_bound=2**40), max_cohort=2**23)),
        ("projections", replace(GOOD, projections=359)),
        ("argument", replace(GOOD, projections=4097)),
        ("degree", lattice(GOOD, degree=2048)),
        ("modulus", lattice(GOOD, modulus=MODULI[3] - 8192)),
        ("lattice-security", lattice(GOOD, degree=2048)),
        ("lattice-security", lattice(GOOD, modulus=2**63 - 25)),
        ("scale-power", lattice(GOOD, plaintext_scale=GOOD.lattice.plaintext_scale + 1)),
        ("scale", lattice(GOOD, plaintext_scale=GOOD.lattice.plaintext_scale // 2)),
        ("decryption", lattice(sound(max_cohort=127), plaintext_scale=2**40)),
        ("sigma", lattice(GOOD, sigma_tenths=65)),
        ("tail", lattice(GOOD, tail=85)),
        ("key-digits", replace(GOOD, max_cohort=LARGEST_COHORT + 1)),
        ("step", replace(GOOD, step=replace(GOOD.step, rule="sgd"))),
        ("step-floor", replace(GOOD, step=fedavg(1e-12))),
        ("step-floor", update(GOOD, fraction_bits=33)),
        ("step-floor", replace(GOOD, step=fedavg(math.nextafter(2.0**-16, 0)))),
        ("step-floor", replace(GOOD, step=fedadam(learning_rate=1e-12))),
        ("step-floor", replace(GOOD, step=fedadam(epsilon=1e3))),
        ("step-floor", replace(GOOD, step=fedadam(beta1=1 - 2.0**-40))),
        ("step-floor", replace(GOOD, step=fedadam(learning_rate=1e300, epsilon=1e305))),
        ("step-ceiling", replace(GOOD, step=fedavg(math.nextafter(2.0**16, math.inf)))),
        ("step-ceiling", replace(GOOD, step=fedavg(1e300))),
        ("step-ceiling", replace(GOOD, step=fedadam(learning_rate=1e5))),
        ("step-ceiling", replace(GOOD, step=fedadam(epsilon=1e-30))),
        ("step-ceiling", replace(GOOD, step=fedavgm(1e5))),
        ("step-ceiling", replace(GOOD, step=fedadagrad(epsilon=1e-30))),
        ("step-ceiling", replace(GOOD, step=fedyogi(epsilon=1e-30))),
        ("step-ceiling", replace(GOOD, step=spelled(FedAvg(), rates=(1.0, 1e5, 1.0)))),
    ],
)
def test_each_condition_is_enforced(name: str, policy: Policy) -> None:
    assert name in failing(policy)
    with pytest.raises(Rejected) as excinfo:
        require_sound(policy)
    assert excinfo.value.check == f"policy-{failing(policy)[0]}"


@pytest.mark.parametrize(
    "step",
    [
        *(fedavg(), fedavg(2.0**-16), fedavg(2.0**16), fedavg(1e-4), fedavgm(), fedadagrad(), fedyogi()),
        *(fedadam(), fedadam(epsilon=1e-8), fedadam(beta1=0.0)),
    ],
)
def test_usual_steps_are_sound(step: StepRule) -> None:
    require_sound(replace(GOOD, step=step))


@pytest.mark.parametrize(
    "step",
    [
        *(fedavg(2.0**16), fedavg(2.0**-16), fedavgm(2.0**16, 1 - 2.0**-53), fedadam(epsilon=2.0**-60)),
        *(fedadam(beta2=0.0), fedadagrad(epsilon=2.0**-60), fedyogi(epsilon=2.0**-60), fedyogi(beta2=0.0)),
    ],
)
@pytest.mark.parametrize("start", [0.0, 1.0, -1e300, np.finfo(np.float64).max])
def test_a_sound_step_never_overflows_and_moves_a_model_near_zero(step: StepRule, start: float) -> None:
    """The longest updates there can be, round after round."""
    policy = replace(sound(dimension=2), step=step)
    require_sound(policy)
    state = initial_state(policy, np.full(2, start))
    longest = np.full(2, policy.max_cohort * policy.update.norm_bound, dtype=np.int64)
    for number in range(1, 21):
        state = apply_step(policy, state, longest, policy.max_cohort, number)
    moved = np.abs(state.model - start).max()
    length = policy.update.norm_bound / 2**policy.update.fraction_bits
    assert abs(start) > 1 or moved >= 2.0**-16 * length


def test_the_decryption_condition_at_its_edge() -> None:
    n, bound, scale = GOOD.max_cohort, GOOD.update.norm_bound, GOOD.lattice.plaintext_scale
    needed = 2 * n * (TAIL * scale + bound)
    assert "decryption" in failing(lattice(GOOD, modulus=needed))
    assert "decryption" not in failing(lattice(GOOD, modulus=needed + 1))


def test_the_scale_condition_at_its_edge() -> None:
    policy = lattice(update(GOOD, norm_bound=2**10), plaintext_scale=2**14)
    assert "scale" in failing(policy)  # 2 n B = 2^14 with n = 8
    assert "scale" not in failing(update(policy, norm_bound=2**10 - 1))


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_checks_are_total_on_decoded_policies(a: int, b: int, c: int, d: int) -> None:
    policy = lattice(update(GOOD, norm_bound=a, fraction_bits=b), degree=c, modulus=d, plaintext_scale=a, tail=b)
    policy = replace(policy, dimension=a, projections=b, max_cohort=c, threshold=d, corrupt=a, trustees=(), roster=())
    assert failing(policy)


@pytest.mark.parametrize("kind", ["declared", "private"])
def test_consecutive_cohorts_promise_nothing_of_weights_that_change(kind: str) -> None:
    weighed = replace(GOOD, weights=WeightRule(kind, 9, "1.0"))
    assert "weights-consecutive" not in failing(weighed)
    assert "weights-consecutive" in failing(replace(weighed, strict_consecutive=True))
    assert "weights-consecutive" not in failing(replace(GOOD, strict_consecutive=True))


@pytest.mark.parametrize("kind", ["declared", "private"])
def test_the_general_bound_is_in_range_also_where_groups_cover_all(kind: str) -> None:
    """W times it, whatever its coordinates are; the second auditor says so, too."""
    for general, within in ((2**19, True), (2**19 + 1, False)):
        bounds = replace(GOOD.update, coordinate_bound=general, groups=(CoordinateRule(0, GOOD.dimension, 10),))
        bounds = replace(bounds, norm_bound=2**16)
        crypto = derive_lattice(bounds, GOOD.max_cohort, False, 2)
        policy = replace(GOOD, weights=WeightRule(kind, 2, format_double(1.0)), update=bounds, lattice=crypto)
        assert failing(policy) == ([] if within else ["argument"])
        body = second_body(policy)
        found = [name for name, holds in number_conditions(body, Numbers(body)) if not holds]
        assert found == ([] if within else ["argument"])


def second_body(value: Any) -> Any:
    """A policy as the second auditor decodes it."""
    if isinstance(value, dict):
        return {name: second_body(each) for name, each in value.items()}
    if isinstance(value, tuple):
        return [second_body(each) for each in value]
    return value if not is_dataclass(value) else second_body(asdict(value))
