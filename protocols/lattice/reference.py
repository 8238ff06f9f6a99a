"""The encryption in plain integers, coefficient by coefficient: the reader's version, and the kernels' oracle."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from proofs.domains import PUBLIC_ELEMENT
from protocols.hashes import shake_128
from protocols.lattice.gaussian import thresholds
from protocols.lattice.parameters import TAIL, LatticeParameters


def ring_element(parameters: LatticeParameters, seed: bytes, index: int) -> list[int]:
    """Coefficients of a_index in [0, q) (spec 6.3)."""
    mask = (1 << parameters.modulus.bit_length()) - 1
    stream = shake_128(PUBLIC_ELEMENT + seed + index.to_bytes(8, "big")).digest(64 * parameters.degree)
    words = (int.from_bytes(stream[i : i + 8], "little") & mask for i in range(0, len(stream), 8))
    return [word for word in words if word < parameters.modulus][: parameters.degree]


def multiply(left: Sequence[int], right: Sequence[int], modulus: int) -> list[int]:
    """left * right modulo X^n + 1 and q."""
    n = len(left)
    result = [0] * n
    for i, a in enumerate(left):
        if a:
            for j, b in enumerate(right):
                sign = 1 if i + j < n else -1
                result[(i + j) % n] += sign * a * b
    return [value % modulus for value in result]


def sample(word: int) -> int:
    """The noise that a uniform 128-bit word stands for (spec 6.4)."""
    return bisect_right(thresholds(), word) - TAIL


def encrypt(
    parameters: LatticeParameters, seed: bytes, key: Sequence[int], message: Sequence[int], errors: Sequence[int]
) -> list[int]:
    """y = a k + T e + m mod q, one residue a message coefficient."""
    residues: list[int] = []
    for start in range(0, len(message), parameters.degree):
        element = ring_element(parameters, seed, start // parameters.degree)
        product = multiply(key, element, parameters.modulus)
        chunk = zip(
            product, message[start:], errors[start:], strict=False
        )  # the last ring element is cut to the message
        residues += [(p + parameters.plaintext_scale * e + m) % parameters.modulus for p, m, e in chunk]
    return residues


def decrypt(parameters: LatticeParameters, seed: bytes, key: Sequence[int], residues: Sequence[int]) -> list[int]:
    """The centred representative modulo T of the centred y - a k modulo q."""
    q, scale = parameters.modulus, parameters.plaintext_scale
    negated = [-value for value in key]
    message: list[int] = []
    for start in range(0, len(residues), parameters.degree):
        product = multiply(negated, ring_element(parameters, seed, start // parameters.degree), q)
        for y, p in zip(residues[start:], product, strict=False):
            centred = (y + p + q // 2) % q - q // 2
            message.append((centred + scale // 2) % scale - scale // 2)
    return message
