"""What a task's train() keeps for a client from turn to turn: a dict, stored as data; nothing is executed to read it.

Numbers, text, bytes, None, lists, tuples, dicts, tensors and numpy arrays; nothing else, so that no pickle is needed.
The form is JSON with the tensors beside it (safetensors). Every turn gets what was read back, also where no process
ended in between, so that a resumed run is the same as an uninterrupted one. Tensors come back on the device that they
were on; those on the federation's own, which may be another after a resumption, on the federation's own.
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections import Counter, OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any

import numpy as np
import torch
from torch import Tensor

from proofs.errors import Misuse
from protocols.encoding import decode, encode
from protocols.messages import AtMost
from verifl.tasks.turns import takes

TaskState = dict[str, Any]

_LIMIT = 1 << 40  # bytes of an encoding; what a client may keep is bounded by the caller
_DEPTH = 64
_LARGEST = 1 << 13  # bits of an integer: Python refuses to read longer ones as decimals
_PLAIN = (type(None), bool, int, float, str)
_KEYS = (type(None), bool, int, float, str)
_DTYPES = {
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.int64, torch.int32, torch.int16, torch.int8,
    torch.uint8, torch.bool,
}  # fmt: skip
_ADVICE = "keep numbers, text, bytes, None, lists, tuples, dicts, tensors and numpy arrays, such as a state_dict()"


@dataclass(frozen=True)
class _Stored:
    tree: Annotated[bytes, AtMost(_LIMIT)]  # JSON
    tensors: Annotated[bytes, AtMost(_LIMIT)]  # safetensors, by number


def encode_state(state: TaskState, limit: int, device: str = "cpu") -> bytes:
    """`state` as bytes, at most `limit`; raises Misuse naming the first value that is not one of the kinds above.

    device: the federation's own.
    """
    from safetensors.torch import save

    writer = _Writer(limit, torch.empty(0, device=device).device)
    tree = json.dumps(writer.node(state, "state", 0), separators=(",", ":")).encode()
    writer.count(len(tree))
    return encode(_Stored(tree, save(writer.tensors)), 2 * _LIMIT)


def decode_state(data: bytes, device: str) -> TaskState:
    """Inverse of `encode_state`; a tensor whose device this machine has not comes back on `device`."""
    from safetensors.torch import load

    stored = decode(_Stored, data, 2 * _LIMIT)
    state: TaskState = _Reader(load(stored.tensors), device).value(json.loads(stored.tree))
    return state


class ClientStates:
    """The `state` of each client of a task, encoded, and where train() takes none, nothing."""

    def __init__(self, train: Callable[..., object], model_bytes: int, device: str) -> None:
        """model_bytes: of all tensors of the model; a client may keep 8 times as much and 64 MiB."""
        self.taken = takes(train, "state")
        self._limit, self._device = 8 * model_bytes + (1 << 26), device
        self._encoded: dict[str, bytes] = {}

    def arguments(self, client: str) -> dict[str, TaskState]:
        """What train() gets besides its usual arguments."""
        if not self.taken:
            return {}
        encoded = self._encoded.get(client)
        return {"state": decode_state(encoded, self._device) if encoded else {}}

    def keep(self, client: str, arguments: dict[str, TaskState]) -> None:
        """Take what train() left in `arguments`; raises Misuse naming client and value where it cannot be stored."""
        if self.taken:
            try:
                self._encoded[client] = encode_state(arguments["state"], self._limit, self._device)
            except Misuse as error:
                raise Misuse(f"client {client}: {error}") from None

    def encoded(self, client: str) -> bytes:
        """As of the client's last turn; empty before the first."""
        return self._encoded.get(client, b"")

    def restore(self, client: str, encoded: bytes) -> None:
        """Take up `encoded`."""
        self._encoded[client] = encoded

    def forget(self, client: str) -> None:
        """Let go of it."""
        self._encoded.pop(client, None)


def _is_here(device: str) -> bool:
    """Whether this machine has a device, by torch's name for it."""
    try:
        wanted = torch.device(device)
        module = torch.get_device_module(wanted)
    except RuntimeError:  # of a kind that this torch does not know
        return False
    return bool(module.is_available()) and (wanted.index or 0) < module.device_count()


@dataclass
class _Writer:
    """Values as JSON; what JSON has not is an object of one entry, whose key says which kind."""

    limit: int
    device: torch.device
    tensors: dict[str, Tensor] = field(default_factory=dict)
    _size: int = 0

    def node(self, value: object, path: str, depth: int) -> object:
        kind = type(value)
        if depth > _DEPTH:
            raise Misuse(f"{path}: nested more than {_DEPTH} deep, or in itself; {_ADVICE}")
        if kind in _PLAIN:
            if isinstance(value, int) and value.bit_length() > _LARGEST:
                raise self._refused(path, f"an integer of {value.bit_length():,} bits")
            return value
        if isinstance(value, bytes | bytearray) and kind in (bytes, bytearray):
            self.count(len(value))
            return {"bytes": b64encode(value).decode()}
        if isinstance(value, list) and kind is list:
            return [self.node(each, f"{path}[{place}]", depth + 1) for place, each in enumerate(value)]
        if isinstance(value, tuple) and kind in (tuple, torch.Size):
            return {"tuple": [self.node(each, f"{path}[{place}]", depth + 1) for place, each in enumerate(value)]}
        if isinstance(value, dict) and kind in (dict, OrderedDict, Counter):
            entries = [self._entry(key, each, path, depth + 1) for key, each in value.items()]
            return {"counter" if kind is Counter else "dict": entries}
        if isinstance(value, Tensor):
            return self._tensor(value, path)
        if isinstance(value, np.ndarray | np.generic):
            return self._array(value, path)
        raise self._refused(path, f"a {kind.__module__}.{kind.__qualname__}")

    def count(self, size: int) -> None:
        """Raise Misuse once all sizes together are beyond the limit."""
        self._size += size
        if self._size > self.limit:
            raise Misuse(f"state: expected at most {self.limit:,} bytes for one client, found more; keep less in it")

    def _entry(self, key: object, value: object, path: str, depth: int) -> list[object]:
        if type(key) not in _KEYS:
            raise self._refused(path, f"the key {key!r:.80}")
        return [key, self.node(value, f"{path}[{key!r:.80}]", depth)]

    def _tensor(self, value: Tensor, path: str) -> object:
        plain = value.detach()
        usual = type(plain) is Tensor and plain.layout is torch.strided and not plain.is_meta
        if not usual or plain.dtype not in _DTYPES:
            kind = f"a {type(value).__name__} of {plain.dtype}, {plain.layout}, on {plain.device.type}"
            raise self._refused(path, kind.replace("torch.", ""))
        if plain.device.type == "cpu":
            return {"cpu": self._put(plain)}
        if plain.device == self.device:
            return {"tensor": self._put(plain)}
        return {"elsewhere": [self._put(plain), str(plain.device)]}

    def _array(self, value: np.ndarray[Any, Any] | np.generic, path: str) -> object:
        array = np.array(value, order="C")
        if array.dtype.kind not in "biufc":
            raise self._refused(path, f"a numpy array of {array.dtype}")
        name = self._put(torch.from_numpy(array.reshape(-1).view(np.uint8)))
        return {"array" if isinstance(value, np.ndarray) else "scalar": [name, array.dtype.str, list(array.shape)]}

    def _put(self, tensor: Tensor) -> str:
        self.count(tensor.nbytes)
        name = str(len(self.tensors))
        self.tensors[name] = tensor.to("cpu", copy=True, memory_format=torch.contiguous_format)
        return name

    @staticmethod
    def _refused(path: str, found: str) -> Misuse:
        return Misuse(f"{path}: found {found}, which cannot be stored; {_ADVICE}")


@dataclass
class _Reader:
    """Inverse of `_Writer`."""

    tensors: dict[str, Tensor]
    device: str

    def value(self, node: Any) -> Any:
        if isinstance(node, list):
            return [self.value(each) for each in node]
        if not isinstance(node, dict):
            return node
        ((kind, content),) = node.items()
        match kind:
            case "bytes":
                return b64decode(content)
            case "tuple":
                return tuple(map(self.value, content))
            case "dict":
                return {key: self.value(each) for key, each in content}
            case "cpu":
                return self.tensors[content]
            case "tensor":
                return self.tensors[content].to(self.device)
            case "elsewhere":
                name, device = content
                return self.tensors[name].to(device if _is_here(device) else self.device)
            case "counter":
                return Counter({key: self.value(each) for key, each in content})
            case "array":
                return self._array(*content)
            case _:
                return self._array(*content)[()]

    def _array(self, name: str, kind: str, shape: list[int]) -> np.ndarray[Any, Any]:
        return self.tensors[name].numpy().view(np.dtype(kind)).reshape(shape).copy()
