"""The ring, the noise and the plaintext scale of the encryption (spec 6.1).

N degree, q modulus, T plaintext scale, sigma standard deviation of keys and errors before truncation to [-tail, tail].
"""

from __future__ import annotations

from dataclasses import dataclass

from proofs.encryption import MAXIMUM_NOISE_BOUND, NOISE_BOUND
from proofs.errors import Misuse
from protocols.policy import LatticeRule

DEGREE = 4096
SIGMA_TENTHS = 66
TAIL = 86

# The largest prime q = 1 mod 8192 below 2^bits, for bits = 40, 42, ..., 62. Every ring degree up to 4096 has a
# negacyclic transform modulo each of them, and every sum of two residues fits in an int64.
MODULI: tuple[int, ...] = (
    0xFFFFFDC001,
    0x3FFFFFFA001,
    0xFFFFFFFC001,
    0x3FFFFFF84001,
    0xFFFFFFFFC001,
    0x3FFFFFFFFC001,
    0xFFFFFFFFCA001,
    0x3FFFFFFFFD6001,
    0xFFFFFFFFFBA001,
    0x3FFFFFFFFF72001,
    0xFFFFFFFFFFFC001,
    0x3FFFFFFFFFFF0001,
)

# The same for bits = 24, 26, ..., 38: only where noise is the error, so that messages are not scaled (spec 11.1).
SMALL_MODULI: tuple[int, ...] = (
    0xFFC001,
    0x3FFA001,
    0xFFF0001,
    0x3FFF4001,
    0xFFFDE001,
    0x3FFFE4001,
    0xFFFFEE001,
    0x3FFFFEA001,
)


@dataclass(frozen=True)
class LatticeParameters:
    """What encryption and decryption need to know; raises Misuse where the arithmetic would not be defined.

    `degree` is a power of two from 4 to 4096 (a policy admits 4096 only; smaller rings are for tests and are not
    secure), `modulus` one of MODULI, `plaintext_scale` a power of two T with 2 E T < q. With T = 1 there are no errors:
    messages carry noise of their own, and the modulus may be one of SMALL_MODULI. `noise_bound` is E, what an accepted
    client's errors and key coefficients can be: the tail of the honest, or more where only that is proved.
    """

    degree: int
    modulus: int
    plaintext_scale: int
    sigma_tenths: int = SIGMA_TENTHS
    tail: int = TAIL
    noise_bound: int = TAIL

    def __post_init__(self) -> None:
        if not (4 <= self.degree <= DEGREE and _is_power_of_two(self.degree)):
            raise Misuse(f"lattice degree must be a power of two from 4 to {DEGREE}, not {self.degree}")
        if self.modulus not in (MODULI if self.has_errors else (*SMALL_MODULI, *MODULI)):
            raise Misuse(f"lattice modulus must be one of the fixed list of spec 6.1, not {self.modulus}")
        if not _is_power_of_two(self.plaintext_scale):
            raise Misuse(f"plaintext scale must be a power of two, not {self.plaintext_scale}")
        if not self.tail <= self.noise_bound <= MAXIMUM_NOISE_BOUND:
            raise Misuse(f"noise bound must be from {self.tail} to {MAXIMUM_NOISE_BOUND}, not {self.noise_bound}")
        needed = 2 * self.noise_bound * self.plaintext_scale
        if needed >= self.modulus:
            raise Misuse(f"2 * {self.noise_bound} T = {needed} must be below q = {self.modulus}")
        if (self.sigma_tenths, self.tail) != (SIGMA_TENTHS, TAIL):
            raise Misuse(f"noise must be sigma 6.6 truncated at {TAIL}, not {self.sigma_tenths}/10 at {self.tail}")

    @classmethod
    def from_rule(cls, rule: LatticeRule) -> LatticeParameters:
        """The policy's lattice; raises Misuse as the constructor does."""
        bound = noise_bound(rule)
        return cls(rule.degree, rule.modulus, rule.plaintext_scale, rule.sigma_tenths, rule.tail, bound)

    @property
    def has_errors(self) -> bool:
        """Whether encryption adds errors of its own: not with T = 1."""
        return self.plaintext_scale > 1

    @property
    def residue_width(self) -> int:
        """Bytes of one packed residue: ceil(bits(q) / 8)."""
        return -(-self.modulus.bit_length() // 8)

    def ring_elements(self, cells: int) -> int:
        """How many ring elements hold `cells` coefficients; the last one may be used in part."""
        return -(-cells // self.degree)

    def ciphertext_size(self, cells: int) -> int:
        """Bytes of a packed ciphertext of `cells` residues."""
        return cells * self.residue_width


def noise_bound(rule: LatticeRule) -> int:
    """E: the bound on an accepted client's noise that decryption relies on; the proved one where it is proved.

    Without the proof of encryption the bound holds for honest clients only, and a dishonest one can stop a round.
    """
    return max(rule.tail, NOISE_BOUND) if rule.encryption_proof else rule.tail


def _is_power_of_two(value: int) -> bool:
    return value > 0 and value & (value - 1) == 0
