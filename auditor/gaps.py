"""Entries that a copy lacks although it has their leaf hashes, and what of the rest rests on them (spec 9.3).

The tiles of level 0 hold every entry's leaf hash. Where they have the root that the log's key signed, they say of each
entry that is here whether it is the one that was logged, and keep the place of one that is not. So what comes behind it
can be judged, but for what its content may decide. Which rounds it may be of follows from the order of entries (9.5),
which only a broken rule leaves.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from proofs.errors import Rejected
from protocols.log.merkle import Frontier, leaf_hash
from protocols.log.reader import TranscriptReader
from protocols.log.tiles import Bundle, Tile, bundles

if TYPE_CHECKING:
    from auditor.index import Heading, Index, Round

_HASH_BYTES = 32
_ENDS = ("round-closed", "round-aborted")
NEVER = 1 << 64  # beyond every round's number


def tile_leaves(reader: TranscriptReader, size: int) -> list[bytes]:
    """The leaf hashes as the tiles have them, or where one cannot be had as the entries under it hash; up to where
    neither is there. So they are no more than the bytes of the directory allow."""
    leaves: list[bytes] = []
    for bundle in bundles(size):
        found = _hashes(reader, bundle)
        if found is None:
            break
        leaves += found
    return leaves


def _hashes(reader: TranscriptReader, bundle: Bundle) -> list[bytes] | None:
    try:
        data = reader.tile(Tile(0, bundle.index, bundle.width))
    except Rejected:
        data = b""
    if len(data) == _HASH_BYTES * bundle.width:
        return [data[start : start + _HASH_BYTES] for start in range(0, len(data), _HASH_BYTES)]
    entries = [entry for entry in reader.some_entries(bundle) if entry is not None]
    return [leaf_hash(entry) for entry in entries] if len(entries) == bundle.width else None


def roots_at(leaves: Iterable[bytes], sizes: Iterable[int]) -> dict[int, bytes]:
    """The root at each of these sizes that is not beyond the leaves."""
    frontier, wanted, roots = Frontier(), set(sizes), dict[int, bytes]()
    for leaf in leaves:
        frontier.append(leaf)
        if frontier.size in wanted:
            roots[frontier.size] = frontier.root()
    return roots


def entries_of(reader: TranscriptReader, size: int, leaves: Sequence[bytes]) -> Iterator[bytes | None]:
    """The entries of a log of `size` under these leaf hashes; None for one that is not here."""
    for bundle in bundles(size):
        under = leaves[bundle.start : bundle.start + bundle.width]
        for entry, leaf in zip(reader.some_entries(bundle), under, strict=False):
            yield entry if entry is not None and leaf_hash(entry) == leaf else None


@dataclass(frozen=True)
class Torn:
    """The rounds that missing entries may be of, as ranges of numbers, ascending and apart: first and last of each."""

    firsts: tuple[int, ...] = ()
    lasts: tuple[int, ...] = ()

    @classmethod
    def of(cls, headings: Sequence[Heading], gaps: Sequence[int]) -> Torn:
        """From the entries that are here, and the places of those that are not, ascending. The first is the Genesis."""
        gaps = [gap for gap in gaps if gap]
        lows, highs = _before(headings, gaps), _after(headings, gaps)
        ranges = sorted((min(low, high), max(low, high)) for low, high in zip(lows, highs, strict=True))
        firsts, lasts = list[int](), list[int]()
        for first, last in ranges:
            if lasts and first <= lasts[-1]:
                lasts[-1] = max(last, lasts[-1])
            else:
                firsts.append(first)
                lasts.append(last)
        return cls(tuple(firsts), tuple(lasts))

    def touches(self, first: int, last: int) -> bool:
        """Whether a missing entry may be of one of these rounds."""
        place = bisect.bisect_right(self.firsts, last)
        return first <= last and place > 0 and self.lasts[place - 1] >= first


def _before(headings: Sequence[Heading], gaps: Sequence[int]) -> list[int]:
    """For each missing entry, the first round that it may be of, by the entries before it."""
    lows, number, start = list[int](), 1, 0
    for gap in gaps:
        for heading in headings[start:gap]:
            if heading.round:
                number = heading.round + (heading.type in _ENDS)
        lows.append(number)
        start = gap
    return lows


def _after(headings: Sequence[Heading], gaps: Sequence[int]) -> list[int]:
    """And the last, by the entries behind it."""
    highs, number, stop = list[int](), NEVER, len(headings)
    for gap in reversed(gaps):
        number = next((heading.round for heading in headings[gap + 1 : stop] if heading.round), number)
        highs.append(number)
        stop = gap + 1
    return highs[::-1]


def unknown_before(index: Index, torn: Torn) -> tuple[set[int], set[int]]:
    """Numbers of rounds of which nobody can tell which cohort was opened last on their model before, since a missing
    entry may be of that round; and of those of which nobody can tell which were the last two on any model."""
    same, recent = set[int](), set[int]()
    anything = previous = 0  # the last round that may be torn, of any model; the one before this
    torn_on, opened_on = dict[bytes, int](), dict[bytes, int]()  # the last torn one, and the last cohort, of a model
    opened: list[int] = []
    last_torn = 0
    for found in index.in_order():
        if torn.touches(previous + 1, found.number - 1):  # rounds of which nothing is here
            anything = last_torn = found.number - 1
        model = _model(found)
        blind = max(anything, torn_on.get(model, 0))
        same.update({found.number} if blind > opened_on.get(model, 0) else ())
        recent.update({found.number} if last_torn and (len(opened) < 2 or last_torn > opened[-2]) else ())
        previous = found.number
        if torn.touches(found.number, found.number):
            last_torn = found.number
            torn_on[model] = found.number
            anything = found.number if found.open is None else anything
        elif found.cohort is not None and found.open is not None:
            opened.append(found.number)
            opened_on[model] = found.number
    return same, recent


def _model(found: Round) -> bytes:
    return b"" if found.open is None else found.open.message.model
