"""Row commitments and multi-scalar multiplication, on the kernels of `points`.

Both end in a few additions over many independent lanes, which share inversions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from proofs.arrays import Indices, Words
from proofs.machine.workers import map_chunks, map_items, worker_count
from proofs.native.jacobian import horner
from proofs.native.points import MULTIPLES, add_points, bucket_sums, commit_digits
from proofs.native.tables import BLINDING_WINDOWS, generator_tables
from proofs.native.words import to_words

DIGIT_BITS = 8
DIGIT_BIAS = 0x80 * ((256**8 - 1) // 255)  # half a digit at every position
LARGEST_ENTRY = 2**40
MOST_LANES = 1024  # a kernel's working set stays in the second-level cache
FEWEST_LANES = 256  # enough to share an inversion
_SAMPLE = 32  # rows, or up to twice as many

# Largest |v| that 1, 2, .. windows hold: lower digits in [-128, 127], the topmost up to 128.
_WINDOW_LIMITS = np.array([129 * 256**w - 1 - (DIGIT_BIAS & (256**w - 1)) for w in range(6)])


def commit_table(table: NDArray[np.int64], blindings: Sequence[int]) -> Words:
    """(rows, 8): D_r = sum_c table[r, c] G_c + blindings[r] H for |entries| <= LARGEST_ENTRY."""
    windows = _row_windows(table)
    partial = _window_sums(table, windows)
    digits, multiples = _blinding_digits(blindings), generator_tables().blinding_multiples
    parts = map_chunks(lambda a, b: _finished_rows(partial[a:b], digits[a:b], multiples), len(table), 32)
    return np.concatenate(parts)


def digit_count(table: NDArray[np.int64]) -> int:
    """About how many additions the table takes to commit to, from a sample of its rows."""
    sample = np.abs(table[:: max(1, len(table) // _SAMPLE)])
    largest = int(sample.max())
    return sum(int(np.count_nonzero(sample > limit)) for limit in (0, *_WINDOW_LIMITS) if limit < largest)


def multiply_points(points: Words, scalars: Sequence[int]) -> Words:
    """(8,): sum_i scalars[i] points[i] for scalars below 2^256, by signed buckets (Pippenger); zeros cost nothing."""
    kept = [index for index, scalar in enumerate(scalars) if scalar]
    if not kept:
        return np.zeros(8, np.uint64)
    if len(kept) < len(scalars):
        points, scalars = points[kept], [scalars[index] for index in kept]
    bits = _window_bits(len(points))
    count = -(-258 // bits)
    bias = sum(1 << (bits * window + bits - 1) for window in range(count))
    biased = to_words([scalar + bias for scalar in scalars], 5)
    parts = map_chunks(lambda a, b: _weighted_buckets(bucket_sums(points, biased, a, b, bits)), count)
    return horner(np.concatenate(parts), bits)


def _row_windows(table: NDArray[np.int64]) -> Indices:
    """How many digits each row needs; none where it is zero."""
    magnitudes = np.maximum(table.max(axis=1), -table.min(axis=1))
    windows = np.searchsorted(_WINDOW_LIMITS, magnitudes) + 1
    return np.where(magnitudes > 0, windows, 0)


def _window_sums(table: NDArray[np.int64], windows: Indices) -> Words:
    """(rows, windows, 8): sum_c digit_w(table[r, c]) G_c, zero beyond a row's own number of windows.

    A lane is one row, one window, and one slice of the columns, so that small tables fill the lanes too.
    """
    rows, columns = table.shape
    most = max(1, int(windows.max(initial=1)))
    slices = _slice_count(int(windows.sum()), columns)
    row, window, part = np.nonzero(
        np.broadcast_to((np.arange(most) < windows[:, None])[:, :, None], (rows, most, slices))
    )
    shifts = np.where(window == windows[row] - 1, ~(window * DIGIT_BITS), window * DIGIT_BITS)
    firsts = part * (columns // slices)
    multiples = generator_tables().multiples(columns)
    sums = np.zeros((rows * most * slices, 8), np.uint64)

    def commit_lanes(bounds: tuple[int, int]) -> None:
        lanes = slice(*bounds)
        places = (row[lanes] * most + window[lanes]) * slices + part[lanes]
        sums[places] = commit_digits(multiples, table, row[lanes], shifts[lanes], firsts[lanes], columns // slices)

    map_items(commit_lanes, _lane_groups(len(row)))
    return _total(sums.reshape(rows * most, slices, 8)).reshape(rows, most, 8)


def _slice_count(lanes: int, columns: int) -> int:
    """A power of two dividing the columns."""
    slices = 1
    while lanes * slices < FEWEST_LANES * worker_count() and columns % (2 * slices) == 0:
        slices *= 2
    return slices


def _lane_groups(lanes: int) -> list[tuple[int, int]]:
    workers = worker_count()
    groups = workers * -(-lanes // (MOST_LANES * workers))
    edges = [lanes * group // groups for group in range(groups + 1)] if lanes else [0]
    return list(pairwise(edges))


def _finished_rows(partial: Words, digits: Indices, multiples: Words) -> Words:
    """Windows put together by Horner's rule, plus the blinding digits' `multiples` of H."""
    sums = _horner(partial, DIGIT_BITS)
    for window in range(BLINDING_WINDOWS):
        digit = digits[:, window]
        active = np.flatnonzero(digit)
        position = window * MULTIPLES + np.abs(digit[active]) - 1
        add_points(sums, active, multiples, np.where(digit[active] > 0, position, ~position), 1)
    return sums


def _blinding_digits(blindings: Sequence[int]) -> Indices:
    """(n, BLINDING_WINDOWS) signed digits in [-128, 127], least significant first."""
    bias = int.from_bytes(b"\x80" * 32, "little")
    data = b"".join([(blinding + bias).to_bytes(BLINDING_WINDOWS, "little") for blinding in blindings])
    digits = np.frombuffer(data, np.uint8).reshape(-1, BLINDING_WINDOWS).astype(np.int64)
    digits[:, :32] -= 128
    return digits


def _window_bits(count: int) -> int:
    """The width that needs the fewest additions: each window adds every point and twice every bucket."""
    return min(range(4, 15), key=lambda bits: -(-258 // bits) * (count + 2**bits))


def _weighted_buckets(buckets: Words) -> Words:
    """(windows, 8): sum_b (b + 1) buckets[w, b], in segments so that running sums share inversions."""
    windows, count = buckets.shape[:2]
    length = 1 << (count.bit_length() // 2)
    segments = count // length
    weighted, plain = _ladder(buckets.reshape(windows * segments, length, 8))
    inside = _total(weighted.reshape(windows, segments, 8))
    across, _ = _ladder(plain.reshape(windows, segments, 8)[:, 1:])
    return _horner(np.stack([inside, across], axis=1), length.bit_length() - 1)


def _ladder(points: Words) -> tuple[Words, Words]:
    """(lanes, 8) each: sum_j (j + 1) points[l, j] and sum_j points[l, j]."""
    lanes, length = points.shape[:2]
    flat = np.ascontiguousarray(points).reshape(-1, 8)
    weighted, plain = np.zeros((lanes, 8), np.uint64), np.zeros((lanes, 8), np.uint64)
    lane = np.arange(lanes)
    for j in range(length - 1, -1, -1):
        add_points(plain, lane, flat, lane * length + j, 1)
        add_points(weighted, lane, plain, lane, 1)
    return weighted, plain


def _total(points: Words) -> Words:
    """(lanes, 8): the sum of each lane's points, (lanes, n, 8)."""
    lanes, count = points.shape[:2]
    flat = points.reshape(-1, 8).copy()
    firsts = np.arange(lanes)[:, None] * count
    while count > 1:
        half = count // 2
        targets, sources = firsts + np.arange(half), firsts + np.arange(count - half, count)
        add_points(flat, targets.ravel(), flat, sources.ravel(), 1)
        count -= half
    totals: Words = flat[firsts.ravel()]
    return totals


def _horner(points: Words, bits: int) -> Words:
    """(lanes, 8): sum_w 2^(bits w) points[l, w], (lanes, n, 8)."""
    count = points.shape[1]
    flat = np.ascontiguousarray(points).reshape(-1, 8)
    sums = np.zeros((len(points), 8), np.uint64)
    lane = np.arange(len(points))
    for window in range(count - 1, -1, -1):
        active = np.flatnonzero(sums[:, 4:].any(axis=1))
        add_points(sums, active, sums, active, bits)
        add_points(sums, lane, flat, lane * count + window, 1)
    return sums
