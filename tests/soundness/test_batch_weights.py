"""The weights of a batch depend on everything in it: whoever knew them beforehand would let two errors cancel."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proofs.challenger import Challenger
from proofs.domains import ARGUMENT_BATCH
from proofs.encryption import EncryptionParameters
from proofs.parameters import ArgumentParameters
from proofs.privacy_noise import NoiseBounds
from proofs.verifier import Claim, _batch_weights, verify_batch
from tests.proofs.arguments import (
    MODULUS,
    Honest,
    WeakParameters,
    altered,
    honest,
    name_of,
    native,
    pruned,
    quotients_of,
    ring_elements,
)
from tests.soundness.forgery import another_point, forgetting

PARAMETERS = WeakParameters(20, 50, 2)
WIDE = WeakParameters(20, 50, 2, 20, (), EncryptionParameters(8, MODULUS, 2**20))  # with range and encryption
NOISED = WeakParameters(20, 50, 2, privacy_noise=NoiseBounds(100, 10, 5000))


def weights_of(monkeypatch: pytest.MonkeyPatch, parameters: ArgumentParameters, claims: list[Claim]) -> list[int]:
    """What a batch draws."""
    drawn: list[int] = []

    class Recording(Challenger):
        def weights(self, label: str, count: int) -> list[int]:
            drawn.extend(super().weights(label, count))
            return drawn

    with monkeypatch.context() as patch:
        patch.setattr("proofs.verifier.Challenger", Recording)
        verify_batch(native(), parameters, claims)
    return drawn


def weights_for(parameters: ArgumentParameters, claims: list[Claim]) -> list[int]:
    """What a batch would draw if these were the claims left after V6, though they are not consistent."""
    return list(_batch_weights(parameters, dict(enumerate(claims))).values())


@pytest.fixture(scope="module")
def pair() -> list[Honest]:
    return [honest(native(), PARAMETERS, seed=seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def wide() -> list[Honest]:
    return [honest(native(), WIDE, seed=seed) for seed in (1, 2)]


@pytest.fixture(scope="module")
def noised() -> list[Honest]:
    return [honest(native(), NOISED, seed=seed) for seed in (1, 2)]


def test_errors_that_cancel_under_known_weights(pair: list[Honest], monkeypatch: pytest.MonkeyPatch) -> None:
    """Twice one proof, with responses that are wrong by multiples of one point: no challenge depends on them."""
    claims = [pair[0].claim] * 2
    with monkeypatch.context() as patch:
        patch.setattr("proofs.verifier.Challenger", forgetting("proof"))
        first, second = known_weights(forgetting("proof")(ARGUMENT_BATCH), claims, PARAMETERS)
        claims = [pair[0].off_by(second), pair[0].off_by(-first)]
        assert verify_batch(native(), PARAMETERS, claims) == [None, None]
    verdicts = [name_of(verdict) for verdict in verify_batch(native(), PARAMETERS, claims)]
    assert verdicts == ["opening"] * 2


def known_weights(challenger: Challenger, claims: list[Claim], parameters: ArgumentParameters) -> list[int]:
    """The definition of spec 5.10, for a challenger that forgets what it is told to."""
    shape = parameters.shape
    bounds = (parameters.norm_bound, parameters.projections, parameters.mask_bound, parameters.response_bound)
    statement = [shape.dimension, shape.columns, *bounds, len(parameters.segments)]
    if parameters is WIDE:
        statement += [0, 20, 20, 8, MODULUS, 2**20, 128, 64, 24, 10, 4, 39]
        statement += [
            quotients_of(parameters).mask_bound,
            quotients_of(parameters).bound,
        ]
    if parameters is NOISED:
        statement += [100, 10, 5000, 64]
    challenger.absorb("statement", b"".join(number.to_bytes(32, "big") for number in statement))
    for claim in claims:
        challenger.absorb("weight", claim.weight.to_bytes(32, "big"))
        challenger.absorb("commitments", claim.commitments)
        if parameters is WIDE:
            challenger.absorb("range-commitments", claim.range_commitments)
            challenger.absorb("encryption-commitments", claim.encryption_commitments)
        if parameters is NOISED:
            challenger.absorb("privacy-noise-commitments", claim.privacy_noise_commitments)
        challenger.absorb("proof", claim.proof)
        challenger.absorb("context", claim.context)
        if claim.sign_context is not None:
            challenger.absorb("sign-context", claim.sign_context)
        if claim.encryption is not None:
            challenger.absorb("ring-elements", claim.encryption.elements.digest)
            challenger.absorb("ciphertext", claim.encryption.ciphertext_hash)
            challenger.absorb("share-commitment", claim.encryption.share_commitment)
    return challenger.weights("weights", len(claims))


def test_weights_are_those_of_the_specification(
    pair: list[Honest], wide: list[Honest], noised: list[Honest], monkeypatch: pytest.MonkeyPatch
) -> None:
    for parameters, made in ((PARAMETERS, pair), (WIDE, wide), (NOISED, noised)):
        claims = [each.claim for each in made]
        weights = weights_of(monkeypatch, parameters, claims)
        assert weights == known_weights(Challenger(ARGUMENT_BATCH), claims, parameters)
        assert len(set(weights)) == 2


def test_claims_that_failed_before_have_no_weight(pair: list[Honest], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (made.claim for made in pair)
    batch = [replace(first, proof=b""), second, replace(first, context=b"")]
    assert weights_of(monkeypatch, PARAMETERS, batch) == known_weights(Challenger(ARGUMENT_BATCH), [second], PARAMETERS)


def test_every_item_changes_every_weight(pair: list[Honest]) -> None:
    first, second = (made.claim for made in pair)
    moved = first.context[:1]
    batches = [
        [first, second],
        [second, first],
        [first, first],
        [first, altered(second, commitments=second.commitments[:-1] + bytes(1))],
        [first, replace(second, proof=second.proof[:-1] + bytes([second.proof[-1] ^ 1]))],
        [first, replace(second, context=second.context + b"\x00")],
        [replace(first, proof=first.proof + moved, context=first.context[1:]), second],  # a byte to the other item
        [replace(first, context=first.context[:-1]), second],
        [replace(first, weight=2), second],
        [first, replace(second, weight=2)],
    ]
    drawn = [weights_for(PARAMETERS, batch) for batch in batches]
    drawn.append(weights_for(WeakParameters(20, 51, 2), [first, second]))
    for position in range(2):
        assert len({weights[position] for weights in drawn}) == len(drawn)


def test_every_item_of_range_and_encryption_changes_every_weight(wide: list[Honest]) -> None:
    first, second = (made.claim for made in wide)
    assert second.encryption is not None
    other = another_point()
    statements = [
        replace(second.encryption, ciphertext_hash=bytes(32)),
        replace(second.encryption, elements=ring_elements(WIDE, 1)),
        replace(second.encryption, share_commitment=other),
    ]
    changed = [
        second,
        altered(second, range_commitments=other + second.range_commitments[33:]),
        altered(second, encryption_commitments=other + second.encryption_commitments[33:]),
        *(replace(second, encryption=statement) for statement in statements),
    ]
    drawn = [weights_for(WIDE, [first, claim]) for claim in changed]
    assert all(len(set(weights)) == 2 for weights in drawn)
    for position in range(2):
        assert len({weights[position] for weights in drawn}) == len(drawn)
    assert weights_for(WIDE, [first, pruned(second)]) == drawn[0]  # the ciphertext counts by its hash


def test_every_item_of_noise_changes_every_weight(noised: list[Honest]) -> None:
    first, second = (made.claim for made in noised)
    rows, signs = second.privacy_noise_commitments, second.sign_context
    assert signs is not None
    changed = [
        second,
        *(
            altered(second, privacy_noise_commitments=rows[:start] + another_point() + rows[start + 33 :])
            for start in range(0, len(rows), 33)
        ),
        replace(second, sign_context=signs + b"."),
        replace(second, sign_context=b""),
        replace(second, context=second.context + signs[:1], sign_context=signs[1:]),  # a byte to the other item
    ]
    drawn = [weights_for(NOISED, [first, claim]) for claim in changed]
    for position in range(2):
        assert len({weights[position] for weights in drawn}) == len(drawn)
