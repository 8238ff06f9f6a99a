"""Every field of a proof changed, every encoding abused; a field without its test fails the manifest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.curve import FIELD, ORDER, POINT_SIZE
from proofs.encryption import EncryptionParameters
from proofs.engine import Engine
from proofs.folding import Fold
from proofs.parameters import ArgumentParameters
from proofs.proof import Proof, decode_proof
from proofs.ranges import CoordinateGroup
from proofs.verifier import Claim
from tests.proofs.answers import Answers
from tests.proofs.arguments import (
    CONTEXT,
    MODULUS,
    RING,
    Honest,
    WeakParameters,
    altered,
    claimed,
    honest,
    judge,
    native,
    pruned,
    quotients_of,
)
from tests.soundness.forgery import another_point, derive, edit

PARAMETERS = ArgumentParameters(20, 50)
FULL = ArgumentParameters(40, 500, 360, 100, (CoordinateGroup(7, 9, 0),), RING)  # the last chunk of the ring is whole
ROWS = ("commitments", "range_commitments", "encryption_commitments")


@pytest.fixture(scope="module")
def made() -> Honest:
    return honest(native(), PARAMETERS)


@pytest.fixture(scope="module")
def full() -> Honest:
    """With range and encryption."""
    return honest(native(), FULL)


def bumped(value: int) -> int:
    return (value + 1) % ORDER


def bump_first(values: tuple[int, ...]) -> tuple[int, ...]:
    return (bumped(values[0]), *values[1:])


def bump_residue(values: tuple[int, ...], s: int) -> tuple[int, ...]:
    return (*values[:s], (values[s] + 1) % MODULUS, *values[s + 1 :])


Tamper = tuple[Callable[[Proof], object], str]

# field -> (a change, the check that must name it)
TAMPERS: dict[str, Tamper] = {
    "auxiliary": (lambda proof: another_point(), "linear-relation"),
    "projections": (lambda proof: (-proof.projections[0], *proof.projections[1:]), "linear-relation"),
    "claim": (lambda proof: bumped(proof.claim), "linear-relation"),
    "rounds": (lambda proof: (bump_first(proof.rounds[0]), *proof.rounds[1:]), "linear-relation"),
    "evaluations": (lambda proof: bump_first(proof.evaluations), "linear-relation"),
    "table_announcement": (lambda proof: another_point(), "linear-relation"),
    "auxiliary_announcement": (lambda proof: another_point(), "linear-relation"),
    "form_announcement": (lambda proof: bumped(proof.form_announcement), "linear-relation"),
    "table_blinding_response": (lambda proof: bumped(proof.table_blinding_response), "linear-relation"),
    "auxiliary_blinding_response": (lambda proof: bumped(proof.auxiliary_blinding_response), "linear-relation"),
    "cross_values": (lambda proof: bump_first(proof.cross_values), "linear-relation"),
    "folds": (lambda proof: (proof.folds[0]._replace(even=another_point()), *proof.folds[1:]), "linear-relation"),
    "response": (lambda proof: bump_first(proof.response), "linear-relation"),
}
ENCRYPTION_TAMPERS: dict[str, Tamper] = {
    "combinations": (lambda proof: bump_residue(proof.combinations, 0), "ciphertext-combination"),
    "quotients": (lambda proof: (proof.quotients[0] + 1, *proof.quotients[1:]), "linear-relation"),
    "update_announcement": (lambda proof: another_point(), "linear-relation"),
    "share_announcement": (lambda proof: another_point(), "linear-relation"),
    "update_blinding_response": (lambda proof: bumped(proof.update_blinding_response or 0), "linear-relation"),
    "share_blinding_response": (lambda proof: bumped(proof.share_blinding_response or 0), "linear-relation"),
}

# answer -> the check that must name it changed and folded again; those of the encryption's proof last
ANSWERS: dict[str, str] = {
    "table_response": "linear-relation",
    "table_blinding_response": "opening",
    "auxiliary_response": "linear-relation",
    "auxiliary_blinding_response": "opening",
    "update_response": "linear-relation",
    "update_blinding_response": "linear-relation",  # it is what the shared blindings say
    "share_response": "linear-relation",
    "share_blinding_response": "opening",
}


# what the weights of the cells are drawn from: another change of it gives other combinations of the ciphertext
BEFORE_CELL_WEIGHTS = {"auxiliary"}


def without_ciphertext(verdict: str) -> str:
    """The check that names the same change where the ciphertext is pruned."""
    return "linear-relation" if verdict == "ciphertext-combination" else verdict


def test_manifest() -> None:
    assert TAMPERS.keys() | ENCRYPTION_TAMPERS.keys() == {field.name for field in fields(Proof)}


@pytest.mark.parametrize("name", TAMPERS)
def test_tampered_field(made: Honest, name: str) -> None:
    change, check = TAMPERS[name]
    assert judge(native(), PARAMETERS, made.edited(**{name: change(made.proof)})) == check


def refused_once_tampered(engine: Engine, made: Honest, name: str) -> None:
    """With the ciphertext of an encryption, and without it."""
    change, check = (TAMPERS | ENCRYPTION_TAMPERS)[name]
    claim = made.edited(**{name: change(made.proof)})
    assert judge(engine, made.parameters, claim) == ("ciphertext-combination" if name in BEFORE_CELL_WEIGHTS else check)
    assert judge(native(), made.parameters, pruned(claim)) == without_ciphertext(check)


def refused_once_any_evaluation_or_row_is_another(engine: Engine, made: Honest, label: str) -> None:
    """label: of the rows' commitments, without which there is no ciphertext's combination."""
    parameters, w = made.parameters, made.proof.evaluations
    assert len(w) == len(parameters.layout.tables)
    for b in range(len(w)):
        bent = made.edited(evaluations=(*w[:b], bumped(w[b]), *w[b + 1 :]))
        assert judge(engine, parameters, bent) == "linear-relation"
    rows = made.claim.rows[label]
    assert rows
    for start in range(0, len(rows), POINT_SIZE):
        moved, bad = (
            replace(made.claim, rows={**made.claim.rows, label: rows[:start] + point + rows[start + POINT_SIZE :]})
            for point in (another_point(), bytes(POINT_SIZE))
        )
        assert judge(engine, parameters, moved) == "ciphertext-combination"
        assert judge(engine, parameters, pruned(moved)) == "linear-relation"
        assert judge(engine, parameters, bad) == "point-encoding"


@pytest.mark.parametrize("name", [*TAMPERS, *ENCRYPTION_TAMPERS])
def test_tampered_field_with_range_and_encryption(full: Honest, name: str) -> None:
    refused_once_tampered(native(), full, name)


def other_answer(made: Honest, name: str, position: int = 0) -> Claim:
    """One scalar of an answer changed, and all of them folded again."""
    old = getattr(made.known.given, name)
    if not isinstance(old, tuple):
        return made.answered(**{name: bumped(old)})
    return made.answered(**{name: (*old[:position], bumped(old[position]), *old[position + 1 :])})


def test_manifest_of_answers() -> None:
    assert ANSWERS.keys() == {field.name for field in fields(Answers)}


@pytest.mark.parametrize("name", list(ANSWERS)[:4])
def test_other_answer(made: Honest, name: str) -> None:
    assert judge(native(), PARAMETERS, other_answer(made, name)) == ANSWERS[name]


@pytest.mark.parametrize("name", ANSWERS)
def test_other_answer_with_range_and_encryption(full: Honest, name: str) -> None:
    claim = other_answer(full, name)
    assert judge(native(), FULL, claim) == judge(native(), FULL, pruned(claim)) == ANSWERS[name]


def test_other_blinding_among_the_shared_answers(full: Honest) -> None:
    """The last scalars under E_0: what the rows of the update are blinded with."""
    last = len(full.known.given.share_response) - 1
    assert judge(native(), FULL, other_answer(full, "share_response", last)) == "linear-relation"


def test_other_blinding_in_both_openings(full: Honest) -> None:
    """Answers that agree on another blinding of the update's rows: the rows do not."""
    given, rows = full.known.given, derive(FULL, full.claim).rows
    assert given.update_blinding_response is not None
    *rest, last = given.share_response
    other = (given.update_blinding_response + rows[FULL.shape.data_rows - 1]) % ORDER
    claim = full.answered(share_response=(*rest, bumped(last)), update_blinding_response=other)
    assert judge(native(), FULL, claim) == "opening"


@pytest.mark.parametrize("part", Fold._fields)
def test_every_part_of_every_fold_counts(made: Honest, full: Honest, part: str) -> None:
    for parameters, each in ((PARAMETERS, made), (FULL, full)):
        folds = each.proof.folds
        assert len(folds) == parameters.folded.folds > 3
        for j, fold in enumerate(folds):
            other = another_point() if part in ("even", "odd") else bumped(getattr(fold, part))
            claim = each.edited(folds=(*folds[:j], fold._replace(**{part: other}), *folds[j + 1 :]))
            assert judge(native(), parameters, claim) == "linear-relation"


def test_every_cross_value_and_scalar_of_the_response_counts(full: Honest) -> None:
    for name, count in (("cross_values", 6), ("response", FULL.folded.last)):
        values = getattr(full.proof, name)
        assert len(values) == count
        for i in range(count):
            claim = full.edited(**{name: (*values[:i], bumped(values[i]), *values[i + 1 :])})
            assert judge(native(), FULL, claim) == "linear-relation"


def test_response_that_keeps_the_folded_form(full: Honest) -> None:
    """Two scalars of the folded vector changed so that V6 still holds: the opening notices."""
    for times, verdict in ((0, "accepted"), (1, "opening"), (ORDER - 1, "opening")):
        assert judge(native(), FULL, full.off_by(times)) == verdict


def test_commitments_of_a_fold_that_make_up_for_each_other(full: Honest) -> None:
    """Other points with unchanged values: what they add to the sum is multiplied with challenges that they change."""
    *folds, last = full.proof.folds
    claim = full.edited(folds=(*folds, last._replace(even=last.odd, odd=last.even)))
    assert judge(native(), FULL, claim) == "linear-relation"


@pytest.mark.parametrize("b", range(9))
def test_every_evaluation_counts(full: Honest, b: int) -> None:
    w = full.proof.evaluations
    assert len(w) == 9
    assert judge(native(), FULL, full.edited(evaluations=(*w[:b], bumped(w[b]), *w[b + 1 :]))) == "linear-relation"


@pytest.mark.parametrize("s", range(4))
def test_every_quotient_counts(full: Honest, s: int) -> None:
    z = full.proof.quotients
    assert len(z) == 4
    assert judge(native(), FULL, full.edited(quotients=(*z[:s], z[s] - 1, *z[s + 1 :]))) == "linear-relation"


@pytest.mark.parametrize("s", range(4))
def test_every_combination_counts(full: Honest, s: int) -> None:
    """Compared with the ciphertext; without it, the relation to update, errors and key is left."""
    assert len(full.proof.combinations) == 4
    claim = full.edited(combinations=bump_residue(full.proof.combinations, s))
    assert judge(native(), FULL, claim) == "ciphertext-combination"
    assert judge(native(), FULL, pruned(claim)) == "linear-relation"


@pytest.mark.parametrize("s", range(4))
@pytest.mark.parametrize("value", [MODULUS, MODULUS + 1, 2**63, 2**64 - 1])
def test_combination_out_of_range(full: Honest, s: int, value: int) -> None:
    sent = full.proof.combinations
    claim = full.edited(combinations=(*sent[:s], value, *sent[s + 1 :]))
    assert judge(native(), FULL, claim) == judge(native(), FULL, pruned(claim)) == "combination-range"


def test_no_second_spelling_of_a_combination(full: Honest) -> None:
    """Y + q with a quotient of one less: the same integer in the linear relation."""
    (first, *residues), (quotient, *quotients) = full.proof.combinations, full.proof.quotients
    claim = full.edited(combinations=(first + MODULUS, *residues), quotients=(quotient - 1, *quotients))
    assert judge(native(), FULL, claim) == judge(native(), FULL, pruned(claim)) == "combination-range"


def test_largest_combination(full: Honest) -> None:
    """q - 1 is a residue like any other: what is wrong with it is found by the equations."""
    claim = full.edited(combinations=(MODULUS - 1, *full.proof.combinations[1:]))
    assert judge(native(), FULL, claim) == "ciphertext-combination"
    assert judge(native(), FULL, pruned(claim)) == "linear-relation"


@pytest.mark.parametrize("sign", [1, -1])
def test_quotient_out_of_range(full: Honest, sign: int) -> None:
    rest, bound = full.proof.quotients[1:], quotients_of(FULL).bound
    assert judge(native(), FULL, full.edited(quotients=(sign * (bound + 1), *rest))) == "quotient-range"
    assert judge(native(), FULL, full.edited(quotients=(sign * bound, *rest))) == "linear-relation"
    extreme = 1 << 8 * quotients_of(FULL).width - 1
    assert judge(native(), FULL, full.edited(quotients=(*rest, -extreme))) == "quotient-range"


@pytest.mark.parametrize("index", range(9))
def test_every_round_counts(made: Honest, full: Honest, index: int) -> None:
    for parameters, each in ((PARAMETERS, made), (FULL, full)):
        rounds = each.proof.rounds
        i = index % len(rounds)
        for position in range(len(rounds[i])):
            sent = tuple(bumped(x) if k == position else x for k, x in enumerate(rounds[i]))
            claim = each.edited(rounds=(*rounds[:i], sent, *rounds[i + 1 :]))
            assert judge(native(), parameters, claim) == "linear-relation"


@pytest.mark.parametrize("name", ["table", "auxiliary", "update", "share"])
def test_responses_that_keep_the_linear_form(full: Honest, name: str) -> None:
    """Two responses changed so that V6 still holds, and folded again: the opening notices."""
    form = getattr(derive(FULL, full.claim).form, name if name != "update" else "table")
    responses = list(getattr(full.known.given, f"{name}_response"))
    responses[0] = (responses[0] + form[1]) % ORDER
    responses[1] = (responses[1] - form[0]) % ORDER
    claim = full.answered(**{f"{name}_response": tuple(responses)})
    assert judge(native(), FULL, claim) == "opening"


def test_value_moved_between_the_openings_of_the_rows(full: Honest) -> None:
    """Update and table response enter the form alike."""
    (x, *update), (y, *table) = full.known.given.update_response, full.known.given.table_response
    claim = full.answered(update_response=((x + 1) % ORDER, *update), table_response=((y - 1) % ORDER, *table))
    assert judge(native(), FULL, claim) == "opening"


@settings(max_examples=60, deadline=None)
@given(position=st.integers(0, 2**32), flip=st.integers(1, 255), item=st.sampled_from(["proof", "commitments"]))
def test_any_byte_changed(made: Honest, position: int, flip: int, item: str) -> None:
    data = bytearray(getattr(made.claim, item))
    data[position % len(data)] ^= flip
    changes: dict[str, Any] = {item: bytes(data)}
    assert judge(native(), PARAMETERS, altered(made.claim, **changes)) != "accepted"


@settings(max_examples=60, deadline=None)
@given(position=st.integers(0, 2**32), flip=st.integers(1, 255), item=st.sampled_from(["proof", *ROWS]))
def test_any_byte_changed_with_range_and_encryption(full: Honest, position: int, flip: int, item: str) -> None:
    data = bytearray(getattr(full.claim, item))
    data[position % len(data)] ^= flip
    changes: dict[str, Any] = {item: bytes(data)}
    claim = altered(full.claim, **changes)
    assert judge(native(), FULL, claim) != "accepted"
    assert judge(native(), FULL, pruned(claim)) != "accepted"


# ---- row commitments and parameters ----------------------------------------------------------------------------------


@pytest.mark.parametrize("item", ROWS)
@pytest.mark.parametrize("change", [-33, -1, 1, 33])
def test_rows_truncated_or_extended(full: Honest, item: str, change: int) -> None:
    data = getattr(full.claim, item)
    resized = data + bytes(change) if change > 0 else data[:change]
    verdict = judge(native(), FULL, altered(full.claim, **{item: resized}))
    assert verdict == f"{item.replace('_', '-')}-length"


def test_rows_moved_to_another_item(full: Honest) -> None:
    """All points in order, cut at other places."""
    moved = altered(
        full.claim,
        commitments=full.claim.commitments + full.claim.range_commitments[:33],
        range_commitments=full.claim.range_commitments[33:],
    )
    assert judge(native(), FULL, moved) == "commitments-length"


def test_items_of_relations_that_are_not_in_force(made: Honest) -> None:
    for item in ROWS[1:]:
        changes: dict[str, Any] = {item: another_point()}
        assert judge(native(), PARAMETERS, altered(made.claim, **changes)) == f"{item.replace('_', '-')}-length"


@pytest.mark.parametrize(
    ("beta", "groups", "ring", "verdict"),
    [
        (101, ((7, 9, 0),), RING, "ciphertext-combination"),
        (99, ((7, 9, 0),), RING, "shortness"),
        (100, ((7, 9, 1),), RING, "ciphertext-combination"),
        (100, ((7, 10, 0),), RING, "shortness"),
        (100, (), RING, "ciphertext-combination"),
        (100, ((7, 9, 0),), replace(RING, noise_bound=129), "ciphertext-combination"),
        (100, ((7, 9, 0),), replace(RING, modulus=2**40 - 87), "ciphertext-combination"),
        (100, ((7, 9, 0),), replace(RING, plaintext_scale=2**21), "ciphertext-combination"),
        (100, ((7, 9, 0),), replace(RING, plaintext_scale=2**19), "quotient-range"),
    ],
)
def test_other_bounds_than_the_provers(
    full: Honest, beta: int, groups: tuple[tuple[int, int, int], ...], ring: EncryptionParameters, verdict: str
) -> None:
    """The verifier's own parameters count, whatever the proof was made for."""
    slices = tuple(CoordinateGroup(*group) for group in groups)
    parameters = ArgumentParameters(40, 500, 360, beta, slices, ring)
    assert judge(native(), parameters, full.claim) == verdict
    assert judge(native(), parameters, pruned(full.claim)) == without_ciphertext(verdict)


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
        commitments = (commitments * 1000 + bytes(2000))[: PARAMETERS.commitments_size("commitments")]
        proof = (proof * 1000 + bytes(20000))[: PARAMETERS.proof_size]
    assert judge(native(), PARAMETERS, claimed(commitments, proof, context)) != "accepted"


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
    commitments = altered(made.claim, commitments=resized(made.claim.commitments))
    assert judge(native(), PARAMETERS, commitments) == "commitments-length"


def test_empty(made: Honest) -> None:
    assert judge(native(), PARAMETERS, replace(made.claim, proof=b"")) == "proof-length"
    assert judge(native(), PARAMETERS, altered(made.claim, commitments=b"")) == "commitments-length"


def test_fewer_rows_than_the_statement_has(made: Honest) -> None:
    shorter = altered(made.claim, commitments=made.claim.commitments[:-POINT_SIZE])
    assert judge(native(), PARAMETERS, shorter) == "commitments-length"


NOT_SCALARS = {"auxiliary", "projections", "table_announcement", "auxiliary_announcement"}
ENCRYPTION_SCALARS = ["update_blinding_response", "share_blinding_response"]


@pytest.mark.parametrize("name", sorted(TAMPERS.keys() - NOT_SCALARS))
@pytest.mark.parametrize("value", [ORDER, ORDER + 1, 2**256 - 1])
def test_scalar_that_is_not_canonical(made: Honest, name: str, value: int) -> None:
    """ORDER is zero spelled a second time."""
    old = getattr(made.proof, name)
    if name == "rounds":
        new: object = ((value, *old[0][1:]), *old[1:])
    elif name == "folds":
        new = (*old[:-1], old[-1]._replace(odd_value=value))
    else:
        new = (*old[:-1], value) if isinstance(old, tuple) else value
    assert judge(native(), PARAMETERS, made.edited(**{name: new})) == "scalar-range"


@pytest.mark.parametrize("name", ENCRYPTION_SCALARS)
def test_scalar_of_the_encryption_that_is_not_canonical(full: Honest, name: str) -> None:
    old = getattr(full.proof, name)
    new = (*old[:-1], ORDER) if isinstance(old, tuple) else ORDER
    assert judge(native(), FULL, full.edited(**{name: new})) == "scalar-range"


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
    "place", ["auxiliary", "table_announcement", "auxiliary_announcement", "even", "odd", "first row", "last row"]
)
def test_bad_point(made: Honest, place: str, point: bytes) -> None:
    if place == "first row":
        claim = altered(made.claim, commitments=point + made.claim.commitments[POINT_SIZE:])
    elif place == "last row":
        claim = altered(made.claim, commitments=made.claim.commitments[:-POINT_SIZE] + point)
    elif place in ("even", "odd"):
        *folds, last = made.proof.folds
        claim = made.edited(folds=(*folds, last._replace(**{place: point})))
    else:
        claim = made.edited(**{place: point})
    assert judge(native(), PARAMETERS, claim) == "point-encoding"


@pytest.mark.parametrize("point", BAD_POINTS.values(), ids=BAD_POINTS.keys())
@pytest.mark.parametrize("place", ["update_announcement", "share_announcement", *ROWS[1:]])
def test_bad_point_with_range_and_encryption(full: Honest, place: str, point: bytes) -> None:
    if place in ROWS:
        data = getattr(full.claim, place)
        claim = altered(full.claim, **{place: data[:POINT_SIZE] + point + data[2 * POINT_SIZE :]})
    else:
        claim = full.edited(**{place: point})
    assert judge(native(), FULL, claim) == "point-encoding"


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
