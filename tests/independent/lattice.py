"""Ring elements, residues and the opening of a summed ciphertext (spec 6)."""

from __future__ import annotations

from functools import lru_cache

from Crypto.Hash import SHAKE128

from tests.independent.encoding import Unreadable
from tests.independent.parameters import Numbers

Element = list[int]


@lru_cache(maxsize=64)
def public_element(seed: bytes, index: int, q: int, N: int) -> tuple[int, ...]:
    """a_j of a round's seed (6.3)."""
    stream = SHAKE128.new(b"verifl/v1/public-element" + seed + index.to_bytes(8, "big"))
    mask = (1 << q.bit_length()) - 1
    found: list[int] = []
    while len(found) < N:
        words = stream.read(8 * N)
        for i in range(0, len(words), 8):
            word = int.from_bytes(words[i : i + 8], "little") & mask
            if word < q:
                found.append(word)
    return tuple(found[:N])


def unpack_residues(data: bytes, numbers: Numbers) -> list[int]:
    """The residues of the cells; `Unreadable` where one is not below q (6.5)."""
    width = numbers.residue_width
    residues = [int.from_bytes(data[i : i + width], "little") for i in range(0, len(data), width)]
    if len(data) != width * numbers.cells or any(residue >= numbers.q for residue in residues):
        raise Unreadable("not a ciphertext")
    return residues


def pack_residues(residues: Element, numbers: Numbers) -> bytes:
    return b"".join(residue.to_bytes(numbers.residue_width, "little") for residue in residues)


def ring_product(a: Element, b: Element, q: int) -> Element:
    """a b in Z_q[X] / (X^N + 1), a and b of N residues: one product of long integers, 20 bytes a coefficient."""
    N, slot = len(a), 20

    def packed(element: Element) -> int:
        return int.from_bytes(b"".join(value.to_bytes(slot, "little") for value in element), "little")

    product = (packed(a) * packed(b)).to_bytes(2 * N * slot, "little")
    values = [int.from_bytes(product[i : i + slot], "little") for i in range(0, len(product), slot)]
    return [(low - high) % q for low, high in zip(values[:N], values[N:], strict=True)]


def centered(value: int, modulus: int) -> int:
    """The representative in [-modulus / 2, modulus / 2)."""
    value %= modulus
    return value - modulus if 2 * value >= modulus else value


def open_sum(
    numbers: Numbers, seed: bytes, key: list[int], ciphertext: list[int], count: int, weight: int
) -> list[int]:
    """U, with noise also the padding's cells, or a refusal by name (6.6). count, weight: of the cohort, and the sum of
    its weights."""
    if any(abs(value) > count * numbers.noise_bound for value in key):
        raise Unreadable("key-range")
    N, q, T = numbers.N, numbers.q, numbers.T
    messages: list[int] = []
    for j in range(numbers.elements):
        element = list(public_element(seed, j, q, N))
        product = ring_product(element, [value % q for value in key], q)
        for y, masked in zip(ciphertext[j * N : (j + 1) * N], product, strict=False):
            value = centered(y - masked, q)
            message = value if T == 1 else centered(value, T)
            if abs(value - message) > count * numbers.noise_bound * T:
                raise Unreadable("decryption-noise")
            if abs(message) > numbers.sum_bound(count, count * numbers.W if numbers.hidden else weight):
                raise Unreadable("decryption-message")
            messages.append(message)
    if any(messages[numbers.published :]):
        raise Unreadable("padding")
    return messages[: numbers.published]
