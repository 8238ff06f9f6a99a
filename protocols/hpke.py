"""Encryption to a trustee's round key (spec 7.4): HPKE base mode, RFC 9180.

KEM X-Wing (ML-KEM-768 with X25519, draft-connolly-cfrg-xwing-kem, id 0x647a), HKDF-SHA256, AES-256-GCM, no
additional data. A private key is X-Wing's 32-byte seed: that, and nothing derived from it, is what a trustee stores
and erases. Importing this module loads no cryptography; the first call does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from proofs.errors import Misuse, Rejected
from protocols.hashes import shake_256
from protocols.identities import PRIME_25519
from protocols.reasons import SHARE_DECRYPTION

if TYPE_CHECKING:
    from collections.abc import Callable

    from cryptography.hazmat.primitives import hpke
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

PRIVATE_KEY_SIZE = 32
PUBLIC_KEY_SIZE = 1216  # ML-KEM-768 encapsulation key 1184, X25519 public key 32
ENCAPSULATION_SIZE = 1120  # ML-KEM-768 ciphertext 1088, X25519 public key 32
TAG_SIZE = 16
OVERHEAD = ENCAPSULATION_SIZE + TAG_SIZE
_ENCAPSULATION_KEY_SIZE = 1184


def generate_round_key(rand: Callable[[int], bytes]) -> tuple[bytes, bytes]:
    """(private, public): 32 secret bytes from `rand` and the 1216 bytes they determine."""
    private = rand(PRIVATE_KEY_SIZE)
    return private, public_key(private)


def public_key(private: bytes) -> bytes:
    """The 1216-byte public key of a 32-byte private key (X-Wing's GenerateKeyPairDerand)."""
    mlkem_key, x25519_key = _expand(private)
    return mlkem_key.public_key().public_bytes_raw() + x25519_key.public_key().public_bytes_raw()


def check_public_key(public: bytes) -> None:
    """Raise Rejected("round-key") unless `public` is 1216 bytes, in their one spelling, to which something can be
    sealed."""
    seal(public, b"", b"")


def seal(public: bytes, info: bytes, plaintext: bytes) -> bytes:
    """Encapsulation (1120 bytes), then ciphertext and tag (plaintext + 16): only `info` of the same bytes opens it.

    The library draws the encapsulation's randomness from the system. Raises Rejected("round-key") for a public key of
    another length, with coefficients out of range, or whose X25519 part has small order or a second spelling.
    """
    try:
        return _suite().encrypt(plaintext, _decode_public(public), info)
    except ValueError as error:
        raise Rejected("round-key", "an X-Wing public key", "one to which nothing can be sealed") from error


def open_sealed(private: bytes, info: bytes, sealed: bytes) -> bytes:
    """The plaintext of `seal`; raises Rejected("share-decryption") for any bytes that do not open under this key."""
    from cryptography.exceptions import InvalidTag
    from cryptography.hazmat.primitives import hpke

    key = hpke.MLKEM768X25519PrivateKey(*_expand(private))
    if len(sealed) < OVERHEAD:
        raise Rejected(SHARE_DECRYPTION, f"at least {OVERHEAD} bytes", f"{len(sealed)}")
    try:
        return _suite().decrypt(sealed, key, info)
    except (InvalidTag, ValueError) as error:
        raise Rejected(SHARE_DECRYPTION, "a ciphertext that opens", "one that does not") from error


def _suite() -> hpke.Suite:
    from cryptography.hazmat.primitives import hpke

    return hpke.Suite(hpke.KEM.MLKEM768_X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)


def _decode_public(public: bytes) -> hpke.MLKEM768X25519PublicKey:
    from cryptography.hazmat.primitives import hpke
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PublicKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PublicKey

    if len(public) != PUBLIC_KEY_SIZE:
        raise Rejected("round-key", f"{PUBLIC_KEY_SIZE} bytes", f"{len(public)}")
    if int.from_bytes(public[_ENCAPSULATION_KEY_SIZE:], "little") >= PRIME_25519:  # X25519 itself would reduce it
        raise Rejected("round-key", "u below 2^255 - 19, its top bit clear", public[_ENCAPSULATION_KEY_SIZE:].hex())
    return hpke.MLKEM768X25519PublicKey(
        MLKEM768PublicKey.from_public_bytes(public[:_ENCAPSULATION_KEY_SIZE]),
        X25519PublicKey.from_public_bytes(public[_ENCAPSULATION_KEY_SIZE:]),
    )


def _expand(private: bytes) -> tuple[MLKEM768PrivateKey, X25519PrivateKey]:
    """X-Wing's expandDecapsulationKey: SHAKE256 of the seed gives ML-KEM's (d, z), then the X25519 scalar."""
    from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
    from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

    if len(private) != PRIVATE_KEY_SIZE:
        raise Misuse(f"an X-Wing private key is {PRIVATE_KEY_SIZE} bytes, not {len(private)}")
    expanded = shake_256(private).digest(96)
    return MLKEM768PrivateKey.from_seed_bytes(expanded[:64]), X25519PrivateKey.from_private_bytes(expanded[64:])
