"""Noise for privacy: proved within its bounds by both engines alike, with u = m - s o n bounded, and no other."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.curve import ORDER
from proofs.decompositions import four_square_roots
from proofs.encryption import EncryptionParameters
from proofs.engine import Engine
from proofs.errors import Misuse
from proofs.noise_witness import commit_noise, signed_noise, within_bounds
from proofs.parameters import ArgumentParameters
from proofs.privacy_noise import NoiseBounds, noise_signs
from proofs.ranges import CoordinateGroup
from proofs.shape import TableShape
from proofs.transcript import statement_bytes
from proofs.witness import Noise, commit_update, witness_tables
from tests.proofs.arguments import (
    NOISED_RING,
    RING,
    SIGN_CONTEXT,
    WeakParameters,
    bytes_of,
    honest,
    judge,
    native,
    random_privacy_noise,
    random_signed_noise,
    reference,
)
from tests.proofs.test_parameters import refused_at_its_edge
from tests.seeded import seeded

GROUPS = (CoordinateGroup(3, 9, 0),)
BOUNDS = NoiseBounds(900, 10, 10**6)
EVERYTHING = WeakParameters(40, 500, 4, 100, GROUPS, NOISED_RING, privacy_noise=BOUNDS)
ALONE = WeakParameters(20, 50, 4, privacy_noise=NoiseBounds(100, 500, 5000))  # two groups of 16 cells
TWO_LAWS = WeakParameters(
    20, 50, 4, 9, (), NOISED_RING, largest_weight=3, privacy_noise=BOUNDS, update_noise=NoiseBounds(100, 500, 5000)
)
KINDS = [
    ALONE,
    WeakParameters(20, 50, 4, 9, privacy_noise=NoiseBounds(100, 500, 5000)),
    EVERYTHING,
    WeakParameters(20, 50, 3, None, (), EncryptionParameters(8, 0xFFC001, 1), privacy_noise=BOUNDS),
    WeakParameters(5, 500, 3, 9, (), EncryptionParameters(64, 0xFFC001, 1), privacy_noise=NoiseBounds(9, 0, 81)),
    WeakParameters(300, 50, 3, 9, (), EncryptionParameters(64, 0x3FFFFEA001, 1), privacy_noise=BOUNDS),
    WeakParameters(1100, 50, 3, privacy_noise=BOUNDS),  # slack of several rows in one
    WeakParameters(20, 50, 4, 9, (), NOISED_RING, weight=2, largest_weight=3, privacy_noise=BOUNDS),
    replace(TWO_LAWS, weight=2),
    replace(TWO_LAWS, weight=0),
]


@pytest.mark.parametrize("parameters", KINDS)
def test_both_engines_make_the_same_proof_and_accept_it(parameters: ArgumentParameters) -> None:
    made, other = (honest(engine, parameters) for engine in (native(), reference()))
    claim = made.claim
    if parameters.weight != 1:
        claim = replace(claim, weight=parameters.weight)
    assert bytes_of(made.claim) == bytes_of(other.claim)
    assert judge(native(), parameters, claim) == judge(reference(), parameters, claim) == "accepted"


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 300), st.sampled_from([None, 0, 127]), st.sampled_from([8, 900, 2**20]), st.integers(0, 99))
def test_complete(dimension: int, beta: int | None, group: int, seed: int) -> None:
    cells = TableShape(dimension).data_cells
    energy = min((group // 8) ** 2 * cells, cells // min(64, TableShape(dimension).columns) * group**2)
    parameters = ArgumentParameters(dimension, 2**20, 360, beta, privacy_noise=NoiseBounds(group, 0, energy))
    noise = random_privacy_noise(parameters, seed)
    assert judge(native(), parameters, honest(native(), parameters, privacy_noise=noise).claim) == "accepted"


def test_message_is_the_update_plus_signed_noise() -> None:
    """On the padding the signed noise alone."""
    rand, update = seeded(1), np.arange(20) - 10
    signed = random_signed_noise(native(), ALONE, rand)
    assert signed is not None
    made = commit_update(native(), ALONE, update, rand, signed=signed)
    noise = random_privacy_noise(ALONE) * signed.signs.table.reshape(-1)
    assert made.message.tolist() == [*(update + noise[:20]), *noise[20:]]
    assert made.rows["privacy-noise-commitments"] == signed.committed.rows
    assert set(np.unique(signed.signs.table)) == {-1, 1}


def test_of_the_weight_zero_there_is_no_update() -> None:
    """And the noise is by a law of its own: neither proof is one of the other kind."""
    alone, update = replace(TWO_LAWS, weight=0), replace(TWO_LAWS, weight=1)
    assert alone.proof_size == update.proof_size
    for value in (1, -1):
        with pytest.raises(Misuse, match="B = 0"):
            honest(native(), alone, np.array([value, *[0] * 19]))
    nothing = np.zeros(20, dtype=np.int64)
    for made, other in ((alone, update), (update, alone)):
        claim = honest(native(), made, nothing).claim
        assert judge(native(), TWO_LAWS, replace(claim, weight=made.weight)) == "accepted"
        assert judge(native(), TWO_LAWS, replace(claim, weight=other.weight)) == "ciphertext-combination"
    assert judge(native(), ALONE, replace(honest(native(), ALONE).claim, weight=0)) == "weight"


def test_masks_cover_either_kind() -> None:
    """Whichever of both has the larger squares."""
    large, small = NoiseBounds(900, 10, 10**6), NoiseBounds(100, 500, 5000)
    for alone, own in ((large, small), (small, large)):
        both = WeakParameters(20, 50, 4, largest_weight=3, privacy_noise=alone, update_noise=own)
        heavy = WeakParameters(20, 50, 4, largest_weight=3, privacy_noise=own)
        noise = sum(each.squares_bound for each in replace(both, weight=0).relations)
        assert both.squares_bound == max(heavy.squares_bound, noise)
        assert both.message_bound == max(150 + own.group, alone.group)
        assert {replace(both, weight=w).proof_size for w in range(4)} == {both.proof_size}
    with pytest.raises(Misuse, match="noise of updates: expected none without noise for privacy"):
        WeakParameters(20, 50, 4, update_noise=small)
    with pytest.raises(Misuse, match=r"noise: expected U <= "):
        WeakParameters(20, 50, 4, privacy_noise=large, update_noise=NoiseBounds(9, 0, 10**6))


# ---- at the edges ----------------------------------------------------------------------------------------------------


def noise_of(*cells: int) -> np.ndarray:
    """Noise with these first cells."""
    found = np.zeros(ALONE.shape.data_cells, dtype=np.int64)
    found[: len(cells)] = cells
    return found


@pytest.mark.parametrize(
    ("noise", "expected"),
    [
        (noise_of(10, 20), None),  # L = 500
        (noise_of(10, 20, 1), None),
        (noise_of(22, 3, 2, 1, 1), "energy of L = 500 to U = 5000"),  # 499
        (noise_of(70, 10), None),  # U = 5000
        (noise_of(70, 10, 1), "energy of L = 500 to U = 5000"),
        (noise_of(), "energy of L = 500 to U = 5000"),
        (noise_of(101), "magnitudes of at most E_n = 100"),
        (noise_of(-(2**62)), "magnitudes of at most E_n = 100"),
        (noise_of(100, 1), "groups of norm at most E_n = 100"),
        (noise_of(10, 20)[:-1], r"int64 \(32,\)"),
        (noise_of(10, 20).astype(np.int32), r"int64 \(32,\)"),
    ],
)
def test_noise_at_every_bound_and_beyond(noise: np.ndarray, expected: str | None) -> None:
    if expected is None:
        assert within_bounds(ALONE, noise)
        assert judge(native(), ALONE, honest(native(), ALONE, privacy_noise=noise).claim) == "accepted"
        return
    if noise.shape == (32,) and noise.dtype == np.int64:
        assert not within_bounds(ALONE, noise)
    with pytest.raises(Misuse, match=expected):
        commit_noise(native(), ALONE, noise, seeded(0))


def test_group_exactly_at_its_bound() -> None:
    """All groups at E_n, which the ceiling then has to allow: no slack anywhere."""
    parameters = WeakParameters(20, 50, 4, privacy_noise=NoiseBounds(100, 20_000, 20_000))
    noise = noise_of(100)
    noise[16:18] = [60, -80]
    assert judge(native(), parameters, honest(native(), parameters, privacy_noise=noise).claim) == "accepted"
    with pytest.raises(Misuse, match="energy"):
        commit_noise(native(), parameters, noise_of(100), seeded(0))


def test_update_at_its_bound_and_beyond() -> None:
    """Whatever the noise is."""
    signed = random_signed_noise(native(), ALONE, seeded(0))
    for cells, refused in (([30, -40], False), ([50], False), ([30, -40, 1], True), ([51], True)):
        update = np.array([*cells, *[0] * (20 - len(cells))])
        if refused:
            with pytest.raises(Misuse, match="update: expected"):
                witness_tables(ALONE, update, seeded(0), signed=signed)
        else:
            assert judge(native(), ALONE, honest(native(), ALONE, update).claim) == "accepted"


@pytest.mark.parametrize("limit", [2**2, 2**16, 2**36, 2**56])
def test_four_squares_by_look_up(limit: int) -> None:
    rng = np.random.default_rng(1)
    largest = np.array([limit, limit - 1, 0, 1, 2, 3, limit // 7], dtype=np.int64)
    values = np.concatenate([largest, np.arange(min(limit, 3000)), rng.integers(0, limit, 3000)])
    roots = four_square_roots(values, seeded(0))
    assert (roots >= 0).all()
    assert [sum(int(x) ** 2 for x in row) for row in roots] == values.tolist()


# ---- signs -----------------------------------------------------------------------------------------------------------


def test_signs_are_a_function_of_context_and_noise_rows_alone() -> None:
    shape = TableShape(20)
    rows = bytes(range(66))
    signs = noise_signs(shape, b"context", rows)
    assert (noise_signs(shape, b"context", rows + b"slack and energy").table == signs.table).all()
    assert noise_signs(shape, b"context", rows + b"slack and energy").state == signs.state
    for other in (noise_signs(shape, b"contexs", rows), noise_signs(shape, b"context", rows[:-1] + b"\0")):
        assert (other.table != signs.table).any()
        assert other.state != signs.state


def test_signs_are_fair() -> None:
    table = noise_signs(TableShape(2**16), b"", b"").table
    assert table.shape == (256, 256)
    assert abs(int(table.sum(dtype=np.int64))) < 7 * 256
    assert (abs(table.sum(axis=0, dtype=np.int64)) < 7 * 16).all()


def test_signs_of_the_specification() -> None:
    """Pinned, as an implementation of its own gives them: the bits of 2 x 16 cells, and the state."""
    signs = noise_signs(TableShape(20), b"context", bytes(range(66)))
    bits = ((1 - signs.table) // 2).astype(np.uint8)
    assert np.packbits(bits, bitorder="little").tobytes().hex() == PINNED_BITS
    assert hashlib.sha256(signs.state).hexdigest() == PINNED_STATE


PINNED_BITS = "0c5947c1"
PINNED_STATE = "95b5e7a202fb36bd2634e8a48ffaf94b0358780fca067bece9bf24a8174c666e"


# ---- parameters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("bounds", "expected"),
    [
        ((0, 0, 0), "1 <= E_n <= 268435456, found 0"),
        ((2**28 + 1, 0, 0), "1 <= E_n <= 268435456, found 268435457"),
        ((5, -1, 3), "0 <= L <= U, found L = -1 and U = 3"),
        ((5, 4, 3), "0 <= L <= U, found L = 4 and U = 3"),
    ],
)
def test_bounds_that_are_none(bounds: tuple[int, int, int], expected: str) -> None:
    with pytest.raises(Misuse, match=expected):
        NoiseBounds(*bounds)


def test_bounds_at_their_ends() -> None:
    for bounds in ((1, 0, 0), (1, 1, 2), (2**28, 0, 2**57)):
        ArgumentParameters(20, 50, privacy_noise=NoiseBounds(*bounds))
    with pytest.raises(Misuse, match="U <= 20000, all groups at E_n, found U = 20001"):
        ArgumentParameters(20, 50, privacy_noise=NoiseBounds(100, 0, 20_001))
    ArgumentParameters(20, 2**40 - 100, privacy_noise=NoiseBounds(100, 0, 20_000))
    with pytest.raises(Misuse, match=r"W B \+ E_n <= 1099511627776, found 1099511627777"):
        ArgumentParameters(20, 2**40 - 99, privacy_noise=NoiseBounds(100, 0, 20_000))
    with pytest.raises(Misuse, match=r"W B \+ E_n <= 1099511627776, found 1099511627876"):
        ArgumentParameters(20, 2**39, largest_weight=2, privacy_noise=NoiseBounds(100, 0, 20_000))


def test_what_does_not_go_together() -> None:
    with pytest.raises(Misuse, match="expected none beside noise for privacy, found W = 3"):
        ArgumentParameters(20, 50, hidden_weight=3, privacy_noise=BOUNDS)
    with pytest.raises(Misuse, match="expected 1, as noise takes the place of errors, found 1048576"):
        ArgumentParameters(20, 50, encryption=RING, privacy_noise=BOUNDS)
    with pytest.raises(Misuse, match="expected 2 or more without noise, found 1"):
        ArgumentParameters(20, 50, encryption=NOISED_RING)


@pytest.mark.parametrize(("bits", "combinations"), [(24, 7), (26, 7), (28, 6), (30, 6), (32, 5), (34, 5), (38, 5)])
def test_combinations_of_small_moduli(bits: int, combinations: int) -> None:
    """The primes of spec 11.1: S (b - 1) >= 149."""
    modulus = {24: 0xFFC001, 26: 0x3FFA001, 28: 0xFFF0001, 30: 0x3FFF4001, 32: 0xFFFDE001, 34: 0x3FFFE4001}
    found = EncryptionParameters(4096, modulus.get(bits, 0x3FFFFEA001), 1)
    assert (found.weight_bits, found.combinations) == (bits - 1, combinations)
    with pytest.raises(Misuse, match="a prime of 40 to 62 bits"):
        EncryptionParameters(4096, modulus.get(bits, 0x3FFFFEA001), 2)


def test_least_modulus() -> None:
    for modulus in (0x7FE001, 0x7FFFFF):  # 23 bits
        with pytest.raises(Misuse, match="a prime of 24 to 62 bits"):
            EncryptionParameters(4096, modulus, 1)


def test_statement() -> None:
    """E_n, L, U and 64 behind the slices, then those of the encryption with T = 1."""
    numbers = [int.from_bytes(statement_bytes(EVERYTHING)[i : i + 32], "big") for i in range(0, 32 * 31, 32)]
    assert len(statement_bytes(EVERYTHING)) == 32 * 31
    assert numbers[6] == 3
    assert numbers[16:20] == [900, 10, 10**6, 64]
    assert numbers[20:29] == [16, 0xFFC001, 1, 128, 64, 24, 10, 7, 23]


def test_tables() -> None:
    """In the order of spec 5.1, without those of errors."""
    ranges, own = ["range-a", "range-b", "range-c"], ["noise", "noise-slack", "noise-energy"]
    names = [table.name for table in EVERYTHING.layout.tables]
    assert names == ["update", "private", *ranges, *own, "key", "key-slack"]


def test_squares_bound() -> None:
    """(B + sqrt U)^2 for message and private row, E_n^2 for each of 3 groups, U - L, E^2 for the key."""
    ranges = 34 * 100**2
    assert EVERYTHING.squares_bound == (500 + 1001) ** 2 + ranges + 3 * 900**2 + 10**6 - 10 + 128**2


NAMES = ["projections", "norm", "range", "noise-group", "noise-energy", "noise", "encryption"]


def test_names_of_the_inequalities() -> None:
    assert [bound.name for bound in EVERYTHING.wrap_bounds] == NAMES
    found, entry = {bound.name: bound.left for bound in EVERYTHING.wrap_bounds}, 4 * EVERYTHING.response_bound
    assert found["norm"] == 2 * (48 * (2 * entry) ** 2 + 16 * entry**2)
    assert found["range"] == 2 * ((2 * entry) ** 2 + 3 * entry**2 + entry + 100**2)
    assert found["noise-group"] == 2 * 20 * entry**2
    assert found["noise-energy"] == 2 * ((48 + 4) * entry**2 + 10**6)
    (relation,) = (each for each in EVERYTHING.relations if each.name == "encryption")
    bound = 48 * 2**46 * (500 + 900) + (16 * 128 + 1) * 0xFFC001
    assert found["encryption"] == 2 * (bound + 0xFFC001 * relation.quotients.bound)


@pytest.mark.parametrize("name", NAMES)
def test_every_inequality_at_its_edge(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    refused_at_its_edge(EVERYTHING, name, monkeypatch)


@pytest.mark.parametrize("dimension", [1, 300, 2**32])
def test_all_admitted_parameters_are_far_from_wrapping(dimension: int) -> None:
    groups = TableShape(dimension).data_cells // min(64, TableShape(dimension).columns)
    noise = NoiseBounds(2**28, 0, groups * 2**56)
    for beta in (None, 2**20):
        parameters = ArgumentParameters(dimension, 2**40 - 2**28, 4096, beta, privacy_noise=noise)
        assert all(bound.left < ORDER >> 20 for bound in parameters.wrap_bounds)


# ---- what a prover is asked ------------------------------------------------------------------------------------------


def test_noise_that_is_missing_or_too_much() -> None:
    update, plain = np.zeros(20, dtype=np.int64), WeakParameters(20, 50, 4)
    signed = random_signed_noise(native(), ALONE, seeded(0))
    with pytest.raises(Misuse, match="expected committed noise for privacy with its signs, found none"):
        commit_update(native(), ALONE, update, seeded(0))
    with pytest.raises(Misuse, match="expected none for privacy, found some"):
        commit_update(native(), plain, update, seeded(0), signed=signed)
    with pytest.raises(Misuse, match="expected parameters of noise for privacy, found none"):
        commit_noise(native(), plain, random_privacy_noise(ALONE), seeded(0))
    other = WeakParameters(40, 50, 4, privacy_noise=BOUNDS)
    with pytest.raises(Misuse, match=r"noise: expected \(3, 16\), found \(2, 16\)"):
        commit_update(native(), other, np.zeros(40, dtype=np.int64), seeded(0), signed=signed)


def test_errors_beside_noise_and_none_without() -> None:
    update, key = np.zeros(40, dtype=np.int64), np.zeros(16, dtype=np.int64)
    signed = random_signed_noise(native(), EVERYTHING, seeded(0))
    with pytest.raises(Misuse, match="errors where no noise for privacy takes their place"):
        commit_update(native(), EVERYTHING, update, seeded(0), Noise(key, np.zeros(48, dtype=np.int64)), signed)
    with pytest.raises(Misuse, match="errors where no noise for privacy takes their place"):
        commit_update(native(), WeakParameters(40, 500, 4, None, (), RING), update, seeded(0), Noise(key))


def test_claim_without_a_sign_context() -> None:
    claim = honest(native(), ALONE).claim
    without = replace(claim, sign_context=None)
    with pytest.raises(Misuse, match="expected a sign context where noise for privacy is in force"):
        judge(native(), ALONE, without)
    with pytest.raises(Misuse, match="expected a sign context where noise for privacy is in force"):
        judge(native(), WeakParameters(20, 50, 4), claim)


@pytest.mark.parametrize("text", ["text", ""])
def test_sign_context_that_is_no_bytes(text: Any) -> None:
    claim = honest(native(), ALONE).claim
    with pytest.raises(Misuse, match="sign context: expected bytes, found str"):
        replace(claim, sign_context=text)


@pytest.mark.parametrize("engine", [native(), reference()], ids=["native", "reference"])
def test_signs_of_another_context(engine: Engine) -> None:
    """The same proof, for signs that are not its own."""
    claim = honest(native(), ALONE).claim
    other = replace(claim, sign_context=SIGN_CONTEXT + b".")
    assert judge(engine, ALONE, other) == "linear-relation"


def test_blindings_of_the_noise_are_its_own() -> None:
    """Lemma 6 of spec 10.4: they are in none of the scalars that are shared, and fresh for each commitment."""
    rand = seeded(5)
    signed, again = (random_signed_noise(native(), EVERYTHING, rand) for _ in range(2))
    assert signed is not None
    assert again is not None
    made = commit_update(native(), EVERYTHING, np.zeros(40, dtype=np.int64), rand, Noise(np.zeros(16, int)), signed)
    own = {b for each in signed.committed.by_table.values() for b in each.blindings}
    others = {b for each in again.committed.by_table.values() for b in each.blindings}
    assert len(own) == len(others) == 5
    assert not own & others
    assert not own & set(made.blindings)
    assert own <= set(made.row_blindings)
    assert signed_noise(EVERYTHING, signed.committed, SIGN_CONTEXT).signs.state == signed.signs.state
