"""What the second auditor computes by itself, against published vectors, and against the libraries of the first.

A key that policies may not contain can still stand in a policy that is to be refused, and then both have to refuse the
same signatures. So every encoding on which implementations of Ed25519 are known to differ is tried: keys of
small and of mixed order, second spellings of y and of x = 0, of S and of R (see Chalkias, Garillot, Nikolaenko, "Taming
the many EdDSAs", 2020).
"""

from __future__ import annotations

import hashlib
import random
from itertools import product

import pytest
from Crypto.Hash import cSHAKE256
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.errors import Rejected
from protocols import hpke
from protocols.identities import SigningKey, check_public_key, verify
from tests.independent.edwards import (
    NEUTRAL,
    ORDER,
    PRIME,
    Extended,
    add,
    base,
    decode,
    double_multiple,
    encode,
    has_small_order,
    verifies,
)
from tests.independent.identities import enrollable
from tests.independent.keccak import cshake256, shake256
from tests.seeded import seeded

MESSAGE = b"checkpoint"


def library(public_key: bytes, signature: bytes, data: bytes) -> bool:
    """The first auditor's verification: OpenSSL's."""
    try:
        verify(public_key, signature, data)
    except Rejected:
        return False
    return True


def agreed(public_key: bytes, signature: bytes, data: bytes = MESSAGE) -> bool:
    found = verifies(public_key, signature, data)
    assert library(public_key, signature, data) == found
    return found


# ---- sponges ----

# NIST SP 800-185, cSHAKE samples 3 and 4: cSHAKE256, 512 bits, S = "Email Signature"
SAMPLES = {
    bytes(range(4)): "d008828e2b80ac9d2218ffee1d070c48b8e4c87bff32c9699d5b6896eee0edd1"
    "64020e2be0560858d9c00c037e34a96937c561a74c412bb4c746469527281c8c",
    bytes(range(200)): "07dc27b11e51fbac75bc7b3c1d983e8b4b85fb1defaf218912ac864302730917"
    "27f42b17ed1df63e8ec118f04b23633c1dfb1574c8fb55cb45da8e25afb092bb",
}


@pytest.mark.parametrize("data", SAMPLES, ids=len)
def test_cshake_samples(data: bytes) -> None:
    assert cshake256(data, b"Email Signature", 64).hex() == SAMPLES[data]


@pytest.mark.parametrize("length", [0, 1, 134, 135, 136, 137, 271, 272, 273])
@pytest.mark.parametrize("wanted", [0, 1, 64, 136, 137, 300])
def test_sponges_at_the_edges_of_blocks(length: int, wanted: int) -> None:
    data = bytes(i % 251 for i in range(length))
    assert shake256(data, wanted) == hashlib.shake_256(data).digest(wanted)
    for tag in (b"t", b"verifl/v1/argument", data or b"t"):
        assert cshake256(data, tag, wanted) == cSHAKE256.new(data, custom=tag).read(wanted)
    assert cshake256(data, b"", wanted) == hashlib.shake_256(data).digest(wanted)


# ---- signatures ----

# RFC 8032, 7.1, tests 1 to 3 and SHA(abc): public key, message, signature
VECTORS = [
    (
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        b"",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        b"\x72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        b"\xaf\x82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    (
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").digest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
]


@pytest.mark.parametrize(("public_key", "message", "signature"), VECTORS)
def test_rfc_8032(public_key: str, message: bytes, signature: str) -> None:
    assert agreed(bytes.fromhex(public_key), bytes.fromhex(signature), message)
    assert not agreed(bytes.fromhex(public_key), bytes.fromhex(signature), message + b"!")


@settings(max_examples=15, deadline=None)
@given(st.binary(min_size=32, max_size=32), st.binary(max_size=60), st.integers(0, 511), st.integers(0, 255))
def test_honest_signatures_and_those_with_a_bit_changed(seed: bytes, data: bytes, bit: int, of_key: int) -> None:
    key = SigningKey(seed)
    signature = key.sign(data)
    assert agreed(key.public_key, signature, data)
    changed = (int.from_bytes(signature, "little") ^ 1 << bit).to_bytes(64, "little")
    assert not agreed(key.public_key, changed, data)
    other = (int.from_bytes(key.public_key, "little") ^ 1 << of_key).to_bytes(32, "little")
    assert not agreed(other, signature, data)


@pytest.mark.parametrize("length", [0, 31, 33, 63, 65, 96])
def test_other_lengths(length: int) -> None:
    key = SigningKey(bytes(32))
    signature = key.sign(MESSAGE)
    assert not agreed(key.public_key, (signature + bytes(64))[:length])
    assert not agreed((key.public_key + bytes(64))[:length], signature)


def times(scalar: int, point: Extended) -> Extended:
    return double_multiple(scalar, point, 0, NEUTRAL)


def torsion() -> list[Extended]:
    """The eight points whose order divides 8, as multiples of one of order 8."""
    for y in range(2, 100):
        point = decode(y.to_bytes(32, "little"))
        if point is not None:
            found = times(ORDER, point)
            if encode(times(4, found)) != encode(NEUTRAL):
                return [times(i, found) for i in range(8)]
    raise ArithmeticError("no point of order 8")


TORSION = torsion()


def spellings(point: Extended) -> list[bytes]:
    """Every 32 bytes that could be read as this point: y or y + p, and, where x is 0, either sign."""
    canonical = int.from_bytes(encode(point), "little")
    sign, y = canonical >> 255, canonical & (1 << 255) - 1
    ys = [each for each in (y, y + PRIME) if each < 1 << 255]
    signs = [sign] if point[0] % PRIME else [0, 1]
    return [(each | bit << 255).to_bytes(32, "little") for each, bit in product(ys, signs)]


def hashed(r: bytes, public_key: bytes) -> int:
    return int.from_bytes(hashlib.sha512(r + public_key + MESSAGE).digest(), "little") % ORDER


def signature_by_small_key(public_key: bytes, point: Extended, holds: bool) -> bytes:
    """R = [r]B and S = r: [S]B = R + [k]A where [k]A is neutral, and not where it is not. (RFC 8032 needs no more.)"""
    for r in range(1, 200):
        encoded = encode(times(r, base()))
        if (encode(times(hashed(encoded, public_key) % 8, point)) == encode(NEUTRAL)) == holds:
            return encoded + r.to_bytes(32, "little")
    raise ArithmeticError("no such r")


SMALL = [(spelling, point) for point in TORSION for spelling in spellings(point)]


def test_all_encodings_of_small_order_are_here() -> None:
    assert len({spelling for spelling, _ in SMALL}) == 14
    assert len({encode(point) for _, point in SMALL}) == 8


@pytest.mark.parametrize(("public_key", "point"), SMALL, ids=[each.hex()[:6] + each.hex()[-2:] for each, _ in SMALL])
def test_keys_of_small_order_in_every_spelling(public_key: bytes, point: Extended) -> None:
    """y above p counts modulo p, and the sign of x = 0 does not count: spec 2.4, as OpenSSL does it."""
    assert agreed(public_key, signature_by_small_key(public_key, point, holds=True))
    if encode(point) != encode(NEUTRAL):
        assert not agreed(public_key, signature_by_small_key(public_key, point, holds=False))
    assert not enrollable(public_key)
    with pytest.raises(Rejected):
        check_public_key(public_key)


@pytest.mark.parametrize("nth", range(1, 8))
def test_keys_of_mixed_order(nth: int) -> None:
    """An honest key plus a small point: without the cofactor, its signatures hold only where k cancels that point."""
    secret, found = 12345 + nth, {True: 0, False: 0}
    point = add(times(secret, base()), TORSION[nth])
    public_key = encode(point)
    for r in range(1, 60):
        encoded = encode(times(r, base()))
        k = hashed(encoded, public_key)
        cancels = encode(times(k % 8, TORSION[nth])) == encode(NEUTRAL)
        if found[cancels] < 2:
            assert agreed(public_key, encoded + ((r + k * secret) % ORDER).to_bytes(32, "little")) is cancels
            found[cancels] += 1
    assert min(found.values()) >= 1
    assert enrollable(public_key)
    check_public_key(public_key)


@pytest.mark.parametrize("nth", range(1, 8))
def test_a_commitment_of_mixed_order(nth: int) -> None:
    """R plus a small point: only an equation with the cofactor would hold."""
    key = times(777, base())
    encoded = encode(add(times(5, base()), TORSION[nth]))
    s = (5 + hashed(encoded, encode(key)) * 777) % ORDER
    assert not agreed(encode(key), encoded + s.to_bytes(32, "little"))


def test_a_commitment_in_another_spelling() -> None:
    """R is compared as bytes: S = 0 and a key of order 1 make R the neutral point, which has four spellings."""
    neutral = encode(NEUTRAL)
    for spelling in spellings(NEUTRAL):
        assert agreed(neutral, spelling + bytes(32)) is (spelling == neutral)


def test_the_scalar_has_one_spelling() -> None:
    key = SigningKey(bytes(32))
    signature = key.sign(MESSAGE)
    s = int.from_bytes(signature[32:], "little")
    for multiple in range(1, 16):
        other = s + multiple * ORDER
        if other < 1 << 256:
            assert not agreed(key.public_key, signature[:32] + other.to_bytes(32, "little"))
    neutral = encode(NEUTRAL)
    assert agreed(neutral, encode(times(ORDER - 1, base())) + (ORDER - 1).to_bytes(32, "little"))
    for s in (ORDER, ORDER + 1, (1 << 253) - 1, (1 << 256) - 1):
        assert not agreed(neutral, encode(times(s % ORDER, base())) + s.to_bytes(32, "little"))


def test_keys_that_are_no_points() -> None:
    source, count = random.Random(1), 0
    for _ in range(40):
        public_key = source.randrange(1 << 256).to_bytes(32, "little")
        count += decode(public_key) is None
        assert not agreed(public_key, encode(NEUTRAL) + bytes(32))
        try:
            check_public_key(public_key)
            admitted = True
        except Rejected:
            admitted = False
        assert enrollable(public_key) is admitted
    assert 5 < count < 35


# ---- Curve25519 ----

# u of the points of Curve25519 and its twist whose order divides 8, below 2^255 - 19
LOW_ORDER = [
    0,
    1,
    PRIME - 1,
    325606250916557431795983626356110631294008115727848805560023387167927233504,
    39382357235489614581723060781553021112529911719440698176882885853963445705823,
]


OTHERS = [2, 9, PRIME - 2, *(random.Random(seed).randrange(PRIME) for seed in range(5))]


@pytest.mark.parametrize("u", [*LOW_ORDER, *OTHERS])
def test_x25519_keys_of_small_order(u: int) -> None:
    assert has_small_order(u) is (u in LOW_ORDER)
    _, public = hpke.generate_round_key(seeded("round key"))
    key = public[:1184] + u.to_bytes(32, "little")
    if u in LOW_ORDER:
        with pytest.raises(Rejected):
            hpke.check_public_key(key)
    else:
        hpke.check_public_key(key)
