"""Ed25519 identities (spec 2.4, RFC 8032).

Verification is that of OpenSSL, through `cryptography`: cofactorless, [S]B = R + [k]A, with S < L required and R
compared as bytes. Libraries differ on keys of small order and on non-canonical encodings, so `check_public_key`
refuses both when a key is enrolled.
"""

from __future__ import annotations

from collections.abc import Callable

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from proofs.errors import Misuse, Rejected

SEED_BYTES = 32
SIGNATURE_SIZE = 64

PRIME_25519 = 2**255 - 19  # of the field of Ed25519 and X25519
_D = -121665 * pow(121666, -1, PRIME_25519) % PRIME_25519
_SQRT_MINUS_ONE = pow(2, (PRIME_25519 - 1) // 4, PRIME_25519)


class SigningKey:
    """An Ed25519 private key: a 32-byte seed (RFC 8032 section 5.1.5). It does not print its secret."""

    __slots__ = ("_private", "_public", "_seed")

    def __init__(self, seed: bytes) -> None:
        if len(seed) != SEED_BYTES:
            raise Misuse(f"seed: expected {SEED_BYTES} bytes, found {len(seed)}")
        self._seed = bytes(seed)
        self._private = Ed25519PrivateKey.from_private_bytes(self._seed)
        self._public = self._private.public_key().public_bytes_raw()

    @classmethod
    def generate(cls, rand: Callable[[int], bytes]) -> SigningKey:
        """A fresh key from 32 bytes of `rand` (os.urandom at the edge)."""
        return cls(rand(SEED_BYTES))

    @classmethod
    def from_seed(cls, seed: bytes) -> SigningKey:
        """The key of a 32-byte seed. Raises Misuse on another length."""
        return cls(seed)

    @property
    def seed(self) -> bytes:
        """The secret, 32 bytes, to be kept in a private state directory."""
        return self._seed

    @property
    def public_key(self) -> bytes:
        """32 bytes."""
        return self._public

    def sign(self, data: bytes) -> bytes:
        """The deterministic 64-byte signature of `data`."""
        return self._private.sign(data)

    def __repr__(self) -> str:
        return f"SigningKey(public_key={self._public.hex()})"


def verify(public_key: bytes, signature: bytes, data: bytes) -> None:
    """Accept an Ed25519 signature, or raise Rejected("signature"). Total on any bytes."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        raise Rejected("signature", f"a signature by {public_key.hex()}", signature.hex()) from None


def check_public_key(public_key: bytes) -> None:
    """Accept the canonical encoding of a point that is not of small order (spec 2.4), for use at enrolment.

    Raises Rejected("public-key"): wrong length, y >= p, no such point, the sign bit on x = 0, or one of the eight
    points whose order divides 8.
    """
    point = decode_point(public_key)
    for _ in range(3):
        point = _double(point)
    if point == (0, 1):
        raise Rejected("public-key", "a point of large order", f"{public_key.hex()}, of order dividing 8")


def decode_point(public_key: bytes) -> tuple[int, int]:
    """RFC 8032 section 5.1.3, with every refusal it allows: affine (x, y). Raises Rejected("public-key")."""
    if len(public_key) != 32:
        raise Rejected("public-key", "32 bytes", f"{len(public_key)} bytes")
    encoded = int.from_bytes(public_key, "little")
    y, sign = encoded & (2**255 - 1), encoded >> 255
    if y >= PRIME_25519:
        raise Rejected("public-key", "y below 2^255 - 19", public_key.hex())
    u, v = (y * y - 1) % PRIME_25519, (_D * y * y + 1) % PRIME_25519
    x = u * v**3 * pow(u * v**7, (PRIME_25519 - 5) // 8, PRIME_25519) % PRIME_25519
    if v * x * x % PRIME_25519 == -u % PRIME_25519:
        x = x * _SQRT_MINUS_ONE % PRIME_25519
    if v * x * x % PRIME_25519 != u:
        raise Rejected("public-key", "a point on edwards25519", public_key.hex())
    if x == 0 and sign == 1:
        raise Rejected("public-key", "sign bit 0 where x = 0", public_key.hex())
    return (-x % PRIME_25519 if x & 1 != sign else x), y


def _double(point: tuple[int, int]) -> tuple[int, int]:
    """Twice a point, by the complete affine addition law of -x^2 + y^2 = 1 + d x^2 y^2."""
    x, y = point
    cross = _D * x * x * y * y % PRIME_25519
    return (
        2 * x * y * pow(1 + cross, -1, PRIME_25519) % PRIME_25519,
        (y * y + x * x) * pow(1 - cross, -1, PRIME_25519) % PRIME_25519,
    )
