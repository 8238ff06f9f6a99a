"""One client trained by several processes: it is what plain DDP makes of it; ranks that fail or differ are named."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from proofs.errors import Misuse
from tests.required import needs
from verifl import Turn, share
from verifl.tasks.user_code import Abstain, ClientFailed
from verifl.training.local_training import LocalTraining
from verifl.training.ranks import Ranks, ranks_of
from verifl.training.tensors import TensorFilter

Data = tuple[Tensor, Tensor]


class Parallel:
    """A line through points; what goes wrong is a name, as it has to reach another process."""

    def __init__(self, processes: int = 2, wrong: str = "", timeout: float = 60.0) -> None:
        self.processes, self.process_timeout, self.wrong = processes, timeout, wrong

    def clients(self) -> Sequence[str]:
        return ["a"]

    def model(self) -> nn.Module:
        return nn.Sequential(nn.Linear(3, 1), nn.BatchNorm1d(1))

    def data(self, client: str) -> Data:
        generator = torch.Generator().manual_seed(3)
        features = torch.randn(41, 3, generator=generator)
        return features, features @ torch.tensor([[1.0], [-2.0], [0.5]])

    def train(self, model: nn.Module, client: str, data: Data, turn: Turn) -> None:
        assert turn.device == "cpu"
        rank = dist.get_rank() if dist.is_initialized() else 0
        self._go_wrong(rank)
        own = share(len(data[1])) if self.wrong != "steps" else range(4 + 4 * rank)
        assert self.wrong == "steps" or len(own) == (20 if self.processes == 2 else 41)
        features, targets = data[0][own], data[1][own]
        net = DistributedDataParallel(model) if dist.is_initialized() and self.wrong != "differ" else model
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for batch in torch.arange(len(targets) // 4 * 4).split(4):
            optimizer.zero_grad()
            nn.functional.mse_loss(net(features[batch]), targets[batch]).backward()
            optimizer.step()
        if dist.is_initialized() and self.wrong not in ("statistics", "steps"):
            for buffer in (model[1].running_mean, model[1].running_var):
                dist.all_reduce(buffer)
                buffer.div_(dist.get_world_size())

    def _go_wrong(self, rank: int) -> None:
        if self.wrong == "raise" and rank == 1:
            raise KeyError("age")
        if self.wrong == "die" and rank == 1:
            os._exit(7)
        if self.wrong == "abstain" or (self.wrong == "abstains" and rank == 1):
            raise Abstain("no data yet")
        if self.wrong == "sleep":
            time.sleep(600)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {}


def trained(task: Any, client: str = "a") -> np.ndarray:
    training = LocalTraining(task, TensorFilter(), "cpu", 1)
    return training.train(client, training.initial(), 1)[1]


def plain() -> np.ndarray:
    """What DDP computes, by hand in one process: the mean of two gradients, each of its own batch and statistics."""
    task = Parallel(1)
    training = LocalTraining(task, TensorFilter(), "cpu", 1)
    features, targets = task.data("a")
    models = [training.load(training.initial()) for _ in range(2)]
    optimizers = [torch.optim.SGD(each.parameters(), lr=0.1) for each in models]
    for start in range(0, 40, 8):
        for one, other in zip(*(each.buffers() for each in models), strict=True):
            other.copy_(one)  # DDP has them from the first process
        for rank, model in enumerate(models):
            batch = torch.arange(start + rank, start + 8, 2)
            model.zero_grad()
            nn.functional.mse_loss(model(features[batch]), targets[batch]).backward()
        for one, other in zip(*(each.parameters() for each in models), strict=True):
            one.grad = other.grad = (one.grad + other.grad) / 2
        for each in optimizers:
            each.step()
    mean = models[0]
    for name in ("running_mean", "running_var"):
        getattr(mean[1], name).copy_((getattr(models[0][1], name) + getattr(models[1][1], name)) / 2)
    return np.concatenate([mean.state_dict()[spec.name].double().reshape(-1).numpy() for spec in training.layout.specs])


@pytest.mark.parametrize("value", [0, 257, 2.0, True, "2"])
def test_how_many_processes_is_a_number(value: object) -> None:
    task = Parallel()
    task.processes = value
    with pytest.raises(Misuse, match=r"processes: expected a whole number from 1 to 256, found"):
        LocalTraining(task, TensorFilter(), "cpu", 1)


def test_a_task_says_how_many_train_a_client() -> None:
    assert ranks_of(object()) is None
    assert ranks_of(Parallel(1)) is None
    assert ranks_of(Parallel(3, timeout=5)) == Ranks(3, 5.0)
    with pytest.raises(Misuse, match="process_timeout: expected seconds, found -1"):
        ranks_of(Parallel(2, timeout=-1))


def test_one_process_takes_all_samples_and_keeps_its_state() -> None:
    assert share(5) == range(5)
    trained(Parallel(1))

    class Stateful(Parallel):
        def train(self, model: nn.Module, client: str, data: Data, state: dict[str, Any]) -> None:
            """Nothing."""

    LocalTraining(Stateful(1), TensorFilter(), "cpu", 1)
    with pytest.raises(Misuse, match="processes: train\\(\\) takes `state`"):
        LocalTraining(Stateful(2), TensorFilter(), "cpu", 1)


def test_what_cannot_be_sent_to_a_process_is_told() -> None:
    class Local(Parallel):
        """Not to be found by its name."""

    with pytest.raises(ClientFailed, match="cannot be sent to another process"):
        trained(Local())


@pytest.fixture
def processes() -> None:
    """What starts torch anew in other processes is run where that is asked for."""
    needs("torch")


@pytest.mark.organisations
@pytest.mark.usefixtures("processes")
def test_two_processes_train_as_plain_ddp_does() -> None:
    found = trained(Parallel())
    assert np.array_equal(found, trained(Parallel()))
    assert np.allclose(found, plain(), rtol=0, atol=1e-6)
    assert not np.allclose(found, trained(Parallel(1)), rtol=0, atol=1e-3)


WRONG = {
    "raise": r"process 1 of 2: train\(\) failed: KeyError: 'age' \(at .*test_ranks\.py:\d+\)$",
    "die": "process 1 of 2 ended with status 7",
    "differ": "'0.bias' of process 1 is not what it is of process 0, and all have to end with one model, bit for bit",
    "statistics": "'1.running_mean' of process 1 is not what it is",
    "steps": "every process has to take as many steps as the others",
    "abstains": "process 1 of 2 abstains, and others do not|every process has to take as many steps",
}
EVERY_RUN = ("raise", "die", "differ", "steps")


@pytest.mark.organisations
@pytest.mark.usefixtures("processes")
@pytest.mark.parametrize(
    "wrong", [w if w in EVERY_RUN else pytest.param(w, marks=pytest.mark.exhaustive) for w in WRONG]
)
def test_processes_that_do_not_come_to_one_model_are_named(wrong: str) -> None:
    with pytest.raises(ClientFailed, match=WRONG[wrong]) as caught:
        trained(Parallel(wrong=wrong, timeout=8))
    assert caught.value.client == "a"
    assert not caught.value.abstained


@pytest.mark.organisations
@pytest.mark.usefixtures("processes")
def test_all_may_abstain() -> None:
    with pytest.raises(ClientFailed, match="abstains: no data yet") as caught:
        trained(Parallel(wrong="abstain"))
    assert caught.value.abstained


def spawned() -> list[str]:
    """The processes that this one has spawned, but for that which keeps track of them."""
    children = Path(f"/proc/self/task/{threading.main_thread().native_id}/children").read_text(encoding="ascii").split()
    lines = {each: Path("/proc", each, "cmdline") for each in children}
    return [each for each, path in lines.items() if path.exists() and b"spawn_main" in path.read_bytes()]


@pytest.mark.organisations
@pytest.mark.usefixtures("processes")
def test_an_interruption_ends_all_of_them() -> None:
    """Whoever had the signal before gets it, and has it again."""

    ranks: list[str] = []

    def interrupt() -> None:
        while len(ranks) < 2:
            time.sleep(0.1)
            ranks[:] = spawned()
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    threading.Thread(target=interrupt, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        trained(Parallel(wrong="sleep"))
    assert signal.getsignal(signal.SIGINT) is before
    assert len(ranks) == 2
    assert spawned() == []
