"""Files of an initial model as anybody can make them: loaded, or refused by name."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from proofs.errors import Misuse
from protocols.policy import TensorSpec
from verifl.training.initial_files import bare_model

W = TensorSpec("w", (2,), "float32", nonnegative=False)


def file_with(path: Path, name: str, shape: list[int]) -> Path:
    """`w`, and a tensor without elements beside it."""
    tensors = {
        "w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]},
        name: {"dtype": "F32", "shape": shape, "data_offsets": [8, 8]},
    }
    header = json.dumps(tensors).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header + bytes(8))
    return path


@pytest.mark.parametrize(
    ("name", "shape", "refusal"),
    [
        (".".join("a" * 101), [0], "expected a name of at most 100 parts"),
        (".".join("a" * 100_000), [0], "expected a name of at most 100 parts"),
        ("x", [2**63, 0], "expected a shape that a tensor can have"),
        ("x", [0, 2**64 - 1], "expected a shape that a tensor can have"),
        ("x", [2**64, 0], "expected a safetensors file"),
    ],
)
def test_what_no_module_can_have_is_refused(tmp_path: Path, name: str, shape: list[int], refusal: str) -> None:
    with pytest.raises(Misuse, match=refusal):
        bare_model(file_with(tmp_path / "x.safetensors", name, shape), [W], ["a"])


@pytest.mark.parametrize(("name", "shape"), [(".".join("a" * 100), [0]), ("", [0]), ("w.b", [0]), ("x", [2**62, 0])])
def test_what_a_module_can_have_is_loaded(tmp_path: Path, name: str, shape: list[int]) -> None:
    model = bare_model(file_with(tmp_path / "x.safetensors", name, shape), [W], ["a"]).model()
    assert set(model.state_dict()) == {"w", name}
