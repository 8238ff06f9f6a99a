"""The second auditor's verifier on proofs with noise for privacy: the same numbers, the same verdicts."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

import numpy as np
import pytest

from proofs.encryption import EncryptionParameters
from proofs.privacy_noise import NoiseBounds
from proofs.ranges import CoordinateGroup
from proofs.verifier import Claim as OurClaim
from tests.independent import argument
from tests.independent.encoding import Unreadable
from tests.independent.parameters import Numbers
from tests.independent.policies import argument_conditions
from tests.independent.test_hidden_weights import encrypted_with, restated
from tests.proofs.arguments import (
    Honest,
    WeakParameters,
    altered,
    honest,
    judge,
    native,
    pruned,
)
from tests.protocols.noisy_policies import NOISY
from tests.soundness.forgery import another_point
from tests.soundness.test_noise_attacks import LIES, PLAIN, lied
from tests.soundness.test_tampering import ENCRYPTION_TAMPERS, TAMPERS

MODULUS, DEGREE = 0xFFC001, 4096
BOUNDS = NoiseBounds(900, 10, 10**6)
FULL = WeakParameters(
    40, 500, 4, 100, (CoordinateGroup(7, 9, 0),), EncryptionParameters(DEGREE, MODULUS, 1), privacy_noise=BOUNDS
)
RANGED = WeakParameters(20, 50, 4, 7, privacy_noise=NoiseBounds(100, 500, 5000))
TALL = WeakParameters(300, 50, 2, privacy_noise=BOUNDS)
HEAVY = WeakParameters(20, 50, 4, 7, weight=2, largest_weight=3, privacy_noise=BOUNDS)
APART = WeakParameters(20, 50, 4, 7, largest_weight=3, privacy_noise=BOUNDS, update_noise=NoiseBounds(100, 500, 5000))
ALONE = replace(APART, weight=0)


def numbers_of(parameters: WeakParameters) -> Numbers:
    """Of a policy with these numbers."""
    policy, noise, lattice = asdict(NOISY), parameters.privacy_noise, parameters.encryption
    assert noise is not None
    bounds: dict[str, Any] = bounds_of(noise)
    if parameters.update_noise is not None:
        bounds |= {"error": {"variance": 64, "variance_divisor": 1, **bounds_of(parameters.update_noise)}}
    groups = [{"start": g.start, "stop": g.stop, "bound": g.bound} for g in parameters.groups]
    update = {**policy["update"], "norm_bound": parameters.norm_bound, "groups": groups}
    ring = {**policy["lattice"], "encryption_proof": lattice is not None}
    if lattice is not None:
        ring |= {"degree": lattice.degree, "modulus": lattice.modulus, "plaintext_scale": lattice.plaintext_scale}
    changed = {
        "dimension": parameters.dimension,
        "projections": parameters.projections,
        "update": {**update, "coordinate_bound": parameters.coordinate_bound},
        "lattice": ring,
        "noise": {**policy["noise"], **bounds},
        "weights": {**policy["weights"], "largest": parameters.largest_weight},
    }
    return Numbers(policy | changed, parameters.weight)


def bounds_of(noise: NoiseBounds) -> dict[str, int]:
    return {"group_bound": noise.group, "floor": noise.floor, "ceiling": noise.ceiling}


def second(parameters: WeakParameters, claim: OurClaim) -> str:
    try:
        argument.verify(numbers_of(parameters), restated(claim))
    except (Unreadable, argument.Refused) as fault:
        return str(fault)
    return "accepted"


def both(parameters: WeakParameters, claim: OurClaim) -> str:
    """What the two verifiers say alike."""
    found = judge(native(), parameters, replace(claim, weight=parameters.weight))
    assert second(parameters, claim) == found
    return found


@pytest.fixture(scope="module")
def full() -> Honest:
    return encrypted_with(FULL, np.array([90, *[0] * 39]))


@pytest.mark.parametrize("parameters", [PLAIN, RANGED, TALL, HEAVY, FULL, APART, ALONE])
def test_numbers(parameters: WeakParameters) -> None:
    numbers = numbers_of(parameters)
    assert (numbers.proof_size, numbers.M, numbers.Z) == (
        parameters.proof_size, parameters.mask_bound, parameters.response_bound,
    )  # fmt: skip
    assert numbers.blob_size("", "privacy_noise_commitments") == parameters.commitments_size(
        "privacy-noise-commitments"
    )
    assert numbers.blob_size("", "noise_commitments") == parameters.commitments_size("encryption-commitments")
    assert [name for name, holds in argument_conditions(numbers) if not holds] == []


@pytest.mark.parametrize("parameters", [PLAIN, RANGED, TALL, HEAVY, APART, ALONE])
def test_accepted(parameters: WeakParameters) -> None:
    assert both(parameters, honest(native(), parameters).claim) == "accepted"


def test_accepted_with_its_encryption(full: Honest) -> None:
    assert both(FULL, full.claim) == both(FULL, pruned(full.claim)) == "accepted"


@pytest.mark.parametrize("name", [*TAMPERS, *ENCRYPTION_TAMPERS])
def test_tampered_field(full: Honest, name: str) -> None:
    change, _ = (TAMPERS | ENCRYPTION_TAMPERS)[name]
    assert both(FULL, full.edited(**{name: change(full.proof)})) != "accepted"


def test_rows_of_the_noise_and_their_context(full: Honest) -> None:
    rows = full.claim.rows["privacy-noise-commitments"]
    cut, moved = (
        altered(full.claim, privacy_noise_commitments=each) for each in (rows[:-33], rows[:-33] + another_point())
    )
    assert both(FULL, cut) == "privacy-noise-commitments-length"
    assert both(FULL, moved) == "ciphertext-combination"
    assert both(FULL, pruned(moved)) == "linear-relation"
    assert both(FULL, pruned(replace(full.claim, sign_context=b""))) == "linear-relation"


@pytest.mark.parametrize("name", LIES)
def test_attacks(name: str) -> None:
    claim, expected = lied(name)
    assert both(PLAIN, claim) == expected
