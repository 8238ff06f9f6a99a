"""What a message says of the submissions of a round: one character for each entry of the log (spec 8.5).

A text of them has one spelling: nothing in it can be out of order, twice, or in two lists. It takes a byte a
submission, whatever is said, and names entries by their index in the log, so that one entry and what is said of it can
be shown without the others.
"""

from __future__ import annotations

from collections.abc import Mapping

# Why a submission is not in the cohort, in order of precedence: the first that holds is the reason (spec 8.6).
DUPLICATE = "duplicate"  # an earlier submission of the same client and round is in the log
REPLAYED = "replayed"  # it names a blob of an earlier valid submission of any round where only its own belongs
MALFORMED = "malformed"  # the ciphertext or the share commitments do not decode
INVALID_PROOF = "invalid-proof"  # the validity proof does not verify
DISPUTED = "disputed"  # more than f trustees dispute its share, so an honest one does
COHORT_FULL = "cohort-full"  # max_cohort earlier submissions are in
UNACKNOWLEDGED = "unacknowledged"  # a trustee in Q does not hold its share
SUPPRESSED = "suppressed"  # it leaves so that those who are missing from P are not isolated

ACCEPTED = "accepted"
HELD = "held"

NOTHING = "-"  # no submission, or one of which nothing is said
VERDICTS = {
    "a": ACCEPTED,
    "2": DUPLICATE,
    "r": REPLAYED,
    "m": MALFORMED,
    "i": INVALID_PROOF,
    "d": DISPUTED,
    "f": COHORT_FULL,
    "u": UNACKNOWLEDGED,
    "s": SUPPRESSED,
}
ANSWERS = {
    "h": HELD,
    "d": "share-decryption",
    "e": "share-encoding",
    "c": "share-commitments",
    "o": "share-opening",
}


def read(first: int, text: str, words: Mapping[str, str]) -> dict[int, str]:
    """What a text says, by log index, ascending; its first character is about entry `first`."""
    return {first + place: words[sign] for place, sign in enumerate(text) if sign != NOTHING}


def spell(first: int, said: Mapping[int, str], words: Mapping[str, str], stop: int | None = None) -> str:
    """The text of what is said of the entries from `first` to `stop` - 1; without `stop`, to the last that it says
    something of. `said` may have no index outside of these."""
    signs = {word: sign for sign, word in words.items()}
    end = max(said, default=first - 1) + 1 if stop is None else stop
    return "".join(signs[said[index]] if index in said else NOTHING for index in range(first, end))
