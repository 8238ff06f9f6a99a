"""What happens in the histories of some seeds, and what is wrong with them.

python -m tests.network SEED            one history, in readable lines
python -m tests.network FIRST-LAST      of many, those with which something is wrong
"""

from __future__ import annotations

import os
import sys
import time

from tests.network.history import play
from tests.network.many import play_all, quietly
from tests.network.scenario import draw


def main() -> int:
    """0 if nothing is wrong with any of them, else 1; 2 for something else than seeds."""
    if len(sys.argv) != 2:
        print(__doc__, file=sys.stderr)
        return 2
    first, _, last = sys.argv[1].partition("-")
    return _one(int(first)) if not last else _many(range(int(first), int(last) + 1))


def _one(seed: int) -> int:
    quietly()
    scenario = draw(seed)
    print("\n".join([*scenario.lines(), ""]))
    history = play(scenario, print)
    print("\n".join(["", *(history.problems or ["nothing is wrong"])]))
    return int(bool(history.problems))


def _many(seeds: range) -> int:
    wrong, began = 0, time.monotonic()
    for seed, problems in play_all(seeds, os.cpu_count() or 1):
        if problems:
            wrong += 1
            print("\n    ".join([str(seed), *problems]), flush=True)
    print(f"{len(seeds)} histories in {time.monotonic() - began:.0f} s; something is wrong with {wrong}")
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
