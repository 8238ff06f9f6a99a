"""What the proof of correct encryption speaks of: ring, noise bound, ciphertext, shared key (spec 5.8).

y_x = (a_j k)_m + T e_x + u_x mod q for every cell x = j N + m of the data rows, in Z_q[X] / (X^N + 1). Where what is
encrypted carries noise for privacy, that is the error: T = 1, and there is no e.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from numpy.typing import NDArray

from proofs.curve import POINT_SIZE
from proofs.engine import Table
from proofs.errors import Malformed, Misuse

KEY_DIGIT_BITS = 24  # a shared scalar is the sum of 2^(24 i) times ten coefficients of the key
KEY_DIGITS = 10
NOISE_BOUND = 128
GROUP_SIZE = 64  # cells whose squares are bounded together
MAXIMUM_NOISE_BOUND = 1024
_SMALLEST_MODULUS_BITS, _LARGEST_MODULUS_BITS = 40, 62
_SMALLEST_WITHOUT_ERRORS = 24  # bits of q where T = 1
_LARGEST_WEIGHT_BITS = 52
_COMBINATION_SOUNDNESS = 149  # bits
RESIDUE_SIZE = 8  # bytes of a residue modulo q in a proof
HASH_SIZE = 32


@dataclass(frozen=True)
class EncryptionParameters:
    """N, q, T and E; raises Misuse for a ring or a bound that the relations are not made for.

    degree: N, a power of two from 4 to 4096. modulus: q, a prime of 40 to 62 bits, or with T = 1 of 24 to 62.
    plaintext_scale: T, a power of two with 2 T E < q; 1 where noise for privacy takes the place of the errors.
    noise_bound: E, 1 to 1024: proved bound on the root of the sum of squares of every group of errors or of key
    coefficients, so on each of them.
    """

    degree: int
    modulus: int
    plaintext_scale: int
    noise_bound: int = NOISE_BOUND

    def __post_init__(self) -> None:
        if not (4 <= self.degree <= 4096 and self.degree.bit_count() == 1):
            raise Misuse(f"degree: expected a power of two from 4 to 4096, found {self.degree}")
        if not (self.plaintext_scale >= 1 and self.plaintext_scale.bit_count() == 1):
            raise Misuse(f"plaintext scale: expected a power of two, found {self.plaintext_scale}")
        least = _SMALLEST_MODULUS_BITS if self.has_errors else _SMALLEST_WITHOUT_ERRORS
        sized = least <= self.modulus.bit_length() <= _LARGEST_MODULUS_BITS
        if not (sized and _is_prime(self.modulus)):
            raise Misuse(f"modulus: expected a prime of {least} to 62 bits, found {self.modulus}")
        if not 1 <= self.noise_bound <= MAXIMUM_NOISE_BOUND:
            raise Misuse(f"noise bound: expected 1 <= E <= {MAXIMUM_NOISE_BOUND}, found {self.noise_bound}")
        if 2 * self.plaintext_scale * self.noise_bound >= self.modulus:
            raise Misuse(
                f"noise: expected 2 T E < q = {self.modulus}, found {2 * self.plaintext_scale * self.noise_bound}"
            )

    @property
    def has_errors(self) -> bool:
        """Whether there is an e: not with T = 1."""
        return self.plaintext_scale > 1

    @cached_property
    def weight_bits(self) -> int:
        """b: the weights of the combinations are below 2^b <= q, so distinct modulo q."""
        return min(self.modulus.bit_length() - 1, _LARGEST_WEIGHT_BITS)

    @cached_property
    def combinations(self) -> int:
        """S: each misses a wrong ciphertext with probability at most 2^(1 - b), all with at most 2^-149."""
        return -(-_COMBINATION_SOUNDNESS // (self.weight_bits - 1))

    @cached_property
    def key_scalars(self) -> int:
        """ceil(N / 10): scalars of the shared secret that carry the key."""
        return -(-self.degree // KEY_DIGITS)

    def ring_elements(self, cells: int) -> int:
        """How many ring elements hold `cells` coefficients; the last one may be used in part."""
        return -(-cells // self.degree)


@dataclass(frozen=True, eq=False)
class RingElements:
    """The public a_0, a_1, ..: int64 (ring elements, N), coefficients in [0, q). Shared by all claims of a round."""

    coefficients: Table

    @cached_property
    def digest(self) -> bytes:
        """SHA-256 of the coefficients as 64-bit little-endian integers."""
        return array_digest(self.coefficients)


@dataclass(frozen=True, eq=False)
class EncryptionStatement:
    """What one client's encryption proof is about.

    elements: the round's. ciphertext: y, int64 (data_cells,), residues in [0, q); or None where only its hash is known
    any more: then everything is verified but that it is the encryption of the update (spec 5.10). ciphertext_hash: 32
    bytes, a collision-resistant hash of an injective encoding of y; that it is, the caller answers for.
    share_commitment: E_0, 33 bytes, the commitment to the packed key followed by the blindings of the data rows. The
    arrays must not change any more.
    """

    elements: RingElements
    ciphertext: NDArray[np.int64] | None
    ciphertext_hash: bytes
    share_commitment: bytes

    @property
    def absorbed(self) -> Mapping[str, bytes]:
        """What challenges depend on, by label and in order."""
        return {
            "ring-elements": self.elements.digest,
            "ciphertext": self.ciphertext_hash,
            "share-commitment": self.share_commitment,
        }


_BASES = (2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37)


@cache
def _is_prime(n: int) -> bool:
    """For odd or even n between 38 and 2^64: strong pseudoprimes to all these bases are larger (Sorenson, Webster)."""
    twos = (n - 1 & 1 - n).bit_length() - 1
    return n % 2 == 1 and all(_is_strong(n, base, twos) for base in _BASES)


def _is_strong(n: int, base: int, twos: int) -> bool:
    powers = [pow(base, (n - 1) >> twos - i, n) for i in range(twos)]
    return powers[0] == 1 or n - 1 in powers


def array_digest(array: NDArray[np.int64]) -> bytes:
    """SHA-256 of the entries as 64-bit little-endian integers, in row-major order."""
    return hashlib.sha256(np.ascontiguousarray(array, dtype="<i8").data).digest()


def check_statement(parameters: EncryptionParameters, cells: int, statement: EncryptionStatement) -> None:
    """Raises Malformed("ciphertext") or Malformed("share-commitment-length"); Misuse for elements or a hash of another
    shape."""
    elements, ciphertext = statement.elements.coefficients, statement.ciphertext
    shape = (parameters.ring_elements(cells), parameters.degree)
    if elements.shape != shape or elements.dtype != np.int64:
        raise Misuse(f"ring elements: expected int64 {shape}, found {elements.dtype} {elements.shape}")
    if len(statement.ciphertext_hash) != HASH_SIZE:
        raise Misuse(f"ciphertext hash: expected {HASH_SIZE} bytes, found {len(statement.ciphertext_hash)}")
    if ciphertext is not None:
        _check_ciphertext(parameters, cells, ciphertext)
    if len(statement.share_commitment) != POINT_SIZE:
        found = f"{len(statement.share_commitment)} bytes"
        raise Malformed("share-commitment-length", f"{POINT_SIZE} bytes", found)


def _check_ciphertext(parameters: EncryptionParameters, cells: int, ciphertext: NDArray[np.int64]) -> None:
    if ciphertext.shape != (cells,) or ciphertext.dtype != np.int64:
        raise Malformed("ciphertext", f"{cells} residues", f"{ciphertext.dtype} {ciphertext.shape}")
    if int(ciphertext.min()) < 0 or int(ciphertext.max()) >= parameters.modulus:
        raise Malformed("ciphertext", f"residues in [0, {parameters.modulus})", "one out of range")
