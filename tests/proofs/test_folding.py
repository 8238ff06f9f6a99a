"""Joining and folding of opened vectors: the definitions of spec 5.9, over lists of scalars and by both engines."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from proofs.curve import ORDER, POINT_SIZE
from proofs.engine import Engine
from proofs.folding import (
    LONGEST_RESPONSE,
    Fold,
    FoldedLength,
    Folding,
    combined,
    combined_form,
    combined_value,
    cross_values,
    folded_value,
    form_at,
    place_weights,
    short_dot,
    unfolded,
)
from proofs.linear_form import LinearForm
from proofs.opening import fold_responses
from tests.proofs.arguments import native, reference

LENGTHS = (16, 37, 16, 50)


def scalars(rng: Random, count: int) -> list[int]:
    return [rng.randrange(ORDER) for _ in range(count)]


def plain(left: list[int], right: list[int]) -> int:
    return sum(x * y for x, y in zip(left, right, strict=False)) % ORDER


@pytest.mark.parametrize(
    ("length", "folds", "last"),
    [(1, 0, 1), (16, 0, 16), (17, 1, 9), (32, 1, 16), (33, 2, 9), (405, 5, 13), (1024, 6, 16), (1434, 7, 12)],
)
def test_lengths(length: int, folds: int, last: int) -> None:
    assert LONGEST_RESPONSE == 16
    assert FoldedLength.of(length) == FoldedLength(folds, last)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_values_across_are_the_coefficients_of_the_joined_form(count: int) -> None:
    rng = Random(count)
    vectors = [scalars(rng, length) for length in LENGTHS[:count]]
    forms = [scalars(rng, length) for length in LENGTHS[:count]]
    crossed, mu = cross_values(vectors, forms), rng.randrange(ORDER)
    claimed = sum(plain(form, vector) for form, vector in zip(forms, vectors, strict=True)) % ORDER
    assert len(crossed) == 2 * count - 2
    assert all(0 <= value < ORDER for value in crossed)
    joined, form = combined(vectors, mu), combined_form(forms, mu)
    assert len(joined) == len(form) == max(LENGTHS[:count])
    assert combined_value(crossed, claimed, mu) == plain(form, joined)
    assert form_at(forms, mu, joined) == plain(form, joined)
    assert combined_value(crossed, claimed + 1, mu) == (plain(form, joined) + pow(mu, count - 1, ORDER)) % ORDER


def test_the_joined_vector_is_a_polynomial_in_mu() -> None:
    vectors = [[1], [2, 20], [3, 30, 300]]
    assert combined(vectors, 5) == [1 + 10 + 75, 100 + 750, 7500]
    assert combined_form(vectors, 5) == [25 + 10 + 3, 100 + 30, 300]


def test_weights_of_places() -> None:
    """The challenge where the bit of a place is clear."""
    assert place_weights([]) == [1]
    assert place_weights([3, 5, 7]) == [105, 35, 21, 7, 15, 5, 3, 1]
    assert unfolded([2, 4], [6, 1], 3) == [12, 2, 24]
    assert short_dot([2, 3, 4], [5, 6]) == 28


@pytest.mark.parametrize("length", [1, 2, 3, 16, 17, 23, 50])
def test_folds_keep_the_form_and_the_sum(length: int) -> None:
    """Stand-ins for generators are random scalars: whatever holds for them as a form of its own holds for points."""
    rng = Random(length)
    vector, form, generators = scalars(rng, length), scalars(rng, max(1, length - 3)), scalars(rng, length)
    folding, value, total = Folding(vector, form), plain(vector, form), plain(vector, generators)
    places, phis = list(generators), list[int]()
    while len(folding.vector) > 1:
        even, odd = folding.across()
        assert len(even) == len(odd) == length
        fold, phi = Fold(b"", b"", *folding.values()), rng.randrange(ORDER)
        crossed = plain(even, generators), plain(odd, generators)
        assert crossed == (plain(folding.vector[0::2], places[1::2]), plain(folding.vector[1::2], places[0::2]))
        folding.bind(phi)
        phis.append(phi)
        value, total = folded_value(value, fold, phi), (crossed[0] + phi * total + phi * phi * crossed[1]) % ORDER
        places = [(phi * x + y) % ORDER for x, y in zip(places[0::2], [*places[1::2], 0], strict=False)]
        assert total == plain(folding.vector, places)
    opened = unfolded(folding.vector, place_weights(phis), length)
    assert value == plain(opened, form)
    assert total == plain(opened, generators)
    assert len(opened) == length


class Chosen:
    """A transcript with challenges of its own."""

    def __init__(self) -> None:
        self._rng = Random(7)

    def vector_weight(self, blindings: Any, crossed: Any) -> int:
        return self._rng.randrange(ORDER)

    def fold_challenge(self, fold: Fold) -> int:
        return self._rng.randrange(ORDER)


@pytest.mark.parametrize("longest", [1, 2, 7, 16, 37, 50])
def test_both_engines_fold_alike(longest: int) -> None:
    rng = Random(longest)
    responses = [tuple(scalars(rng, length + 1)) for length in LENGTHS]
    form = LinearForm(*(scalars(rng, length) for length in (16, 37, 50)), rng.randrange(ORDER))

    def folded(engine: Engine) -> Any:
        return fold_responses(engine, Chosen(), form, responses, longest)

    found = folded(native())
    assert found == folded(reference())
    assert found.blindings == tuple(each[-1] for each in responses)
    assert all(len(fold.even) == len(fold.odd) == POINT_SIZE for fold in found.folds)
    lengths = [50]
    while lengths[-1] > longest:
        lengths.append(-(-lengths[-1] // 2))
    assert (len(found.folds), len(found.response)) == (len(lengths) - 1, lengths[-1])
