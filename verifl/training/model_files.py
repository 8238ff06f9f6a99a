"""The trained model as files that other libraries load: `model.safetensors`, and `adapter/` for peft.

The file holds the whole state of the model under every name that it has, tied tensors as copies: libraries differ in
which of two tied names they look for. The names are those of the state, without what wrappers (torch.compile,
DataParallel) put into them. What cannot be written is found by `file_names`, before the first round.
"""

from __future__ import annotations

import copy
import hashlib
import json
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from torch import Tensor, nn

from proofs.errors import Misuse
from protocols.pinned import PinnedPolicy
from protocols.steps.doubles import Doubles
from protocols.steps.step import encode_model
from verifl.storage.run_directory import RunDirectory
from verifl.storage.stores import replacing
from verifl.tasks.user_code import user_code
from verifl.training.tensors import TensorLayout

if TYPE_CHECKING:
    from verifl.training.local_training import LocalTraining

AUDITED = "audited.safetensors"
FINISHED = "finished"  # in the metadata
HEADER_START = 8  # bytes, which are the header's size, little-endian
HEADER_LIMIT = 1 << 24  # bytes: some 100,000 tensors
_METADATA = '"__metadata__"'
_FORMAT = {"format": "pt"}  # whom transformers 4 does not find it in, it refuses
_COMPILED = "_orig_mod"
_PARALLEL = (nn.DataParallel, nn.parallel.DistributedDataParallel)
_WEIGHTS, _CONFIG = "adapter_model.safetensors", "adapter_config.json"


def file_names(model: nn.Module) -> dict[str, str]:
    """The name in the file for every name of the model's state.

    Raises Misuse where two would have one name, or a tensor's type cannot be written.
    """
    held, names, owners = _held_by_wrappers(model), {}, dict[str, str]()
    for name, tensor in model.state_dict().items():
        _check_writable(name, tensor)
        names[name] = _without(held, name)
        other = owners.setdefault(names[name], name)
        if other != name:
            raise Misuse(
                f"model: {other!r} and {name!r} would both be {names[name]!r} in model.safetensors, which leaves out "
                "what wrappers put into names; rename one of them"
            )
    return names


def write_model(model: nn.Module, path: Path, metadata: Mapping[str, str], mode: int = 0o644) -> None:
    """The state of `model` as a safetensors file, under the names of `file_names`: the same bytes for the same values,
    whoever writes it. mode: of the file; 0600 in a party's state."""
    write_tensors(_named(model), path, metadata, mode)


def write_tensors(tensors: Mapping[str, Tensor], path: Path, metadata: Mapping[str, str], mode: int = 0o644) -> None:
    """Tensors by the names that they have in the file; as `write_model`."""
    from safetensors.torch import save_file

    with replacing(path, mode) as temporary:
        save_file(_separate(tensors), str(temporary), metadata={**metadata, **_FORMAT})
        _order_metadata(temporary)


def header_size(path: Path) -> int:
    """Bytes of the header of a safetensors file, whoever wrote it; raises Misuse, before anything of it is read, for
    more than HEADER_LIMIT or than there are."""
    size = path.stat().st_size
    with path.open("rb") as file:
        found = int.from_bytes(file.read(HEADER_START), "little")
    most = min(HEADER_LIMIT, size - HEADER_START)
    if most < 0 or found > most:
        raise Misuse(
            f"{path}: expected a safetensors file, with a header of at most {max(most, 0)} bytes, found {found}"
        )
    return found


def write_final(
    training: LocalTraining, vector: Doubles, path: Path, metadata: Mapping[str, str], mode: int = 0o644
) -> nn.Module:
    """A global model, float64 (d,), as the file that is evaluated: what the task's finish() makes of it, if it has one.

    Then the file says so, with the hash that the log has of the model before, and that one is written beside it, as
    `audited.safetensors`. mode: of both. Returns the module that was written to `path`.
    """
    module = training.finished(vector)
    if not training.finishes:
        write_model(module, path, metadata, mode)
        return module
    audited = hashlib.sha256(encode_model(vector)).hexdigest()
    write_model(training.load(vector), path.with_name(AUDITED), {**metadata, "model": audited}, mode)
    write_model(module, path, {**metadata, **finished_metadata(audited)}, mode)
    return module


def finished_metadata(audited: str) -> dict[str, str]:
    """What the file of a model says that the task has finished. audited: the hash of the one before, in hexadecimal."""
    return {FINISHED: "by the task, after the audit", "audited_model": audited}


def model_metadata(pinned: PinnedPolicy) -> dict[str, str]:
    """What the file of a federation's model says of itself."""
    return {"federation": pinned.policy.federation, "policy_hash": pinned.hash.hex()}


def encode_state(model: nn.Module, others: Mapping[str, Tensor]) -> bytes:
    """The state of `model` as `write_model` writes it, without metadata: the same bytes for the same values.

    others: by their names in the state, tensors that are written in the place of the model's own.
    """
    from safetensors.torch import save

    names = file_names(model)
    state = _named(model) | {names[name]: tensor for name, tensor in others.items()}
    return bytes(save(_separate(state), metadata=_FORMAT))


def write_adapter(model: nn.Module, layout: TensorLayout, directory: RunDirectory) -> Path | None:
    """Where nothing but a peft adapter travels: the folder that `PeftModel.from_pretrained` loads it from, else None.

    An adapter with another name than `default` has a folder of its own in it, as peft does it. Raises Misuse where
    peft fails.
    """
    with user_code("peft: the adapter cannot be written by itself"):
        adapters = _adapters(model, layout)
    for adapter in adapters:
        folder = directory.adapter / adapter.folder
        folder.mkdir(parents=True, exist_ok=True)
        write_tensors(adapter.tensors, folder / _WEIGHTS, {})
        with replacing(folder / _CONFIG) as temporary:
            temporary.write_bytes(adapter.config)
    return directory.adapter if adapters else None


def _named(model: nn.Module) -> dict[str, Tensor]:
    """Every tensor of the state by its name in the file."""
    names = file_names(model)
    return {names[name]: tensor for name, tensor in model.state_dict().items()}


def _order_metadata(path: Path) -> None:
    """Put the metadata of a file that was just written into order: the library writes them in another one each time,
    and in just as many bytes."""
    with path.open("r+b") as file:
        file.seek(HEADER_START)
        header = file.read(header_size(path)).decode()
        assigned = header.index(":", header.index(_METADATA)) + 1
        found, end = json.JSONDecoder().raw_decode(header, assigned)
        ordered = json.dumps(dict(sorted(found.items())), separators=(",", ":"), ensure_ascii=False)
        if len(ordered.encode()) != len(header[assigned:end].encode()):
            raise Misuse(f"{path}: metadata that JSON spells in two ways: {ordered}")
        file.seek(HEADER_START + len(header[:assigned].encode()))
        file.write(ordered.encode())


def _separate(tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same values, dense in the CPU's memory; where several tensors share memory, all but the first are copied."""
    separate, seen = {}, set()
    for name, tensor in tensors.items():
        dense = tensor.detach().cpu().contiguous()
        place = dense.untyped_storage().data_ptr()
        separate[name] = dense.clone() if place in seen else dense
        seen.add(place)
    return separate


def _check_writable(name: str, tensor: Tensor) -> None:
    from safetensors.torch import save

    kind = str(tensor.dtype).removeprefix("torch.")
    try:
        save({name: torch.empty(0, dtype=tensor.dtype)})
    except (KeyError, ValueError, SafetensorError):
        raise Misuse(
            f"model: {name!r} is {kind}, which model.safetensors cannot hold; convert it, or register the buffer with "
            "persistent=False"
        ) from None


def _held_by_wrappers(model: nn.Module) -> set[str]:
    """The paths of the modules that a wrapper holds, such as `net._orig_mod`."""
    return {
        f"{path}.{child}" if path else child
        for path, module in model.named_modules(remove_duplicate=False)
        for child, _ in module.named_children()
        if child == _COMPILED or (child == "module" and isinstance(module, _PARALLEL))
    }


def _without(held: set[str], name: str) -> str:
    parts = name.split(".")
    return ".".join(part for number, part in enumerate(parts) if ".".join(parts[: number + 1]) not in held)


@dataclass(frozen=True)
class _Adapter:
    folder: str
    tensors: Mapping[str, Tensor]
    config: bytes


def _adapters(model: nn.Module, layout: TensorLayout) -> tuple[_Adapter, ...]:
    """The adapters of the one part of the model that has some, unless anything else travels."""
    holders = list(_holders(model)) if "peft" in sys.modules else []
    if len(holders) != 1:
        return ()
    adapters = tuple(_adapter(holders[0], name) for name in holders[0].peft_config)
    tensors = [tensor for adapter in adapters for tensor in adapter.tensors.values()]
    if any(config.is_prompt_learning for config in holders[0].peft_config.values()):
        tensors += holders[0].prompt_encoder.parameters()  # of which peft writes what they make
    places, state = {tensor.data_ptr() for tensor in tensors}, model.state_dict()
    return adapters if all(state[spec.name].data_ptr() in places for spec in layout.specs) else ()


def _holders(module: nn.Module) -> Iterator[Any]:
    """The outermost modules with adapters: peft's own models, and such as adapters were put into."""
    if "peft_config" in vars(module) or hasattr(type(module), "peft_config"):
        yield module
        return
    for child in module.children():
        yield from _holders(child)


def _adapter(holder: Any, name: str) -> _Adapter:
    from peft import PeftModel, get_peft_model_state_dict

    own = isinstance(holder, PeftModel)
    tensors = get_peft_model_state_dict(holder, adapter_name=name, save_embedding_layers=False)
    prefix = "" if own else "base_model.model."  # what peft calls the model inside its own
    config, base = copy.copy(holder.peft_config[name]), holder.get_base_model() if own else holder
    config.inference_mode = True
    with tempfile.TemporaryDirectory() as folder:
        config.save_pretrained(folder, auto_mapping_dict=None if config.task_type else _class_of(base))
        text = Path(folder, _CONFIG).read_text(encoding="utf-8")
    return _Adapter(
        "" if name == "default" else name, {prefix + each: tensors[each] for each in tensors}, text.encode()
    )


def _class_of(model: object) -> dict[str, str]:
    return {"base_model_class": type(model).__name__, "parent_library": type(model).__module__}
