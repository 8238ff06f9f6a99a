"""The second auditor finds the same conditions of noise to fail, and allows each client as many rounds."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from protocols.envelopes import seal_policy
from protocols.identities import SigningKey
from protocols.messages import RoundClosed
from protocols.noise import rounds_each
from protocols.policy import Policy
from protocols.steps.fedopt import fedadam
from protocols.steps.step import apply_step, encode_model, encode_optimizer, initial_state
from tests.auditor.forge import Forge
from tests.independent import account
from tests.independent.audit import audit as second_audit
from tests.independent.encoding import open_policy_file
from tests.independent.test_second_auditor import agreed
from tests.independent.test_second_auditor import failing as failing_checks
from tests.protocols.noisy_policies import BUDGET, EDGES, NOISY, V, budget, noise
from tests.protocols.test_parameters import failing
from tests.seeded import seeded
from tests.simulator import Setting, Simulation, identity_of

SKIPPED = {"noise-deviation", "budget-rounds"}  # not computed where the numbers make no sense
SENSIBLE = ("noise", "error", "budget", "norm-bound-positive", "weights-least")


def named(policy: Policy) -> set[str]:
    return {name for name, holds in account.conditions(asdict(policy)) if not holds}


@pytest.mark.parametrize("policy", [policy for _, *both in EDGES for policy in both if policy is not None])
def test_the_same_conditions_fail(policy: Policy) -> None:
    second = named(policy)
    found = {name for name in failing(policy) if name.startswith(SENSIBLE)}
    first = {name for name in found if name.startswith(("noise", "error", "budget"))}
    assert second == (first if found <= SKIPPED else first - SKIPPED)


@pytest.mark.parametrize(
    "policy",
    [
        NOISY,
        budget(epsilon_millionths=20_000_000),
        budget(delta_trillionths=10),
        noise(honest=4, variance=2 * V + 1, variance_divisor=2),
        replace(NOISY, max_rounds=3),
    ],
)
def test_as_many_rounds(policy: Policy) -> None:
    assert account.rounds_each(asdict(policy)) == rounds_each(policy)


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("norm-bound-positive", replace(NOISY, update=replace(NOISY.update, norm_bound=0))),
        ("weights-least", replace(NOISY, weights=replace(NOISY.weights, largest=0))),
    ],
)
def test_a_policy_that_sums_nothing_is_refused(tmp_path: Path, name: str, policy: Policy) -> None:
    """There is no account of a sensitivity of 0: the condition is named, and none computed."""
    issuer = SigningKey.generate(seeded("issuer"))
    pinned, transcript = tmp_path / "pinned.cbor", tmp_path / "transcript"
    pinned.write_bytes(seal_policy(replace(policy, issuer_key=issuer.public_key), issuer))
    transcript.mkdir()
    found = second_audit(transcript, pinned).findings["I2"]
    assert any(each.startswith(f"policy-{name}") for each in found), found


def test_frozen_coordinates_stay_under_noise_and_a_server_that_moves_them_is_found(tmp_path: Path) -> None:
    """The published sum has noise there, too; the lawful model has none of it. Both auditors replay it so."""
    setting = Setting(
        clients=3, budget=BUDGET, encryption_proof=True, coordinate_clip=0.5, frozen=8, step=fedadam(0.02)
    )
    simulation = Simulation(tmp_path, setting)
    simulation.start()
    result = simulation.play_round()
    simulation.writer.close()
    assert result.plaintext is not None
    assert result.plaintext[:8].any()
    reached, policy = simulation.coordinator.step_state(), simulation.pinned.policy
    assert reached.model[:8].tobytes() == simulation.model[:8].tobytes()
    assert not reached.moments[0][:8].any()
    assert (reached.model[8:] != simulation.model[8:]).all()
    pinned = tmp_path / "pinned.cbor"
    pinned.write_bytes(simulation.policy_data)
    assert agreed(simulation.path, pinned).accepted
    moving = replace(policy, update=replace(policy.update, groups=()))
    moved = apply_step(moving, initial_state(moving, simulation.model), result.plaintext[:40], 3, 1)
    forge = Forge.load(simulation.path, policy, simulation.policy_data, identity_of)
    closed = forge.find(RoundClosed)
    forge.edit(closed, model=forge.put(encode_model(moved.model)), optimizer=forge.put(encode_optimizer(moved) or b""))
    report = agreed(forge.write(tmp_path / "forged"), pinned)
    assert failing_checks(report) == {"I11"}


def test_it_reads_a_policy_with_noise() -> None:
    issuer = SigningKey.generate(seeded("issuer"))
    body = open_policy_file(seal_policy(replace(NOISY, issuer_key=issuer.public_key), issuer)).body
    assert body["noise"] == asdict(NOISY)["noise"]
    assert body["privacy_budget"] == {**asdict(NOISY)["privacy_budget"], "former": []}
