"""Encrypting an integer vector so that a cohort's sum can be opened by the sum of its keys (spec 6).

y_j = a_j k + T e_j + m_j mod q, ring element by ring element; with T = 1 the message has noise of its own, and there is
no e_j. A vector of `cells` integers fills the ring elements in
order; of the last one only the coefficients that carry a cell are sent. A key is for one round and one message: a
second ciphertext under the same key and seed would reveal the difference of the messages.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proofs.arrays import Integers
from proofs.errors import Malformed, Misuse, Rejected
from proofs.machine.workers import map_chunks
from proofs.randomness import Randomness
from proofs.wiping import wipe
from protocols.lattice.gaussian import sample
from protocols.lattice.parameters import LatticeParameters
from protocols.lattice.public import PublicElements
from protocols.lattice.transform import multiply

_WORD = 8


def generate_key(parameters: LatticeParameters, rand: Randomness) -> NDArray[np.int32]:
    """A secret key: N noise samples, int32."""
    return sample(parameters.degree, rand).astype(np.int32)


def encrypt(
    parameters: LatticeParameters,
    public: PublicElements,
    key: NDArray[np.int32],
    message: Integers,
    rand: Randomness,
) -> Integers:
    """Residues in [0, q), int64 (cells,), of message int64 (cells,) under key (N,), with fresh noise from `rand`.

    Raises Misuse where shapes do not fit or some 2 |m| >= T: nothing could decrypt that.
    """
    return encrypt_with(parameters, public, key, message, draw_errors(public, rand))


def draw_errors(public: PublicElements, rand: Randomness) -> NDArray[np.int8]:
    """Fresh errors for one ciphertext: int8 (cells,)."""
    return sample(public.cells, rand)


def encrypt_with(
    parameters: LatticeParameters,
    public: PublicElements,
    key: NDArray[np.int32],
    message: Integers,
    errors: NDArray[np.int8],
) -> Integers:
    """`encrypt` with the errors given, int8 (cells,): for one ciphertext only, drawn by `draw_errors`."""
    _check_public(parameters, public, message, key)
    _check_message(message, "T", parameters.plaintext_scale)
    products = multiply(public.transforms, key.astype(np.int64), parameters.modulus).reshape(-1)
    residues = _add_scaled(parameters, products, errors, message)
    wipe(products)  # with the residues they tell the message, but for the errors
    return residues


def encrypt_noisy(
    parameters: LatticeParameters, public: PublicElements, key: NDArray[np.int32], message: Integers
) -> Integers:
    """Residues a_j k + m_j, int64 (cells,), of a message that carries the noise which hides it: T = 1, and there are no
    errors. Raises Misuse where shapes do not fit, some 2 |m| >= q, or T is another."""
    _check_public(parameters, public, message, key)
    if parameters.has_errors:
        raise Misuse(f"expected T = 1 for a message without errors, found {parameters.plaintext_scale}")
    _check_message(message, "q", parameters.modulus)
    products = multiply(public.transforms, key.astype(np.int64), parameters.modulus).reshape(-1)
    residues: Integers = products[: len(message)].astype(np.int64)
    wipe(products)  # with the residues they tell the message
    residues += message
    residues %= parameters.modulus
    return residues


def decrypt_sum(
    parameters: LatticeParameters,
    public: PublicElements,
    key_sum: NDArray[np.int32] | Integers,
    ciphertext_sum: Integers,
    count: int,
    largest_message: int,
) -> Integers:
    """The sum of `count` messages, int64 (cells,), from the sums of their keys and of their ciphertexts modulo q.

    Raises Rejected: "key-range" for a key coefficient beyond count * noise_bound, "decryption-noise" for a summed error
    beyond it, "decryption-message" for a sum beyond `largest_message`. Misuse for shapes and residues out of range.
    """
    _check_public(parameters, public, ciphertext_sum, key_sum)
    _check_residues(parameters, ciphertext_sum)
    keys = key_sum.astype(np.int64)
    _check_magnitude("key-range", "key coefficient", keys, count * parameters.noise_bound)
    products = multiply(public.transforms, keys, parameters.modulus).reshape(-1)[: public.cells].astype(np.int64)
    differences = ciphertext_sum - products
    if not parameters.has_errors:
        message = _centred(differences, parameters.modulus)
        _check_magnitude("decryption-message", "summed message", message, largest_message)
        return message
    noise, message = _split(parameters, differences)
    _check_magnitude("decryption-noise", "summed error", noise, count * parameters.noise_bound)
    _check_magnitude("decryption-message", "summed message", message, largest_message)
    return message


def pack(parameters: LatticeParameters, residues: Integers) -> bytes:
    """Residues in [0, q), each in residue_width bytes, little-endian; Misuse for one out of range."""
    _check_residues(parameters, residues)
    words = residues.astype("<i8").view(np.uint8).reshape(-1, _WORD)
    return words[:, : parameters.residue_width].tobytes()


def unpack(parameters: LatticeParameters, data: bytes, cells: int) -> Integers:
    """Inverse of `pack`, int64 (cells,); raises Malformed("ciphertext") for another length or a residue >= q."""
    width = parameters.residue_width
    if len(data) != cells * width:
        raise Malformed("ciphertext", f"{cells * width} bytes", f"{len(data)}")
    padded = data + bytes(_WORD - width)  # every residue is read as a whole word, with what follows it
    words = np.ndarray((cells,), dtype="<u8", buffer=padded, strides=(width,))
    residues = words & np.uint64(2 ** (8 * width) - 1)
    if cells and residues.max() >= parameters.modulus:
        index = int((residues >= parameters.modulus).argmax())
        raise Malformed("ciphertext", f"residues below {parameters.modulus}", f"{residues[index]} at position {index}")
    return residues.view(np.int64)


def _add_scaled(
    parameters: LatticeParameters, products: NDArray[np.uint64], errors: NDArray[np.int8], message: Integers
) -> Integers:
    from protocols.lattice.kernels import add_scaled

    out = np.empty(len(message), dtype=np.int64)
    scale, modulus = np.int64(parameters.plaintext_scale), np.int64(parameters.modulus)

    def run(start: int, stop: int) -> None:
        add_scaled(products[start:stop], errors[start:stop], message[start:stop], scale, modulus, out[start:stop])

    map_chunks(run, len(message), 2**14)
    return out


def _split(parameters: LatticeParameters, differences: Integers) -> tuple[Integers, Integers]:
    """(E, M) with T E + M congruent to the difference modulo q, |T E + M| < q / 2 and -T/2 <= M < T/2."""
    modulus, scale = parameters.modulus, parameters.plaintext_scale
    centred = _centred(differences, modulus)
    message = ((centred + scale // 2) & (scale - 1)) - scale // 2
    return (centred - message) >> (scale.bit_length() - 1), message


def _centred(differences: Integers, modulus: int) -> Integers:
    """The representatives in (-q/2, q/2)."""
    centred = differences % modulus
    centred[centred > modulus // 2] -= modulus
    return centred


def _check_public(
    parameters: LatticeParameters, public: PublicElements, vector: Integers, key: NDArray[np.int32] | Integers
) -> None:
    if public.parameters != parameters:
        raise Misuse("the public elements were expanded for other lattice parameters")
    if vector.shape != (public.cells,):
        raise Misuse(f"a vector of shape {vector.shape} does not fill {public.cells} cells")
    if key.shape != (parameters.degree,):
        raise Misuse(f"a key has {parameters.degree} coefficients, not shape {key.shape}")


def _check_message(message: Integers, name: str, room: int) -> None:
    if message.size and 2 * max(int(message.max()), -int(message.min())) >= room:
        raise Misuse(f"messages must be below {name} / 2 = {room // 2} in magnitude")


def _check_residues(parameters: LatticeParameters, residues: Integers) -> None:
    if residues.size and not (residues.min() >= 0 and residues.max() < parameters.modulus):
        raise Misuse(f"residues must lie in [0, {parameters.modulus})")


def _check_magnitude(check: str, what: str, values: Integers, bound: int) -> None:
    largest = max(int(values.max(initial=0)), -int(values.min(initial=0)))
    if largest > bound:
        raise Rejected(check, f"every {what} at most {bound} in magnitude", f"{largest}")
