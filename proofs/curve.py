"""The numbers of secp256k1 (SEC 2, 2.4.1): y^2 = x^3 + 7 over the prime FIELD, a group of prime ORDER, no cofactor."""

from __future__ import annotations

from typing import Final

FIELD: Final = 2**256 - 2**32 - 977
ORDER: Final = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141

POINT_SIZE: Final = 33  # SEC 1 compressed
SCALAR_SIZE: Final = 32  # big-endian, below ORDER
