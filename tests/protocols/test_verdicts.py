"""One character for each entry: every value has one spelling, and a spelling that is none is refused by name."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.errors import Malformed, Misuse
from protocols.encoding import ENTRY_LIMIT, decode, encode
from protocols.messages import CohortClosed, Detail, Dispute, Exclusion, ShareAck
from protocols.verdicts import ANSWERS, VERDICTS, read, spell

ACK = ShareAck("f", 1, bytes(32), "t", 7, "-h-oh", bytes(32))
CLOSED = CohortClosed("f", 1, bytes(32), 7, "a2-ia-", (Detail(10, "shortness"),), ("t",), bytes(32))


@given(st.dictionaries(st.integers(7, 60), st.sampled_from(list(VERDICTS.values()))), st.integers(61, 80))
def test_verdicts_are_read_as_they_were_spelled(said: dict[int, str], stop: int) -> None:
    text = spell(7, said, VERDICTS, stop)
    assert read(7, text, VERDICTS) == said
    assert len(text) == stop - 7
    assert decode(CohortClosed, encode(replace(CLOSED, verdicts=text))).judged() == said


@given(st.dictionaries(st.integers(7, 60), st.sampled_from(list(ANSWERS.values()))))
def test_answers_have_one_spelling(said: dict[int, str]) -> None:
    """It ends with the last submission that something is said of."""
    text = spell(7, said, ANSWERS)
    found = decode(ShareAck, encode(replace(ACK, answers=text)))
    assert found.said() == said
    assert {*found.acknowledged, *(each.index for each in found.disputed)} == said.keys()
    with pytest.raises(Misuse, match="answers"):
        encode(replace(ACK, answers=text + "-"))


def test_messages_say_it_in_lists() -> None:
    assert ACK.acknowledged == (8, 11)
    assert ACK.disputed == (Dispute(10, "share-opening"),)
    assert CLOSED.accepted == (7, 11)
    assert CLOSED.excluded == (Exclusion(8, "duplicate", ""), Exclusion(10, "invalid-proof", "shortness"))
    assert [CLOSED.verdict(index) for index in (6, 7, 9, 10, 12, 13)] == [
        None,
        "accepted",
        None,
        "invalid-proof",
        None,
        None,
    ]


@pytest.mark.parametrize("text", ["a" * (ENTRY_LIMIT + 1), "aA", "a b", "ab", "a\n", "\u0430", "1"])
def test_other_characters_are_malformed(text: str) -> None:
    field = encode(CLOSED)
    old = bytes([0x60 + len(CLOSED.verdicts)]) + CLOSED.verdicts.encode()
    size = len(text.encode())
    head = bytes([0x60 + size]) if size < 24 else b"\x7a" + size.to_bytes(4, "big")
    with pytest.raises(Malformed) as caught:
        decode(CohortClosed, field.replace(old, head + text.encode()), 1 << 20)
    assert caught.value.where == "CohortClosed.verdicts"
    assert len(str(caught.value)) < 300


def test_more_details_than_a_hundred_are_malformed() -> None:
    with pytest.raises(Misuse, match="at most 100 items"):
        encode(replace(CLOSED, details=(Detail(10, ""),) * 101))
