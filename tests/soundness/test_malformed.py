"""Whatever the bytes are, the verdict is typed and names the first check that fails: V1 before V2 before V3 before V4.

`judge` lets through as an error everything that is neither Malformed nor Rejected.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import replace
from itertools import accumulate, pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.curve import FIELD, ORDER, POINT_SIZE, SCALAR_SIZE
from proofs.encryption import RESIDUE_SIZE, EncryptionParameters, EncryptionStatement
from proofs.engine import Engine
from proofs.errors import Malformed, Misuse
from proofs.folding import Fold
from proofs.parameters import ArgumentParameters
from proofs.proof import Proof
from proofs.randomness import symmetric, uniform_below, uniform_scalar, uniform_scalars
from proofs.verifier import Claim, verify, verify_batch
from tests.proofs.arguments import (
    CONTEXT,
    MODULUS,
    Honest,
    WeakParameters,
    altered,
    claimed,
    honest,
    judge,
    name_of,
    native,
    pruned,
    quotients_of,
    reference,
)
from tests.seeded import seeded
from tests.soundness.forgery import another_point

FULL = ArgumentParameters(20, 50)
WEAK = WeakParameters(20, 50, 2)
WIDE = WeakParameters(20, 50, 2, 20, (), EncryptionParameters(8, MODULUS, 2**20))  # with range and encryption
ROWS = ("commitments", "range_commitments", "encryption_commitments")
ENGINES = pytest.mark.parametrize("engine", [native(), reference()], ids=["native", "reference"])


@pytest.fixture(scope="module")
def full() -> Honest:
    return honest(native(), FULL)


@pytest.fixture(scope="module")
def weak() -> Honest:
    return honest(native(), WEAK)


@pytest.fixture(scope="module")
def wide() -> Honest:
    return honest(native(), WIDE)


def boundaries(parameters: ArgumentParameters) -> list[int]:
    """Offsets in a proof where an item of spec 5.6 starts, and its end."""
    encrypted, folded = parameters.encryption is not None, parameters.folded
    sizes = [
        POINT_SIZE,
        *[parameters.response_width] * parameters.projections,
        *[RESIDUE_SIZE] * parameters.combinations,
        *[quotients_of(parameters).width] * parameters.combinations,
        *[SCALAR_SIZE] * (1 + sum(parameters.round_degrees) + len(parameters.layout.tables)),
        *[POINT_SIZE] * (4 if encrypted else 2),
        *[SCALAR_SIZE] * (1 + 4 + 6 if encrypted else 1 + 2 + 2),
        *[POINT_SIZE, POINT_SIZE, SCALAR_SIZE, SCALAR_SIZE] * folded.folds,
        *[SCALAR_SIZE] * folded.last,
    ]
    return [0, *accumulate(sizes)]


# ---- every length ------------------------------------------------------------------------------------------------


def verdicts_by_length(engine: Engine, made: Honest, item: str, lengths: Iterator[int] | list[int]) -> set[str]:
    """Names of the verdicts on the item cut to each length, or extended to it by a repetition of itself."""
    data = getattr(made.claim, item)
    longer = data * (2 + max(lengths := list(lengths)) // max(1, len(data)))
    return {judge(engine, made.parameters, altered(made.claim, **{item: longer[:length]})) for length in lengths}


@ENGINES
def test_lengths_at_every_boundary(full: Honest, engine: Engine) -> None:
    size = FULL.proof_size
    assert boundaries(FULL)[-1] == size
    near = {edge + step for edge in boundaries(FULL) for step in (-1, 0, 1)} | {2 * size, 3 * size, 2**20}
    assert verdicts_by_length(engine, full, "proof", sorted(near - {-1, size})) == {"proof-length"}
    every = set(range(3 * FULL.commitments_size("commitments"))) - {FULL.commitments_size("commitments")}
    assert verdicts_by_length(engine, full, "commitments", sorted(every)) == {"commitments-length"}


def test_lengths_with_range_and_encryption(wide: Honest) -> None:
    size = WIDE.proof_size
    assert boundaries(WIDE)[-1] == size
    near = {edge + step for edge in boundaries(WIDE) for step in (-1, 0, 1)} | {2 * size, 2**20}
    assert verdicts_by_length(native(), wide, "proof", sorted(near - {-1, size})) == {"proof-length"}
    for item in ROWS:
        every = set(range(2 * len(getattr(wide.claim, item)))) - {len(getattr(wide.claim, item))}
        assert verdicts_by_length(native(), wide, item, sorted(every)) == {f"{item.replace('_', '-')}-length"}


@pytest.mark.exhaustive
@ENGINES
def test_every_length(full: Honest, engine: Engine) -> None:
    lengths = set(range(2 * FULL.proof_size)) - {FULL.proof_size}
    assert verdicts_by_length(engine, full, "proof", sorted(lengths)) == {"proof-length"}


@pytest.mark.parametrize("parameters", [WeakParameters(1, 1, 1), WEAK, FULL, ArgumentParameters(300, 2**40)])
def test_lengths_of_other_parameters(full: Honest, parameters: ArgumentParameters) -> None:
    """A proof of another size is refused by its length, whatever size that is."""
    other = honest(native(), parameters).claim
    for bound in (FULL, ArgumentParameters(300, 50)):
        if len(other.proof) != bound.proof_size:
            claim = altered(other, commitments=bytes(bound.commitments_size("commitments")))
            assert judge(native(), bound, claim) == "proof-length"


# ---- every type --------------------------------------------------------------------------------------------------

NOT_BYTES = [None, 7, 1.5, "text", True, [1, 2], (), {}, bytearray(5), memoryview(b"x"), object(), range(3)]


@pytest.mark.parametrize("item", [*ROWS, "proof", "context"])
@pytest.mark.parametrize("value", NOT_BYTES, ids=lambda value: type(value).__name__)
def test_what_is_not_bytes_is_no_claim(full: Honest, item: str, value: object) -> None:
    """Also mutable bytes: a claim is hashed more than once and must not change meanwhile."""
    with pytest.raises(Misuse, match=f"{item.replace('_', '-')}: expected bytes"):
        altered(full.claim, **{item: value})


def test_rows_of_a_claim_do_not_change(full: Honest) -> None:
    rows = dict(full.claim.rows)
    claim = replace(full.claim, rows=rows)
    rows["commitments"] = b""
    assert claim.rows == full.claim.rows
    with pytest.raises(TypeError):
        claim.rows["commitments"] = b""


def test_rows_with_a_label_that_no_relation_has(full: Honest) -> None:
    for data, verdict in ((b"", "accepted"), (b"\x02" * POINT_SIZE, "another-length")):
        claim = replace(full.claim, rows={**full.claim.rows, "another": data})
        assert judge(native(), FULL, claim) == judge(reference(), FULL, claim) == verdict


def test_rows_that_are_not_there_at_all(full: Honest, wide: Honest) -> None:
    assert judge(native(), FULL, replace(full.claim, rows={})) == "commitments-length"
    rows = {label: data for label, data in wide.claim.rows.items() if label != "range-commitments"}
    assert judge(native(), WIDE, replace(wide.claim, rows=rows)) == "range-commitments-length"


# ---- every scalar, every point, every projection -----------------------------------------------------------------


def items(parameters: ArgumentParameters) -> dict[str, list[tuple[int, int]]]:
    """(start, stop) of every point, projection, combination, quotient and scalar of a proof."""
    kinds = ("point", "projection", "combination", "quotient", "scalar")
    found: dict[str, list[tuple[int, int]]] = {kind: [] for kind in kinds}
    counts = (1, parameters.projections, parameters.combinations, parameters.combinations)
    first = [kind for kind, count in zip(kinds, counts, strict=False) for _ in range(count)]
    for index, (start, stop) in enumerate(pairwise(boundaries(parameters))):
        other = "point" if stop - start == POINT_SIZE else "scalar"
        found[first[index] if index < len(first) else other].append((start, stop))
    return found


def spliced(claim: Claim, start: int, data: bytes) -> Claim:
    return replace(claim, proof=claim.proof[:start] + data + claim.proof[start + len(data) :])


@ENGINES
def test_every_scalar_is_range_checked(weak: Honest, engine: Engine) -> None:
    for start, _ in items(WEAK)["scalar"]:
        for value in (ORDER, 2**256 - 1):
            assert judge(engine, WEAK, spliced(weak.claim, start, value.to_bytes(32, "big"))) == "scalar-range"


@pytest.mark.parametrize("parameters", [WEAK, WIDE], ids=["weak", "wide"])
def test_a_scalar_out_of_range_is_named(parameters: ArgumentParameters) -> None:
    """By its field, and its index where there are more."""
    claim, named = honest(native(), parameters).claim, []
    for start, _ in items(parameters)["scalar"]:
        with pytest.raises(Malformed) as excinfo:
            verify(native(), parameters, spliced(claim, start, ORDER.to_bytes(32, "big")))
        named.append(excinfo.value.expected.removesuffix(" below the group order"))
    encrypted = parameters.encryption is not None
    assert named == [
        "claim",
        *(f"rounds[{i}][{j}]" for i, degree in enumerate(parameters.round_degrees) for j in range(degree)),
        *(f"evaluations[{i}]" for i in range(len(parameters.layout.tables))),
        "form_announcement",
        "table_blinding_response",
        "auxiliary_blinding_response",
        *(["update_blinding_response", "share_blinding_response"] if encrypted else []),
        *(f"cross_values[{i}]" for i in range(6 if encrypted else 2)),
        *(f"folds[{i}][{j}]" for i in range(parameters.folded.folds) for j in range(2)),
        *(f"response[{i}]" for i in range(parameters.folded.last)),
    ]


BAD_POINTS = bytes(33), b"\x02" + FIELD.to_bytes(32, "big"), b"\x02" + (5).to_bytes(32, "big"), b"\x04" + b"\x01" * 32


@ENGINES
def test_every_point_is_decoded(weak: Honest, engine: Engine) -> None:
    for point in BAD_POINTS:
        for start, _ in items(WEAK)["point"]:
            assert judge(engine, WEAK, spliced(weak.claim, start, point)) == "point-encoding"
        for row in range(WEAK.layout.total_rows):
            rows = weak.claim.commitments
            changed = rows[: row * POINT_SIZE] + point + rows[(row + 1) * POINT_SIZE :]
            assert judge(engine, WEAK, altered(weak.claim, commitments=changed)) == "point-encoding"


def test_every_point_is_decoded_with_range_and_encryption(wide: Honest) -> None:
    for point in BAD_POINTS:
        for start, _ in items(WIDE)["point"]:
            assert judge(native(), WIDE, spliced(wide.claim, start, point)) == "point-encoding"
        for item in ROWS:
            rows = getattr(wide.claim, item)
            for start in range(0, len(rows), POINT_SIZE):
                changes: dict[str, Any] = {item: rows[:start] + point + rows[start + POINT_SIZE :]}
                assert judge(native(), WIDE, altered(wide.claim, **changes)) == "point-encoding"


def test_every_combination_is_in_range(wide: Honest) -> None:
    combinations = items(WIDE)["combination"]
    assert len(combinations) == WIDE.combinations == len(wide.proof.combinations)
    for (start, stop), residue in zip(combinations, wide.proof.combinations, strict=True):
        assert wide.claim.proof[start:stop] == residue.to_bytes(8, "big")
        for value in (MODULUS, MODULUS + 1, residue + MODULUS, 2**63, 2**64 - 1):
            claim = spliced(wide.claim, start, value.to_bytes(8, "big"))
            for engine in (native(), reference()):
                assert judge(engine, WIDE, claim) == judge(engine, WIDE, pruned(claim)) == "combination-range"


def test_every_quotient_is_in_range(wide: Honest) -> None:
    width, bound = quotients_of(WIDE).width, quotients_of(WIDE).bound
    quotients = items(WIDE)["quotient"]
    assert len(quotients) == WIDE.combinations
    for start, _ in quotients:
        for value in (bound + 1, -bound - 1, 2 ** (8 * width - 1) - 1, -(2 ** (8 * width - 1))):
            claim = spliced(wide.claim, start, value.to_bytes(width, "big", signed=True))
            assert judge(native(), WIDE, claim) == "quotient-range"


@ENGINES
def test_every_projection_is_short(full: Honest, engine: Engine) -> None:
    width, bound = FULL.response_width, FULL.response_bound
    extremes = (bound + 1, -bound - 1, 2 ** (8 * width - 1) - 1, -(2 ** (8 * width - 1)))
    for index, (start, _) in enumerate(items(FULL)["projection"]):
        value = extremes[index % 4].to_bytes(width, "big", signed=True)
        assert judge(engine, FULL, spliced(full.claim, start, value)) == "shortness"


# ---- the order of the checks -------------------------------------------------------------------------------------

BREAKS = {
    "commitments-length": lambda made: (b"", None),
    "proof-length": lambda made: (None, made.claim.proof[:-1]),
    "scalar-range": lambda made: (None, made.claim.proof[:-32] + b"\xff" * 32),
    "point-encoding": lambda made: (b"\x07" + made.claim.commitments[1:], None),
    "shortness": lambda made: (None, spliced(made.claim, POINT_SIZE, b"\x7f" + b"\xff" * 3).proof),
}


@ENGINES
@pytest.mark.parametrize("first", range(5))
@pytest.mark.parametrize("second", range(5))
def test_the_first_failure_is_the_verdict(weak: Honest, engine: Engine, first: int, second: int) -> None:
    """Two things wrong at once, in either item: the check with the lower number speaks."""
    names = list(BREAKS)
    claim = weak.claim
    for name in (names[first], names[second]):
        commitments, proof = BREAKS[name](replace(weak, claim=claim))
        claim = altered(
            claim,
            commitments=claim.commitments if commitments is None else commitments,
            proof=claim.proof if proof is None else proof,
        )
    assert judge(engine, WEAK, claim) == names[min(first, second)]


def test_order_of_the_checks_of_the_encryption(wide: Honest) -> None:
    """From the last to the first, one more thing wrong each time."""
    first = {kind: places[0][0] for kind, places in items(WIDE).items() if kind != "scalar"}
    claim_at = items(WIDE)["scalar"][0][0]
    steps = {
        "linear-relation": (claim_at, bytes(32)),
        "ciphertext-combination": (first["combination"], bytes(8)),
        "combination-range": (first["combination"] + 8, b"\xff" * 8),
        "quotient-range": (first["quotient"], b"\x7f" + b"\xff" * 7),
        "shortness": (first["projection"], b"\x7f" + b"\xff" * 3),
        "point-encoding": (0, bytes(33)),
        "scalar-range": (claim_at, b"\xff" * 32),
    }
    claim = wide.claim
    for verdict, (start, data) in steps.items():
        claim = spliced(claim, start, data)
        lost = "linear-relation" if verdict == "ciphertext-combination" else verdict
        for engine in (native(), reference()):
            assert judge(engine, WIDE, claim) == verdict
            assert judge(engine, WIDE, pruned(claim)) == lost
    claim = replace(claim, proof=claim.proof[:-1])
    assert judge(native(), WIDE, claim) == judge(native(), WIDE, pruned(claim)) == "proof-length"


# ---- random content ----------------------------------------------------------------------------------------------


def well_formed(parameters: ArgumentParameters, seed: int, encryption: EncryptionStatement | None = None) -> Claim:
    """Passes V1 to V4: everything in range, and nothing of it true."""
    rand, point = seeded(seed), another_point(5000 + seed % 50)
    proof = Proof(
        auxiliary=point,
        projections=tuple(symmetric(rand, parameters.response_bound) for _ in range(parameters.projections)),
        combinations=tuple(uniform_below(rand, MODULUS) for _ in range(parameters.combinations)),
        quotients=tuple(symmetric(rand, quotients_of(parameters).bound) for _ in range(parameters.combinations)),
        claim=uniform_scalar(rand),
        rounds=tuple(tuple(uniform_scalars(rand, degree)) for degree in parameters.round_degrees),
        evaluations=tuple(uniform_scalars(rand, len(parameters.layout.tables))),
        table_announcement=point,
        auxiliary_announcement=point,
        update_announcement=point if encryption else b"",
        share_announcement=point if encryption else b"",
        form_announcement=uniform_scalar(rand),
        table_blinding_response=uniform_scalar(rand),
        auxiliary_blinding_response=uniform_scalar(rand),
        update_blinding_response=uniform_scalar(rand) if encryption else None,
        share_blinding_response=uniform_scalar(rand) if encryption else None,
        cross_values=tuple(uniform_scalars(rand, 6 if encryption else 2)),
        folds=tuple(Fold(point, point, *uniform_scalars(rand, 2)) for _ in range(parameters.folded.folds)),
        response=tuple(uniform_scalars(rand, parameters.folded.last)),
    )
    rows = {label: point * count for label, count in parameters.layout.families.items()}
    return Claim(rows, proof.encode(parameters), rand(8), encryption)


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), dimension=st.sampled_from([1, 16, 17, 50]))
def test_well_formed_noise_fails_the_linear_relation(seed: int, dimension: int) -> None:
    parameters = WeakParameters(dimension, 50, 2)
    claim = well_formed(parameters, seed)
    assert judge(native(), parameters, claim) == judge(reference(), parameters, claim) == "linear-relation"


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_well_formed_noise_about_an_encryption_is_rejected(wide: Honest, seed: int) -> None:
    """By the ciphertext, or where that is pruned by the linear relation."""
    claim = well_formed(WIDE, seed, wide.claim.encryption)
    for engine in (native(), reference()):
        assert judge(engine, WIDE, claim) == "ciphertext-combination"
        assert judge(engine, WIDE, pruned(claim)) == "linear-relation"


@pytest.mark.parametrize("fill", [0x00, 0x01, 0x02, 0x7F, 0x80, 0xFF])
def test_constant_bytes(fill: int) -> None:
    claim = claimed(bytes([fill]) * WEAK.commitments_size("commitments"), bytes([fill]) * WEAK.proof_size, CONTEXT)
    expected = {0xFF: "scalar-range", 0x02: "linear-relation"}.get(fill, "point-encoding")  # 02..02 is a point
    assert judge(native(), WEAK, claim) == judge(reference(), WEAK, claim) == expected


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_engines_agree_on_mangled_proofs(weak: Honest, seed: int) -> None:
    """Honest bytes cut up: blocks overwritten, moved, zeroed; rows and items exchanged."""
    rng = random.Random(seed)
    commitments, proof = bytearray(weak.claim.commitments), bytearray(weak.claim.proof)
    for _ in range(rng.randint(1, 3)):
        item = rng.choice([commitments, proof, proof, proof])
        size = rng.choice([1, 2, SCALAR_SIZE, POINT_SIZE])
        start, other = (rng.randrange(len(item) - size) for _ in range(2))
        block = rng.choice([rng.randbytes(size), bytes(size), bytes(item[other : other + size])])
        item[start : start + size] = block
    claim = claimed(bytes(commitments), bytes(proof), CONTEXT)
    verdict = judge(native(), WEAK, claim)
    assert verdict == judge(reference(), WEAK, claim)
    unchanged = (claim.commitments, claim.proof) == (weak.claim.commitments, weak.claim.proof)
    assert (verdict == "accepted") == unchanged


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_engines_agree_on_mangled_proofs_with_range_and_encryption(wide: Honest, seed: int) -> None:
    rng = random.Random(seed)
    name = rng.choice([*ROWS, "proof", "proof", "proof"])
    item = bytearray(getattr(wide.claim, name))
    size = rng.choice([1, 2, SCALAR_SIZE, POINT_SIZE])
    start, other = (rng.randrange(len(item) - size + 1) for _ in range(2))
    item[start : start + size] = rng.choice([rng.randbytes(size), bytes(size), bytes(item[other : other + size])])
    changes: dict[str, Any] = {name: bytes(item)}
    claim = altered(wide.claim, **changes)
    same = getattr(claim, name) == getattr(wide.claim, name)
    for each in (claim, pruned(claim)):
        verdict = judge(native(), WIDE, each)
        assert verdict == judge(reference(), WIDE, each)
        assert (verdict == "accepted") == same


def test_malformed_neighbours_do_not_disturb_a_batch(weak: Honest) -> None:
    claims = [well_formed(WEAK, 1), weak.claim, replace(weak.claim, proof=b""), altered(weak.claim, commitments=b"")]
    expected = ["linear-relation", "accepted", "proof-length", "commitments-length"]
    for engine in (native(), reference()):
        assert [name_of(verdict) for verdict in verify_batch(engine, WEAK, claims)] == expected
    verify(native(), WEAK, weak.claim)
