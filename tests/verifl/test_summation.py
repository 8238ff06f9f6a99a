"""The torch summation equals its numpy twin bit for bit, on the CPU and, where there is one, on a GPU."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.errors import Misuse
from protocols import summation as numpy_twin
from verifl.summation import add_residues, resolve_device, summation_on

NEAR_LIMIT = 2**62 - 1
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")),
]


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    modulus=st.one_of(st.integers(2, 2**20), st.integers(2**40, 2**41), st.integers(2**62 - 2**10, NEAR_LIMIT)),
    clients=st.integers(1, 24),
    cells=st.integers(0, 70),
    batch_bytes=st.sampled_from([1, 1000, 1 << 20]),
)
def test_equals_the_numpy_twin(
    device: str, seed: int, modulus: int, clients: int, cells: int, batch_bytes: int
) -> None:
    generator = np.random.default_rng(seed)
    arrays = list(generator.integers(0, modulus, size=(clients, cells), dtype=np.int64))
    expected = numpy_twin.add_residues(arrays, modulus)
    found = summation_on(device, batch_bytes)(iter(arrays), modulus)
    assert found.dtype == np.int64
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("modulus", [2**40 + 1, 2**61 + 1, NEAR_LIMIT])
def test_many_clients_of_the_largest_residue(device: str, modulus: int) -> None:
    clients = 1000
    largest = np.full(5, modulus - 1, dtype=np.int64)
    found = add_residues((largest for _ in range(clients)), modulus, device)
    assert found.tolist() == [clients * (modulus - 1) % modulus] * 5


def test_inputs_are_not_changed() -> None:
    arrays = [np.array([3, 4]), np.array([5, 6])]
    add_residues(arrays, 7)
    assert [array.tolist() for array in arrays] == [[3, 4], [5, 6]]


@pytest.mark.parametrize(
    ("arrays", "modulus", "message"),
    [
        ([], 7, "at least one"),
        ([np.zeros(3, np.int64)], 2**62, "modulus"),
        ([np.zeros(3, np.int64)], 1, "modulus"),
        ([np.array([7])], 7, "outside"),
        ([np.array([-1])], 7, "outside"),
        ([np.zeros(3, np.int64), np.zeros(4, np.int64)], 7, "cells throughout"),
        ([np.zeros(3, np.int64), np.zeros(4, np.int64)], NEAR_LIMIT, "cells throughout"),
        ([np.zeros(3, np.int32)], 7, "int64"),
        ([np.zeros((3, 1), np.int64)], 7, "one-dimensional"),
    ],
)
def test_misuse(arrays: list[np.ndarray], modulus: int, message: str) -> None:
    with pytest.raises(Misuse, match=message):
        add_residues(arrays, modulus)


def test_devices() -> None:
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") in ("cpu", "cuda")
    with pytest.raises(Misuse, match="expected auto, cpu or cuda"):
        resolve_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(Misuse, match="no CUDA device"):
            resolve_device("cuda")
