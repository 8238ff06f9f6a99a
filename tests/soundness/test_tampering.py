"""Every field of a proof changed, every encoding abused; a field without its test fails the manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.curve import FIELD, ORDER, POINT_SIZE
from proofs.parameters import ArgumentParameters
from proofs.proof import Proof, decode_proof
from proofs.verifier import Claim
from tests.proofs.arguments import CONTEXT, Honest, WeakParameters, honest, judge, native
from tests.soundness.forgery import another_point, derive, edit

PARAMETERS = ArgumentParameters(20, 50)


@pytest.fixture(scope="module")
def made() -> Honest:
    return honest(native(), PARAMETERS)


def bumped(value: int) -> int:
    return (value + 1) % ORDER


def bump_first(values: tuple[int, ...]) -> tuple[int, ...]:
    return (bumped(values[0]), *values[1:])


# field -> (a change, the check that must name it)
TAMPERS: dict[str, tuple[Callable[[Proof], object], str]] = {
    "auxiliary": (lambda proof: another_point(), "linear-relation"),
    "projections": (lambda proof: (-proof.projections[0], *proof.projections[1:]), "linear-relation"),
    "claim": (lambda proof: bumped(proof.claim), "linear-relation"),
    "rounds": (lambda proof: (bump_first(proof.rounds[0]), *proof.rounds[1:]), "linear-relation"),
    "evaluation": (lambda proof: bumped(proof.evaluation), "linear-relation"),
    "table_announcement": (lambda proof: another_point(), "linear-relation"),
    "auxiliary_announcement": (lambda proof: another_point(), "linear-relation"),
    "form_announcement": (lambda proof: bumped(proof.form_announcement), "linear-relation"),
    "table_response": (lambda proof: bump_first(proof.table_response), "linear-relation"),
    "table_blinding_response": (lambda proof: bumped(proof.table_blinding_response), "table-opening"),
    "auxiliary_response": (lambda proof: bump_first(proof.auxiliary_response), "linear-relation"),
    "auxiliary_blinding_response": (lambda proof: bumped(proof.auxiliary_blinding_response), "auxiliary-opening"),
}


def test_manifest() -> None:
    assert TAMPERS.keys() == {field.name for field in fields(Proof)}


@pytest.mark.parametrize("name", TAMPERS)
def test_tampered_field(made: Honest, name: str) -> None:
    change, check = TAMPERS[name]
    assert judge(native(), PARAMETERS, made.edited(**{name: change(made.proof)})) == check


@pytest.mark.parametrize("index", range(9))
def test_every_round_counts(made: Honest, index: int) -> None:
    rounds = made.proof.rounds
    for position in range(len(rounds[index % len(rounds)])):
        i = index % len(rounds)
        sent = tuple(bumped(x) if k == position else x for k, x in enumerate(rounds[i]))
        claim = made.edited(rounds=(*rounds[:i], sent, *rounds[i + 1 :]))
        assert judge(native(), PARAMETERS, claim) == "linear-relation"


@pytest.mark.parametrize("name", ["table", "auxiliary"])
def test_responses_that_keep_the_linear_form(made: Honest, name: str) -> None:
    """Two responses changed so that V6 still holds: the openings notice."""
    form = getattr(derive(PARAMETERS, made.claim).form, name)
    responses = list(getattr(made.proof, f"{name}_response"))
    responses[0] = (responses[0] + form[1]) % ORDER
    responses[1] = (responses[1] - form[0]) % ORDER
    claim = made.edited(**{f"{name}_response": tuple(responses)})
    assert judge(native(), PARAMETERS, claim) == f"{name}-opening"


@settings(max_examples=60, deadline=None)
@given(position=st.integers(0, 2**32), flip=st.integers(1, 255), in_proof=st.booleans())
def test_any_byte_changed(made: Honest, position: int, flip: int, in_proof: bool) -> None:
    item = bytearray(made.claim.proof if in_proof else made.claim.commitments)
    item[position % len(item)] ^= flip
    claim = replace(made.claim, **{"proof" if in_proof else "commitments": bytes(item)})
    assert judge(native(), PARAMETERS, claim) != "accepted"


@settings(max_examples=60, deadline=None)
@given(
    commitments=st.binary(max_size=100),
    proof=st.binary(max_size=200),
    context=st.binary(max_size=10),
    fit=st.booleans(),
)
def test_total_on_arbitrary_bytes(commitments: bytes, proof: bytes, context: bytes, fit: bool) -> None:
    """`judge` lets everything but Malformed and Rejected through as an error."""
    if fit:
        commitments = (commitments * 1000 + bytes(2000))[: PARAMETERS.commitments_size]
        proof = (proof * 1000 + bytes(20000))[: PARAMETERS.proof_size]
    assert judge(native(), PARAMETERS, Claim(commitments, proof, context)) != "accepted"


@settings(max_examples=30, deadline=None)
@given(position=st.integers(0, 2**32), flip=st.integers(0, 255))
def test_one_spelling(made: Honest, position: int, flip: int) -> None:
    """Whatever decodes encodes to the same bytes."""
    data = bytearray(made.claim.proof)
    data[position % len(data)] ^= flip
    assert decode_proof(PARAMETERS, bytes(data)).encode(PARAMETERS) == bytes(data)


@pytest.mark.parametrize("change", [-33, -1, 1, 32, 33])
def test_truncated_or_extended(made: Honest, change: int) -> None:
    def resized(data: bytes) -> bytes:
        return data + bytes(change) if change > 0 else data[:change]

    assert judge(native(), PARAMETERS, replace(made.claim, proof=resized(made.claim.proof))) == "proof-length"
    commitments = replace(made.claim, commitments=resized(made.claim.commitments))
    assert judge(native(), PARAMETERS, commitments) == "commitments-length"


def test_empty(made: Honest) -> None:
    assert judge(native(), PARAMETERS, replace(made.claim, proof=b"")) == "proof-length"
    assert judge(native(), PARAMETERS, replace(made.claim, commitments=b"")) == "commitments-length"


def test_fewer_rows_than_the_statement_has(made: Honest) -> None:
    shorter = replace(made.claim, commitments=made.claim.commitments[:-POINT_SIZE])
    assert judge(native(), PARAMETERS, shorter) == "commitments-length"


NOT_SCALARS = {"auxiliary", "projections", "table_announcement", "auxiliary_announcement"}


@pytest.mark.parametrize("name", sorted(TAMPERS.keys() - NOT_SCALARS))
@pytest.mark.parametrize("value", [ORDER, ORDER + 1, 2**256 - 1])
def test_scalar_that_is_not_canonical(made: Honest, name: str, value: int) -> None:
    """ORDER is zero spelled a second time."""
    old = getattr(made.proof, name)
    if name == "rounds":
        new: object = ((value, *old[0][1:]), *old[1:])
    else:
        new = (*old[:-1], value) if isinstance(old, tuple) else value
    assert judge(native(), PARAMETERS, made.edited(**{name: new})) == "scalar-range"


BAD_POINTS = {
    "identity as zeros": bytes(33),
    "prefix 04": b"\x04" + another_point()[1:],
    "prefix 00": b"\x00" + another_point()[1:],
    "off the curve": b"\x02" + (5).to_bytes(32, "big"),
    "x of the field's prime": b"\x02" + FIELD.to_bytes(32, "big"),
    "x above the field's prime": b"\x02" + (FIELD + 1).to_bytes(32, "big"),
    "all ones": b"\xff" * 33,
}


@pytest.mark.parametrize("point", BAD_POINTS.values(), ids=BAD_POINTS.keys())
@pytest.mark.parametrize(
    "place", ["auxiliary", "table_announcement", "auxiliary_announcement", "first row", "last row"]
)
def test_bad_point(made: Honest, place: str, point: bytes) -> None:
    if place == "first row":
        claim = replace(made.claim, commitments=point + made.claim.commitments[POINT_SIZE:])
    elif place == "last row":
        claim = replace(made.claim, commitments=made.claim.commitments[:-POINT_SIZE] + point)
    else:
        claim = made.edited(**{place: point})
    assert judge(native(), PARAMETERS, claim) == "point-encoding"


@pytest.mark.parametrize("sign", [1, -1])
def test_projection_out_of_range(made: Honest, sign: int) -> None:
    rest = made.proof.projections[1:]
    bound = PARAMETERS.response_bound
    assert judge(native(), PARAMETERS, made.edited(projections=(sign * (bound + 1), *rest))) == "shortness"
    assert judge(native(), PARAMETERS, made.edited(projections=(sign * bound, *rest))) == "linear-relation"
    extreme = 1 << 8 * PARAMETERS.response_width - 1
    assert judge(native(), PARAMETERS, made.edited(projections=(*rest, -extreme))) == "shortness"


# ---- replay and other statements ------------------------------------------------------------------------------------


@pytest.mark.parametrize("context", [b"", b"round 8, client 3", b"round 7, client 4", CONTEXT + b"\x00", CONTEXT[:-1]])
def test_replay_under_another_context(made: Honest, context: bytes) -> None:
    assert judge(native(), PARAMETERS, replace(made.claim, context=context)) == "linear-relation"


def test_proof_of_another_client(made: Honest) -> None:
    other = honest(native(), PARAMETERS, seed=2)
    assert judge(native(), PARAMETERS, replace(made.claim, proof=other.claim.proof)) == "linear-relation"


def test_tighter_bound() -> None:
    """By one unit, where the range of the projections hardly changes; and by enough for the projections to notice."""
    claim = honest(native(), ArgumentParameters(20, 2**30)).claim
    assert judge(native(), ArgumentParameters(20, 2**30 - 1), claim) == "linear-relation"
    assert judge(native(), ArgumentParameters(20, 2**30 - 2**26), claim) == "shortness"


@pytest.mark.parametrize(
    ("chosen", "verdict"),
    [
        (ArgumentParameters(20, 2**20), "proof-length"),  # a bound that suits the prover
        (ArgumentParameters(20, 51), "shortness"),
        (WeakParameters(20, 50, 1), "proof-length"),  # fewer projections
        (ArgumentParameters(20, 50, 361), "proof-length"),
        (ArgumentParameters(24, 50), "linear-relation"),  # room for more in the last row
        (ArgumentParameters(40, 50), "commitments-length"),  # more rows
        (ArgumentParameters(16, 50), "commitments-length"),
    ],
)
def test_parameters_chosen_by_the_prover(chosen: ArgumentParameters, verdict: str) -> None:
    claim = honest(native(), chosen).claim
    assert judge(native(), chosen, claim) == "accepted"
    assert judge(native(), PARAMETERS, claim) == verdict


def test_edit_is_faithful(made: Honest) -> None:
    assert edit(PARAMETERS, made.claim) == made.claim == made.edited()
