"""Histories find faults that are planted into the product: each by a seed below `BOUND`, or by one written for it, and
by the judgement that it is for. The last four are faults that the product had, and histories found, or would have."""

from __future__ import annotations

import pytest

from tests.network.history import play
from tests.network.planted import PLANTS
from tests.network.scenario import Kill, Scenario, draw
from tests.simulator import Setting

BOUND = 100

# A client is killed when its training is done and its answer is not stored, and comes back when the round is over.
KILLED_WHILE_ANSWERING = Scenario(
    1,
    Setting(clients=3, trustees=3, threshold=2, corrupt=0, dimension=20),
    rounds=2,
    faults=(Kill("client-00", at=8.0, steps=11, power=False, down=90.0),),
)

# A trustee is killed when its acknowledgement is sent, and comes back when the log has it.
KILLED_AFTER_ACKNOWLEDGING = Scenario(
    1,
    Setting(clients=3, trustees=3, threshold=2, corrupt=0, dimension=20),
    rounds=2,
    faults=(Kill("trustee-0", at=6.0, steps=None, power=False, down=90.0, answers=5),),
)

# By which seed each is found first, and as what.
FOUND: dict[str, tuple[int | Scenario, str]] = {
    "acknowledgements stored after they are sent": (KILLED_AFTER_ACKNOWLEDGING, "endings"),
    "a submission made anew when asked again": (1, "words"),
    "answers removed when they are taken": (20, "kept"),
    "a file counted whenever it is seen": (0, "blame"),
    "a checkpoint read once": (0, "progress"),
    "state files not synced": (0, "endings"),
    "a log whose names are not synced": (3, "progress"),
    "secrets kept": (0, "forgetting"),
    "directories not synced": (3, "progress"),
    "names believed at a start": (28, "endings"),
    "any log cosigned": (9, "one log"),
    "training never forgotten": (KILLED_WHILE_ANSWERING, "own state"),
}
SLOW = ("a checkpoint read once", "a log whose names are not synced", "directories not synced", "secrets kept")


def found(name: str) -> None:
    """The history in which this fault is found fails its judgement."""
    of, judgement = FOUND[name]
    assert isinstance(of, Scenario) or of < BOUND
    with PLANTS[name]():
        problems = play(of if isinstance(of, Scenario) else draw(of)).problems
    assert judgement in {each.partition(":")[0] for each in problems}


@pytest.mark.parametrize("name", sorted(FOUND.keys() - set(SLOW)))
def test_a_planted_fault_is_found(name: str) -> None:
    found(name)


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", SLOW)
def test_a_planted_fault_after_which_nothing_closes_is_found(name: str) -> None:
    found(name)


def test_every_planted_fault_is_there() -> None:
    assert FOUND.keys() == PLANTS.keys()


@pytest.mark.parametrize("scenario", [KILLED_WHILE_ANSWERING, KILLED_AFTER_ACKNOWLEDGING])
def test_without_its_fault_nothing_is_wrong_with_the_history_written_for_it(scenario: Scenario) -> None:
    assert play(scenario).problems == []
