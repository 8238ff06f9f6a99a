"""What a proof shows can be produced without the witness, and is uniform with it."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest

from proofs.curve import ORDER
from proofs.encryption import EncryptionParameters, EncryptionStatement
from proofs.generators import generator
from proofs.parameters import ArgumentParameters
from proofs.privacy_noise import NoiseBounds
from proofs.proof import Proof, decode_proof
from proofs.prover import Auxiliary, draw_auxiliary, prove
from proofs.randomness import symmetric, uniform_scalar, uniform_scalars
from proofs.reference import points as curve
from proofs.sumcheck import MaskRounds
from proofs.verifier import Claim
from tests.proofs.answers import Answers, known, recorded, refolded, unanswered
from tests.proofs.arguments import (
    CONTEXT,
    NOISED_RING,
    RING,
    SIGN_CONTEXT,
    WeakParameters,
    hash_of,
    honest,
    judge,
    native,
    quotients_of,
    ring_elements,
)
from tests.seeded import seeded
from tests.soundness import forgery
from tests.soundness.forgery import close_gap, combinations_of, edit

PARAMETERS = WeakParameters(20, 50, 6)
FULL = WeakParameters(40, 500, 6, 100, (), RING)
STATEMENTS = [
    PARAMETERS,
    WeakParameters(20, 50, 6, 9),
    WeakParameters(40, 500, 6, None, (), RING),
    FULL,
    WeakParameters(20, 50, 6, hidden_weight=9),
    WeakParameters(40, 500, 6, 100, (), RING, hidden_weight=300),
    WeakParameters(20, 50, 6, privacy_noise=NoiseBounds(100, 500, 5000)),
    WeakParameters(40, 500, 6, 100, (), NOISED_RING, privacy_noise=NoiseBounds(900, 10, 10**6)),
]


def random_point(seed: int) -> bytes:
    return curve.encode(curve.from_affine(generator(10_000 + seed)))


@pytest.mark.parametrize("parameters", STATEMENTS)
def test_simulator(parameters: ArgumentParameters, monkeypatch: pytest.MonkeyPatch) -> None:
    """With challenges known beforehand, uniform values complete to an accepted proof of any statement."""
    monkeypatch.setattr("proofs.transcript.Challenger", forgery.forgetting())
    rand, encrypted = seeded(0), parameters.encryption is not None
    proof = Proof(
        auxiliary=random_point(0),
        projections=tuple(symmetric(rand, parameters.response_bound) for _ in range(parameters.projections)),
        combinations=(0,) * parameters.combinations,  # of the ciphertext: below
        quotients=tuple(symmetric(rand, quotients_of(parameters).bound) for _ in range(parameters.combinations)),
        claim=uniform_scalar(rand),
        rounds=tuple(tuple(uniform_scalars(rand, degree)) for degree in parameters.round_degrees),
        evaluations=tuple(uniform_scalars(rand, len(parameters.layout.tables))),
        table_announcement=random_point(1),
        auxiliary_announcement=random_point(2),
        update_announcement=random_point(3) if encrypted else b"",
        share_announcement=random_point(4) if encrypted else b"",
        form_announcement=0,
        **unanswered(parameters, random_point(5)),
    )
    answers = Answers.of([tuple(uniform_scalars(rand, length + 1)) for length in parameters.opened])
    points = iter(range(5, 10_000))
    families = parameters.layout.families
    rows = {label: b"".join(random_point(next(points)) for _ in range(count)) for label, count in families.items()}
    statement = None
    if encrypted:
        residues = np.arange(parameters.shape.data_cells, dtype=np.int64)
        statement = EncryptionStatement(ring_elements(parameters), residues, hash_of(residues), random_point(0))
    sign_context = None if parameters.privacy_noise is None else SIGN_CONTEXT
    claim = known(Claim(rows, proof.encode(parameters), CONTEXT, statement, sign_context=sign_context), answers)
    if encrypted:
        claim = edit(parameters, claim, combinations=tuple(combinations_of(parameters, claim)))
    claim = close_gap(parameters, lambda x: edit(parameters, claim, form_announcement=x))
    for name in ("table", "auxiliary", *(("update", "share") if encrypted else ())):
        point = getattr(forgery, f"{name}_announcement")(parameters, claim)
        claim = edit(parameters, claim, **{f"{name}_announcement": point})
    assert judge(native(), parameters, claim) == "accepted"


@pytest.mark.parametrize("parameters", STATEMENTS)
def test_what_is_sent_of_the_answers_is_a_function_of_them(parameters: ArgumentParameters) -> None:
    """And of what had been sent: so folding shows nothing that the answers do not."""
    made = honest(native(), parameters)
    assert refolded(native(), parameters, made.known) == made.known
    other = replace(made.known, proof=made.edited(**unanswered(parameters, random_point(0))).proof)
    assert refolded(native(), parameters, other) == made.known


def rank(matrix: list[list[int]]) -> int:
    """Over the scalar field, by elimination."""
    rows, found = [list(row) for row in matrix], 0
    for column in range(len(rows[0])):
        pivot = next((i for i in range(found, len(rows)) if rows[i][column]), None)
        if pivot is None:
            continue
        rows[found], rows[pivot] = rows[pivot], rows[found]
        inverse = pow(rows[found][column], -1, ORDER)
        for i in range(found + 1, len(rows)):
            factor = rows[i][column] * inverse % ORDER
            rows[i] = [(x - factor * y) % ORDER for x, y in zip(rows[i], rows[found], strict=True)]
        found += 1
    return found


@pytest.mark.parametrize("beta", [None, 9])
@pytest.mark.parametrize("dimension", [1, 20, 300])
def test_masks_cover_every_value_sent_in_the_sumcheck(dimension: int, beta: int | None) -> None:
    """Claim and rounds: the linear map from mask coefficients to what they add to the sent values is a bijection.

    One constant serves all rounds, and the coefficients of the first round's mask match its degree with the pads;
    the mask's value at the final point is then determined by the last round, so that opening it shows nothing more.
    """
    parameters = WeakParameters(dimension, 50, 1, beta)
    challenges = uniform_scalars(seeded(dimension), parameters.layout.variables)
    size = 1 + sum(parameters.round_degrees)
    matrix = []
    for unit in range(size):
        flat = iter([int(i == unit) for i in range(size)])
        constant = next(flat)
        coefficients = tuple(tuple(next(flat) for _ in range(degree)) for degree in parameters.round_degrees)
        rounds = MaskRounds(parameters.layout.variables, constant, coefficients)
        sent = [rounds.total()]
        for challenge in challenges:
            polynomial = rounds.polynomial()
            sent += [polynomial[0], *polynomial[2:]]
            rounds.bind(challenge)
        matrix.append(sent)
    assert {len(row) for row in matrix} == {size}
    assert rank(matrix) == size


@pytest.mark.parametrize("lattice", [None, RING])
def test_restarts_keep_responses_in_range(
    lattice: EncryptionParameters | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With mask intervals so small that many attempts fail, only z and z' within their ranges leave the prover."""
    monkeypatch.setattr("proofs.relations.relation.RESTART_BITS", 1)
    draws = 0

    def counting(*arguments: object) -> Auxiliary:
        nonlocal draws
        draws += 1
        return draw_auxiliary(*arguments)

    monkeypatch.setattr("proofs.prover.draw_auxiliary", counting)
    parameters = WeakParameters(1, 50, 6, None, (), lattice)
    for seed in range(60):
        made = honest(native(), parameters, seed=seed)
        assert max(abs(z) for z in made.proof.projections) <= parameters.response_bound
        assert all(abs(z) <= quotients_of(parameters).bound for z in made.proof.quotients)
        assert judge(native(), parameters, made.claim) == "accepted"
    assert draws > 60


@pytest.mark.parametrize("parameters", STATEMENTS)
def test_every_value_is_masked(parameters: ArgumentParameters, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same tables and challenges, other masks: no value that is sent stays the same, so none is bare."""
    monkeypatch.setattr("proofs.transcript.Challenger", forgery.forgetting())
    made = honest(native(), parameters)
    with recorded() as answers:
        first, second = (
            decode_proof(parameters, prove(native(), parameters, made.committed, CONTEXT, seeded(seed), made.encrypted))
            for seed in (1, 2)
        )
    left, right = (flat(tuple(each.responses)) for each in answers)
    assert len(left) == sum(parameters.opened) + len(parameters.opened)
    assert all(x != y for x, y in zip(left, right, strict=True))
    for field in fields(Proof):
        left, right = (flat(getattr(proof, field.name)) for proof in (first, second))
        if field.name == "combinations" and left:  # public: a function of the ciphertext and the challenges
            assert left == right == combinations_of(parameters, made.claim)
            continue
        assert all(x != y or x in (b"", None) for x, y in zip(left, right, strict=True)), field.name


def flat(value: object) -> list[object]:
    return [x for item in value for x in flat(item)] if isinstance(value, tuple) else [value]
