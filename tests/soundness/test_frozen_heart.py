"""Weak Fiat-Shamir ("frozen heart"): every absorbed item carries weight.

For each label of the transcript: an attacker whose verifier forgets to absorb that item proves a false statement, or
moves a proof to another statement, and the real verifier rejects the same bytes.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from proofs.challenger import Challenger
from tests.proofs.arguments import WeakParameters, honest, judge, native, pruned
from tests.soundness import forgery
from tests.soundness.forgery import derive, products_of_weights
from tests.soundness.frozen_items import (
    BEFORE_CELL_WEIGHTS,
    FORGERIES,
    FULL,
    FULL_FORGERIES,
    MANY,
    NOISED,
    PARAMETERS,
    VERIFIERS,
    WEIGHTED,
    another_ciphertext,
    false_claim,
    false_full_claim,
    forget_combinations,
)
from tests.soundness.test_frozen_signs import SIGN_FORGERIES


@pytest.mark.parametrize("label", FULL_FORGERIES)
def test_forgotten_item_of_range_or_encryption_is_fatal(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = VERIFIERS.get(label, FULL)
    with monkeypatch.context() as patch:
        patch.setattr("proofs.transcript.Challenger", forgery.forgetting(label))
        claim = FULL_FORGERIES[label]()
        assert judge(native(), parameters, claim) == "accepted"
    expected = "ciphertext-combination" if label in BEFORE_CELL_WEIGHTS else "linear-relation"
    assert judge(native(), parameters, claim) == expected
    assert judge(native(), parameters, pruned(claim)) == "linear-relation"


def test_combinations_chosen_last_are_not_the_ciphertexts(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the ciphertext at hand even a verifier that does not absorb them is not deceived."""
    monkeypatch.setattr("proofs.transcript.Challenger", forgery.forgetting("combinations"))
    claim, plain = forget_combinations(), false_full_claim(MANY)
    assert claim.proof != plain.proof
    assert judge(native(), MANY, claim) == "accepted"
    assert judge(native(), MANY, replace(claim, encryption=plain.encryption)) == "ciphertext-combination"


def test_other_hash_gives_other_weights() -> None:
    claim = honest(native(), FULL).claim
    assert claim.encryption is not None
    other = replace(claim, encryption=replace(claim.encryption, ciphertext_hash=bytes(32)))
    assert products_of_weights(FULL, other) != products_of_weights(FULL, claim)
    assert products_of_weights(FULL, pruned(claim)) == products_of_weights(FULL, claim)


def test_hash_is_the_callers_promise() -> None:
    """Under the hash of another ciphertext a prover knows the weights before it chooses the one to show: whoever calls
    the verifier must have checked that the hash is the ciphertext's."""
    claim = honest(native(), FULL).claim
    assert claim.encryption is not None
    other = replace(claim, encryption=replace(claim.encryption, ciphertext=another_ciphertext(claim)))
    assert judge(native(), FULL, other) == "accepted"


@pytest.mark.parametrize("label", FORGERIES)
def test_forgotten_item_is_fatal_and_absorbed_item_is_not(label: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = VERIFIERS.get(label, PARAMETERS)
    with monkeypatch.context() as patch:
        patch.setattr("proofs.transcript.Challenger", forgery.forgetting(label))
        claim = FORGERIES[label]()
        assert judge(native(), parameters, claim) == "accepted"
    assert judge(native(), parameters, claim) == "linear-relation"


def test_false_claim_is_rejected() -> None:
    claim = false_claim()
    assert derive(PARAMETERS, claim).gap != 0
    assert judge(native(), PARAMETERS, claim) == "linear-relation"


def test_changed_projection() -> None:
    made = honest(native(), PARAMETERS)
    first, *rest = made.proof.projections
    assert judge(native(), PARAMETERS, made.edited(projections=(first + 1, *rest))) == "linear-relation"


@pytest.mark.parametrize("other", [WeakParameters(20, 51, 6), WeakParameters(21, 50, 6), WeakParameters(19, 50, 6)])
def test_changed_statement(other: WeakParameters) -> None:
    assert other.proof_size == PARAMETERS.proof_size
    assert judge(native(), other, honest(native(), PARAMETERS).claim) == "linear-relation"


def test_every_label_has_its_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    labels: set[str] = set()

    class Recording(Challenger):
        def absorb(self, label: str, data: bytes) -> None:
            labels.add(label)
            super().absorb(label, data)

    plain, noisy = FORGERIES.keys() | FULL_FORGERIES.keys(), {"privacy-noise-commitments", *SIGN_FORGERIES}
    cases: tuple[tuple[WeakParameters, set[str]], ...] = (
        (PARAMETERS, {*FORGERIES, "blinding-responses"}),  # without encryption they say nothing about a value
        (FULL, plain - {"weight-commitments", *noisy}),
        (WEIGHTED, plain - noisy),
        (NOISED, (plain | noisy) - {"weight-commitments"}),
    )
    claims = [honest(native(), parameters).claim for parameters, _ in cases]
    monkeypatch.setattr("proofs.transcript.Challenger", Recording)
    monkeypatch.setattr("proofs.privacy_noise.Challenger", Recording)
    for claim, (parameters, expected) in zip(claims, cases, strict=True):
        labels.clear()
        assert judge(native(), parameters, claim) == "accepted"
        assert labels == expected
