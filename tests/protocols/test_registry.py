"""Registries: no name twice, no name that is not there."""

from __future__ import annotations

import pytest

from proofs.errors import Misuse, Rejected
from protocols.registry import Registry, one_of

FRUIT: Registry[str] = Registry("fruit", "fruit-check", ("apple", "pear"), str)


def test_entries_are_found_by_name_and_in_order() -> None:
    assert [FRUIT.find(name) for name in FRUIT.names] == list(FRUIT) == ["apple", "pear"]
    assert len(FRUIT) == 2
    assert "apple" in FRUIT
    assert "fig" not in FRUIT


def test_a_name_that_is_not_there_is_refused() -> None:
    with pytest.raises(Rejected) as excinfo:
        FRUIT.find("fig")
    assert (excinfo.value.check, excinfo.value.expected, excinfo.value.found) == (
        "fruit-check",
        "the fruit apple or pear",
        "'fig'",
    )


def test_a_name_that_two_have_is_refused() -> None:
    with pytest.raises(Misuse, match="fruit 'pear' is registered twice"):
        FRUIT.extended("fig", "pear")
    assert FRUIT.extended("fig").names == ("apple", "pear", "fig")
    assert FRUIT.names == ("apple", "pear")


@pytest.mark.parametrize(("names", "said"), [("a", "a"), ("ab", "a or b"), ("abc", "a, b or c")])
def test_choices_in_words(names: str, said: str) -> None:
    assert one_of(names) == said
