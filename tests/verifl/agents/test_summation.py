"""The torch summation equals its numpy twin bit for bit, on the CPU and, where there is one, on a GPU."""

from __future__ import annotations

import weakref
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.errors import Misuse
from protocols import summation as numpy_twin
from verifl.agents import summation
from verifl.agents.summation import add_residues, resolve_device, summation_on

NEAR_LIMIT = 2**62 - 1
DEVICES = [
    "cpu",
    pytest.param("cuda", marks=pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")),
]


@pytest.mark.parametrize("device", DEVICES)
@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    modulus=st.one_of(
        st.integers(2, 2**20), st.integers(2**40, 2**41), st.integers(2**58, 2**61), st.integers(2**61, NEAR_LIMIT)
    ),
    clients=st.integers(1, 24),
    cells=st.integers(0, 70),
    spread=st.sampled_from([1, 2, 2**40, 2**62]),
    batch_bytes=st.sampled_from([0, 560, 8 << 20]),
)
def test_equals_the_numpy_twin(
    device: str, seed: int, modulus: int, clients: int, cells: int, spread: int, batch_bytes: int
) -> None:
    """Also where all residues are among the largest, so that a group's sum is all that it can be."""
    generator = np.random.default_rng(seed)
    arrays = list(generator.integers(max(0, modulus - spread), modulus, size=(clients, cells), dtype=np.int64))
    expected = numpy_twin.add_residues(arrays, modulus)
    found = add_residues(iter(arrays), modulus, device, batch_bytes)
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
    add_residues(arrays, 7, "cpu")
    assert [array.tolist() for array in arrays] == [[3, 4], [5, 6]]
    add_residues(arrays[:1], 7, "cpu")[0] = 1
    assert arrays[0].tolist() == [3, 4]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("first", [0, 1], ids=["first", "later"])
def test_memory_that_torch_cannot_take(first: int) -> None:
    """Read-only, reversed and strided arrays are summed like any other."""
    fixed = np.array([1, 2, 3])
    fixed.setflags(write=False)
    views = [fixed, np.array([3, 2, 1])[::-1], np.arange(6)[::2]]
    assert add_residues([np.zeros(3, np.int64)] * first + views, 7, "cpu").tolist() == [2, 6, 3]


def test_arrays_are_streamed() -> None:
    """Where an array fills a batch, it is let go before the one after the next is asked for."""
    made: list[weakref.ref[np.ndarray]] = []
    alive = []

    def arrays() -> Iterator[np.ndarray]:
        for number in range(20):
            array = np.full(3, number)
            made.append(weakref.ref(array))
            alive.append(sum(each() is not None for each in made))
            yield array
            del array

    assert add_residues(arrays(), NEAR_LIMIT, "cpu", batch_bytes=24).tolist() == [190] * 3
    assert max(alive) <= 2


@pytest.mark.parametrize(
    ("arrays", "modulus", "message"),
    [
        ([], 7, "at least one"),
        ([np.zeros(3, np.int64)], 2**62, "modulus"),
        ([np.zeros(3, np.int64)], 1, "modulus"),
        ([np.array([7])], 7, "outside"),
        ([np.array([-1])], 7, "outside"),
        ([np.array([0]), np.array([7])], 7, "outside"),
        ([np.array([0]), np.array([-1]), np.array([1])], 7, "outside"),
        ([np.array([0]), np.array([-(2**63)]), np.array([2**63 - 1])], NEAR_LIMIT, "outside"),
        ([np.zeros(3, np.int64), np.zeros(4, np.int64)], 7, "cells throughout"),
        ([np.zeros(3, np.int64), np.zeros(4, np.int64)], NEAR_LIMIT, "cells throughout"),
        ([np.zeros(3, np.int32)], 7, "int64"),
        ([np.zeros((3, 1), np.int64)], 7, "one-dimensional"),
    ],
)
def test_misuse(arrays: list[np.ndarray], modulus: int, message: str) -> None:
    with pytest.raises(Misuse, match=message):
        add_residues(arrays, modulus, "cpu")


def test_small_arrays_go_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as fill a batch, but never more than there is room for after a reduction."""
    added: list[int] = []
    add = summation._DeviceSum.add

    def counting(total: summation._DeviceSum, batch: np.ndarray) -> None:
        added.append(len(batch))
        add(total, batch)

    monkeypatch.setattr(summation._DeviceSum, "add", counting)
    arrays = [np.full(3, 6) for _ in range(10)]
    assert add_residues(arrays, 7, "cpu", batch_bytes=24 * 4).tolist() == [4] * 3
    assert added == [4, 4, 2]
    added.clear()
    assert add_residues(arrays, 2**60 + 1, "cpu").tolist() == [60] * 3
    assert added == [3, 3, 3, 1]


def test_where_sums_are_made() -> None:
    for device in ("cpu", "auto"):
        assert summation_on(device)([np.array([3]), np.array([6])], 7).tolist() == [2]


def test_devices() -> None:
    assert resolve_device("cpu") == "cpu"
    assert resolve_device("auto") in ("cpu", "cuda")
    with pytest.raises(Misuse, match="expected auto, cpu, cuda or cuda:N"):
        resolve_device("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(Misuse, match="no CUDA device"):
            resolve_device("cuda")


def test_a_device_has_a_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [resolve_device(name) for name in ("cuda", "cuda:0", "cuda:1", "auto")] == [
        "cuda",
        "cuda:0",
        "cuda:1",
        "cuda",
    ]
    with pytest.raises(Misuse, match=r"cuda:2 was asked for, but torch finds 2 here, from cuda:0 to cuda:1"):
        resolve_device("cuda:2")
    for name in ("cuda:", "cuda:x", "cuda:-1", "cuda:1 "):
        with pytest.raises(Misuse, match="expected auto, cpu, cuda or cuda:N"):
            resolve_device(name)
