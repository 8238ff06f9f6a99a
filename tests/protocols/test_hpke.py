"""HPKE with X-Wing: published vectors, round trips, hostile bytes.

The library seals with its own randomness and without additional data, so a published ciphertext cannot be reproduced.
What can be checked is: keys and KEM against the X-Wing vectors; a key schedule written here from RFC 9180 against the
HPKE vectors; and that the library opens what this key schedule seals under a published encapsulation.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.errors import Misuse, Rejected
from protocols import hpke

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "hpke" / "xwing.json").read_text())
X_WING, HKDF_SHA256, AES_256_GCM, CHACHA20_POLY1305 = 0x647A, 1, 2, 3


def extract(suite: bytes, salt: bytes, label: bytes, secret: bytes) -> bytes:
    return hmac.digest(salt or bytes(32), b"HPKE-v1" + suite + label + secret, hashlib.sha256)


def expand(suite: bytes, secret: bytes, label: bytes, info: bytes, size: int) -> bytes:
    labeled = size.to_bytes(2, "big") + b"HPKE-v1" + suite + label + info
    return hmac.digest(secret, labeled + b"\x01", hashlib.sha256)[:size]


def key_schedule(shared_secret: bytes, info: bytes, aead: int) -> tuple[bytes, bytes]:
    """RFC 9180, 5.1, mode base with HKDF-SHA256: (key, base nonce) for a 32-byte key."""
    suite = b"HPKE" + b"".join(i.to_bytes(2, "big") for i in (X_WING, HKDF_SHA256, aead))
    context = b"\x00" + extract(suite, b"", b"psk_id_hash", b"") + extract(suite, b"", b"info_hash", info)
    secret = extract(suite, shared_secret, b"secret", b"")
    return expand(suite, secret, b"key", context, 32), expand(suite, secret, b"base_nonce", context, 12)


@pytest.mark.parametrize("vector", [*VECTORS["xwing"], *VECTORS["hpke"]])
def test_published_keys(vector: dict[str, Any]) -> None:
    private, public = (bytes.fromhex(vector.get(a, vector.get(b, ""))) for a, b in (("sk", "skRm"), ("pk", "pkRm")))
    assert hpke.public_key(private) == public
    assert hpke.generate_round_key(lambda _: private) == (private, public)


@pytest.mark.parametrize("vector", VECTORS["hpke"])
def test_key_schedule_of_this_file_meets_the_vectors(vector: dict[str, Any]) -> None:
    key, nonce = key_schedule(bytes.fromhex(vector["shared_secret"]), bytes.fromhex(vector["info"]), CHACHA20_POLY1305)
    assert (key.hex(), nonce.hex()) == (vector["key"], vector["base_nonce"])
    first = vector["encryptions"][0]
    sealed = ChaCha20Poly1305(key).encrypt(nonce, bytes.fromhex(first["pt"]), bytes.fromhex(first["aad"]))
    assert sealed.hex() == first["ct"]


@pytest.mark.parametrize("vector", [*VECTORS["xwing"], *VECTORS["hpke"]])
def test_opens_a_ciphertext_under_a_published_encapsulation(vector: dict[str, Any]) -> None:
    names = ("sk", "ct", "ss") if "sk" in vector else ("skRm", "enc", "shared_secret")
    private, encapsulation, shared = (bytes.fromhex(vector[name]) for name in names)
    key, nonce = key_schedule(shared, b"round 7", AES_256_GCM)
    sealed = encapsulation + AESGCM(key).encrypt(nonce, b"a share", None)
    assert hpke.open_sealed(private, b"round 7", sealed) == b"a share"


def test_round_trip_and_sizes() -> None:
    private, public = hpke.generate_round_key(os.urandom)
    assert (len(private), len(public)) == (hpke.PRIVATE_KEY_SIZE, hpke.PUBLIC_KEY_SIZE)
    sealed = hpke.seal(public, b"info", b"share")
    assert len(sealed) == len(b"share") + hpke.OVERHEAD
    assert hpke.open_sealed(private, b"info", sealed) == b"share"
    assert hpke.seal(public, b"info", b"share") != sealed


def test_another_context_does_not_open() -> None:
    private, public = hpke.generate_round_key(os.urandom)
    sealed = hpke.seal(public, b"round 1 alice", b"share")
    with pytest.raises(Rejected) as excinfo:
        hpke.open_sealed(private, b"round 2 alice", sealed)
    assert excinfo.value.check == "share-decryption"


def test_another_key_does_not_open() -> None:
    _, public = hpke.generate_round_key(os.urandom)
    other, _ = hpke.generate_round_key(os.urandom)
    with pytest.raises(Rejected) as excinfo:
        hpke.open_sealed(other, b"", hpke.seal(public, b"", b"share"))
    assert excinfo.value.check == "share-decryption"


PRIVATE, PUBLIC = hpke.generate_round_key(os.urandom)
SEALED = hpke.seal(PUBLIC, b"info", bytes(64))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 8 * len(SEALED) - 1))
def test_any_flipped_bit_is_rejected(bit: int) -> None:
    flipped = bytearray(SEALED)
    flipped[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Rejected) as excinfo:
        hpke.open_sealed(PRIVATE, b"info", bytes(flipped))
    assert excinfo.value.check == "share-decryption"


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=3000) | st.integers(0, len(SEALED) - 1).map(lambda size: SEALED[:size]))
def test_arbitrary_bytes_are_rejected(sealed: bytes) -> None:
    with pytest.raises(Rejected) as excinfo:
        hpke.open_sealed(PRIVATE, b"info", sealed)
    assert excinfo.value.check == "share-decryption"


def test_small_order_encapsulation_is_rejected() -> None:
    sealed = SEALED[:1088] + bytes(32) + SEALED[1120:]
    with pytest.raises(Rejected) as excinfo:
        hpke.open_sealed(PRIVATE, b"info", sealed)
    assert excinfo.value.check == "share-decryption"


@pytest.mark.parametrize(
    "public",
    [
        pytest.param(b"", id="empty"),
        pytest.param(PUBLIC[:-1], id="short"),
        pytest.param(PUBLIC + b"\x00", id="long"),
        pytest.param(b"\xff" * 1184 + PUBLIC[1184:], id="coefficients out of range"),
        pytest.param(PUBLIC[:1184] + bytes(32), id="small order"),
    ],
)
def test_hostile_round_keys_are_rejected(public: bytes) -> None:
    for refused in (lambda: hpke.check_public_key(public), lambda: hpke.seal(public, b"", b"share")):
        with pytest.raises(Rejected) as excinfo:
            refused()
        assert excinfo.value.check == "round-key"


def test_a_good_round_key_passes() -> None:
    hpke.check_public_key(PUBLIC)


PRIME = 2**255 - 19


def with_u(u: int) -> bytes:
    return PUBLIC[:1184] + u.to_bytes(32, "little")


@pytest.mark.parametrize("u", range(PRIME, 2**255))
def test_an_x25519_half_beyond_its_prime_is_a_second_spelling(u: int) -> None:
    assert refusal(with_u(u)) == SECOND_SPELLING
    assert refusal(with_u(u - PRIME)) != SECOND_SPELLING


def test_the_top_bit_of_the_x25519_half_is_a_second_spelling() -> None:
    u = int.from_bytes(PUBLIC[1184:], "little")
    assert refusal(with_u(u | 1 << 255)) == SECOND_SPELLING
    for top in (PRIME, 2**255 - 1, PRIME - 1, 9):
        assert refusal(with_u(top | 1 << 255)) == SECOND_SPELLING
    assert refusal(with_u(9)) is None


def test_a_coefficient_of_the_ml_kem_half_has_one_spelling() -> None:
    """FIPS 203, 7.2: twelve bits hold each coefficient, and 3329 more than it where it is small."""
    packed = int.from_bytes(PUBLIC[:1152], "little")
    small = [i for i in range(768) if (packed >> 12 * i & 0xFFF) < 4096 - 3329]
    for i in (small[0], small[len(small) // 2], small[-1]):
        again = packed + (3329 << 12 * i)
        assert (refusal(again.to_bytes(1152, "little") + PUBLIC[1152:]) or "").startswith("an X-Wing public key")


def test_another_spelling_of_an_encapsulation_does_not_open() -> None:
    """X25519 takes both for the same point; X-Wing hashes the bytes. And u = 9 is a point whose secret all know."""
    respelled = bytearray(SEALED)
    respelled[1119] |= 0x80
    for_nine = SEALED[:1088] + (9 + PRIME).to_bytes(32, "little") + SEALED[1120:]
    for sealed in (bytes(respelled), for_nine):
        with pytest.raises(Rejected) as excinfo:
            hpke.open_sealed(PRIVATE, b"info", sealed)
        assert excinfo.value.check == "share-decryption"


SECOND_SPELLING = "u below 2^255 - 19, its top bit clear"


def refusal(public: bytes) -> str | None:
    """What was expected of a round key; None where it is taken."""
    try:
        hpke.check_public_key(public)
    except Rejected as error:
        return error.expected if error.check == "round-key" else error.check
    return None


def test_private_key_of_another_size_is_misuse() -> None:
    with pytest.raises(Misuse, match="32 bytes"):
        hpke.open_sealed(bytes(31), b"", SEALED)
