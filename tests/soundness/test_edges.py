"""Each inequality of spec 5.3 and 5.9 at its edge: accepted on one side, refused on the other.

The edges of d, B, k and of the no-wrap inequality are in tests/proofs/test_basics.py, those of a policy's conditions in
tests/protocols/test_parameters.py.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from proofs.challenger import Challenger
from proofs.curve import FIELD, ORDER
from proofs.encryption import EncryptionParameters
from proofs.engine import Block, Engine
from proofs.errors import Malformed, Misuse
from proofs.parameters import ArgumentParameters
from proofs.proof import decode_proof
from proofs.prover import Auxiliary, complete, draw_auxiliary, project, prove
from proofs.randomness import Randomness
from proofs.verifier import Claim, verify
from proofs.witness import commit_update
from tests.proofs.arguments import (
    CONTEXT,
    MODULUS,
    WeakParameters,
    claim_of,
    honest,
    judge,
    native,
    quotients_of,
    random_update,
    reference,
)
from tests.seeded import seeded
from tests.soundness.forgery import forge, forgetting

PARAMETERS = WeakParameters(20, 50, 1)
WIDE = WeakParameters(20, 50, 1, 20, (), EncryptionParameters(8, MODULUS, 2**20))  # with range and encryption


def claim_with_projection(wanted: int, monkeypatch: pytest.MonkeyPatch) -> Claim:
    """An honest proof but for its mask, which is chosen so that z is `wanted`: y is bound by A before s and t are
    drawn, so A is ground until the projection is what the mask was chosen for, which is 0."""
    committed = commit_update(native(), PARAMETERS, random_update(20, 50, 1), seeded(0))
    rand = seeded(wanted)

    def chosen(parameters: ArgumentParameters, source: Randomness) -> Auxiliary:
        return replace(draw_auxiliary(parameters, source), masks=(wanted,))

    monkeypatch.setattr("proofs.prover.draw_auxiliary", chosen)
    while True:
        projected = project(native(), PARAMETERS, committed, CONTEXT, rand)
        if projected.projections == (wanted,):
            proof = complete(native(), PARAMETERS, committed, projected, rand)
            return claim_of(committed, proof.encode(PARAMETERS), CONTEXT)


@pytest.mark.parametrize("sign", [1, -1])
def test_projection_at_the_bound(sign: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """True projections of a true witness: only the size tells them apart."""
    bound = PARAMETERS.response_bound
    assert judge(native(), PARAMETERS, claim_with_projection(sign * bound, monkeypatch)) == "accepted"
    assert judge(native(), PARAMETERS, claim_with_projection(sign * (bound + 1), monkeypatch)) == "shortness"


@pytest.mark.parametrize("excess", [0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_prover_sends_projections_up_to_the_bound(excess: int, sign: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """It restarts beyond it, and gives up when that does not help."""
    wanted = sign * (PARAMETERS.response_bound + excess)
    committed = commit_update(native(), PARAMETERS, np.zeros(20, dtype=np.int64), seeded(0))
    monkeypatch.setattr(Challenger, "signs", lambda self, label, rows, columns: np.zeros((rows, columns), np.int8))
    monkeypatch.setattr(
        "proofs.prover.draw_auxiliary",
        lambda parameters, rand: replace(draw_auxiliary(parameters, rand), masks=(wanted,)),
    )
    if excess:
        with pytest.raises(Misuse, match="far beyond"):
            prove(native(), PARAMETERS, committed, CONTEXT, seeded(1))
    else:
        proof = prove(native(), PARAMETERS, committed, CONTEXT, seeded(1))
        assert decode_proof(PARAMETERS, proof).projections == (wanted,)
        assert judge(native(), PARAMETERS, claim_of(committed, proof, CONTEXT)) == "accepted"


@pytest.mark.parametrize("excess", [0, 1])
@pytest.mark.parametrize("sign", [1, -1])
def test_quotient_at_the_bound(excess: int, sign: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """True quotients of a true encryption; with weights known beforehand, a mask that makes the first what it is."""
    monkeypatch.setattr("proofs.transcript.Challenger", forgetting())
    made, rand = honest(native(), WIDE), seeded(1)
    projected = project(native(), WIDE, made.committed, CONTEXT, rand, made.encrypted)
    shift = sign * (quotients_of(WIDE).bound + excess) - projected.quotients[0]

    def chosen(parameters: ArgumentParameters, source: Randomness) -> Auxiliary:
        first, *rest = projected.auxiliary.quotient_masks
        return replace(draw_auxiliary(parameters, source), quotient_masks=(first + shift, *rest))

    monkeypatch.setattr("proofs.prover.draw_auxiliary", chosen)
    again = project(native(), WIDE, made.committed, CONTEXT, rand, made.encrypted)
    assert again.quotients == (sign * (quotients_of(WIDE).bound + excess), *projected.quotients[1:])
    proof = complete(native(), WIDE, made.committed, again, rand, made.encrypted).encode(WIDE)
    claim = claim_of(made.committed, proof, CONTEXT, made.encrypted)
    assert judge(native(), WIDE, claim) == ("quotient-range" if excess else "accepted")
    if excess:
        with pytest.raises(Misuse, match="far beyond"):
            prove(native(), WIDE, made.committed, CONTEXT, rand, made.encrypted)


@pytest.mark.parametrize(
    ("draws", "expected"),
    [
        ((0,), -PARAMETERS.mask_bound),
        ((2 * PARAMETERS.mask_bound,), PARAMETERS.mask_bound),
        ((2 * PARAMETERS.mask_bound + 1, 7), 7 - PARAMETERS.mask_bound),  # beyond: drawn again
    ],
)
def test_masks_take_both_ends_of_their_interval(draws: tuple[int, ...], expected: int) -> None:
    forced = iter(draws)

    def rand(size: int) -> bytes:
        return next(forced, 0).to_bytes(size, "big")

    assert draw_auxiliary(PARAMETERS, rand).masks == (expected,)


@pytest.mark.parametrize("end", [-1, 1])
def test_masks_of_quotients_take_both_ends_of_their_interval(end: int) -> None:
    bounds = [WIDE.mask_bound, *[quotients_of(WIDE).mask_bound] * WIDE.combinations]
    forced = iter([bound * (1 + end) for bound in bounds])

    def rand(size: int) -> bytes:
        return next(forced, 0).to_bytes(size, "big")

    assert draw_auxiliary(WIDE, rand).quotient_masks == (end * quotients_of(WIDE).mask_bound,) * WIDE.combinations


@pytest.mark.parametrize("norm_bound", [1, 7, 2**20, 2**40])
def test_norm_at_the_bound_and_one_above_it(norm_bound: int) -> None:
    """The least step: a squared norm of B^2 + 1, which no honest client commits to."""
    parameters = ArgumentParameters(20, norm_bound)
    verify(native(), parameters, honest(native(), parameters, np.eye(1, 20, dtype=np.int64)[0] * norm_bound).claim)
    with pytest.raises(Misuse, match="squared norm"):
        commit_update(native(), parameters, np.array([norm_bound, 1] + [0] * 18), seeded(0))
    assert judge(native(), parameters, forge(native(), parameters, [[norm_bound, 1]])) == "linear-relation"
    assert judge(native(), parameters, forge(native(), parameters, [[norm_bound]])) == "accepted"


def test_projection_bound_is_reached_up_to_rounding() -> None:
    """Equal entries and equal signs meet Cauchy and Schwarz with equality: P is no larger than it must be."""
    parameters = WeakParameters(16 * 15, 16 * 16, 1)
    shape = parameters.shape
    tables = [np.full((layout.rows, layout.columns), 16, dtype=np.int64) for layout in parameters.layout.tables]
    assert sum(int((table**2).sum()) for table in tables) == parameters.norm_bound**2 == 256 * shape.cells
    blocks = [Block(table, np.ones((1, len(table)), dtype=np.int8), True, None) for table in tables]
    values = native().project(blocks, np.ones((1, shape.columns), dtype=np.int8)).values()
    assert values == [16 * shape.cells] == [parameters.projection_bound - 1]


@pytest.mark.parametrize("field", ["claim", "form_announcement", "table_blinding_response"])
def test_scalar_at_the_group_order(field: str) -> None:
    """ORDER - 1 is a scalar like any other: what is wrong with it is found by the equations."""
    made = honest(native(), PARAMETERS)
    assert judge(native(), PARAMETERS, made.edited(**{field: ORDER - 1})) == "linear-relation"
    assert judge(native(), PARAMETERS, made.edited(**{field: ORDER})) == "scalar-range"


def test_no_second_spelling_of_a_small_scalar() -> None:
    """x + ORDER fits in 32 bytes for small x: the same to careless arithmetic, and not a spelling of x."""
    made = honest(native(), PARAMETERS)
    small = made.edited(table_blinding_response=5)
    assert judge(native(), PARAMETERS, small) == "linear-relation"
    assert judge(native(), PARAMETERS, made.edited(table_blinding_response=5 + ORDER)) == "scalar-range"


def on_curve(x: int) -> bool:
    square = (x**3 + 7) % FIELD
    return pow(square, (FIELD - 1) // 2, FIELD) in {0, 1}


@pytest.mark.parametrize("engine", [native(), reference()], ids=["native", "reference"])
def test_abscissa_at_the_prime(engine: Engine) -> None:
    """The largest x of a point decodes; x + FIELD of the smallest ones, which would be the same points, does not."""
    largest = next(FIELD - i for i in range(1, 100) if on_curve(FIELD - i))
    smallest = next(i for i in range(1, 100) if on_curve(i))
    for prefix in (b"\x02", b"\x03"):
        assert engine.point_count(engine.decode_points(prefix + largest.to_bytes(32, "big"))) == 1
        assert engine.point_count(engine.decode_points(prefix + smallest.to_bytes(32, "big"))) == 1
        for x in (FIELD, smallest + FIELD):
            with pytest.raises(Malformed):
                engine.decode_points(prefix + x.to_bytes(32, "big"))


@pytest.mark.parametrize("prefix", [0, 1, 4, 5, 6, 7, 0x82, 0xFF])
def test_prefixes_beside_two_and_three(prefix: int) -> None:
    good = native().commit([1], 2)
    for engine in (native(), reference()):
        with pytest.raises(Malformed):
            engine.decode_points(bytes([prefix]) + good[1:])


def test_soundness_error_of_every_admitted_number_of_projections() -> None:
    """(3/4)^k <= 2^-149 holds from the least k that is admitted, and at no smaller one."""
    for projections, enough in ((359, False), (360, True), (361, True), (4096, True)):
        assert (3**projections << 149 <= 4**projections) is enough
        if enough:
            ArgumentParameters(20, 50, projections)
        else:
            with pytest.raises(Misuse, match="360 <= k"):
                ArgumentParameters(20, 50, projections)


def test_wrap_around_needs_an_entry_beyond_four_z() -> None:
    """The inequality in words: entries of 4 Z at most, in every cell, have a sum of squares below ORDER / 2."""
    largest = ArgumentParameters(2**32, 2**40, 4096)
    assert 2 * largest.shape.cells * (4 * largest.response_bound) ** 2 < ORDER
    assert 2 * largest.norm_bound**2 < ORDER
    assert 8 * largest.response_bound < ORDER
