"""Weak Fiat-Shamir over the signs of noise for privacy: what they must depend on, and what must depend on them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from proofs.noise_witness import CommittedNoise, commit_noise, signed_noise
from proofs.parameters import ArgumentParameters
from proofs.privacy_noise import NoiseBounds, noise_signs
from proofs.prover import prove
from proofs.verifier import Claim
from proofs.witness import commit_update
from tests.proofs.arguments import (
    CONTEXT,
    SIGN_CONTEXT,
    WeakParameters,
    judge,
    native,
    random_privacy_noise,
    reference,
)
from tests.seeded import seeded
from tests.soundness import forgery

Forgery = Callable[[], Claim]

FEW = WeakParameters(10, 50, 6, privacy_noise=NoiseBounds(100, 10, 9000))  # 16 cells: two contexts can have equal signs
LOUD = WeakParameters(16, 50, 6, privacy_noise=NoiseBounds(200, 10, 40_000))


def noised_claim(parameters: ArgumentParameters, noise: CommittedNoise, contexts: tuple[bytes, bytes]) -> Claim:
    """An honest proof for signs of the first context, shown with the second."""
    signed, rand = signed_noise(parameters, noise, contexts[0]), seeded(7)
    made = commit_update(native(), parameters, np.zeros(parameters.dimension, dtype=np.int64), rand, signed=signed)
    proof = prove(native(), parameters, made, CONTEXT, rand)
    return Claim(made.rows, proof, CONTEXT, sign_context=contexts[1])


def forget_noise_signs() -> Claim:
    """A proof moved to another context; one with the same signs, as these enter V6 by themselves."""
    noise, seen = commit_noise(native(), FEW, random_privacy_noise(FEW), seeded(0)), dict[bytes, bytes]()
    for context in (b"%d" % i for i in range(5000)):
        signs = noise_signs(FEW.shape, context, noise.rows).table.tobytes()
        if signs in seen:
            return noised_claim(FEW, noise, (seen[signs], context))
        seen[signs] = context
    raise AssertionError("no collision of 16 bits")


def forget_sign_context() -> Claim:
    noise = commit_noise(native(), FEW, random_privacy_noise(FEW), seeded(0))
    return noised_claim(FEW, noise, (b"one", b"another"))


def forget_noise_commitments() -> Claim:
    """Signs known beforehand, and noise turned by them into one direction: the message is 45 everywhere, norm 180."""
    known = noise_signs(LOUD.shape, SIGN_CONTEXT, b"")
    noise = commit_noise(native(), LOUD, 45 * known.table.reshape(-1).astype(np.int64), seeded(0))
    return noised_claim(LOUD, noise, (SIGN_CONTEXT, SIGN_CONTEXT))


SIGN_FORGERIES: dict[str, tuple[str, ArgumentParameters, Forgery]] = {
    "noise-signs": ("proofs.transcript.Challenger", FEW, forget_noise_signs),
    "sign-context": ("proofs.privacy_noise.Challenger", FEW, forget_sign_context),
    "noise-commitments": ("proofs.privacy_noise.Challenger", LOUD, forget_noise_commitments),
}


@pytest.mark.parametrize("label", SIGN_FORGERIES)
def test_forgotten_item_of_the_signs_is_fatal(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    challenger, parameters, forgery_of = SIGN_FORGERIES[label]
    with monkeypatch.context() as patch:
        patch.setattr(challenger, forgery.forgetting(label))
        claim = forgery_of()
        assert judge(native(), parameters, claim) == "accepted"
    assert judge(native(), parameters, claim) == judge(reference(), parameters, claim) == "linear-relation"
