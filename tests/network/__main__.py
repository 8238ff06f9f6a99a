"""`python -m tests.network SEED [SEED ...]`: what happens in the history of a seed, and what is wrong with it."""

from __future__ import annotations

import sys

from tests.network.history import play
from tests.network.scenario import draw


def main() -> int:
    """0 if nothing is wrong with any of them, else 1."""
    wrong = 0
    for seed in sys.argv[1:]:
        scenario = draw(int(seed))
        print("\n".join([*scenario.lines(), ""]))
        history = play(scenario, print)
        print("\n".join(["", *(history.problems or ["nothing is wrong"])]))
        wrong += bool(history.problems)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
