from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest

from proofs.arrays import Words
from proofs.curve import FIELD, ORDER
from proofs.errors import Malformed, Misuse
from proofs.generators import blinding_generator, generator
from proofs.native.engine import NativeEngine
from proofs.native.jacobian import horner
from proofs.native.points import BLOCK, MULTIPLES, add_points
from proofs.native.tables import BLINDING_WINDOWS, generator_tables
from proofs.native.words import encode_points, from_words, to_words
from tests.proofs.native.group_oracle import IDENTITY, AffinePoint, compressed, times, total

G = generator(0)
MINUS_G = (G[0], FIELD - G[1])


def words(points: Sequence[AffinePoint]) -> Words:
    return to_words([coordinate for point in points for coordinate in point]).reshape(-1, 8)


def affine(points: Words) -> list[AffinePoint]:
    coordinates = from_words(points.reshape(-1, 4))
    return list(zip(coordinates[0::2], coordinates[1::2], strict=True))


def test_every_case_of_addition_in_one_batch() -> None:
    operands = [IDENTITY, G, MINUS_G, generator(1), times(2, G), times(ORDER - 2, G)]
    left = [p for p in operands for _ in operands]
    right = [q for _ in operands for q in operands]
    sums = words(left)
    add_points(sums, np.arange(len(left)), words(right), np.arange(len(right)), 1)
    assert affine(sums) == [total([p, q]) for p, q in zip(left, right, strict=True)]


def test_negative_sources_subtract() -> None:
    operands = [IDENTITY, G, MINUS_G, generator(1)]
    left = [p for p in operands for _ in operands]
    sums = words(left)
    add_points(sums, np.arange(16), words(operands), ~np.tile(np.arange(4), 4), 1)
    negated = [IDENTITY, MINUS_G, G, times(ORDER - 1, generator(1))]
    assert affine(sums) == [total([p, q]) for p, q in zip(left, negated * 4, strict=True)]


def test_a_batch_of_only_degenerate_lanes() -> None:
    sums = words([IDENTITY, G, IDENTITY])
    add_points(sums, np.arange(3), words([IDENTITY, MINUS_G]), np.array([0, 1, 0]), 1)
    assert affine(sums) == [IDENTITY] * 3
    add_points(sums, np.arange(0), sums, np.arange(0), 5)
    assert affine(sums) == [IDENTITY] * 3


def test_repeated_doubling_and_repeated_addition() -> None:
    sums = words([G, IDENTITY, generator(3)])
    lanes = np.arange(3)
    add_points(sums, lanes, sums, lanes, 10)
    assert affine(sums) == [times(1024, G), IDENTITY, times(1024, generator(3))]
    sums = words([IDENTITY, times(ORDER - 3, G)])
    add_points(sums, np.arange(2), words([G]), np.zeros(2, np.int64), 5)
    assert affine(sums) == [times(5, G), times(2, G)]


@pytest.mark.parametrize("count", [BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK + 3])
def test_lanes_around_the_size_of_a_block(count: int) -> None:
    small = [times(k, G) for k in range(1, 20)]
    randomness = random.Random(count)
    left, right = ([randomness.randrange(19) for _ in range(count)] for _ in range(2))
    sums = words(small)[left]
    add_points(sums, np.arange(count), words(small), np.array(right), 1)
    known = {(a, b): times(a + b + 2, G) for a in range(19) for b in range(19)}
    assert affine(sums) == [known[a, b] for a, b in zip(left, right, strict=True)]


def test_tables_hold_the_multiples() -> None:
    tables = generator_tables()
    multiples = affine(tables.multiples(3))
    assert len(multiples) == 3 * MULTIPLES
    assert multiples[:MULTIPLES] == [times(k, G) for k in range(1, MULTIPLES + 1)]
    assert multiples[2 * MULTIPLES + 99] == times(100, generator(2))
    grown = affine(tables.multiples(5))
    assert grown[: 3 * MULTIPLES] == multiples
    assert grown[4 * MULTIPLES] == generator(4)
    assert affine(tables.points(300)) == [generator(i) for i in range(300)]
    assert affine(tables.blinding) == [blinding_generator()]
    blinding = affine(tables.blinding_multiples)
    assert len(blinding) == BLINDING_WINDOWS * MULTIPLES
    assert blinding[MULTIPLES * 32 + 2] == times(3 * 256**32, blinding_generator())


def test_decoding_and_encoding_are_inverse() -> None:
    points = [generator(i) for i in range(40)] + [times(ORDER - 1, generator(i)) for i in range(40)]
    encoded = b"".join(compressed(point) for point in points)
    decoded = NativeEngine().decode_points(encoded)
    assert affine(decoded.words) == points
    assert encode_points(decoded.words) == encoded


def test_decoding_nothing() -> None:
    engine = NativeEngine()
    assert engine.point_count(engine.decode_points(b"")) == 0
    assert engine.point_count(engine.concatenate([])) == 0


def test_points_are_counted_and_concatenated_in_order() -> None:
    engine = NativeEngine()
    parts = [engine.decode_points(compressed(generator(i)) * (i + 1)) for i in range(3)]
    joined = engine.concatenate(parts)
    assert engine.point_count(joined) == 6
    assert affine(joined.words)[2:4] == [generator(1), generator(2)]


def off_the_curve() -> int:
    return next(x for x in range(1, 100) if pow(x**3 + 7, (FIELD - 1) // 2, FIELD) != 1)


def on_the_curve() -> int:
    return next(x for x in range(1, 100) if pow(x**3 + 7, (FIELD - 1) // 2, FIELD) == 1)


BAD_POINTS = {
    "uncompressed prefix": b"\x04" + compressed(G)[1:],
    "zero prefix": b"\x00" + compressed(G)[1:],
    "prefix one": b"\x01" + compressed(G)[1:],
    "all zero": bytes(33),
    "x zero": b"\x02" + bytes(32),
    "x equal to the prime": b"\x02" + FIELD.to_bytes(32, "big"),
    "x reduced differently": b"\x02" + (FIELD + on_the_curve()).to_bytes(32, "big"),
    "x of all ones": b"\x03" + b"\xff" * 32,
    "no root": b"\x02" + off_the_curve().to_bytes(32, "big"),
    "infinity octet padded": b"\x00" * 32 + b"\x02",
}


@pytest.mark.parametrize("bad", BAD_POINTS.values(), ids=BAD_POINTS.keys())
@pytest.mark.parametrize("index", [0, 17, 99])
def test_bad_points_are_named(bad: bytes, index: int) -> None:
    good = compressed(G)
    later = b"\x05" * 33 if index < 99 else b""
    encoded = good * index + bad + good * (99 - index) + later
    with pytest.raises(Malformed) as excinfo:
        NativeEngine().decode_points(encoded)
    assert excinfo.value.where == "point-encoding"
    assert excinfo.value.found.endswith(f" at point {index}")


@pytest.mark.parametrize("length", [1, 32, 34, 65])
def test_lengths_must_be_whole_points(length: int) -> None:
    with pytest.raises(Malformed) as excinfo:
        NativeEngine().decode_points((compressed(G) * 2)[:length])
    assert excinfo.value.where == "point-encoding"
    assert excinfo.value.found == f"{length} bytes"


def test_small_and_smallest_x_decode_to_both_roots() -> None:
    x = on_the_curve()
    decoded = affine(NativeEngine().decode_points(b"".join(bytes([p]) + x.to_bytes(32, "big") for p in (2, 3))).words)
    assert [point[0] for point in decoded] == [x, x]
    assert [point[1] % 2 for point in decoded] == [0, 1]
    assert (decoded[0][1] + decoded[1][1]) % FIELD == 0
    assert decoded[0][1] ** 2 % FIELD == (x**3 + 7) % FIELD


def test_the_identity_cannot_be_encoded() -> None:
    with pytest.raises(Misuse):
        encode_points(words([G, IDENTITY]))


@pytest.mark.parametrize("bits", [0, 1, 5, 8])
def test_horner_meets_every_case_of_addition(bits: int) -> None:
    """The second point is what makes the running sum equal, opposite, or nothing; then a generic one follows."""
    step = pow(2, bits, ORDER)
    starts = [[], [IDENTITY], [G], [IDENTITY, G]]
    for upper in starts:
        running = times(step, total(times(step ** (len(upper) - 1 - i), p) for i, p in enumerate(upper)))
        opposite = times(ORDER - 1, running)
        for middle in (running, opposite, IDENTITY, generator(1)):
            for lower in (IDENTITY, G, generator(2)):
                ordered = [lower, middle, *upper[::-1]]
                wanted = total([lower, times(step, total([middle, running]))])
                assert affine(horner(words(ordered), bits)[None]) == [wanted]
    assert affine(horner(np.zeros((0, 8), np.uint64), bits)[None]) == [IDENTITY]
