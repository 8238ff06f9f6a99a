"""Checkpoints: the C2SP formats, one spelling, quorum, tampering."""

from __future__ import annotations

import base64
import dataclasses

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.errors import Malformed, Misuse, Rejected
from protocols.identities import SigningKey, verify
from protocols.log.checkpoint import (
    Checkpoint,
    SignedNote,
    add_cosignatures,
    check_note,
    cosign,
    format_note,
    key_id,
    parse_note,
    render_note,
    sign_checkpoint,
    timestamp_of,
)
from protocols.policy import Member

ORIGIN = "verifl.example/hospitals"
LOG = SigningKey.from_seed(b"l" * 32)
KEYS = {f"trustee-{number}": SigningKey.from_seed(bytes([number]) * 32) for number in range(5)}
TRUSTEES = tuple(Member(name, key.public_key) for name, key in KEYS.items())
HEAD = Checkpoint(ORIGIN, 20852163, b"r" * 32)
SIGNED = sign_checkpoint(HEAD, ORIGIN, LOG)
TIME = 1679315147


def cosigned(*numbers: int, head: Checkpoint = HEAD) -> bytes:
    lines = [cosign(head, f"trustee-{number}", KEYS[f"trustee-{number}"], TIME + number) for number in numbers]
    return add_cosignatures(sign_checkpoint(head, ORIGIN, LOG), lines)


def refusal(note: bytes, quorum: int = 0, origin: str | None = ORIGIN) -> str:
    with pytest.raises(Rejected) as caught:
        check_note(parse_note(note), LOG.public_key, TRUSTEES, quorum, origin=origin)
    return caught.value.check


def test_text_is_that_of_tlog_checkpoint() -> None:
    text = f"{ORIGIN}\n20852163\n{base64.b64encode(b'r' * 32).decode()}\n"
    assert format_note(HEAD) == text.encode()
    assert SIGNED.startswith(text.encode() + b"\n\xe2\x80\x94 " + ORIGIN.encode() + b" ")
    assert SIGNED.endswith(b"=\n")
    assert parse_note(SIGNED).checkpoint == HEAD


def test_key_id_and_signature_of_the_signed_note_specification() -> None:
    """The example of C2SP signed-note: verifier key example.com/foo+530d903a+AekyeRrm..."""
    algorithm_and_key = base64.b64decode("AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k")
    assert key_id("example.com/foo", algorithm_and_key[1:], algorithm_and_key[:1]).hex() == "530d903a"
    line = "Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM="
    signature = base64.b64decode(line)
    assert signature[:4].hex() == "530d903a"
    verify(algorithm_and_key[1:], signature[4:], b"This is an example message.\n")


def test_the_example_of_the_cosignature_specification_parses() -> None:
    example = (
        "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
        "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/"
        "Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
        "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2oyin1n"
        "PZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
    ).encode()
    note = parse_note(example)
    assert note.checkpoint.size == 20852163
    assert timestamp_of(note.signatures[1]) == 1679315147
    assert render_note(note) == example


def test_cosignature_covers_header_time_and_text() -> None:
    line = cosign(HEAD, "trustee-1", KEYS["trustee-1"], TIME)
    signature = base64.b64decode(line.split()[2])
    key = KEYS["trustee-1"].public_key
    assert signature[:4] == key_id("trustee-1", key, b"\x04")
    assert signature[4:12] == TIME.to_bytes(8, "big")
    verify(key, signature[12:], b"cosignature/v1\ntime 1679315147\n" + format_note(HEAD))


def test_quorum() -> None:
    note = cosigned(3, 0, 1)
    for quorum in range(4):
        found = check_note(parse_note(note), LOG.public_key, TRUSTEES, quorum, origin=ORIGIN)
        assert found == ["trustee-0", "trustee-1", "trustee-3"]
    assert refusal(note, quorum=4) == "checkpoint-quorum"
    assert refusal(SIGNED, quorum=1) == "checkpoint-quorum"


def test_order_of_cosigning_does_not_matter() -> None:
    late = cosign(HEAD, "trustee-0", KEYS["trustee-0"], TIME)
    assert add_cosignatures(cosigned(1, 2), [late]) == add_cosignatures(
        SIGNED, [late, *(cosign(HEAD, f"trustee-{n}", KEYS[f"trustee-{n}"], TIME + n) for n in (2, 1))]
    )


def test_signatures_by_others_are_rejected() -> None:
    stranger = SigningKey.from_seed(b"s" * 32)
    assert (
        refusal(add_cosignatures(SIGNED, [cosign(HEAD, "mallory", stranger, TIME)])) == "checkpoint-unknown-signature"
    )
    own_key = cosign(HEAD, "trustee-1", stranger, TIME)
    assert refusal(add_cosignatures(SIGNED, [own_key])) == "checkpoint-unknown-signature"
    log_as_trustee = cosign(HEAD, ORIGIN, LOG, TIME)
    assert refusal(add_cosignatures(SIGNED, [log_as_trustee])) == "checkpoint-unknown-signature"
    assert refusal(sign_checkpoint(HEAD, ORIGIN, stranger)) == "checkpoint-signature"
    assert refusal(cosigned(1), origin="another.example/log") == "checkpoint-origin"


def test_signatures_over_another_head_are_rejected() -> None:
    other = dataclasses.replace(HEAD, size=HEAD.size + 1)
    moved = dataclasses.replace(parse_note(cosigned(1)), checkpoint=other)
    assert refusal(render_note(moved)) == "checkpoint-signature"
    lines = [cosign(other, "trustee-1", KEYS["trustee-1"], TIME)]
    assert refusal(add_cosignatures(SIGNED, lines)) == "checkpoint-cosignature"


def test_another_timestamp_is_rejected() -> None:
    note = parse_note(cosigned(1))
    signature = note.signatures[1]
    shifted = dataclasses.replace(signature, signature=(TIME + 9).to_bytes(8, "big") + signature.signature[8:])
    changed = SignedNote(note.checkpoint, (note.signatures[0], shifted))
    assert refusal(render_note(changed)) == "checkpoint-cosignature"


NOTE = cosigned(1, 2)
LINES = NOTE.split(b"\n")
MALFORMED = {
    "nothing": b"",
    "no final newline": NOTE[:-1],
    "another final newline": NOTE + b"\n",
    "carriage returns": NOTE.replace(b"\n", b"\r\n"),
    "no empty line": b"\n".join(LINES[:3] + LINES[4:]),
    "an extension line": b"\n".join([*LINES[:3], b"extension", *LINES[3:]]),
    "no signature": b"\n".join([*LINES[:4], b""]),
    "an empty line between signatures": b"\n".join([*LINES[:5], b"", *LINES[5:]]),
    "a leading zero": NOTE.replace(b"\n20852163", b"\n020852163"),
    "a plus": NOTE.replace(b"\n20852163", b"\n+20852163"),
    "an underscore": NOTE.replace(b"\n20852163", b"\n2_0852163"),
    "a space": NOTE.replace(b"\n20852163", b"\n20852163 "),
    "a digit of another script": NOTE.replace(b"\n20852163", "\n\u0662".encode()),
    "a size of 2^63": NOTE.replace(b"\n20852163", b"\n9223372036854775808"),
    "a root of 31 bytes": NOTE.replace(LINES[2], base64.b64encode(b"r" * 31)),
    "base64 with bits after the end": NOTE.replace(LINES[2], LINES[2][:-2] + b"J="),
    "base64 without padding": NOTE.replace(LINES[2], LINES[2][:-1]),
    "base64 with a newline inside": NOTE.replace(LINES[2], LINES[2][:9] + b"\n" + LINES[2][9:]),
    "url-safe base64": NOTE.replace(LINES[2], b"_" + LINES[2][1:]),
    "a hyphen for the dash": NOTE.replace("\u2014 trustee-1".encode(), b"- trustee-1"),
    "two spaces": NOTE.replace("\u2014 trustee-1".encode(), "\u2014  trustee-1".encode()),
    "a name with a plus": NOTE.replace(b" trustee-1 ", b" trustee+1 "),
    "a name with a no-break space": NOTE.replace(b" trustee-1 ", " trustee\u00a01 ".encode()),
    "an origin with a space": NOTE.replace(ORIGIN.encode(), b"verifl hospitals"),
    "an empty origin": NOTE.replace(ORIGIN.encode(), b""),
    "bytes that are not UTF-8": NOTE.replace(b" trustee-1 ", b" trustee\xff1 "),
    "cosignatures out of order": b"\n".join([*LINES[:5], LINES[6], LINES[5], b""]),
    "a cosignature twice": b"\n".join([*LINES[:6], LINES[5], LINES[6], b""]),
    "the log's signature last": b"\n".join([*LINES[:4], *LINES[5:7], LINES[4], b""]),
    "the log's signature twice": b"\n".join([*LINES[:5], LINES[4], *LINES[5:]]),
    "too many signatures": b"\n".join([*LINES[:5], *[LINES[5]] * 65, b""]),
    "too long": NOTE + b"\n" * 65536,
}


@pytest.mark.parametrize("note", MALFORMED.values(), ids=MALFORMED.keys())
def test_other_spellings_are_malformed(note: bytes) -> None:
    with pytest.raises(Malformed) as caught:
        parse_note(note)
    assert caught.value.where.startswith("checkpoint")


def test_a_timestamp_of_2_to_the_63_is_malformed() -> None:
    note = parse_note(NOTE)
    late = dataclasses.replace(note.signatures[1], signature=b"\x80" + note.signatures[1].signature[1:])
    with pytest.raises(Malformed, match="timestamp"):
        render_note(SignedNote(note.checkpoint, (note.signatures[0], late)))


@given(st.integers(0, len(NOTE) - 1), st.integers(0, 255))
@settings(max_examples=300, deadline=None)
def test_any_changed_byte_is_refused(position: int, value: int) -> None:
    changed = bytearray(NOTE)
    changed[position] = value
    if bytes(changed) == NOTE:
        return
    with pytest.raises((Malformed, Rejected)) as caught:
        check_note(parse_note(bytes(changed)), LOG.public_key, TRUSTEES, 2, origin=ORIGIN)
    assert str(caught.value).startswith("checkpoint")


@given(st.one_of(st.binary(max_size=300), st.text("\u2014 \nAb0=+/", max_size=300).map(str.encode)))
@settings(max_examples=200, deadline=None)
def test_parsing_is_total(data: bytes) -> None:
    try:
        note = parse_note(data)
    except Malformed:
        return
    assert render_note(note) == data


@given(st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32), st.sets(st.integers(0, 4)))
@settings(max_examples=40, deadline=None)
def test_round_trip(size: int, root: bytes, numbers: set[int]) -> None:
    data = cosigned(*numbers, head=Checkpoint(ORIGIN, size, root))
    note = parse_note(data)
    assert render_note(note) == data
    assert note.checkpoint == Checkpoint(ORIGIN, size, root)
    assert len(check_note(note, LOG.public_key, TRUSTEES, len(numbers))) == len(numbers)


def test_misuse() -> None:
    for origin in ("", "two words", "a+b", "a\nb", "ü", "x" * 257):
        with pytest.raises(Misuse, match="origin"):
            format_note(Checkpoint(origin, 1, bytes(32)))
    with pytest.raises(Misuse, match="impossible size"):
        format_note(Checkpoint(ORIGIN, 1 << 63, bytes(32)))
    with pytest.raises(Misuse, match="the origin"):
        sign_checkpoint(HEAD, "another", LOG)
    for name, timestamp in (("a b", 1), ("a", -1), ("a", 1 << 63)):
        with pytest.raises(Misuse, match="cosign"):
            cosign(HEAD, name, LOG, timestamp)
    with pytest.raises(Malformed, match="a name after"):
        add_cosignatures(NOTE, [cosign(HEAD, "trustee-1", KEYS["trustee-1"], TIME)])
