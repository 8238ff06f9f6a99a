"""Histories find faults that are planted into the product: each by a seed below `BOUND`, and by the judgement it is for."""

from __future__ import annotations

import pytest

from tests.network.history import play
from tests.network.planted import PLANTS
from tests.network.scenario import draw

BOUND = 200

# By which seed each is found, and as what. The first of them that does, but where a later one takes less time.
FOUND = {
    "acknowledgements stored after they are sent": (96, "endings"),
    "a submission made anew when asked again": (0, "words"),
    "answers removed when they are taken": (3, "kept"),
    "a file counted whenever it is seen": (0, "blame"),
    "state files not synced": (0, "endings"),
    "directories not synced": (6, "own state"),
}


def found(name: str, seed: int) -> list[str]:
    """The judgements that the history of a seed fails with this fault."""
    with PLANTS[name]():
        problems = play(draw(seed)).problems
    return [each.partition(":")[0] for each in problems]


@pytest.mark.parametrize("name", sorted(FOUND))
def test_a_planted_fault_is_found(name: str) -> None:
    seed, judgement = FOUND[name]
    assert seed < BOUND
    assert judgement in found(name, seed)


def test_every_planted_fault_is_there() -> None:
    assert FOUND.keys() == PLANTS.keys()


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", sorted(FOUND))
def test_without_the_fault_nothing_is_wrong_with_its_history(name: str) -> None:
    assert play(draw(FOUND[name][0])).problems == []
