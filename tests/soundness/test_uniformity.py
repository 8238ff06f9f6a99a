"""Zero knowledge, smoke-tested: what is published over many proofs looks uniform, and alike for different witnesses.

Challenges are frozen for this (the challenger absorbs nothing), so that r, c and all others are constants: what varies
from proof to proof comes from the prover's masks alone, and a value without one stands still. Then spec 5.12 says that
every sent value is uniform, and every two of them jointly (T, T' and f are what V6 and V7 leave of the others). The
answers are sent folded; here they stand as they are, and what is sent is a function of them (test_zero_knowledge).

A proof is a row of cells: each scalar as its place among equal parts of [0, ORDER), each projection of [-Z, Z], each
point by its abscissa in [0, FIELD). Chi square compares cells with equal shares, witness with witness, and every pair
of values with independence. The samples are seeded; FALSE_ALARM is shared by all comparisons of a test.

What three or more values tell together is not seen here. That claim and rounds are masked jointly is linear algebra:
the rank of the mask, in test_zero_knowledge.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from proofs.curve import FIELD, ORDER, POINT_SIZE
from proofs.encryption import EncryptionParameters
from proofs.engine import Table
from proofs.opening import Masked
from proofs.parameters import ArgumentParameters
from proofs.privacy_noise import NoiseBounds
from proofs.proof import Proof, decode_proof
from proofs.prover import Auxiliary, draw_auxiliary, prove
from proofs.randomness import Randomness
from proofs.witness import commit_update
from tests.proofs.answers import Answers, recorded
from tests.proofs.arguments import (
    CONTEXT,
    MODULUS,
    WeakParameters,
    encrypted_by,
    native,
    quotients_of,
    random_noise,
    random_signed_noise,
)
from tests.seeded import seeded
from tests.soundness.forgery import forgetting
from tests.soundness.significance import FALSE_ALARM, chi_square_limit, homogeneity, uniformity
from tests.soundness.test_tampering import ANSWERS, ENCRYPTION_TAMPERS

PARAMETERS = WeakParameters(20, 50, 3)
WIDE = WeakParameters(20, 50, 3, 50, (), EncryptionParameters(8, MODULUS, 2**20))  # with range and encryption
NOISED = WeakParameters(
    20, 50, 3, 50, (), EncryptionParameters(8, 0xFFC001, 1), privacy_noise=NoiseBounds(100, 10, 5000)
)
SAMPLES = 300
FEWER = 100  # are enough to notice defective masks
PARTS = 17  # of one value's range, and residues modulo it: 16 degrees of freedom
JOINT = 5  # parts for pairs of values: 24 degrees of freedom

Cells = NDArray[np.int64]
PUBLIC = {"combinations"}
FOLDED = {"cross_values", "folds", "response"}  # functions of the answers
SENT = {field.name for field in fields(Proof)} - FOLDED | {field.name for field in fields(Answers)}
WITNESSES: dict[str, list[int]] = {"zero": [0] * 20, "spike": [0] * 19 + [-50]}


def numbers(value: Any) -> list[tuple[int, int]]:
    """(number, size of its range) of everything in a field of a proof; ranges of points are those of abscissas."""
    if isinstance(value, tuple):
        return [number for item in value for number in numbers(item)]
    if isinstance(value, bytes):
        return [(int.from_bytes(value[i + 1 : i + 33], "big"), FIELD) for i in range(0, len(value), POINT_SIZE)]
    return [] if value is None else [(value, ORDER)]


def published(
    parameters: ArgumentParameters, rows: bytes, proof: Proof, answers: Answers
) -> dict[str, list[tuple[int, int]]]:
    """By field: the row commitments, all that is in the proof but functions of the ciphertext, the challenges and the
    answers, and the answers; projections moved to [0, 2 Z], quotients alike."""
    sources = {name: answers if hasattr(answers, name) else proof for name in sorted(SENT - PUBLIC)}
    values = {name: numbers(getattr(source, name)) for name, source in sources.items()}
    for name, bound in (
        ("projections", parameters.response_bound),
        ("quotients", quotients_of(parameters).bound),
    ):
        values[name] = [(z + bound, 2 * bound + 1) for z in getattr(proof, name)]
    return {name: value for name, value in {"commitments": numbers(rows), **values}.items() if value}


def draw(parameters: ArgumentParameters, update: list[int], samples: int, label: str) -> list[dict[str, Any]]:
    """Fresh commitments and proofs of one update, under challenges that are the same for all of them."""
    found, rand, noise = [], seeded(label), random_noise(parameters)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("proofs.transcript.Challenger", forgetting())
        patch.setattr("proofs.privacy_noise.Challenger", forgetting())  # signs are constants as well
        for _ in range(samples):
            signed = random_signed_noise(native(), parameters, rand, abs(sum(update)))
            committed = commit_update(native(), parameters, np.array(update, dtype=np.int64), rand, noise, signed)
            encrypted = encrypted_by(native(), parameters, committed, noise) if noise is not None else None
            with recorded() as answers:
                proof = decode_proof(parameters, prove(native(), parameters, committed, CONTEXT, rand, encrypted))
            rows = b"".join(committed.rows[label] for label in parameters.layout.families)
            found.append(published(parameters, rows, proof, answers[-1]))
    return found


@cache
def sample(witness: str, parameters: ArgumentParameters = PARAMETERS) -> list[dict[str, Any]]:
    return draw(parameters, WITNESSES[witness], SAMPLES, f"uniformity of {witness}")


def high(drawn: list[dict[str, Any]], parts: int) -> Cells:
    """(samples, values): which of equal parts of its range a value lies in."""
    rows = [[number * parts // size for values in each.values() for number, size in values] for each in drawn]
    return np.array(rows, dtype=np.int64)


def low(drawn: list[dict[str, Any]], parts: int) -> Cells:
    """(samples, values): the residue of a value."""
    rows = [[number % parts for values in each.values() for number, _ in values] for each in drawn]
    return np.array(rows, dtype=np.int64)


def counted(cells: Cells, parts: int) -> Cells:
    """(values, parts): how often each part occurred."""
    return np.stack([(cells == part).sum(axis=0) for part in range(parts)], axis=1)


def by_field(counts: Cells, drawn: list[dict[str, Any]]) -> dict[str, Cells]:
    """(parts,) for each field: its values taken together."""
    sizes = [len(values) for values in drawn[0].values()]
    pieces = np.split(counts, np.cumsum(sizes)[:-1])
    return {name: piece.sum(axis=0) for name, piece in zip(drawn[0], pieces, strict=True)}


def joint(cells: Cells) -> Cells:
    """(pairs, JOINT^2): how often each combination of parts occurred, for every two different values."""
    ones = (cells[:, :, None] == np.arange(JOINT)).astype(np.int64).reshape(len(cells), -1)
    values = cells.shape[1]
    table = (ones.T @ ones).reshape(values, JOINT, values, JOINT).transpose(0, 2, 1, 3)
    return table[np.triu_indices(values, 1)].reshape(-1, JOINT * JOINT)


STATEMENTS = pytest.mark.parametrize(
    "parameters",
    [
        pytest.param(PARAMETERS, id="norm"),
        pytest.param(WIDE, id="range and encryption", marks=pytest.mark.exhaustive),
        pytest.param(NOISED, id="noise", marks=pytest.mark.exhaustive),
    ],
)
REDUCTIONS: dict[str, Callable[[list[dict[str, Any]], int], Cells]] = {"high": high, "low": low}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("witness", WITNESSES)
@STATEMENTS
def test_every_value_is_uniform(parameters: ArgumentParameters, witness: str, reduction: str) -> None:
    """Each place of the proof by itself."""
    statistics = uniformity(counted(REDUCTIONS[reduction](sample(witness, parameters), PARTS), PARTS))
    assert statistics.max() < chi_square_limit(PARTS - 1, FALSE_ALARM / statistics.size)


@pytest.mark.parametrize("reduction", REDUCTIONS)
@pytest.mark.parametrize("witness", WITNESSES)
@STATEMENTS
def test_every_field_is_uniform(parameters: ArgumentParameters, witness: str, reduction: str) -> None:
    """The places of a field together: finer, where they all lean the same way."""
    drawn = sample(witness, parameters)
    counts = by_field(counted(REDUCTIONS[reduction](drawn, PARTS), PARTS), drawn)
    assert counts.keys() == {"commitments"} | SENT - absent(parameters)
    for name, each in counts.items():
        assert uniformity(each) < chi_square_limit(PARTS - 1, FALSE_ALARM / len(counts)), name


def absent(parameters: ArgumentParameters) -> set[str]:
    """Fields without a value, or without a mask."""
    return PUBLIC if parameters.encryption is not None else {*ENCRYPTION_TAMPERS, *list(ANSWERS)[4:]}


@pytest.mark.parametrize("reduction", REDUCTIONS)
@STATEMENTS
def test_witnesses_look_alike(parameters: ArgumentParameters, reduction: str) -> None:
    left, right = (counted(REDUCTIONS[reduction](sample(name, parameters), PARTS), PARTS) for name in WITNESSES)
    statistics = homogeneity(left, right)
    assert statistics.max() < chi_square_limit(PARTS - 1, FALSE_ALARM / statistics.size)


@pytest.mark.parametrize("witness", WITNESSES)
@STATEMENTS
def test_every_two_values_are_independent(parameters: ArgumentParameters, witness: str) -> None:
    """A mask used twice shows here: f alone is determined by the others, and by no single one of them."""
    statistics = uniformity(joint(high(sample(witness, parameters), JOINT)))
    assert statistics.max() < chi_square_limit(JOINT * JOINT - 1, FALSE_ALARM / statistics.size)


# ---- would it be noticed? ----------------------------------------------------------------------------------------


def without(**changes: Any) -> Callable[[ArgumentParameters, Randomness], Auxiliary]:
    return lambda parameters, rand: replace(draw_auxiliary(parameters, rand), **changes)


def small_masks(parameters: ArgumentParameters, rand: Randomness) -> Auxiliary:
    """Masks over half of their interval."""
    drawn = draw_auxiliary(parameters, rand)
    return replace(drawn, masks=tuple(y // 2 for y in drawn.masks))


class Unmasked(Masked):
    """The first response bare."""

    def __init__(self, secret: list[int], rand: Randomness) -> None:
        super().__init__(secret, rand)
        self.mask[:1] = [0] * len(self.mask[:1])  # there is nothing in the opening of what is not in force


class Repeated(Masked):
    """Two responses with one mask."""

    def __init__(self, secret: list[int], rand: Randomness) -> None:
        super().__init__(secret, rand)
        self.mask[1:2] = self.mask[:1]


DEFECTS: dict[str, tuple[str, object]] = {
    "no pad": ("proofs.prover.draw_auxiliary", without(pads=(0, 0))),
    "no blinding": ("proofs.prover.draw_auxiliary", without(blinding=0, masks=(1, 2, 3), pads=(0, 0), constant=0)),
    "small masks": ("proofs.prover.draw_auxiliary", small_masks),
    "unmasked response": ("proofs.opening.Masked", Unmasked),
    "repeated mask": ("proofs.opening.Masked", Repeated),
}


def noticed(drawn: list[dict[str, Any]]) -> bool:
    """Whether one of the tests above would have failed on these proofs."""
    single = uniformity(counted(high(drawn, PARTS), PARTS))
    pairs = uniformity(joint(high(drawn, JOINT)))
    return bool(
        single.max() >= chi_square_limit(PARTS - 1, FALSE_ALARM / single.size)
        or pairs.max() >= chi_square_limit(JOINT * JOINT - 1, FALSE_ALARM / pairs.size)
    )


def test_sound_masks_are_not_noticed() -> None:
    assert not noticed(draw(PARAMETERS, WITNESSES["spike"], FEWER, "sound"))


@pytest.mark.parametrize("defect", DEFECTS)
def test_defective_masks_are_noticed(defect: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The power of the tests: few proofs betray each of these provers, whose proofs are all accepted."""
    monkeypatch.setattr(*DEFECTS[defect])
    assert noticed(draw(PARAMETERS, WITNESSES["spike"], FEWER, defect))


def test_deterministic_commitments_are_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Blindings that are a function of the update link a client's rounds."""
    honest_commit = native().commit_rows

    class Deterministic:
        def __getattr__(self, name: str) -> Any:
            return getattr(native(), name)

        def commit_rows(self, table: Table, blindings: Any, known: Any) -> bytes:
            return honest_commit(table, [int(abs(row).sum()) + 1 for row in table])

    rand = seeded("deterministic")
    found = [
        commit_update(Deterministic(), PARAMETERS, np.array(WITNESSES["spike"]), rand).commitments for _ in range(50)
    ]
    assert len(set(found)) == 1
    assert noticed([{"commitments": numbers(each)} for each in found])
