"""The numbers of secp256k1 (SEC 2, 2.4.1): y^2 = x^3 + 7 over the prime FIELD, a group of prime ORDER, no cofactor."""

from __future__ import annotations

from typing import Final

from proofs.errors import Malformed

FIELD: Final = 2**256 - 2**32 - 977
ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

POINT_SIZE: Final = 33  # SEC 1 compressed
SCALAR_SIZE: Final = 32  # big-endian, below ORDER

POINT_ENCODING: Final = "point-encoding"  # the one name under which bytes fail that are no points


def not_points(size: int) -> Malformed:
    """What every engine says of so many bytes, which are no whole number of points."""
    return Malformed(POINT_ENCODING, f"a multiple of {POINT_SIZE} bytes", f"{size} bytes")


def not_a_point(index: int, encoded: bytes) -> Malformed:
    """What every engine says of the 33 bytes at `index` that encode no point; they decide that themselves."""
    prefix, x = encoded[0], encoded[1:].hex()
    if prefix not in (2, 3):
        return Malformed(POINT_ENCODING, "prefix 02 or 03", f"{prefix:02x} at point {index}")
    if int.from_bytes(encoded[1:], "big") >= FIELD:
        return Malformed(POINT_ENCODING, "x below the field's prime", f"{x} at point {index}")
    return Malformed(POINT_ENCODING, "x of a point on the curve", f"{x} at point {index}")
