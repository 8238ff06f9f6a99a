"""Short solutions of one linear congruence, by lattice reduction: what an attacker with known coefficients does."""

from __future__ import annotations

from collections.abc import Sequence

Basis = list[list[int]]


def reduced(basis: Basis) -> Basis:
    """LLL with delta = 3/4 in integers (Cohen, A Course in Computational Algebraic Number Theory, 2.6.7)."""
    rows, count = [list(row) for row in basis], len(basis)
    scaled = [[0] * count for _ in rows]  # lambda of the book: d_j times the Gram-Schmidt coefficient
    minors = [1] + [0] * count  # d_0 = 1, d_1, ..

    def orthogonalise(k: int) -> None:
        for j in range(k + 1):
            value = sum(x * y for x, y in zip(rows[k], rows[j], strict=True))
            for i in range(j):
                value = (minors[i + 1] * value - scaled[k][i] * scaled[j][i]) // minors[i]
            if j < k:
                scaled[k][j] = value
            else:
                minors[k + 1] = value

    def shorten(k: int, j: int) -> None:
        if 2 * abs(scaled[k][j]) <= minors[j + 1]:
            return
        factor = (2 * scaled[k][j] + minors[j + 1]) // (2 * minors[j + 1])
        rows[k] = [x - factor * y for x, y in zip(rows[k], rows[j], strict=True)]
        scaled[k][j] -= factor * minors[j + 1]
        for i in range(j):
            scaled[k][i] -= factor * scaled[j][i]

    for k in range(count):
        orthogonalise(k)
    k = 1
    while k < count:
        shorten(k, k - 1)
        if 4 * (minors[k + 1] * minors[k - 1] + scaled[k][k - 1] ** 2) < 3 * minors[k] ** 2:
            rows[k], rows[k - 1] = rows[k - 1], rows[k]
            for i in range(k - 1, count):
                orthogonalise(i)
            k = max(1, k - 1)
            continue
        for j in range(k - 2, -1, -1):
            shorten(k, j)
        k += 1
    return rows


def short_solution(coefficients: Sequence[int], target: int, modulus: int, size: int) -> list[int]:
    """x of about `size` or less in every entry with sum_j coefficients[j] x_j = target modulo `modulus`."""
    count, heavy = len(coefficients), modulus * size
    basis = [[int(i == j) for i in range(count)] + [0, heavy * c] for j, c in enumerate(coefficients)]
    basis.append([0] * count + [0, heavy * modulus])
    basis.append([0] * count + [size, -heavy * target])
    for row in reduced(basis):
        if row[-1] == 0 and abs(row[-2]) == size:
            sign = row[-2] // size
            return [sign * x for x in row[:-2]]
    raise ValueError("no short solution: more coefficients or a larger size are needed")
