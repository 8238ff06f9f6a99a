"""Another architecture, seed or configuration than a policy was signed for, in words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

import pytest

from proofs.errors import Misuse
from protocols.policy import Policy, TensorSpec
from tests.seeded import seeded
from verifl.config import Config
from verifl.enrolment.policies import TrainedModel, check_training, enrol, enrolled
from verifl.enrolment.policy_words import decided_by

WEIGHT = TensorSpec("0.weight", (3, 2), "float32", nonnegative=False)
BIAS = TensorSpec("0.bias", (3,), "float32", nonnegative=False)
SIGNED = TrainedModel.of((WEIGHT, BIAS), 9, b"weights")
CLIENTS = ("x", "y", "z")
OTHER = "; the policy was made for another configuration, task or seed"


def refusal(model: TrainedModel, **tables: Mapping[str, object]) -> str:
    """What is said where a policy for SIGNED, with a clip norm of 2, is to train something else."""
    config = Config.of(update={"clip_norm": 2.0, "fraction_bits": 10})
    made = enrol(config, SIGNED.tensors, SIGNED.dimension, CLIENTS, b"weights", seeded("words"))
    keys = {key.public_key: key for key in (made.coordinator, *made.trustees.values(), *made.clients.values())}
    described = Config.of(**{"update": {"clip_norm": 2.0, "fraction_bits": 10}, **tables})
    with pytest.raises(Misuse) as excinfo:
        enrolled(made.policy_file, keys, described, model, CLIENTS)
    said, other, where = str(excinfo.value).partition(OTHER)
    assert other
    assert where.startswith("; it follows from ")
    assert "Spec(" not in said
    return said


def test_every_field_that_may_differ_says_what_decides_it() -> None:
    """Those of the parties, and what is pinned, have checks of their own before."""
    by_roster = {
        "federation", "origin", "log_key", "issuer_key", "trustees", "threshold", "corrupt", "roster", "min_cohort",
        "max_cohort", "per_round", "max_rounds", "max_aborts", "strict_consecutive", "approvals",
    }  # fmt: skip
    pinned, constant = {"task", "initial_file", "previous"}, {"projections"}
    for each in fields(Policy):
        assert bool(decided_by(each.name)) != (each.name in by_roster | pinned | constant), each.name


def test_another_noise_names_the_keys_that_fix_it() -> None:
    noised = {"limits": {"min_cohort": 3}, "privacy": {"epsilon": 8.0, "delta": 1e-5}}
    wide = TensorSpec("0.weight", (200,), "float32", nonnegative=False)
    model = TrainedModel.of((wide,), 200, b"weights")
    made = enrol(Config.of(**noised), model.tensors, 200, CLIENTS, b"weights", seeded("words"))
    keys = {key.public_key: key for key in (made.coordinator, *made.trustees.values(), *made.clients.values())}
    for other in ({"federation": {"rounds": 4}}, {"privacy": {"epsilon": 9.0, "delta": 1e-5}}):
        with pytest.raises(Misuse) as excinfo:
            enrolled(made.policy_file, keys, Config.of(**{**noised, **other}), model, CLIENTS)
        assert "it follows from federation.rounds with epsilon, delta, colluding of [privacy]; " in str(excinfo.value)
        assert str(excinfo.value).endswith("put them back, or have a new policy made that goes on from this one")


def test_where_a_policy_is_there_it_decides_and_no_roster() -> None:
    made = enrol(Config.of(), SIGNED.tensors, SIGNED.dimension, CLIENTS, b"weights", seeded("words"))
    with pytest.raises(Misuse, match=r"federation\.name: the policy decides and says federation, found icu"):
        check_training(made.policy, Config.of(federation={"name": "icu"}), SIGNED)


@pytest.mark.parametrize(
    ("tensors", "dimension", "text"),
    [
        (
            (TensorSpec("0.weight", (4, 2), "float32", nonnegative=False), BIAS),
            11,
            "signed for '0.weight' of float32, 3x2, found '0.weight' of float32, 4x2",
        ),
        ((WEIGHT,), 6, "signed for '0.bias' of float32, 3, found a model without '0.bias'"),
        (
            (WEIGHT, BIAS, TensorSpec("scale", (), "bfloat16", nonnegative=True)),
            10,
            "signed for a model without 'scale', found 'scale' of bfloat16, a single number, never below zero",
        ),
        ((BIAS, WEIGHT), 9, "signed for '0.weight' as tensor 1, found '0.bias': the same in another order"),
    ],
)
def test_another_architecture(tensors: tuple[TensorSpec, ...], dimension: int, text: str) -> None:
    assert refusal(TrainedModel.of(tensors, dimension, b"weights")) == f"policy: tensors: {text}"


def test_other_weights() -> None:
    assert refusal(TrainedModel.of(SIGNED.tensors, 9, b"others")) == (
        "policy: initial_model: signed for the weights that model() made then, found other weights; the seed is "
        "another, or model() was changed; --initial starts from a file"
    )


@pytest.mark.parametrize(
    ("tables", "text"),
    [
        (
            {"update": {"clip_norm": 1.5, "fraction_bits": 10}},
            "update: signed for clip_norm 2, fraction_bits 10, found clip_norm 1.5, fraction_bits 10",
        ),
        (
            {
                "update": {
                    "clip_norm": 2.0,
                    "fraction_bits": 10,
                    "coordinate_bound": 0.5,
                    "groups": [{"tensors": ["*.bias"], "coordinate_bound": 0}],
                }
            },
            (
                "update: signed for clip_norm 2, fraction_bits 10, found clip_norm 2, fraction_bits 10, "
                "coordinate_bound 0.5, coordinates 6 to 8 within 0"
            ),
        ),
        (
            {"server": {"rule": "fedadam"}},
            (
                "step: signed for fedavg, learning_rate 1, found fedadam, learning_rate 0.01, beta1 0.9, beta2 0.99, "
                "epsilon 0.001"
            ),
        ),
        (
            {"server": {"schedule": {"kind": "step", "every": 2}}},
            "step: signed for learning_rate 1 in round 3, found learning_rate 0.5 in round 3",
        ),
        ({"audit": {"required": ["I9"]}}, "required_checks: signed for none, found I9"),
    ],
)
def test_another_configuration(tables: dict[str, dict[str, object]], text: str) -> None:
    assert refusal(SIGNED, **tables) == f"policy: {text}"


def test_another_encryption() -> None:
    text = refusal(SIGNED, update={"clip_norm": 2.0, "fraction_bits": 10, "encryption_proof": False})
    assert text.startswith("policy: lattice: signed for a modulus of ")
    assert "bits with the proof of encryption, found a modulus of " in text
    assert text.endswith("bits without the proof of encryption")
