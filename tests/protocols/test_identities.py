"""Ed25519: RFC 8032 vectors, refused keys, refused signatures."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.errors import Misuse, Rejected
from protocols.identities import SigningKey, check_public_key, verify

L = 2**252 + 27742317777372353535851937790883648493
P = 2**255 - 19

# RFC 8032 section 7.1: seed, public key, message, signature
VECTORS = {
    "TEST 1": (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        b"",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bacc61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    "TEST 2": (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        b"\x72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    "TEST 3": (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        b"\xaf\x82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
    "TEST SHA(abc)": (
        "833fe62409237b9d62ec77587520911e9a759cec1d19755b7da901b96dca3d42",
        "ec172b93ad5e563bf4932c70e1245034c35467ef2efd4d64ebf819683467e2bf",
        hashlib.sha512(b"abc").digest(),
        "dc2a4459e7369633a52b1bf277839a00201009a3efbf3ecb69bea2186c26b58909351fc9ac90b3ecfdfbc7c66431e0303dca179c138ac17ad9bef1177331a704",
    ),
}

SMALL_ORDER = [
    "0100000000000000000000000000000000000000000000000000000000000000",
    "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
    "0000000000000000000000000000000000000000000000000000000000000000",
    "0000000000000000000000000000000000000000000000000000000000000080",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
    "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
    "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
]


@pytest.mark.parametrize(("seed", "public_key", "message", "signature"), VECTORS.values(), ids=VECTORS.keys())
def test_rfc_8032_vectors(seed: str, public_key: str, message: bytes, signature: str) -> None:
    key = SigningKey.from_seed(bytes.fromhex(seed))
    assert key.public_key.hex() == public_key
    assert key.sign(message).hex() == signature
    verify(key.public_key, key.sign(message), message)
    check_public_key(key.public_key)


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=100), st.integers(0, 511))
@settings(max_examples=40, deadline=None)
def test_a_flipped_bit_is_rejected(seed: bytes, message: bytes, bit: int) -> None:
    key = SigningKey.from_seed(seed)
    signature = bytearray(key.sign(message))
    signature[bit // 8] ^= 1 << bit % 8
    with pytest.raises(Rejected) as caught:
        verify(key.public_key, bytes(signature), message)
    assert caught.value.check == "signature"


def test_a_second_spelling_of_the_scalar_is_rejected() -> None:
    key = SigningKey.from_seed(bytes(32))
    signature = key.sign(b"m")
    again = (int.from_bytes(signature[32:], "little") + L).to_bytes(32, "little")
    with pytest.raises(Rejected) as caught:
        verify(key.public_key, signature[:32] + again, b"m")
    assert caught.value.check == "signature"


@given(st.binary(max_size=40), st.binary(max_size=70), st.binary(max_size=10))
@settings(max_examples=60, deadline=None)
def test_verify_is_total(public_key: bytes, signature: bytes, data: bytes) -> None:
    with pytest.raises(Rejected) as caught:
        verify(public_key, signature, data)
    assert caught.value.check == "signature"


@pytest.mark.parametrize("encoded", SMALL_ORDER)
def test_keys_of_small_order_are_refused(encoded: str) -> None:
    with pytest.raises(Rejected, match="large order") as caught:
        check_public_key(bytes.fromhex(encoded))
    assert caught.value.check == "public-key"


@pytest.mark.parametrize("sign", [0, 1 << 255])
@pytest.mark.parametrize("y", range(P, 2**255))
def test_non_canonical_keys_are_refused(y: int, sign: int) -> None:
    with pytest.raises(Rejected, match="y below") as caught:
        check_public_key((y | sign).to_bytes(32, "little"))
    assert caught.value.check == "public-key"


@pytest.mark.parametrize("y", [1, P - 1])
def test_the_sign_of_zero_is_refused(y: int) -> None:
    with pytest.raises(Rejected, match="sign bit"):
        check_public_key((y | 1 << 255).to_bytes(32, "little"))


def test_half_of_all_values_are_points() -> None:
    source = random.Random(1)
    found = [refusal(source.randrange(P).to_bytes(32, "little")) for _ in range(200)]
    assert set(found) == {None, "a point on edwards25519"}
    assert 70 < found.count(None) < 130


def refusal(encoded: bytes) -> str | None:
    try:
        check_public_key(encoded)
    except Rejected as error:
        return error.expected if error.check == "public-key" else error.check
    return None


@given(st.binary(max_size=40))
@settings(max_examples=100, deadline=None)
def test_check_public_key_is_total(encoded: bytes) -> None:
    assert refusal(encoded) in {
        None,
        "32 bytes",
        "y below 2^255 - 19",
        "a point on edwards25519",
        "sign bit 0 where x = 0",
        "a point of large order",
    }


def test_generate_takes_32_bytes_of_its_source_and_hides_them() -> None:
    asked = []

    def rand(count: int) -> bytes:
        asked.append(count)
        return b"s" * count

    key = SigningKey.generate(rand)
    assert asked == [32]
    assert key.seed == b"s" * 32
    assert (b"s" * 32).hex() not in repr(key)
    with pytest.raises(Misuse):
        SigningKey.from_seed(bytes(31))
