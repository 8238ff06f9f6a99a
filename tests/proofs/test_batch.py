"""Batches: the verdicts of `verify` one by one, and the offenders named."""

from __future__ import annotations

from dataclasses import replace

import pytest

from proofs.curve import ORDER
from proofs.parameters import ArgumentParameters
from proofs.verifier import Claim, verify_batch
from tests.proofs.arguments import Honest, altered, honest, judge, name_of, native, random_update

PARAMETERS = ArgumentParameters(70, 500)


@pytest.fixture(scope="module")
def cohort() -> list[Honest]:
    return [honest(native(), PARAMETERS, random_update(70, 500, i), context=b"client %d" % i, seed=i) for i in range(7)]


def test_empty_batch() -> None:
    assert verify_batch(native(), PARAMETERS, []) == []


def test_honest_batch(cohort: list[Honest]) -> None:
    assert verify_batch(native(), PARAMETERS, [made.claim for made in cohort]) == [None] * 7


def broken(made: Honest, kind: str) -> Claim:
    proof = made.proof
    if kind == "opening":
        return made.answered(table_blinding_response=(proof.table_blinding_response + 1) % ORDER)
    if kind == "shortness":
        return made.edited(projections=(PARAMETERS.response_bound + 1, *proof.projections[1:]))
    if kind == "linear-relation":
        return replace(made.claim, context=b"another")
    if kind == "proof-length":
        return replace(made.claim, proof=made.claim.proof[:-1])
    if kind == "commitments-length":
        return altered(made.claim, commitments=made.claim.commitments + bytes(33))
    if kind == "point-encoding":
        return altered(made.claim, commitments=bytes(33) + made.claim.commitments[33:])
    if kind == "scalar-range":
        return replace(made.claim, proof=made.claim.proof[:-32] + ORDER.to_bytes(32, "big"))
    return made.claim


@pytest.mark.parametrize(
    "kinds",
    [
        ["accepted", "opening", "accepted", "accepted", "opening", "accepted", "accepted"],
        ["opening"] * 7,
        [
            "opening",
            "accepted",
            "opening",
            "linear-relation",
            "accepted",
            "shortness",
            "point-encoding",
        ],
        ["commitments-length", "proof-length", "scalar-range", "accepted", "accepted", "accepted", "opening"],
    ],
)
def test_exactly_the_offenders_are_named(cohort: list[Honest], kinds: list[str]) -> None:
    claims = [broken(made, kind) for made, kind in zip(cohort, kinds, strict=True)]
    verdicts = [name_of(verdict) for verdict in verify_batch(native(), PARAMETERS, claims)]
    assert verdicts == kinds
    assert verdicts == [judge(native(), PARAMETERS, claim) for claim in claims]


def test_errors_that_cancel_in_one_claim(cohort: list[Honest]) -> None:
    """The sum of both blindings is right: they are joined with a weight that is drawn once they are sent."""
    proof = cohort[0].proof
    claim = cohort[0].answered(
        table_blinding_response=(proof.table_blinding_response + 1) % ORDER,
        auxiliary_blinding_response=(proof.auxiliary_blinding_response - 1) % ORDER,
    )
    assert judge(native(), PARAMETERS, claim) == "opening"


def test_errors_that_cancel_between_claims(cohort: list[Honest]) -> None:
    """Two claims whose errors are opposite: unit weights would accept the batch."""
    up, down = (cohort[0].off_by(times) for times in (1, -1))
    verdicts = verify_batch(native(), PARAMETERS, [up, down, cohort[3].claim])
    assert [name_of(verdict) for verdict in verdicts] == ["opening"] * 2 + ["accepted"]


def test_the_same_claim_twice(cohort: list[Honest]) -> None:
    """Replay is not the argument's business: its context is."""
    assert verify_batch(native(), PARAMETERS, [cohort[0].claim] * 2) == [None, None]
