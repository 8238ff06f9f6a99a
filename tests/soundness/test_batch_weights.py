"""The weights of a batch depend on everything in it: whoever knew them beforehand would let two errors cancel."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proofs.challenger import Challenger
from proofs.curve import ORDER
from proofs.domains import ARGUMENT_BATCH
from proofs.parameters import ArgumentParameters
from proofs.verifier import Claim, verify_batch
from tests.proofs.arguments import Honest, WeakParameters, honest, name_of, native
from tests.soundness.forgery import forgetting

PARAMETERS = WeakParameters(20, 50, 2)


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


@pytest.fixture(scope="module")
def pair() -> list[Honest]:
    return [honest(native(), PARAMETERS, seed=seed) for seed in (1, 2)]


def shifted(made: Honest, table: int = 0, auxiliary: int = 0) -> Claim:
    """V7 wrong by `table` H, V8 by `auxiliary` H; neither response is bound by the claim's own challenges."""
    proof = made.proof
    return made.edited(
        table_blinding_response=(proof.table_blinding_response + table) % ORDER,
        auxiliary_blinding_response=(proof.auxiliary_blinding_response + auxiliary) % ORDER,
    )


@pytest.mark.parametrize("within_one_claim", [True, False])
def test_errors_that_cancel_under_known_weights(
    pair: list[Honest], within_one_claim: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest_claims = [made.claim for made in pair]
    with monkeypatch.context() as patch:
        patch.setattr("proofs.verifier.Challenger", forgetting("proof"))
        challenger = forgetting("proof")(ARGUMENT_BATCH)
        known = known_weights(challenger, honest_claims)
        if within_one_claim:
            claims = [shifted(pair[0], known[1], -known[0]), honest_claims[1]]
        else:
            claims = [shifted(pair[0], known[2]), shifted(pair[1], -known[0])]
        assert verify_batch(native(), PARAMETERS, claims) == [None, None]
    verdicts = [name_of(verdict) for verdict in verify_batch(native(), PARAMETERS, claims)]
    assert verdicts == ["table-opening", "accepted" if within_one_claim else "table-opening"]


def known_weights(challenger: Challenger, claims: list[Claim]) -> list[int]:
    """The definition of spec 5.9, for a challenger that forgets what it is told to."""
    shape = PARAMETERS.shape
    bounds = (PARAMETERS.norm_bound, PARAMETERS.projections, PARAMETERS.mask_bound, PARAMETERS.response_bound)
    statement = (shape.dimension, shape.rows, shape.columns, *bounds)
    challenger.absorb("statement", b"".join(number.to_bytes(32, "big") for number in statement))
    for claim in claims:
        challenger.absorb("commitments", claim.commitments)
        challenger.absorb("proof", claim.proof)
        challenger.absorb("context", claim.context)
    return challenger.weights("weights", 2 * len(claims))


def test_weights_are_those_of_the_specification(pair: list[Honest], monkeypatch: pytest.MonkeyPatch) -> None:
    claims = [made.claim for made in pair]
    weights = weights_of(monkeypatch, PARAMETERS, claims)
    assert weights == known_weights(Challenger(ARGUMENT_BATCH), claims)
    assert len(set(weights)) == 4


def test_every_item_changes_every_weight(pair: list[Honest], monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (made.claim for made in pair)
    moved = first.context[:1]
    batches = [
        [first, second],
        [second, first],
        [first, first],
        [first, replace(second, commitments=second.commitments[:-1] + bytes(1))],
        [first, replace(second, proof=second.proof[:-1] + bytes([second.proof[-1] ^ 1]))],
        [first, replace(second, context=second.context + b"\x00")],
        [replace(first, proof=first.proof + moved, context=first.context[1:]), second],  # a byte to the other item
        [replace(first, context=first.context[:-1]), second],
    ]
    drawn = [weights_of(monkeypatch, PARAMETERS, batch) for batch in batches]
    drawn.append(weights_of(monkeypatch, WeakParameters(20, 51, 2), [first, second]))
    for position in range(4):
        assert len({weights[position] for weights in drawn}) == len(drawn)
