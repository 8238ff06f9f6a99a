"""The second auditor finds the same conditions of noise to fail, and allows each client as many rounds."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from protocols.envelopes import seal_policy
from protocols.identities import SigningKey
from protocols.noise import rounds_each
from protocols.policy import Policy
from tests.independent import account
from tests.independent.audit import audit as second_audit
from tests.independent.encoding import open_policy_file
from tests.protocols.noisy_policies import EDGES, NOISY, V, budget, noise
from tests.protocols.test_parameters import failing
from tests.seeded import seeded

SKIPPED = {"noise-deviation", "budget-rounds"}  # not computed where the numbers make no sense
SENSIBLE = ("noise", "budget", "norm-bound-positive", "weights-least")


def named(policy: Policy) -> set[str]:
    return {name for name, holds in account.conditions(asdict(policy)) if not holds}


@pytest.mark.parametrize("policy", [policy for _, *both in EDGES for policy in both if policy is not None])
def test_the_same_conditions_fail(policy: Policy) -> None:
    second = named(policy)
    found = {name for name in failing(policy) if name.startswith(SENSIBLE)}
    first = {name for name in found if name.startswith(("noise", "budget"))}
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


def test_it_reads_a_policy_with_noise() -> None:
    issuer = SigningKey.generate(seeded("issuer"))
    body = open_policy_file(seal_policy(replace(NOISY, issuer_key=issuer.public_key), issuer)).body
    assert body["noise"] == asdict(NOISY)["noise"]
    assert body["privacy_budget"] == {**asdict(NOISY)["privacy_budget"], "former": []}
