"""Two engines that share no arithmetic, one argument: the same challenges, the same verdicts, the same names."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from proofs.challenger import Challenger
from proofs.curve import ORDER, POINT_SIZE
from proofs.encryption import EncryptionParameters
from proofs.engine import Engine
from proofs.folding import Fold
from proofs.parameters import ArgumentParameters
from proofs.proof import Proof
from proofs.verifier import Claim, verify_batch
from tests.proofs.arguments import (
    MODULUS,
    Honest,
    WeakParameters,
    altered,
    honest,
    judge,
    name_of,
    native,
    pruned,
    quotients_of,
    reference,
)
from tests.soundness.forgery import another_point
from tests.soundness.test_tampering import ENCRYPTION_TAMPERS, TAMPERS, without_ciphertext

FULL = ArgumentParameters(20, 50)
WEAK = WeakParameters(20, 50, 3)
WIDE = WeakParameters(20, 50, 3, 20, (), EncryptionParameters(8, MODULUS, 2**20))  # with range and encryption


@pytest.fixture(scope="module")
def full() -> Honest:
    return honest(native(), FULL)


@pytest.fixture(scope="module")
def weak() -> Honest:
    return honest(native(), WEAK)


@pytest.fixture(scope="module")
def wide() -> Honest:
    return honest(native(), WIDE)


@pytest.mark.parametrize(
    ("package", "forbidden"),
    [
        ("proofs.reference", ("proofs.native", "numba", "proofs.wide", "proofs.machine.workers")),
        ("proofs.native.engine", ("proofs.reference", "py_ecc")),
    ],
)
def test_engines_share_no_arithmetic(package: str, forbidden: tuple[str, ...]) -> None:
    code = f"import sys, {package}; print([name for name in {forbidden!r} if name in sys.modules])"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("package", ["proofs.reference", "proofs.native.engine"])
def test_an_engine_leaves_the_recursion_limit_alone(package: str) -> None:
    code = f"import sys; before = sys.getrecursionlimit(); import {package}; print(sys.getrecursionlimit() - before)"
    root = Path(__file__).resolve().parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"


# ---- challenges --------------------------------------------------------------------------------------------------


def steps(monkeypatch: pytest.MonkeyPatch, engine: Engine, parameters: ArgumentParameters) -> list[tuple[Any, ...]]:
    """Every operation of every challenger, with what went in and the bytes that came out: to prove, then to verify."""
    found: list[tuple[Any, ...]] = []

    class Recording(Challenger):
        def _step(self, kind: int, label: str, data: bytes, size: int) -> bytes:
            output = super()._step(kind, label, data, size)
            found.append((self._tag, kind, label, data, output, self._state))
            return output

    with monkeypatch.context() as patch:
        patch.setattr("proofs.transcript.Challenger", Recording)
        patch.setattr("proofs.verifier.Challenger", Recording)
        made = honest(engine, parameters, seed=4)
        assert judge(engine, parameters, made.claim) == "accepted"
    return found


@pytest.mark.parametrize("parameters", [WEAK, WeakParameters(1, 1, 1), WeakParameters(300, 2**40, 5), WIDE])
def test_same_challenges_byte_for_byte(parameters: ArgumentParameters, monkeypatch: pytest.MonkeyPatch) -> None:
    left, right = (steps(monkeypatch, engine, parameters) for engine in (native(), reference()))
    assert left == right
    folds = 3 * parameters.folded.folds
    length = 6 + 4 + 1 + 2 * parameters.layout.variables + 2 + 4 + 3 + folds  # operations of spec 5.5, step by step
    if parameters is WIDE:
        length += 3 + 2 + 2 + 4 + 2  # statement, rows, weights of cells, of relations with Y and z', announcements
    own = [step for step in left if step[0] == left[0][0]]
    assert len(own) == 2 * length
    assert own[:length] == own[length:]  # the verifier's transcript is the prover's


# ---- the manifest ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("engine", [native(), reference()], ids=["native", "reference"])
@pytest.mark.parametrize("name", TAMPERS)
def test_tampered_field(full: Honest, engine: Engine, name: str) -> None:
    """One change in every field, at full strength."""
    change, check = TAMPERS[name]
    assert judge(engine, FULL, full.edited(**{name: change(full.proof)})) == check


@pytest.mark.parametrize("engine", [native(), reference()], ids=["native", "reference"])
@pytest.mark.parametrize("name", ENCRYPTION_TAMPERS)
def test_tampered_field_of_the_encryption(wide: Honest, engine: Engine, name: str) -> None:
    change, check = ENCRYPTION_TAMPERS[name]
    claim = wide.edited(**{name: change(wide.proof)})
    assert judge(engine, WIDE, claim) == check
    assert judge(engine, WIDE, pruned(claim)) == without_ciphertext(check)


def changed(value: Any, position: int) -> Any:
    """The value with its `position`-th number or point changed, counting through tuples."""
    if isinstance(value, int):
        return (value + 1) % ORDER
    if isinstance(value, bytes):
        return another_point()
    for index, item in enumerate(value):
        if position < size_of(item):
            parts = (*value[:index], changed(item, position), *value[index + 1 :])
            return Fold(*parts) if isinstance(value, Fold) else parts
        position -= size_of(item)
    raise IndexError(position)


def size_of(value: Any) -> int:
    if value in (None, b""):
        return 0
    return sum(map(size_of, value)) if isinstance(value, tuple) else 1


def everything_changed(made: Honest) -> Iterator[tuple[Claim, str]]:
    """A claim for every number and point of the proof and every row, with the verdict it must get."""
    lattice = made.parameters.encryption
    before_cells = "ciphertext-combination" if lattice is not None else "linear-relation"  # what cell weights are of
    for field in fields(Proof):
        value = getattr(made.proof, field.name)
        for position in range(size_of(value)):
            if field.name in {"projections", "quotients"}:  # towards zero, to stay in range
                z = value[position]
                integers = (*value[:position], z - (1 if z > 0 else -1), *value[position + 1 :])
                yield made.edited(**{field.name: integers}), "linear-relation"
            elif field.name == "combinations":
                residues = (*value[:position], (value[position] + 1) % MODULUS, *value[position + 1 :])
                yield made.edited(combinations=residues), before_cells
            elif field.name == "auxiliary":
                yield made.edited(auxiliary=changed(value, position)), before_cells
            else:
                yield made.edited(**{field.name: changed(value, position)}), "linear-relation"
    for item in ("commitments", "range_commitments", "encryption_commitments"):
        rows = getattr(made.claim, item)
        for start in range(0, len(rows), POINT_SIZE):
            forged: dict[str, Any] = {item: rows[:start] + another_point() + rows[start + POINT_SIZE :]}
            yield altered(made.claim, **forged), before_cells


@pytest.mark.parametrize("engine", [native(), reference()], ids=["native", "reference"])
def test_everything_changed_at_reduced_strength(weak: Honest, engine: Engine) -> None:
    cases = list(everything_changed(weak))
    # A, z, claim, rounds, w, T, T', f, blinding responses, values across, folds, response, rows
    folded = WEAK.folded
    expected = [1, 3, 1, sum(WEAK.round_degrees), 2, 2, 1, 2, 2, 4 * folded.folds, folded.last, WEAK.layout.total_rows]
    assert len(cases) == sum(expected)
    verdicts = verify_batch(engine, WEAK, [claim for claim, _ in cases])
    assert [name_of(verdict) for verdict in verdicts] == [verdict for _, verdict in cases]
    for claim, verdict in cases[:: 9 if engine is reference() else 1]:
        assert judge(engine, WEAK, claim) == verdict


def test_everything_changed_with_range_and_encryption(wide: Honest) -> None:
    cases = list(everything_changed(wide))
    points = 5 + 2 * WIDE.folded.folds
    integers = 3 * WIDE.response_width + 4 * (8 + quotients_of(WIDE).width)
    scalars = (WIDE.proof_size - points * POINT_SIZE - integers) // 32
    assert len(cases) == points + 3 + 2 * 4 + scalars + WIDE.layout.total_rows
    verdicts = verify_batch(native(), WIDE, [claim for claim, _ in cases])
    assert [name_of(verdict) for verdict in verdicts] == [verdict for _, verdict in cases]
    for claim, verdict in cases[::9]:
        assert judge(reference(), WIDE, claim) == verdict
    verdicts = verify_batch(native(), WIDE, [pruned(claim) for claim, _ in cases])
    assert [name_of(verdict) for verdict in verdicts] == [without_ciphertext(verdict) for _, verdict in cases]


@pytest.mark.exhaustive
@pytest.mark.parametrize("engine", [native(), reference()], ids=["native", "reference"])
def test_everything_changed(full: Honest, engine: Engine) -> None:
    for claim, verdict in everything_changed(full):
        assert judge(engine, FULL, claim) == verdict


@pytest.mark.exhaustive
def test_every_byte_changed(weak: Honest) -> None:
    """Both engines on every byte of the claim, one bit of it flipped."""
    for item in ("commitments", "proof", "context"):
        data = getattr(weak.claim, item)
        for position in range(len(data)):
            flipped = bytearray(data)
            flipped[position] ^= 1 << position % 8
            claim = altered(weak.claim, **{item: bytes(flipped)})
            verdict = judge(native(), WEAK, claim)
            assert verdict != "accepted"
            assert verdict == judge(reference(), WEAK, claim)
