"""What a message says of the submissions of a round: one character for each entry of the log (spec 8.5).

A text of them has one spelling: nothing in it can be out of order, twice, or in two lists. It takes a byte a
submission, whatever is said, and names entries by their index in the log, so that one entry and what is said of it can
be shown without the others.
"""

from __future__ import annotations

from collections.abc import Mapping

from protocols.reasons import DISPUTES, EXCLUSIONS

ACCEPTED = "accepted"
HELD = "held"

NOTHING = "-"  # no submission, or one of which nothing is said
VERDICTS = {"a": ACCEPTED} | {each.sign: each.name for each in EXCLUSIONS}
ANSWERS = {"h": HELD} | {each.sign: each.name for each in DISPUTES}


def read(first: int, text: str, words: Mapping[str, str]) -> dict[int, str]:
    """What a text says, by log index, ascending; its first character is about entry `first`."""
    return {first + place: words[sign] for place, sign in enumerate(text) if sign != NOTHING}


def spell(first: int, said: Mapping[int, str], words: Mapping[str, str], stop: int | None = None) -> str:
    """The text of what is said of the entries from `first` to `stop` - 1; without `stop`, to the last that it says
    something of. `said` may have no index outside of these."""
    signs = {word: sign for sign, word in words.items()}
    end = max(said, default=first - 1) + 1 if stop is None else stop
    return "".join(signs[said[index]] if index in said else NOTHING for index in range(first, end))
