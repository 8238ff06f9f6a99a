from __future__ import annotations

import hashlib
from collections.abc import Callable

import numpy as np
import pytest
from Crypto.Hash import cSHAKE256
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.challenger import Challenger
from proofs.curve import ORDER
from proofs.errors import Misuse


def test_framing_by_hand() -> None:
    """The definition of spec 5.4, written out."""
    challenger = Challenger(b"tag")
    challenger.absorb("data", b"abc")
    value = challenger.scalar("x")

    def framed(data: bytes) -> bytes:
        return len(data).to_bytes(8, "big") + data

    state = cSHAKE256.new(data=bytes(64) + b"\x00" + framed(b"data") + framed(b"abc"), custom=b"tag").read(64)
    one = (1).to_bytes(8, "big")
    output = cSHAKE256.new(data=state + b"\x01" + framed(b"x") + framed(one), custom=b"tag").read(128)
    assert value == int.from_bytes(output[64:], "big") % ORDER


OPERATIONS = st.lists(
    st.tuples(
        st.sampled_from(["absorb", "scalars", "weights"]), st.sampled_from(["", "a", "aa"]), st.binary(max_size=3)
    ),
    max_size=4,
)


def outcome(operations: list[tuple[str, str, bytes]]) -> int:
    challenger = Challenger(b"tag")
    for kind, label, data in operations:
        if kind == "absorb":
            challenger.absorb(label, data)
        elif kind == "scalars":
            challenger.scalars(label, len(data))
        else:
            challenger.weights(label, len(data))
    return challenger.scalar("end")


@settings(max_examples=200, deadline=None)
@given(first=OPERATIONS, second=OPERATIONS)
def test_different_operations_different_challenges(
    first: list[tuple[str, str, bytes]], second: list[tuple[str, str, bytes]]
) -> None:
    def canonical(operations: list[tuple[str, str, bytes]]) -> list[tuple[str, str, bytes | int]]:
        return [(kind, label, data if kind == "absorb" else len(data)) for kind, label, data in operations]

    assert (outcome(first) == outcome(second)) == (canonical(first) == canonical(second))


def test_tags_separate() -> None:
    assert Challenger(b"a").scalar("x") != Challenger(b"b").scalar("x")


def test_boundaries_between_absorptions_matter() -> None:
    def after(*parts: bytes) -> int:
        challenger = Challenger(b"tag")
        for part in parts:
            challenger.absorb("data", part)
        return challenger.scalar("x")

    assert len({after(b"ab"), after(b"a", b"b"), after(b"", b"ab"), after(b"ab", b"")}) == 4


def test_ranges_and_distribution() -> None:
    challenger = Challenger(b"tag")
    assert all(0 <= value < ORDER for value in challenger.scalars("x", 100))
    assert all(0 <= value < 2**128 for value in challenger.weights("w", 100))
    signs = challenger.signs("s", 100, 999)
    assert signs.shape == (100, 999)
    assert signs.dtype == np.int8
    counts = {value: int((signs == value).sum()) / signs.size for value in (-1, 0, 1)}
    assert abs(counts[0] - 0.5) < 0.01
    assert abs(counts[1] - 0.25) < 0.01
    assert abs(counts[-1] - 0.25) < 0.01
    assert set(np.unique(signs)) == {-1, 0, 1}


def test_signs_by_hand() -> None:
    def framed(data: bytes) -> bytes:
        return len(data).to_bytes(8, "big") + data

    shape = (2).to_bytes(8, "big") + (5).to_bytes(8, "big")
    stream = cSHAKE256.new(data=bytes(64) + b"\x02" + framed(b"s") + framed(shape), custom=b"tag").read(64 + 3)[64:]
    patterns = [int.from_bytes(stream, "little") >> 2 * i & 3 for i in range(10)]
    expected = np.array([(0, 0, 1, -1)[pattern] for pattern in patterns]).reshape(2, 5)
    assert np.array_equal(Challenger(b"tag").signs("s", 2, 5), expected)


@pytest.mark.parametrize(
    "call", [lambda c: c.scalars("x", -1), lambda c: c.signs("x", -1, 1), lambda c: c.weights("x", -1)]
)
def test_negative_counts_are_refused(call: Callable[[Challenger], object]) -> None:
    with pytest.raises(Misuse, match="count"):
        call(Challenger(b"tag"))


def test_counts_up_to_63_bits_are_framed() -> None:
    """The largest count needs no bytes where the other factor is zero; one more is refused before anything is drawn."""
    assert Challenger(b"tag").signs("s", 2**63 - 1, 0).shape == (2**63 - 1, 0)
    for call in (lambda c: c.scalars("x", 2**63), lambda c: c.signs("x", 2**63, 0), lambda c: c.weights("x", 2**63)):
        with pytest.raises(Misuse, match="count"):
            call(Challenger(b"tag"))


def test_recorded() -> None:
    challenger = Challenger(b"verifl/v1/test")
    challenger.absorb("context", b"hello")
    digest = hashlib.sha256(repr((challenger.scalars("x", 2), challenger.weights("w", 2))).encode()).hexdigest()
    assert digest == "4e0d536635450fdc3ad45d5e65218c2a6df77db8cf470fccdd9b653b903eb632"
