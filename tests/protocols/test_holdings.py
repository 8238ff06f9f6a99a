"""What belongs into a party's store: keys of one spelling, values of one encoding."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from proofs.errors import Malformed
from protocols.holdings import Holding, Holdings, RoundHolding, as_it_is, read_count, write_count
from protocols.stores import MemoryStore


@dataclass(frozen=True)
class Point:
    x: int
    y: int


POINT = Holding.of("point", "where it is", Point, 100)
COUNT = Holding("count", "how many", write_count, read_count)
SHARE = RoundHolding("share", "of a round", as_it_is, as_it_is)
HOLDINGS = Holdings("a test", (POINT, COUNT, SHARE))


def test_values_come_back() -> None:
    store = MemoryStore()
    POINT.put(store, Point(3, 4))
    SHARE.put(store, 12, b"twelve")
    SHARE.put(store, 9, b"nine")
    assert POINT.get(store) == Point(3, 4)
    assert (SHARE.get(store, 9), SHARE.get(store, 12), SHARE.get(store, 10)) == (b"nine", b"twelve", None)
    assert SHARE.rounds(store) == [9, 12]
    assert store.keys() == ["point", "share/12", "share/9"]
    POINT.delete(store)
    SHARE.delete(store, 9)
    assert store.keys() == ["share/12"]
    POINT.delete(store)  # nothing is there any more
    assert COUNT.get(store) is None


@pytest.mark.parametrize(
    "key",
    ["", "points", "point/", "point/1", "share", "share/", "share/0", "share/01", "share/+1", "share/ 1", "share/1/2",
     "share/-1", "share/٣", "share/1_0", "Share/1", "other/1"],
)  # fmt: skip
def test_a_key_that_is_not_declared(key: str) -> None:
    with pytest.raises(Malformed, match="one of what a test keeps: point, count, share") as refused:
        HOLDINGS.check(key, POINT.write(Point(1, 2)))
    assert (refused.value.where, refused.value.found) == ("key", repr(key))
    store = MemoryStore()
    if key:
        store.put(key, b"")
    assert SHARE.rounds(store) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [("point", b""), ("point", b"\x83\x01\x02\x03"), ("point", POINT.write(Point(1, 2)) + b"\0"), ("point", bytes(101)),
     ("count", b""), ("count", b"01"), ("count", b"-1"), ("count", b"1 "), ("count", b"1" * 21), ("count", b"x")],
)  # fmt: skip
def test_a_value_that_was_not_written(key: str, value: bytes) -> None:
    with pytest.raises(Malformed):
        HOLDINGS.check(key, value)


@pytest.mark.parametrize("number", [0, 1, 10, 12345])
def test_counts_have_one_spelling(number: int) -> None:
    assert write_count(number) == str(number).encode()
    assert read_count(write_count(number)) == number
