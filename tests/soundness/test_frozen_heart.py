"""Weak Fiat-Shamir ("frozen heart"): every absorbed item carries weight.

For each label of the transcript: an attacker whose verifier forgets to absorb that item proves a false statement, or
moves a proof to another statement, and the real verifier rejects the same bytes.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from proofs.challenger import Challenger
from proofs.curve import ORDER, POINT_SIZE
from proofs.parameters import ArgumentParameters
from proofs.proof import decode_proof
from proofs.verifier import Claim
from tests.proofs.arguments import WeakParameters, honest, judge, native
from tests.soundness import forgery
from tests.soundness.forgery import close_gap, derive, edit, forge
from tests.soundness.lattices import short_solution


class WiderMasks(WeakParameters):
    """A policy whose masks, and so whose projections, may be twice as large; the proof's layout is the same."""

    @property
    def mask_bound(self) -> int:  # type: ignore[override]
        return 2 * self.projections * self.projection_bound << 20


PARAMETERS = WeakParameters(20, 50, 6)
LARGE = WeakParameters(20, 2**40, 6)  # room for projections of 66 bits, 6 times: more than a scalar has
TOO_LONG = [[50], [1, 1], [0, 0, 0, 0]]  # squared norm 2502 > 2500; padding and everything else in order

Forgery = Callable[[], Claim]


def false_claim(seed: int = 0) -> Claim:
    """Openings in order, linear relation violated."""
    return forge(native(), PARAMETERS, TOO_LONG, seed)


def bend_response(claim: Claim) -> Claim:
    """Satisfy V6 with the first table response, at the price of V7."""
    rest = decode_proof(PARAMETERS, claim.proof).table_response[1:]
    return close_gap(PARAMETERS, lambda x: edit(PARAMETERS, claim, table_response=(x, *rest)))


def bend_auxiliary_response(claim: Claim) -> Claim:
    """Satisfy V6 with the first auxiliary response, at the price of V8."""
    rest = decode_proof(PARAMETERS, claim.proof).auxiliary_response[1:]
    return close_gap(PARAMETERS, lambda x: edit(PARAMETERS, claim, auxiliary_response=(x, *rest)))


def forget_commitments() -> Claim:
    """D_0 chosen last: (Com(response) - T - c sum over r > 0 of eq D) / (c eq(r_rows, 0))."""
    claim = bend_response(false_claim())
    proof, derived = decode_proof(PARAMETERS, claim.proof), derive(PARAMETERS, claim)
    inverse = pow(derived.challenge * derived.rows[0], -1, ORDER)
    scalars = [-derived.challenge * weight * inverse for weight in derived.rows[1:]] + [-inverse]
    encoded = claim.commitments[POINT_SIZE:] + proof.table_announcement
    opening = [response * inverse for response in proof.table_response]
    point = forgery.combination(encoded, scalars, opening, proof.table_blinding_response * inverse)
    return forgery.first_row(claim, point)


def forget_auxiliary() -> Claim:
    """A chosen last: (Com(response) - T') / c."""
    claim = bend_auxiliary_response(false_claim())
    proof, derived = decode_proof(PARAMETERS, claim.proof), derive(PARAMETERS, claim)
    inverse = pow(derived.challenge, -1, ORDER)
    opening = [response * inverse for response in proof.auxiliary_response]
    blinding = proof.auxiliary_blinding_response * inverse
    point = forgery.combination(proof.auxiliary_announcement, [-inverse], opening, blinding)
    return edit(PARAMETERS, claim, auxiliary=point)


def forget_claim() -> Claim:
    claim = false_claim()
    return close_gap(PARAMETERS, lambda x: edit(PARAMETERS, claim, claim=x))


def forget_round() -> Claim:
    claim = false_claim()
    *rounds, last = decode_proof(PARAMETERS, claim.proof).rounds
    return close_gap(PARAMETERS, lambda x: edit(PARAMETERS, claim, rounds=(*rounds, (x, *last[1:]))))


def forget_evaluation() -> Claim:
    for seed in range(20):
        claim = false_claim(seed)
        try:
            return close_gap(PARAMETERS, lambda x, claim=claim: edit(PARAMETERS, claim, evaluation=x))  # type: ignore[misc]
        except forgery.NoSquareRootError:
            continue
    raise AssertionError("twenty non-residues in a row")


def forget_table_announcement() -> Claim:
    claim = bend_response(false_claim())
    return edit(PARAMETERS, claim, table_announcement=forgery.table_announcement(PARAMETERS, claim))


def forget_auxiliary_announcement() -> Claim:
    claim = bend_auxiliary_response(false_claim())
    return edit(PARAMETERS, claim, auxiliary_announcement=forgery.auxiliary_announcement(PARAMETERS, claim))


def forget_form_announcement() -> Claim:
    claim = false_claim()
    return close_gap(PARAMETERS, lambda x: edit(PARAMETERS, claim, form_announcement=x))


def forget_context() -> Claim:
    return replace(honest(native(), PARAMETERS).claim, context=b"round 8, client 3")


def forget_statement() -> Claim:
    """An honest proof for other parameters: all else that differs between statements enters V6 by itself."""
    return honest(native(), PARAMETERS).claim


def forget_projections() -> Claim:
    """A norm above the bound; with the weights of the projections known, z is chosen to make up for it.

    The gap of V6 is linear in z, and a short solution exists as soon as the z together have more bits than a scalar.
    """
    claim = forge(native(), LARGE, [[2**40], [1, 1], [0, 0, 0, 0]])
    sent = decode_proof(LARGE, claim.proof).projections

    def gap(change: list[int]) -> int:
        moved = tuple(z + delta for z, delta in zip(sent, change, strict=True))
        return derive(LARGE, edit(LARGE, claim, projections=moved)).gap

    start = gap([0] * 6)
    slopes = [gap([int(i == j) for i in range(6)]) - start for j in range(6)]
    change = short_solution([slope % ORDER for slope in slopes], -start % ORDER, ORDER, 2**43)
    return edit(LARGE, claim, projections=tuple(z + delta for z, delta in zip(sent, change, strict=True)))


FORGERIES: dict[str, Forgery] = {
    "context": forget_context,
    "statement": forget_statement,
    "commitments": forget_commitments,
    "auxiliary": forget_auxiliary,
    "projections": forget_projections,
    "claim": forget_claim,
    "round": forget_round,
    "evaluation": forget_evaluation,
    "table-announcement": forget_table_announcement,
    "auxiliary-announcement": forget_auxiliary_announcement,
    "form-announcement": forget_form_announcement,
}
VERIFIERS: dict[str, ArgumentParameters] = {"statement": WiderMasks(20, 50, 6), "projections": LARGE}


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


def test_second_implementation_agrees_on_honest_claims() -> None:
    assert derive(PARAMETERS, honest(native(), PARAMETERS).claim).gap == 0


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

    claim = honest(native(), PARAMETERS).claim
    monkeypatch.setattr("proofs.transcript.Challenger", Recording)
    assert judge(native(), PARAMETERS, claim) == "accepted"
    assert labels == FORGERIES.keys()
