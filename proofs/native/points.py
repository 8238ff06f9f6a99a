"""Kernels on points of secp256k1 in affine coordinates, eight words each: x then y, least significant first.

The identity is the point with all words zero; no point of the curve has y = 0. Addition is complete: equal, opposite
and identity operands are told apart before the shared inversion, since points may come from an adversary.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proofs.arrays import Indices, Words
from proofs.machine.jit import inner, kernel
from proofs.native import field
from proofs.native.field import Element

BLOCK = 512  # lanes that share one inversion
MULTIPLES = 128  # 1 G .. 128 G: signed digits of eight bits
COLUMNS = 32  # columns whose digits are laid out at once
SORTED = 2048  # points that are laid out by their digits at once: of several windows, where there are few

_SEVEN = (np.uint64(7), field.ZERO, field.ZERO, field.ZERO)

_GENERIC, _DOUBLING, _COPY, _KEEP, _CANCEL = range(5)  # the first two have a slope


@inner
def _x(points: Words, index: int) -> Element:
    return points[index, 0], points[index, 1], points[index, 2], points[index, 3]


@inner
def _y(points: Words, index: int) -> Element:
    return points[index, 4], points[index, 5], points[index, 6], points[index, 7]


@inner
def _set(points: Words, index: int, x: Element, y: Element) -> None:
    points[index, 0], points[index, 1], points[index, 2], points[index, 3] = x
    points[index, 4], points[index, 5], points[index, 6], points[index, 7] = y


@inner
def _signed_y(points: Words, signed: int) -> Element:
    """y of points[signed], or -y of points[~signed] for a negative index."""
    if signed >= 0:
        return _y(points, signed)
    return field.negate(_y(points, ~signed))


@inner
def _classified(x1: Element, y1: Element, x2: Element, y2: Element) -> tuple[int, Element]:
    """(kind of addition, denominator of its slope); 1 where there is no slope."""
    if field.is_zero(y1):
        return _COPY, field.UNIT
    if field.is_zero(y2):
        return _KEEP, field.UNIT
    difference = field.subtract(x2, x1)
    if not field.is_zero(difference):
        return _GENERIC, difference
    if field.equal(y1, y2):
        return _DOUBLING, field.add(y1, y1)
    return _CANCEL, field.UNIT


@inner
def _add_lanes(
    points: Words, targets: Indices, others: Words, sources: Indices, count: np.int64, scratch: Words, kinds: Indices
) -> None:
    """points[targets[i]] += others[sources[i]] for i < count <= BLOCK, by Montgomery's shared inversion.

    A negative source ~s stands for -others[s]. Targets are distinct; no source is another lane's target.
    scratch (BLOCK, 8) holds each lane's denominator and the product of those before it.
    """
    product = field.UNIT
    for i in range(count):
        source = sources[i]
        position = source if source >= 0 else ~source
        x1, y1 = _x(points, targets[i]), _y(points, targets[i])
        kind, denominator = _classified(x1, y1, _x(others, position), _signed_y(others, source))
        kinds[i] = kind
        _set(scratch, i, denominator, product)
        product = field.multiply(product, denominator)
    inverse = field.invert(product)
    for i in range(count - 1, -1, -1):
        target, source, kind = targets[i], sources[i], kinds[i]
        position = source if source >= 0 else ~source
        reciprocal = field.multiply(inverse, _y(scratch, i))
        inverse = field.multiply(inverse, _x(scratch, i))
        if kind <= _DOUBLING:
            x1, y1 = _x(points, target), _y(points, target)
            x2 = _x(others, position)
            if kind == _GENERIC:
                numerator = field.subtract(_signed_y(others, source), y1)
            else:
                squared = field.square(x1)
                numerator = field.add(field.add(squared, squared), squared)
            slope = field.multiply(numerator, reciprocal)
            x3 = field.subtract(field.subtract(field.square(slope), x1), x2)
            y3 = field.subtract(field.multiply(slope, field.subtract(x1, x3)), y1)
            _set(points, target, x3, y3)
        elif kind == _COPY:
            _set(points, target, _x(others, position), _signed_y(others, source))
        elif kind == _CANCEL:
            _set(points, target, field.NOTHING, field.NOTHING)


@kernel
def add_points(points: Words, targets: Indices, others: Words, sources: Indices, times: int) -> None:
    """points[targets[i]] += others[sources[i]] for all i, `times` times over; see `_add_lanes` for the indices.

    points, others (., 8) uint64, possibly one array; targets, sources int64. With sources == targets it doubles.
    """
    scratch = np.empty((BLOCK, 8), np.uint64)
    kinds = np.empty(BLOCK, np.int64)
    for _ in range(times):
        for start in range(0, len(targets), BLOCK):
            count = np.int64(min(BLOCK, len(targets) - start))
            _add_lanes(points, targets[start:], others, sources[start:], count, scratch, kinds)


@kernel
def commit_digits(
    multiples: Words, table: NDArray[np.int64], rows: Indices, shifts: Indices, firsts: Indices, width: int
) -> Words:
    """One point per lane: sum over `width` columns from firsts[l] of digit(table[rows[l], c]) G_c.

    multiples (columns * MULTIPLES, 8): G_0, 2 G_0, ..; table int64; lane l takes the signed eight-bit digit at bit
    shifts[l], negative ~shift for the topmost digit of its row, which keeps its sign. Digits are in [-128, 128].
    """
    lanes = len(rows)
    sums = np.zeros((lanes, 8), np.uint64)
    digits = np.empty((COLUMNS, lanes), np.int64)
    targets = np.empty(BLOCK, np.int64)
    sources = np.empty(BLOCK, np.int64)
    scratch = np.empty((BLOCK, 8), np.uint64)
    kinds = np.empty(BLOCK, np.int64)
    for column in range(0, width, COLUMNS):
        block = min(COLUMNS, width - column)
        for lane in range(lanes):
            shift, first = shifts[lane], firsts[lane] + column
            top = shift < 0
            if top:
                shift = ~shift
            bias = np.int64(0x0080808080808080) & ((np.int64(1) << shift) - 1)
            for k in range(block):
                value = (table[rows[lane], first + k] + bias) >> shift
                digits[k, lane] = value if top else ((value + 128) & 255) - 128
        for k in range(block):
            count = np.int64(0)  # a literal would be a second type, and a second compilation
            for lane in range(lanes):
                digit = digits[k, lane]
                if digit != 0:
                    position = (firsts[lane] + column + k) * MULTIPLES
                    targets[count] = lane
                    sources[count] = position + digit - 1 if digit > 0 else ~(position - digit - 1)
                    count += 1
                    if count == BLOCK:
                        _add_lanes(sums, targets, multiples, sources, count, scratch, kinds)
                        count = np.int64(0)
            if count > 0:
                _add_lanes(sums, targets, multiples, sources, count, scratch, kinds)
    return sums


@inner
def _digit(scalars: Words, index: int, position: int, bits: int) -> np.int64:
    """Signed digit at bit `position` of a scalar to which half a digit was added at every position."""
    word, shift = position >> 6, position & 63
    value = scalars[index, word] >> np.uint64(shift)
    if shift + bits > 64:
        value |= scalars[index, word + 1] << np.uint64(64 - shift)
    return np.int64(value & ((field.ONE << np.uint64(bits)) - field.ONE)) - (np.int64(1) << (bits - 1))


@inner
def _sort(points: Words, scalars: Words, position: int, bits: int, starts: Indices, sorted_points: Words) -> None:
    """Lay the points with digit +-b out as starts[b] .. starts[b+1], negated where the digit is; b from 1."""
    for b in range(len(starts)):
        starts[b] = 0
    for i in range(len(points)):
        starts[abs(_digit(scalars, i, position, bits))] += 1
    starts[0] = 0
    total = 0
    for b in range(len(starts)):
        total, starts[b] = total + starts[b], total
    for i in range(len(points)):
        digit = _digit(scalars, i, position, bits)
        if digit != 0:
            place = starts[abs(digit)]
            starts[abs(digit)] = place + 1
            _set(sorted_points, place, _x(points, i), _signed_y(points, i if digit > 0 else ~i))
    for b in range(len(starts) - 1, 0, -1):
        starts[b] = starts[b - 1]


@kernel
def bucket_sums(points: Words, scalars: Words, first: int, stop: int, bits: int) -> Words:
    """(stop - first, 2^(bits-1), 8): for each window, bucket b - 1 is the sum of the points whose digit is +-b.

    Points of one bucket are added in pairs, then pairs of pairs: equal scalars cost no more than random ones. Windows
    of few points share the inversions. scalars (n, 5): see `_digit`.
    """
    buckets = np.int64(1) << (bits - 1)
    size = len(points)
    together = min(max(SORTED // max(size, 1), 1), max(stop - first, 1))
    sums = np.zeros(((stop - first) * buckets, 8), np.uint64)
    starts = np.empty((together, buckets + 2), np.int64)
    work = np.empty((together * size, 8), np.uint64)
    targets = np.empty(BLOCK, np.int64)
    sources = np.empty(BLOCK, np.int64)
    scratch = np.empty((BLOCK, 8), np.uint64)
    kinds = np.empty(BLOCK, np.int64)
    for begin in range(first, stop, together):
        windows = min(together, stop - begin)
        for w in range(windows):
            _sort(points, scalars, (begin + w) * bits, bits, starts[w], work[w * size : (w + 1) * size])
        stride, more = 1, True
        while more:
            more = False
            count = np.int64(0)
            for w in range(windows):
                for b in range(1, buckets + 1):
                    for target in range(starts[w, b], starts[w, b + 1] - stride, 2 * stride):
                        more = True
                        targets[count] = w * size + target
                        sources[count] = w * size + target + stride
                        count += 1
                        if count == BLOCK:
                            _add_lanes(work, targets, work, sources, count, scratch, kinds)
                            count = np.int64(0)
            if count > 0:
                _add_lanes(work, targets, work, sources, count, scratch, kinds)
            stride *= 2
        for w in range(windows):
            for b in range(1, buckets + 1):
                if starts[w, b + 1] > starts[w, b]:
                    place = w * size + starts[w, b]
                    _set(sums, int((begin + w - first) * buckets + b - 1), _x(work, place), _y(work, place))
    return sums.reshape(stop - first, buckets, 8)


@inner
def _big_endian(encoded: NDArray[np.uint8], index: int) -> Element:
    """The 32 bytes after the prefix of one encoded point."""
    x3, x2, x1, x0 = field.NOTHING
    for k in range(1, 9):
        x3 = (x3 << np.uint64(8)) | np.uint64(encoded[index, k])
        x2 = (x2 << np.uint64(8)) | np.uint64(encoded[index, k + 8])
        x1 = (x1 << np.uint64(8)) | np.uint64(encoded[index, k + 16])
        x0 = (x0 << np.uint64(8)) | np.uint64(encoded[index, k + 24])
    return x0, x1, x2, x3


@kernel
def decompress(encoded: NDArray[np.uint8], points: Words) -> int:
    """Decode SEC1 compressed points, uint8 (n, 33), into points (n, 8); the index of the first bad one, or n."""
    for i in range(len(encoded)):
        prefix, x = encoded[i, 0], _big_endian(encoded, i)
        if prefix < 2 or prefix > 3 or not field.below_modulus(x):
            return i
        squared = field.add(field.multiply(field.square(x), x), _SEVEN)
        y = field.square_root(squared)
        if not field.equal(field.square(y), squared):
            return i
        if (y[0] & field.ONE) != np.uint64(prefix & 1):
            y = field.negate(y)
        _set(points, i, x, y)
    return len(encoded)
