"""What a task keeps for a client from turn to turn: stored as data, restored bit for bit, also after a kill."""

from __future__ import annotations

import pickle
from collections import Counter, OrderedDict, defaultdict
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from auditor import audit
from proofs.errors import Misuse
from tests.verifl.failing import killed_before, run
from verifl.training.task_state import decode_state, encode_state

LIMIT = 1 << 20


def bits(tensor: Tensor) -> Tensor:
    return tensor.reshape(-1).view(torch.uint8)


def same(one: object, other: object) -> bool:
    """Equal in kind and to the bit."""
    if type(one) is not type(other):
        return False
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return one.dtype == other.dtype and one.shape == other.shape and torch.equal(bits(one), bits(other))
    if isinstance(one, np.ndarray | np.generic) and isinstance(other, np.ndarray | np.generic):
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return repr(one) == repr(other)


EVERYTHING = {
    "plain": [None, True, 1, -(2**200), 0.1, -0.0, float("nan"), float("inf"), "ü\ud800\n", b"\x00\xff"],
    "nested": ({"a": (1, [2, (3,)])}, [], (), {}),
    "keys": {0: "zero", "0": "text", None: "none", 2.5: "float", True: "bool"},
    "counter": Counter({3: 2}),
    "tensors": [
        torch.arange(6.0).reshape(2, 3),
        torch.tensor(3, dtype=torch.int64),
        torch.ones(2, dtype=torch.bfloat16),
        torch.zeros(0, 4),
        torch.tensor([True, False]),
    ],
    "arrays": [
        np.arange(4, dtype=np.uint32),
        np.float64(0.1),
        np.array(1 + 2j),
        np.zeros((0, 2), dtype=np.float16),
        np.arange(6, dtype=">i4").reshape(2, 3),
    ],
}


def test_everything_that_can_be_kept_comes_back() -> None:
    assert same(decode_state(encode_state(EVERYTHING, LIMIT), "cpu"), EVERYTHING)


def test_what_is_read_back_is_nobody_elses() -> None:
    shared = torch.zeros(3)
    back = decode_state(encode_state({"a": shared, "b": shared, "c": np.zeros(2)}, LIMIT), "cpu")
    back["a"].add_(1)
    back["c"] += 1
    assert (shared.sum(), back["b"].sum()) == (0, 0)


def test_states_of_optimizers_schedulers_and_generators_come_back() -> None:
    model = nn.Linear(3, 1)
    optimizer = torch.optim.AdamW(model.parameters(), amsgrad=True)
    scheduler = torch.optim.lr_scheduler.MultiStepLR(optimizer, [2, 5])
    model(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    scheduler.step()
    state = {
        "optimizer": optimizer.state_dict(),
        "scheduler": scheduler.state_dict(),
        "model": model.state_dict(),
        "torch": torch.get_rng_state(),
        "numpy": np.random.default_rng(1).bit_generator.state,
        "legacy": np.random.RandomState(1).get_state(),
    }
    assert isinstance(state["model"], OrderedDict)
    back = decode_state(encode_state(state, LIMIT), "cpu")
    assert same(back, {**state, "model": dict(state["model"])})
    torch.optim.AdamW(model.parameters(), amsgrad=True).load_state_dict(back["optimizer"])
    np.random.RandomState().set_state(back["legacy"])


def cycle() -> list[Any]:
    endless: list[Any] = []
    endless.append(endless)
    return endless


@pytest.mark.parametrize(
    ("value", "path", "found"),
    [
        (lambda: None, "state['x']", "found a builtins.function"),
        ({"inner": [1, {2}]}, "state['x']['inner'][1]", "found a builtins.set"),
        (defaultdict(int), "state['x']", "found a collections.defaultdict"),
        ({(1, 2): 3}, "state['x']", "found the key (1, 2)"),
        (torch.ones(2, dtype=torch.complex64), "state['x']", "found a Tensor of complex64, strided, on cpu"),
        (torch.ones(2, 2).to_sparse(), "state['x']", "found a Tensor of float32, sparse_coo, on cpu"),
        (np.array([object()]), "state['x']", "found a numpy array of object"),
        (nn.Linear(1, 1), "state['x']", "found a torch.nn.modules.linear.Linear"),
        (1 << 9000, "state['x']", "found an integer of 9,001 bits"),
        (cycle(), "state['x'][0][0]", "nested more than 64 deep, or in itself"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(value: object, path: str, found: str) -> None:
    with pytest.raises(Misuse) as excinfo:
        encode_state({"x": value}, LIMIT)
    assert str(excinfo.value).startswith(path)
    assert found in str(excinfo.value)


@pytest.mark.parametrize("value", [torch.zeros(LIMIT // 4), "x" * LIMIT, b"x" * LIMIT, np.zeros(LIMIT // 8)])
def test_what_is_too_large_is_refused(value: object) -> None:
    with pytest.raises(Misuse, match="state: expected at most 1,048,576 bytes for one client, found more"):
        encode_state({"x": value}, LIMIT)


class Ledger:
    """Adam, whose moments, steps and spent privacy stay with each client from round to round."""

    names: Sequence[str] = ("a", "b", "c", "d")

    def __init__(self, failing: Callable[[str, int], BaseException | None] = lambda client, turn: None) -> None:
        self.failing, self.trained, self.spent = failing, list[str](), dict[str, list[float]]()

    def clients(self) -> Sequence[str]:
        return self.names

    def model(self) -> nn.Module:
        return nn.Linear(2, 1)

    def data(self, client: str) -> Tensor:
        return torch.randn(8, 2, generator=torch.Generator().manual_seed(ord(client)))

    def train(self, model: nn.Module, client: str, data: Tensor, state: dict[str, Any]) -> None:
        self.trained.append(client)
        optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
        if "optimizer" in state:
            optimizer.load_state_dict(state["optimizer"])
        optimizer.zero_grad()
        model(data).square().mean().backward()
        optimizer.step()
        state["optimizer"] = optimizer.state_dict()
        state["spent"] = state.get("spent", 0.0) + 1.0
        self.spent.setdefault(client, []).append(state["spent"])
        error = self.failing(client, self.trained.count(client))
        if error is not None:
            raise error

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {"loss": float(model(self.data("z")).square().mean().detach())}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three rounds that nobody interrupted."""
    out = tmp_path_factory.mktemp("whole") / "out"
    task = Ledger()
    run(task, out, rounds=3)
    assert task.spent == {name: [1.0, 2.0, 3.0] for name in Ledger.names}
    return out


def check_same(out: Path, whole: Path) -> None:
    ours, theirs = (load_file(each / "model.safetensors") for each in (out, whole))
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert audit(out / "transcript", out / "policy.cbor").accepted


@pytest.mark.parametrize(
    ("description", "nth"),
    [("write after/1", 1), ("write after/1", 3), ("write answer", 2), ("write after/2", 1), ("write answer", 8)],
)
def test_a_state_survives_a_kill(tmp_path: Path, whole: Path, description: str, nth: int) -> None:
    """Before or after the training was stored, before the answer was: the run is the same as one that nobody killed."""
    out = tmp_path / "out"
    killed_before(Ledger(), out, description, nth)
    again = Ledger()
    run(again, out, rounds=3)
    check_same(out, whole)
    assert {name: spent[-1] for name, spent in again.spent.items()} == dict.fromkeys(Ledger.names, 3.0)


def test_a_turn_that_came_to_nothing_leaves_no_state(tmp_path: Path) -> None:
    """b trains in round 2, is killed before it answers, and then fails: what it keeps is that of round 1."""
    out = tmp_path / "out"
    killed_before(Ledger(), out, "write answer", 6)
    stored = out / "state" / "clients" / "b" / "training" / f"{b'after/2'.hex()}.value"
    assert stored.exists()
    task = Ledger(lambda client, turn: ValueError("no rows") if (client, turn) == ("b", 1) else None)
    result = run(task, out, rounds=3)
    assert [each.failed for each in result.rounds] == [(), ("b",), ()]
    assert task.spent["b"] == [2.0, 2.0]  # the second begins where the first did
    assert not stored.exists()


def test_tasks_without_it_get_none_and_store_nothing(tmp_path: Path) -> None:
    from tests.verifl.failing import Line

    run(Line(), tmp_path / "out", rounds=1)
    assert not list((tmp_path / "out").glob("state/clients/*/training/*.value"))


def test_what_is_stored_is_no_pickle(whole: Path) -> None:
    files = list(whole.glob("state/clients/*/training/*.value"))
    assert len(files) == 2 * len(Ledger.names)  # of the last round, and of the one before
    for file in files:
        assert file.stat().st_mode & 0o777 == 0o600
        with pytest.raises((pickle.UnpicklingError, EOFError, ValueError, KeyError, IndexError, AttributeError)):
            pickle.loads(file.read_bytes()[32:])  # noqa: S301


def test_what_cannot_be_kept_ends_the_run_by_name(tmp_path: Path) -> None:
    class Engine(Ledger):
        def train(self, model: nn.Module, client: str, data: Tensor, state: dict[str, Any]) -> None:
            state["engine"] = model

    with pytest.raises(Misuse, match=r"client a: state\['engine'\]: found a torch.nn.modules.linear.Linear"):
        run(Engine(), tmp_path / "out")
