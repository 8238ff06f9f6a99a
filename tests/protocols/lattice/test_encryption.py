"""Encrypt, sum, decrypt: properties, edges, and what is refused."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.errors import Malformed, Misuse, Rejected
from protocols.derivation import derive
from protocols.lattice import encryption, gaussian, public, reference
from protocols.lattice.parameters import MODULI, SMALL_MODULI, TAIL, LatticeParameters
from protocols.lattice.public import PublicElements
from protocols.summation import add_residues

SEED = bytes(range(32))
SMALL = LatticeParameters(16, MODULI[0], 2**20)
CELLS = 40  # two whole ring elements and a half
PUBLIC = public.expand(SMALL, SEED, CELLS)


def source(seed: int) -> random.Random:
    return random.Random(seed)


def vector(values: Sequence[int]) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def constant_noise(value: int) -> bytes:
    """A 128-bit word that stands for this noise."""
    table = gaussian.thresholds()
    return (table[value + TAIL - 1] if value > -TAIL else 0).to_bytes(16, "little")


@settings(max_examples=60, deadline=None)
@given(st.data())
def test_the_sum_decrypts(data: st.DataObject) -> None:
    clients = data.draw(st.integers(1, 6))
    bound = data.draw(st.sampled_from([1, 1000, 2**16]))
    update, rule = derive(CELLS, float(bound), 0, max(clients, 2))
    parameters = LatticeParameters(16, rule.modulus, rule.plaintext_scale)
    elements = public.expand(parameters, SEED, CELLS)
    entry = st.integers(-bound, bound) | st.sampled_from([-bound, bound])
    messages = data.draw(st.lists(st.lists(entry, min_size=CELLS, max_size=CELLS), min_size=clients, max_size=clients))
    rand = source(data.draw(st.integers(0, 2**32))).randbytes
    keys = [encryption.generate_key(parameters, rand) for _ in messages]
    sent = [
        encryption.pack(parameters, encryption.encrypt(parameters, elements, key, vector(message), rand))
        for key, message in zip(keys, messages, strict=True)
    ]
    total = add_residues((encryption.unpack(parameters, item, CELLS) for item in sent), parameters.modulus)
    plain = encryption.decrypt_sum(parameters, elements, sum(keys), total, clients, clients * update.norm_bound)
    assert plain.tolist() == [sum(column) for column in zip(*messages, strict=True)]


@pytest.mark.parametrize("modulus", [*SMALL_MODULI, MODULI[0], MODULI[-1]])
def test_noisy_messages_are_summed_as_they_are(modulus: int) -> None:
    """To the last value that a sum has room for, and refused beyond."""
    parameters = LatticeParameters(16, modulus, 1)
    elements, rand = public.expand(parameters, SEED, CELLS), source(9)
    widest = (modulus - 1) // 2
    messages = [vector([rand.randint(-(widest // 3), widest // 3) for _ in range(CELLS)]) for _ in range(3)]
    messages[0][:2], messages[1][:2], messages[2][:2] = [widest, -widest], 0, 0
    keys = [encryption.generate_key(parameters, rand.randbytes) for _ in messages]
    sent = [encryption.encrypt_noisy(parameters, elements, *pair) for pair in zip(keys, messages, strict=True)]
    total, key = add_residues(sent, modulus), sum(keys)
    assert encryption.decrypt_sum(parameters, elements, key, total, 3, widest).tolist() == sum(messages).tolist()
    with pytest.raises(Rejected) as excinfo:
        encryption.decrypt_sum(parameters, elements, key, total, 3, widest - 1)
    assert excinfo.value.check == "decryption-message"
    for wrong in (vector([widest + 1] * CELLS), vector([-widest - 1] * CELLS)):
        with pytest.raises(Misuse, match="must be below q / 2"):
            encryption.encrypt_noisy(parameters, elements, keys[0], wrong)
    with pytest.raises(Misuse, match="expected T = 1"):
        encryption.encrypt_noisy(SMALL, PUBLIC, keys[0], messages[0])


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, CELLS))
def test_encryption_equals_the_reference(seed: int, cells: int) -> None:
    """The reference is given the noise that the keystream stands for."""
    rand = source(seed)
    key = encryption.generate_key(SMALL, rand.randbytes)
    message = [rand.randint(-(2**19) + 1, 2**19 - 1) for _ in range(cells)]
    noise_key = rand.randbytes(32)
    errors = [reference.sample(int(low) | int(high) << 64) for low, high in gaussian.keystream(noise_key, 0, cells)]
    elements = public.expand(SMALL, SEED, cells)
    residues = encryption.encrypt(SMALL, elements, key, vector(message), lambda size: noise_key)
    assert residues.tolist() == reference.encrypt(SMALL, SEED, key.tolist(), message, errors)
    assert reference.decrypt(SMALL, SEED, key.tolist(), residues.tolist()) == message


def test_full_degree_and_every_modulus() -> None:
    for modulus in (MODULI[0], MODULI[-1]):
        parameters = LatticeParameters(4096, modulus, 2**24)
        elements = public.expand(parameters, SEED, 5000)
        rand = source(modulus)
        message = vector([rand.randint(-(2**20), 2**20) for _ in range(5000)])
        key = encryption.generate_key(parameters, rand.randbytes)
        residues = encryption.encrypt(parameters, elements, key, message, rand.randbytes)
        assert encryption.decrypt_sum(parameters, elements, key, residues, 1, 2**20).tolist() == message.tolist()


def ciphertext_of(
    parameters: LatticeParameters, elements: PublicElements, key: np.ndarray, total: list[int]
) -> np.ndarray:
    """y = a k + total mod q, for a chosen value of T E + M in every cell."""
    rows = [reference.ring_element(parameters, SEED, j) for j in range(len(elements.transforms))]
    products = [value for row in rows for value in reference.multiply(key.tolist(), row, parameters.modulus)]
    return vector([(p + t) % parameters.modulus for p, t in zip(products, total, strict=False)])


@pytest.mark.parametrize("sign", [1, -1])
def test_noise_and_message_at_the_limit(sign: int) -> None:
    """The largest sums a policy admits decrypt; one unit more is refused and named."""
    clients, bound = 8, 1000
    scale = 2**14  # the smallest power of two above 2 * 8 * 1000
    parameters = LatticeParameters(16, MODULI[0], scale)
    elements = public.expand(parameters, SEED, CELLS)
    key = np.full(16, sign * clients * TAIL)
    most = sign * clients * (scale * TAIL + bound)
    accepted = ciphertext_of(parameters, elements, key, [most] * CELLS)
    assert (
        encryption.decrypt_sum(parameters, elements, key, accepted, clients, clients * bound).tolist()
        == [sign * clients * bound] * CELLS
    )
    for check, beyond in (("decryption-noise", most + sign * scale), ("decryption-message", most + sign)):
        refused = ciphertext_of(parameters, elements, key, [*[most] * (CELLS - 1), beyond])
        with pytest.raises(Rejected) as excinfo:
            encryption.decrypt_sum(parameters, elements, key, refused, clients, clients * bound)
        assert excinfo.value.check == check
    key[3] += sign
    with pytest.raises(Rejected) as excinfo:
        encryption.decrypt_sum(parameters, elements, key, accepted, clients, clients * bound)
    assert excinfo.value.check == "key-range"


def test_samples_at_the_tail_decrypt() -> None:
    """Noise of -86 and 86 in a real encryption, not only in its sum."""
    for value in (-TAIL, TAIL):
        words = np.frombuffer(constant_noise(value) * CELLS, dtype=np.uint64).reshape(-1, 2)
        drawn = np.empty(CELLS, dtype=np.int8)
        gaussian.look_up(words, drawn)
        assert drawn.tolist() == [value] * CELLS
        residues = reference.encrypt(SMALL, SEED, [value] * 16, [1] * CELLS, drawn.tolist())
        plain = encryption.decrypt_sum(SMALL, PUBLIC, np.full(16, value), vector(residues), 1, 1)
        assert plain.tolist() == [1] * CELLS


def test_negative_sum_decoded_as_huge_positive() -> None:
    """Attack: a sum just below zero sits just below q; it must come out centred, not as a number near q or T."""
    rand = source(3).randbytes
    keys = [encryption.generate_key(SMALL, rand) for _ in range(3)]
    sent = [encryption.encrypt(SMALL, PUBLIC, key, np.full(CELLS, -1), rand) for key in keys]
    total = add_residues(sent, SMALL.modulus)
    assert encryption.decrypt_sum(SMALL, PUBLIC, sum(keys), total, 3, 3).tolist() == [-3] * CELLS


def test_a_sum_beyond_the_bound_is_refused() -> None:
    rand = source(4).randbytes
    key = encryption.generate_key(SMALL, rand)
    residues = encryption.encrypt(SMALL, PUBLIC, key, np.full(CELLS, -11), rand)
    with pytest.raises(Rejected) as excinfo:
        encryption.decrypt_sum(SMALL, PUBLIC, key, residues, 1, 10)
    assert excinfo.value.check == "decryption-message"


@pytest.mark.parametrize("index", [0, 15])
def test_wrong_key_is_refused(index: int) -> None:
    rand = source(5).randbytes
    key = encryption.generate_key(SMALL, rand)
    residues = encryption.encrypt(SMALL, PUBLIC, key, np.zeros(CELLS, dtype=np.int64), rand)
    key[index] += 1 if key[index] < 0 else -1
    with pytest.raises(Rejected) as excinfo:
        encryption.decrypt_sum(SMALL, PUBLIC, key, residues, 1, 1000)
    assert excinfo.value.check == "decryption-noise"


def test_another_seed_is_refused() -> None:
    rand = source(6).randbytes
    key = encryption.generate_key(SMALL, rand)
    residues = encryption.encrypt(SMALL, PUBLIC, key, np.zeros(CELLS, dtype=np.int64), rand)
    with pytest.raises(Rejected) as excinfo:
        encryption.decrypt_sum(SMALL, public.expand(SMALL, bytes(32), CELLS), key, residues, 1, 1000)
    assert excinfo.value.check == "decryption-noise"


def test_a_dropped_client_is_refused() -> None:
    rand = source(7).randbytes
    keys = [encryption.generate_key(SMALL, rand) for _ in range(3)]
    sent = [encryption.encrypt(SMALL, PUBLIC, key, np.zeros(CELLS, dtype=np.int64), rand) for key in keys]
    with pytest.raises(Rejected) as excinfo:
        encryption.decrypt_sum(SMALL, PUBLIC, sum(keys), add_residues(sent[:2], SMALL.modulus), 3, 1000)
    assert excinfo.value.check == "decryption-noise"


def test_the_cut_ring_element_changes_nothing_before_it() -> None:
    key = encryption.generate_key(SMALL, source(8).randbytes)
    message = np.arange(CELLS, dtype=np.int64)
    whole = encryption.encrypt(SMALL, PUBLIC, key, message, bytes)
    for cells in (1, 16, 17, 33):
        part = encryption.encrypt(SMALL, public.expand(SMALL, SEED, cells), key, message[:cells], bytes)
        assert part.tolist() == whole[:cells].tolist()
        plain = encryption.decrypt_sum(SMALL, public.expand(SMALL, SEED, cells), key, part, 1, CELLS)
        assert plain.tolist() == list(range(cells))


def test_two_encryptions_differ() -> None:
    """Attack: deterministic ciphertexts would show who repeats an update."""
    rand = source(9).randbytes
    key = encryption.generate_key(SMALL, rand)
    message = np.zeros(CELLS, dtype=np.int64)
    first, second = (encryption.encrypt(SMALL, PUBLIC, key, message, rand) for _ in range(2))
    assert (first != second).any()


@settings(max_examples=60)
@given(st.data())
def test_packing_round_trips(data: st.DataObject) -> None:
    parameters = LatticeParameters(16, data.draw(st.sampled_from(MODULI)), 16)
    residue = st.integers(0, parameters.modulus - 1) | st.just(parameters.modulus - 1)
    residues = data.draw(st.lists(residue, max_size=20))
    packed = encryption.pack(parameters, vector(residues))
    assert packed == b"".join(r.to_bytes(parameters.residue_width, "little") for r in residues)
    assert encryption.unpack(parameters, packed, len(residues)).tolist() == residues


@settings(max_examples=100)
@given(st.sampled_from(MODULI), st.binary(max_size=40), st.integers(0, 5))
def test_unpacking_is_total_and_canonical(modulus: int, data: bytes, cells: int) -> None:
    parameters = LatticeParameters(16, modulus, 16)
    try:
        residues = encryption.unpack(parameters, data, cells)
    except Malformed:
        return
    assert encryption.pack(parameters, residues) == data


@pytest.mark.parametrize("modulus", MODULI)
def test_non_canonical_residue_is_malformed(modulus: int) -> None:
    """Attack: q + r reads as r in any arithmetic modulo q, and would give one ciphertext two names."""
    parameters = LatticeParameters(16, modulus, 16)
    width = parameters.residue_width
    for residue in (modulus, modulus + 1, 2 ** (8 * width) - 1):
        data = bytes(2 * width) + residue.to_bytes(width, "little") + bytes(width)
        with pytest.raises(Malformed, match="position 2") as excinfo:
            encryption.unpack(parameters, data, 4)
        assert excinfo.value.where == "ciphertext"
        assert excinfo.value.found.endswith("at position 2")


def test_other_lengths_are_malformed() -> None:
    for data in (b"", bytes(5 * CELLS - 1), bytes(5 * CELLS + 1)):
        with pytest.raises(Malformed, match="bytes"):
            encryption.unpack(SMALL, data, CELLS)


def test_misuse_is_named() -> None:
    rand = source(10).randbytes
    key, message = encryption.generate_key(SMALL, rand), np.zeros(CELLS, dtype=np.int64)
    with pytest.raises(Misuse, match="below T / 2"):
        encryption.encrypt(SMALL, PUBLIC, key, message + 2**19, rand)
    with pytest.raises(Misuse, match="cells"):
        encryption.encrypt(SMALL, PUBLIC, key, message[1:], rand)
    with pytest.raises(Misuse, match="coefficients"):
        encryption.encrypt(SMALL, PUBLIC, key[1:], message, rand)
    with pytest.raises(Misuse, match="other lattice parameters"):
        encryption.encrypt(LatticeParameters(16, MODULI[1], 2**20), PUBLIC, key, message, rand)
    with pytest.raises(Misuse, match="residues"):
        encryption.decrypt_sum(SMALL, PUBLIC, key, message - 1, 1, 1)
    with pytest.raises(Misuse, match="residues"):
        encryption.pack(SMALL, vector([MODULI[0]]))


@pytest.mark.parametrize(
    "arguments",
    [(2, MODULI[0], 16), (24, MODULI[0], 16), (8192, MODULI[0], 16), (16, MODULI[0] + 8192, 16), (16, MODULI[0], 24),
     (16, SMALL_MODULI[0], 2), (16, MODULI[0], 2**33), (16, MODULI[0], 16, 65), (16, MODULI[0], 16, 66, 87)],
)  # fmt: skip
def test_parameters_out_of_range_are_misuse(arguments: tuple[int, ...]) -> None:
    with pytest.raises(Misuse):
        LatticeParameters(*arguments)
