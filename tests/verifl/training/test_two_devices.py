"""Training on one device, the federation on another: all of two_devices.py, on CUDA where it is, and on a pretend
accelerator everywhere."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.verifl.training import other_device
from verifl.training.task_state import decode_state

TESTS = Path(__file__).with_name("two_devices.py")
CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="torch finds no CUDA device")
PRETEND = pytest.mark.skipif(
    not other_device.AVAILABLE, reason=f"torch {torch.__version__} has no _setup_privateuseone_for_python_backend"
)


@pytest.mark.parametrize("device", [pytest.param("cuda", marks=CUDA), pytest.param(other_device.NAME, marks=PRETEND)])
def test_two_devices(device: str, tmp_path: Path) -> None:
    kept = tmp_path / "state"
    environment = {**os.environ, "OTHER_DEVICE": device, "STORED_STATE": str(kept)}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(TESTS)]
    finished = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    found = decode_state(kept.read_bytes(), "cpu")["moment"]
    here = device if device == "cuda" else "cpu"  # the pretend device is in the other process alone
    assert (found.device.type, found.tolist()) == (here, [0, 1, 2])
