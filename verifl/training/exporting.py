"""A model of the log, of whatever round, as a file that other libraries load."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from safetensors import SafetensorError, safe_open
from torch import Tensor

from proofs.errors import Misuse
from protocols.policy import TensorSpec
from protocols.steps.doubles import Doubles
from verifl.training.local_training import LocalTraining
from verifl.training.model_files import finished_metadata, header_size, write_model, write_tensors
from verifl.training.tensors import TensorLayout, rounded

_ADVICE = "give --config CONFIG, whose task makes the whole model"


def export_by_task(
    training: LocalTraining, vector: Doubles, model: str, path: Path, metadata: Mapping[str, str]
) -> bool:
    """Write a global model, float64 (d,), as a run writes its last: whole, and as the task finishes it, if it does;
    whether it does. model: its hash in the log, in hexadecimal."""
    if training.finishes:
        write_model(training.finished(vector), path, {**metadata, **finished_metadata(model)})
    else:
        write_model(training.load(vector), path, {**metadata, "model": model})
    return training.finishes


def export_by_file(
    tensors: Sequence[TensorSpec], vector: Doubles, model: str, path: Path, metadata: Mapping[str, str], like: Path
) -> None:
    """Write it without the task: what travels, by the policy's `tensors`, and integers and truth values as the file
    `like` has them, which holds the run's last model. As no client's own are in the global model, they are the same in
    all of its rounds. Where there is no such file, what travels alone.

    Raises Misuse where the model has more, of which a file does not say whether it is a second name of what travels.
    """
    layout = TensorLayout(tuple(tensors))
    made = {spec.name: rounded(spec, vector[where]) for spec, where in layout.slices()}
    held = _held(like) if like.exists() else {}
    for name, tensor in held.items():
        if name not in made and (tensor.is_floating_point() or tensor.is_complex()):
            raise Misuse(f"{like}: has {name!r}, which does not travel under that name; {_ADVICE}")
    missing = sorted(made.keys() - held.keys()) if held else []
    if missing:
        raise Misuse(f"{like}: has no {missing[0]!r}, which travels; {_ADVICE}")
    write_tensors({**held, **made}, path, {**metadata, "model": model})


def _held(path: Path) -> dict[str, Tensor]:
    header_size(path)
    try:
        with safe_open(str(path), framework="pt") as file:
            names = list(file.keys())
            return {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise Misuse(f"{path}: expected a safetensors file: {error}") from None
