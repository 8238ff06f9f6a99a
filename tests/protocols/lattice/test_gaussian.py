"""The noise: exact thresholds, the look-up at every edge, the distribution."""

from __future__ import annotations

import hashlib
import math
import random
from itertools import pairwise

import numpy as np
import pytest
from Crypto.Cipher import AES
from hypothesis import given
from hypothesis import strategies as st

from proofs.errors import Misuse
from proofs.machine.workers import set_workers
from protocols.lattice import gaussian, reference


def words(*values: int) -> np.ndarray:
    return np.array([(value & (2**64 - 1), value >> 64) for value in values], dtype=np.uint64)


def look_up(*values: int) -> list[int]:
    out = np.empty(len(values), dtype=np.int8)
    gaussian.look_up(words(*values), out)
    return out.tolist()


def test_thresholds_are_those_of_the_specification() -> None:
    table = b"".join(value.to_bytes(16, "big") for value in gaussian.thresholds())
    assert hashlib.sha256(table).hexdigest() == "0cd8c6603147def1a9c9042ac8dc56eeaf7d89c549e841216adc885fef7c3e1c"


def test_thresholds_ascend_and_are_symmetric() -> None:
    table = gaussian.thresholds()
    assert len(table) == 172
    assert all(a < b for a, b in pairwise(table))
    assert all(a + b in (2**128 - 1, 2**128) for a, b in zip(table, reversed(table), strict=True))


def test_thresholds_against_integer_arithmetic() -> None:
    """The same table without decimal: exp(25/2178) by Taylor's series in 400-bit fixed point, then its powers."""
    one = 1 << 400
    exponential, term, k = 0, one, 0
    while term:
        exponential, k = exponential + term, k + 1
        term = term * 25 // (2178 * k)
    powers = [one]
    while len(powers) <= 86 * 86:
        powers.append(powers[-1] * exponential >> 400)
    weights = [one * one // powers[e * e] for e in range(-86, 87)]
    total = sum(weights)
    assert gaussian.thresholds() == tuple((sum(weights[: i + 1]) << 128) // total for i in range(172))


def test_look_up_at_every_threshold() -> None:
    for index, threshold in enumerate(gaussian.thresholds()):
        assert look_up(threshold - 1, threshold) == [index - 86, index - 85]


def test_look_up_at_the_ends() -> None:
    assert look_up(0, 2**128 - 1) == [-86, 86]


@given(st.lists(st.integers(0, 2**128 - 1), min_size=1, max_size=40))
def test_look_up_equals_the_reference(values: list[int]) -> None:
    assert look_up(*values) == [reference.sample(value) for value in values]


def test_keystream_is_aes_256_ctr_from_any_block() -> None:
    stream = AES.new(bytes(range(32)), AES.MODE_CTR, nonce=b"").encrypt(bytes(16 * 8))
    blocks = [int.from_bytes(stream[i : i + 16], "little") for i in range(0, len(stream), 16)]
    for first in (0, 3):
        got = gaussian.keystream(bytes(range(32)), first, 8 - first)
        assert [int(low) | int(high) << 64 for low, high in got] == blocks[first:]


def test_samples_do_not_depend_on_the_workers() -> None:
    try:
        runs = []
        for workers in (1, 3):
            set_workers(workers)
            runs.append(gaussian.sample(50_001, lambda size: bytes([7]) * size).tolist())
    finally:
        set_workers(None)
    assert runs[0] == runs[1]
    assert runs[0][:9] == [
        reference.sample(int(low) | int(high) << 64) for low, high in gaussian.keystream(bytes([7]) * 32, 0, 9)
    ]


def test_samples_have_the_distribution() -> None:
    """Fixed seed: moments within five standard errors, and no value too frequent or too rare."""
    count = 2**18
    samples = gaussian.sample(count, random.Random(1).randbytes).astype(np.float64)
    sigma = 6.6
    assert abs(samples.mean()) < 5 * sigma / math.sqrt(count)
    assert abs(samples.var() / sigma**2 - 1) < 5 * math.sqrt(2 / count)
    expected = np.diff(np.array([0, *gaussian.thresholds(), 2**128], dtype=object)).astype(np.float64) / 2**128 * count
    observed = np.bincount(samples.astype(np.int64) + 86, minlength=173)
    common = expected > 20
    chi_squared = ((observed - expected) ** 2 / expected)[common].sum()
    degrees = int(common.sum())
    assert chi_squared < degrees + 6 * math.sqrt(2 * degrees)


def test_weak_randomness_is_refused() -> None:
    with pytest.raises(Misuse, match="32 bytes"):
        gaussian.sample(4, lambda size: bytes(4))
