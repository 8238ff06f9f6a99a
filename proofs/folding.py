"""Several opened vectors as one, folded until it is short (spec 5.9, 5.10).

| symbol | meaning |
|---|---|
| x_i, L_i | the vectors, m of them, and the form on each: V = sum_i L_i(x_i) is claimed |
| mu | x = sum_i mu^i x_i, L = sum_i mu^(m-1-i) L_i: V is the coefficient of mu^(m-1) in L(x) |
| phi_j | x' = x_even + phi_j x_odd, L' = phi_j L_even + L_odd, G' = phi_j G_even + G_odd |

So entry i of x, its coefficient and its generator end up in place i div 2^n of the last ones; coefficient and generator
with the factor that is the product of the phi_j whose bit j in i is clear.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from operator import mul
from typing import NamedTuple

from proofs.curve import ORDER
from proofs.polynomials import add, evaluate, scale

LONGEST_RESPONSE = 16  # scalars that are sent in the end: another fold would save less than two of them


class Fold(NamedTuple):
    """What is sent for one fold: products across, of even entries with odd places and the other way round."""

    even: bytes  # <x_even, G_odd>
    odd: bytes  # <x_odd, G_even>
    even_value: int  # <x_even, L_odd>
    odd_value: int  # <x_odd, L_even>


@dataclass(frozen=True)
class FoldedLength:
    """How a vector of `length` scalars is folded: `folds` times, to `last`. An entry without a partner has a zero."""

    folds: int
    last: int

    @classmethod
    def of(cls, length: int) -> FoldedLength:
        """Until no more than LONGEST_RESPONSE are left."""
        folds = 0
        while length > LONGEST_RESPONSE:
            folds, length = folds + 1, (length + 1) // 2
        return cls(folds, length)


def short_dot(left: Sequence[int], right: Sequence[int]) -> int:
    """sum_i left[i] right[i] over the shorter of both, modulo ORDER."""
    total: int = sum(map(mul, left, right))
    return total % ORDER


def cross_values(vectors: Sequence[Sequence[int]], forms: Sequence[Sequence[int]]) -> list[int]:
    """2 m - 2 scalars: the coefficients of L(x) in mu but that of mu^(m-1), which is claimed."""
    last = len(vectors) - 1
    found = [0] * (2 * last + 1)
    for i, vector in enumerate(vectors):
        for k, form in enumerate(forms):
            if i != k:
                found[last + i - k] += short_dot(form, vector)
    return [value % ORDER for value in (*found[:last], *found[last + 1 :])]


def combined_value(crossed: Sequence[int], claimed: int, mu: int) -> int:
    """L(x), if these are its coefficients."""
    last = len(crossed) // 2
    return evaluate([*crossed[:last], claimed, *crossed[last:]], mu)


def combined(vectors: Sequence[Sequence[int]], mu: int) -> list[int]:
    """x, as long as the longest of them."""
    return add(*(scale(vector, pow(mu, i, ORDER)) for i, vector in enumerate(vectors)))


def combined_form(forms: Sequence[Sequence[int]], mu: int) -> list[int]:
    """L, as long as the longest of them."""
    return combined(forms[::-1], mu)


def folded_value(value: int, fold: Fold, phi: int) -> int:
    """L'(x') from L(x)."""
    return (fold.even_value + phi * (value + phi * fold.odd_value)) % ORDER


def place_weights(phis: Sequence[int]) -> list[int]:
    """2^n scalars: the factor of place i is entry i mod 2^n, n the folds so far."""
    weights = [1]
    for phi in phis:
        weights = [*scale(weights, phi), *weights]
    return weights


def unfolded(last: Sequence[int], weights: Sequence[int], length: int) -> list[int]:
    """`length` scalars s with <last, G'> = <s, G> and L'(last) = <s, L>, in time linear in them."""
    spread = [value * weight % ORDER for value in last for weight in weights]
    return spread[:length]


class Folding:
    """A vector and a form on it, no longer than it, folded step by step. Masked responses are no secret."""

    def __init__(self, vector: Sequence[int], form: Sequence[int]) -> None:
        self._length = len(vector)
        self._weights = [1]
        self.vector, self._form = list(vector), list(form)

    def values(self) -> tuple[int, int]:
        """<x_even, L_odd> and <x_odd, L_even>."""
        vector, form = self.vector, self._form
        return short_dot(vector[::2], form[1::2]), short_dot(vector[1::2], form[::2])

    def across(self) -> tuple[list[int], list[int]]:
        """Scalars on the generators that there were at first: those of <x_even, G_odd>, and of <x_odd, G_even>."""
        partner = [*self.vector[1::2], 0]
        even = [0 if place % 2 == 0 else self.vector[place - 1] for place in range(len(self.vector))]
        odd = [partner[place // 2] if place % 2 == 0 else 0 for place in range(len(self.vector))]
        return unfolded(even, self._weights, self._length), unfolded(odd, self._weights, self._length)

    def bind(self, phi: int) -> None:
        """Fold."""
        self.vector = add(self.vector[::2], scale(self.vector[1::2], phi))
        self._form = add(scale(self._form[::2], phi), self._form[1::2])
        self._weights = [*scale(self._weights, phi), *self._weights]


def form_at(forms: Sequence[Sequence[int]], mu: int, scalars: Sequence[int]) -> int:
    """<s, L>, without putting L together."""
    last = len(forms) - 1
    return sum(pow(mu, last - i, ORDER) * short_dot(form, scalars) for i, form in enumerate(forms)) % ORDER
