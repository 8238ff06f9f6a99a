"""What a proof shows can be produced without the witness, and is uniform with it."""

from __future__ import annotations

from dataclasses import fields

import pytest

from proofs.curve import ORDER
from proofs.generators import generator
from proofs.proof import Proof, decode_proof
from proofs.prover import Auxiliary, _MaskRounds, draw_auxiliary, prove
from proofs.randomness import symmetric, uniform_scalar, uniform_scalars
from proofs.reference import points as curve
from proofs.verifier import Claim
from tests.proofs.arguments import CONTEXT, WeakParameters, honest, judge, native
from tests.seeded import seeded
from tests.soundness import forgery
from tests.soundness.forgery import close_gap, edit

PARAMETERS = WeakParameters(20, 50, 6)


def random_point(seed: int) -> bytes:
    return curve.encode(curve.from_affine(generator(10_000 + seed)))


def test_simulator(monkeypatch: pytest.MonkeyPatch) -> None:
    """With challenges known beforehand, uniform values complete to an accepted proof of any statement."""
    monkeypatch.setattr("proofs.transcript.Challenger", forgery.forgetting())
    rand, parameters = seeded(0), PARAMETERS
    proof = Proof(
        auxiliary=random_point(0),
        projections=tuple(symmetric(rand, parameters.response_bound) for _ in range(parameters.projections)),
        claim=uniform_scalar(rand),
        rounds=tuple(tuple(uniform_scalars(rand, degree)) for degree in parameters.round_degrees),
        evaluation=uniform_scalar(rand),
        table_announcement=random_point(1),
        auxiliary_announcement=random_point(2),
        form_announcement=0,
        table_response=tuple(uniform_scalars(rand, parameters.shape.columns)),
        table_blinding_response=uniform_scalar(rand),
        auxiliary_response=tuple(uniform_scalars(rand, parameters.auxiliary_length)),
        auxiliary_blinding_response=uniform_scalar(rand),
    )
    commitments = b"".join(random_point(3 + r) for r in range(parameters.shape.rows))
    claim = Claim(commitments, proof.encode(parameters), CONTEXT)
    claim = close_gap(parameters, lambda x: edit(parameters, claim, form_announcement=x))
    claim = edit(parameters, claim, table_announcement=forgery.table_announcement(parameters, claim))
    claim = edit(parameters, claim, auxiliary_announcement=forgery.auxiliary_announcement(parameters, claim))
    assert judge(native(), parameters, claim) == "accepted"


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


@pytest.mark.parametrize("dimension", [1, 20, 300])
def test_masks_cover_every_value_sent_in_the_sumcheck(dimension: int) -> None:
    """Claim and rounds: the linear map from mask coefficients to what they add to the sent values is a bijection.

    One constant serves all rounds, and the four coefficients of the first round's mask match its degree with the pad;
    the mask's value at the final point is then determined by the last round, so that opening it shows nothing more.
    """
    parameters = WeakParameters(dimension, 50, 1)
    challenges = uniform_scalars(seeded(dimension), parameters.shape.variables)
    size = 1 + sum(parameters.round_degrees)
    matrix = []
    for unit in range(size):
        flat = iter([int(i == unit) for i in range(size)])
        constant = next(flat)
        coefficients = tuple(tuple(next(flat) for _ in range(degree)) for degree in parameters.round_degrees)
        rounds = _MaskRounds(parameters, Auxiliary((0,), 0, constant, coefficients, 0))
        sent = [rounds.total()]
        for challenge in challenges:
            polynomial = rounds.polynomial()
            sent += [polynomial[0], *polynomial[2:]]
            rounds.bind(challenge)
        matrix.append(sent)
    assert {len(row) for row in matrix} == {size}
    assert rank(matrix) == size


def test_restarts_keep_projections_in_range(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a mask interval made so small that a third of all attempts fail, only z within [-Z, Z] leave the prover."""
    monkeypatch.setattr("proofs.parameters.RESTART_BITS", 1)
    draws = 0

    def counting(*arguments: object) -> Auxiliary:
        nonlocal draws
        draws += 1
        return draw_auxiliary(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("proofs.prover.draw_auxiliary", counting)
    parameters = WeakParameters(1, 50, 6)
    for seed in range(60):
        made = honest(native(), parameters, seed=seed)
        assert max(abs(z) for z in made.proof.projections) <= parameters.response_bound
        assert judge(native(), parameters, made.claim) == "accepted"
    assert draws > 60


def test_every_value_is_masked(monkeypatch: pytest.MonkeyPatch) -> None:
    """One table, the same challenges, other masks: no value that is sent stays the same, so none is bare."""
    monkeypatch.setattr("proofs.transcript.Challenger", forgery.forgetting())
    committed = honest(native(), PARAMETERS).committed
    first, second = (
        decode_proof(PARAMETERS, prove(native(), PARAMETERS, committed, CONTEXT, seeded(seed))) for seed in (1, 2)
    )
    for field in fields(Proof):
        left, right = (flat(getattr(proof, field.name)) for proof in (first, second))
        assert all(x != y for x, y in zip(left, right, strict=True)), field.name


def flat(value: object) -> list[object]:
    return [x for item in value for x in flat(item)] if isinstance(value, tuple) else [value]
