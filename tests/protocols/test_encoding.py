"""Deterministic CBOR: one spelling of every value, and Malformed for every other byte string."""

from __future__ import annotations

import dataclasses
import tracemalloc
from dataclasses import dataclass
from typing import Annotated, Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.errors import Malformed, Misuse
from protocols.encoding import ENTRY_LIMIT, POLICY_LIMIT, decode, encode
from protocols.messages import (
    MESSAGE_TYPES,
    AtMost,
    Detail,
    Exactly,
    MissingParty,
    PartyId,
    RoundAborted,
    RoundClosed,
    Text,
)
from protocols.policy import Policy
from tests.strategies import instances

CLASSES = [*(each.cls for each in MESSAGE_TYPES), Policy]
ANY_BODY = st.sampled_from(CLASSES).flatmap(instances)


@dataclass(frozen=True)
class Inner:
    count: int


@dataclass(frozen=True)
class Sample:
    """One field of every kind."""

    flag: bool
    digest: Annotated[bytes, Exactly(2)]
    name: PartyId
    note: Text
    numbers: Annotated[tuple[int, ...], AtMost(3)]
    inners: tuple[Inner, ...]
    maybe: int | None
    later: None


@dataclass(frozen=True)
class Numbers:
    items: tuple[int, ...]


SAMPLE = Sample(True, b"ab", "alice", "größer", (1, 24, 2**63 - 1), (Inner(0),), None, None)


def plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    return [plain(item) for item in value] if isinstance(value, tuple) else value


def reference(value: Any) -> bytes:
    """RFC 8949 section 4.2.1, written from the text: the oracle for the library that `encode` uses."""

    def head(major: int, argument: int) -> bytes:
        if argument < 24:
            return bytes([major << 5 | argument])
        width = next(width for width in range(4) if argument < 1 << (8 << width))
        return bytes([major << 5 | 24 + width]) + argument.to_bytes(1 << width, "big")

    match value:
        case None | bool():
            return {False: b"\xf4", True: b"\xf5", None: b"\xf6"}[value]
        case int():
            return head(0, value)
        case bytes():
            return head(2, len(value)) + value
        case str():
            return head(3, len(value.encode())) + value.encode()
        case list():
            return head(4, len(value)) + b"".join(map(reference, value))
        case dict():
            pairs = sorted((reference(key), reference(item)) for key, item in value.items())
            return head(5, len(pairs)) + b"".join(key + item for key, item in pairs)
    raise TypeError(value)


@pytest.mark.parametrize("cls", CLASSES)
def test_round_trip_of_every_message(cls: type) -> None:
    @given(instances(cls))
    @settings(max_examples=20, deadline=None)
    def check(body: Any) -> None:
        data = encode(body, POLICY_LIMIT)
        assert data == reference(plain(body))
        assert decode(cls, data, POLICY_LIMIT) == body

    check()


@given(ANY_BODY, st.data())
@settings(max_examples=150, deadline=None)
def test_mutated_bytes_are_malformed_or_canonical(body: Any, data: st.DataObject) -> None:
    original = bytearray(encode(body, POLICY_LIMIT))
    for _ in range(data.draw(st.integers(1, 3))):
        position = data.draw(st.integers(0, len(original) - 1))
        match data.draw(st.sampled_from(["set", "insert", "delete"])):
            case "set":
                original[position] = data.draw(st.integers(0, 255))
            case "insert":
                original[position:position] = data.draw(st.binary(min_size=1, max_size=9))
            case "delete":
                del original[position : position + data.draw(st.integers(1, 9))]
                original = original or bytearray(b"\0")
    mutated = bytes(original)
    try:
        accepted = decode(type(body), mutated, POLICY_LIMIT)
    except Malformed:
        return
    assert encode(accepted, POLICY_LIMIT) == mutated


@given(
    st.sampled_from([*CLASSES, Sample]),
    st.one_of(st.binary(max_size=200), st.builds(lambda b: b"\xa8" + b, st.binary())),
)
@settings(max_examples=200, deadline=None)
def test_any_bytes_are_malformed_or_canonical(cls: type, data: bytes) -> None:
    try:
        accepted: Any = decode(cls, data)
    except Malformed:
        return
    assert encode(accepted) == data


HEADS = {
    "tag 0, a date": b"\xc0\x74" + b"2013-03-21T20:04:00Z",
    "tag 2, a big integer": b"\xc2\x41\x01",
    "tag 4, a decimal": bytes.fromhex("c4821b7fffffffffffffff01"),
    "tag 5, a big float": bytes.fromhex("c5821a0098968001"),
    "tag 28 and 29, a cycle": bytes.fromhex("d81c81d81d00"),
    "tag 35, a pattern": b"\xd8\x23\x64(a+)",
    "tag 36, MIME": b"\xd8\x24\x61a",
    "tag 55799": bytes.fromhex("d9d9f701"),
    "a float": bytes.fromhex("fb3ff0000000000000"),
    "a half float": bytes.fromhex("f93c00"),
    "undefined": b"\xf7",
    "a simple value": b"\xf8\xff",
    "a negative integer": b"\x20",
    "break": b"\xff",
}


@pytest.mark.parametrize("item", HEADS.values(), ids=HEADS.keys())
@pytest.mark.parametrize("field", ["maybe", "numbers", "note", "unknown"])
def test_kinds_of_item_that_no_schema_has(item: bytes, field: str) -> None:
    fields = {reference(key): reference(value) for key, value in plain(SAMPLE).items()} | {reference(field): item}
    data = bytes([0xA0 + len(fields)]) + b"".join(key + fields[key] for key in sorted(fields))
    with pytest.raises(Malformed) as caught:
        decode(Sample, data)
    assert caught.value.where == "Sample"
    assert caught.value.expected == "no tag, float or negative integer"


def replaced(old: bytes, new: bytes) -> bytes:
    data = encode(SAMPLE)
    assert data.count(old) == 1
    return data.replace(old, new)


NON_CANONICAL = {
    "a longer integer": (replaced(b"ecount\x00", b"ecount\x18\x00"), "shortest integers and lengths"),
    "an integer in eight bytes": (replaced(b"\x18\x18", b"\x1b" + bytes(7) + b"\x18"), "shortest integers and lengths"),
    "a longer length": (replaced(b"\x42ab", b"\x58\x02ab"), "shortest integers and lengths"),
    "an indefinite byte string": (replaced(b"\x42ab", b"\x5f\x42ab\xff"), "definite lengths"),
    "an indefinite array": (replaced(b"\x81\xa1", b"\x9f\xa1") + b"\xff", "definite lengths"),
    "an indefinite map": (b"\xbf" + encode(SAMPLE)[1:] + b"\xff", "definite lengths"),
    "a reserved head": (replaced(b"\x42ab", b"\x5c\x02ab"), "definite lengths"),
    "an unknown key": (b"\xa1\x64nope\x00", "known fields only"),
    "a key that is no text": (b"\xa1\x00\x00", "a text map key"),
    "trailing bytes": (encode(SAMPLE) + b"\x00", "one CBOR item"),
    "truncated bytes": (encode(SAMPLE)[:-1], "a complete CBOR item"),
    "nothing": (b"", "a complete CBOR item"),
    "not UTF-8": (replaced(b"ealice", b"eali\xffe"), "CBOR with valid UTF-8 text"),
    "an encoded surrogate": (replaced(b"ealice", b"eal\xed\xa0\x80"), "CBOR with valid UTF-8 text"),
    "nested too deep": (b"\x81" * 60000, "nesting of at most 8"),
    "a huge byte string": (b"\x5b" + b"\xff" * 8, "a length within the 0 bytes left"),
    "a huge array": (b"\x9b\x7f" + b"\xff" * 7, "a length within the 0 bytes left"),
    "a huge map": (b"\xbb\x7f" + b"\xff" * 7, "a length within the 0 bytes left"),
}


@pytest.mark.parametrize(("data", "expected"), NON_CANONICAL.values(), ids=NON_CANONICAL.keys())
def test_other_spellings_are_named(data: bytes, expected: str) -> None:
    with pytest.raises(Malformed) as caught:
        decode(Sample, data)
    assert caught.value.expected == expected


def test_the_example_of_the_specification() -> None:
    data = bytes.fromhex("a2 64 74657874 63 776879 65 696e646578 07")
    assert encode(Detail(7, "why")) == data
    assert decode(Detail, data) == Detail(7, "why")


def test_unsorted_and_duplicate_keys_are_named() -> None:
    pair = [reference("text") + reference("why"), reference("index") + b"\x07"]
    assert decode(Detail, b"\xa2" + pair[0] + pair[1]) == Detail(7, "why")
    with pytest.raises(Malformed) as unsorted:
        decode(Detail, b"\xa2" + pair[1] + pair[0])
    with pytest.raises(Malformed) as duplicate:
        decode(Detail, b"\xa3" + pair[0] + pair[0] + pair[1])
    assert unsorted.value.expected == "map keys in canonical order"
    assert duplicate.value.expected == "each map key once"


WRONG_VALUES: dict[str, tuple[str, Any]] = {
    "integer for bool": ("flag", 1),
    "bool for integer": ("maybe", True),
    "text for bytes": ("digest", "ab"),
    "bytes for text": ("name", b"alice"),
    "one byte short": ("digest", b"a"),
    "one byte over": ("digest", b"abc"),
    "null": ("flag", None),
    "reserved": ("later", 0),
    "over 63 bits": ("maybe", 2**63),
    "too many items": ("numbers", [0, 0, 0, 0]),
    "a map for an array": ("numbers", {}),
    "an array for a map": ("inners[0]", [[]]),
    "an unknown field": ("inners[0]", [{"count": 1, "more": 1}]),
    "a missing field": ("inners[0].count", [{}]),
    "no capitals": ("name", "Alice"),
    "no dot first": ("name", ".alice"),
    "empty": ("name", ""),
    "65 characters": ("name", "a" * 65),
    "a newline at the end": ("name", "alice\n"),
    "a line break": ("note", "one\ntwo"),
    "an escape": ("note", "\x1b[31m"),
    "a C1 control": ("note", "\x85"),
    "a line separator": ("note", "\u2028"),
    "257 characters": ("note", "a" * 257),
}


@pytest.mark.parametrize(("where", "value"), WRONG_VALUES.values(), ids=WRONG_VALUES.keys())
def test_wrong_values_name_the_field(where: str, value: Any) -> None:
    body = plain(SAMPLE) | {where.partition("[")[0]: value}
    with pytest.raises(Malformed) as caught:
        decode(Sample, reference(body))
    assert caught.value.where == f"Sample.{where}"


def test_text_is_counted_in_characters() -> None:
    body = dataclasses.replace(SAMPLE, note="ß" * 256)
    assert decode(Sample, encode(body)) == body


@pytest.mark.parametrize(
    "body",
    [
        dataclasses.replace(SAMPLE, flag=1),
        dataclasses.replace(SAMPLE, numbers=[1]),
        dataclasses.replace(SAMPLE, numbers=(-1,)),
        dataclasses.replace(SAMPLE, inners=(Detail(1, "a"),)),
        dataclasses.replace(SAMPLE, note="\ud800"),
        dataclasses.replace(SAMPLE, later=0),
        Sample,
        {"flag": True},
    ],
)
def test_encode_refuses_values_outside_the_annotations(body: Any) -> None:
    with pytest.raises(Misuse):
        encode(body)


def test_limits_hold_at_their_edge() -> None:
    data = encode(SAMPLE)
    assert decode(Sample, data, len(data)) == SAMPLE
    with pytest.raises(Malformed, match=f"at most {len(data) - 1} bytes"):
        decode(Sample, data, len(data) - 1)
    with pytest.raises(Misuse, match="the limit is"):
        encode(SAMPLE, len(data) - 1)
    aborted = RoundAborted("f", 1, bytes(32), None, "r", tuple(MissingParty(f"p{i}", "r") for i in range(64)))
    assert decode(RoundAborted, encode(aborted)) == aborted
    with pytest.raises(Misuse, match="at most 64 items"):
        encode(dataclasses.replace(aborted, missing=(*aborted.missing, MissingParty("q", "r"))))


def test_hostile_lengths_allocate_nothing() -> None:
    hostile = [b"\x9a\x00\x00\xff\xf0" + b"\x80" * ENTRY_LIMIT, b"\xba\x00\x00\x7f\xf0" + b"\x60\x80" * 32768]
    tracemalloc.start()
    for data in hostile:
        with pytest.raises(Malformed):
            decode(RoundClosed, data[:ENTRY_LIMIT])
    with pytest.raises(Malformed, match="at most 4194304 bytes"):
        decode(Policy, bytes(POLICY_LIMIT + 1), POLICY_LIMIT)
    assert tracemalloc.get_traced_memory()[1] < 16 * ENTRY_LIMIT + 2 * POLICY_LIMIT
    tracemalloc.stop()


def test_items_are_limited() -> None:
    with pytest.raises(Malformed, match="at most 1048576 items"):
        decode(Policy, b"\x9a\x00\x10\x00\x00" + bytes(1 << 20), POLICY_LIMIT)
    with pytest.raises(Misuse, match="at most 1048576 items"):
        encode(Numbers((0,) * (1 << 20)), 1 << 30)


def test_what_the_library_accepts_is_not_what_is_accepted() -> None:
    """The scan matters: the CBOR library alone takes every one of these."""
    for data in (b"\x00\x00", b"\xc2\x41\x01", b"\xd8\x23\x64(a+)", b"\x5f\x41a\xff", b"\xf9\x7e\x00"):
        cbor2.loads(data)
        with pytest.raises(Malformed):
            decode(Sample, data)
