"""A verifiable random function: ECVRF-EDWARDS25519-SHA512-TAI of RFC 9381 (2023), under Ed25519 keys (spec 8.15).

Of one key and one input there is one value: nobody, not the holder either, can prove another (full uniqueness; the keys
are none of small order, 2.4). Who has not the key cannot tell it from random before the proof is shown (decisional
Diffie-Hellman in the group of order L, SHA-512 as a random oracle). Arithmetic is in integers, not in constant time.
"""

from __future__ import annotations

from proofs.errors import Rejected
from protocols.hashes import sha512
from protocols.identities import PRIME_25519 as PRIME
from protocols.identities import SigningKey, decode_point

PROOF_SIZE = 80
_ORDER = 2**252 + 27742317777372353535851937790883648493
_TWICE_D = -2 * 121665 * pow(121666, -1, PRIME) % PRIME
_SUITE = b"\x03"
_CHALLENGE = 16  # bytes

_Point = tuple[int, int, int, int]  # extended: x = X / Z, y = Y / Z, xy = T / Z
_NEUTRAL: _Point = (0, 1, 1, 0)


def prove(key: SigningKey, data: bytes) -> bytes:
    """The proof of the value of `data`, 80 bytes."""
    hashed = sha512(key.seed)
    secret = int.from_bytes(hashed[:32], "little") & ((1 << 254) - 8) | 1 << 254
    base = _hashed_to_curve(key.public_key, data)
    nonce = int.from_bytes(sha512(hashed[32:] + _encode(base)), "little") % _ORDER
    gamma = _times(secret, base)
    challenge = _challenge(key.public_key, base, gamma, _times(nonce, _generator()), _times(nonce, base))
    response = (nonce + challenge * secret) % _ORDER
    return _encode(gamma) + challenge.to_bytes(_CHALLENGE, "little") + response.to_bytes(32, "little")


def verify(public_key: bytes, data: bytes, proof: bytes) -> bytes:
    """The value, 64 bytes; raises Rejected("draw") for anything but the proof of it. Total on any bytes.

    public_key: that was accepted at enrolment.
    """
    if len(proof) != PROOF_SIZE:
        raise Rejected("draw", f"a proof of {PROOF_SIZE} bytes", f"{len(proof)}")
    gamma, key = _decode(proof[:32]), _decode(public_key)
    challenge = int.from_bytes(proof[32 : 32 + _CHALLENGE], "little")
    response = int.from_bytes(proof[32 + _CHALLENGE :], "little")
    if gamma is None or key is None or response >= _ORDER:
        raise Rejected("draw", "a point, and a scalar below the group's order", proof.hex())
    base = _hashed_to_curve(public_key, data)
    one = _add(_times(response, _generator()), _times(challenge, _negated(key)))
    other = _add(_times(response, base), _times(challenge, _negated(gamma)))
    if _challenge(public_key, base, gamma, one, other) != challenge:
        raise Rejected("draw", f"a proof by {public_key.hex()}", proof.hex())
    return _value(gamma)


def _value(gamma: _Point) -> bytes:
    return sha512(_SUITE + b"\x03" + _encode(_times(8, gamma)) + b"\x00")


def _hashed_to_curve(public_key: bytes, data: bytes) -> _Point:
    """Try and increment; that 256 tries fail has a probability of about 2^-256."""
    for counter in range(256):
        found = _decode(sha512(_SUITE + b"\x01" + public_key + data + bytes([counter, 0]))[:32])
        point = None if found is None else _times(8, found)
        if point is not None and _encode(point) != _encode(_NEUTRAL):
            return point
    raise Rejected("draw", "a hash that is a point", "none in 256 tries")


def _challenge(public_key: bytes, *points: _Point) -> int:
    encoded = b"".join(map(_encode, points))
    return int.from_bytes(sha512(_SUITE + b"\x02" + public_key + encoded + b"\x00")[:_CHALLENGE], "little")


def _generator() -> _Point:
    return _GENERATOR


def _decode(data: bytes) -> _Point | None:
    try:
        x, y = decode_point(data)
    except Rejected:
        return None
    return x, y, 1, x * y % PRIME


def _encode(point: _Point) -> bytes:
    inverse = pow(point[2], -1, PRIME)
    x, y = point[0] * inverse % PRIME, point[1] * inverse % PRIME
    return (y | (x & 1) << 255).to_bytes(32, "little")


def _negated(point: _Point) -> _Point:
    return -point[0] % PRIME, point[1], point[2], -point[3] % PRIME


def _add(one: _Point, other: _Point) -> _Point:
    """The complete law of -x^2 + y^2 = 1 + d x^2 y^2 (RFC 8032, 5.1.4)."""
    a, b = (one[1] - one[0]) * (other[1] - other[0]) % PRIME, (one[1] + one[0]) * (other[1] + other[0]) % PRIME
    c, d = one[3] * _TWICE_D * other[3] % PRIME, 2 * one[2] * other[2] % PRIME
    e, f, g, h = b - a, d - c, d + c, b + a
    return e * f % PRIME, g * h % PRIME, f * g % PRIME, e * h % PRIME


def _times(scalar: int, point: _Point) -> _Point:
    total = _NEUTRAL
    for bit in f"{scalar:b}":
        total = _add(total, total)
        if bit == "1":
            total = _add(total, point)
    return total


_GENERATOR: _Point = _decode((4 * pow(5, -1, PRIME) % PRIME).to_bytes(32, "little")) or _NEUTRAL
