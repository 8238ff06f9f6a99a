"""Adding ciphertexts on a device, against how fast the device copies memory.

sum      `verifl.agents.summation.add_residues` over all clients, from arrays on the host to the sum on the host
twin     `protocols.summation.add_residues`, numpy on the host, over the same arrays: the result must be the same
upload   the arrays' bytes from the host to the device (CUDA only)
copy     a copy within the device's memory
"""

from __future__ import annotations

from itertools import cycle, islice
from typing import Any

import numpy as np
import torch

from proofs.errors import Rejected
from protocols import summation as numpy_twin
from protocols.derivation import derive
from protocols.summation import Residues
from verifl.agents.summation import resolve_device, summation_on
from verifl.bench.machine import cpu_model
from verifl.bench.setting import COHORT_ROOM
from verifl.bench.stopwatch import Stopwatch

_DISTINCT = 16  # arrays; more clients add them again
_COPY_BYTES = 256 << 20
_WORD = 8


def measure_summation(dimension: int, clients: int, repeat: int, device: str) -> dict[str, Any]:
    """Phases, and bytes a second: of residues added, and of memory copied on the device (each byte counted once).

    Raises Misuse where the device is not there, Rejected("summation") if the sum is not the twin's.
    """
    resolved, watch = resolve_device(device), Stopwatch()
    modulus = derive(dimension, 1.0, None, max(clients, COHORT_ROOM))[1].modulus
    generator = np.random.default_rng()
    distinct = [generator.integers(0, modulus, dimension, dtype=np.int64) for _ in range(min(clients, _DISTINCT))]
    arrays = list(islice(cycle(distinct), clients))
    add = summation_on(resolved)
    for run in range(repeat + 1):
        with watch.phase("sum"):
            found = add(arrays, modulus)
        with watch.phase("twin"):
            expected = numpy_twin.add_residues(arrays, modulus)
        if not np.array_equal(found, expected):
            raise Rejected("summation", "the sum that numpy gives", f"another on {resolved}")
        _measure_copies(watch, distinct[0], resolved)
        if run == 0:
            watch.clear()
    return _result(watch, dimension, clients, resolved)


def _measure_copies(watch: Stopwatch, array: Residues, device: str) -> None:
    source = torch.ones(_COPY_BYTES // _WORD, dtype=torch.int64, device=device)
    target = torch.zeros_like(source)
    _synchronise(device)
    with watch.phase("copy"):
        target.copy_(source)
        _synchronise(device)
    if device != "cpu":
        with watch.phase("upload"):
            torch.from_numpy(array).to(device)
            _synchronise(device)


def _synchronise(device: str) -> None:
    if device != "cpu":
        torch.cuda.synchronize()


def _result(watch: Stopwatch, dimension: int, clients: int, device: str) -> dict[str, Any]:
    phases = watch.phases()
    added, uploaded = clients * dimension * _WORD, dimension * _WORD
    moved = {"sum": added, "twin": added, "copy": _COPY_BYTES, "upload": uploaded}
    rates = {each["phase"]: round(moved[each["phase"]] / each["median"]) for each in phases}
    return {
        "setting": {"dimension": dimension, "clients": clients},
        "device": device,
        "device_name": torch.cuda.get_device_name() if device != "cpu" else cpu_model(),
        "cuda_available": torch.cuda.is_available(),
        "phases": phases,
        "bytes_per_second": rates,
        "share_of_copy": round(rates["sum"] / rates["copy"], 4),
        "same_as_twin": True,
        "threads": torch.get_num_threads(),
    }
