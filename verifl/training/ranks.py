"""One client's training on several processes of its machine, by torch elastic.

Each process, a rank, has the same model, data and seed, and calls the task's train() inside a process group; that the
gradients are averaged is train()'s business (DistributedDataParallel). What the ranks end with has to be one model, bit
for bit: a client submits one.
"""

from __future__ import annotations

import io
import os
import pickle
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

import torch
from torch import Tensor, nn

from proofs.errors import Misuse, VeriflError
from verifl.tasks.base import Task
from verifl.tasks.in_place import check_in_place
from verifl.tasks.seeding import seeded
from verifl.tasks.turns import Turn
from verifl.tasks.user_code import Abstain, user_code
from verifl.training.module_state import state_of

MOST = 256  # processes of one client
TIMEOUT = 600.0  # seconds for which a rank waits for the others
_TRAINED, _ABSTAINS, _FAILED = "trained", "abstains", "failed"
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
_Seeds = tuple[int, str]
_STEPS = "; every process has to take as many steps as the others: `verifl.share` gives each as many samples"


@dataclass(frozen=True)
class Ranks:
    """count: how many processes train one client. timeout: seconds for which one waits for the others."""

    count: int
    timeout: float = TIMEOUT


@dataclass(frozen=True)
class _Work:
    """What every rank is given."""

    task: Task[Any]
    module: nn.Module
    client: str
    data: Any
    turn: Turn | None
    seed: int
    purpose: str


@dataclass(frozen=True)
class _Outcome:
    """kind: one of three. text: why. tensors: of the state, by `torch.save`. at: when, by the machine's clock."""

    kind: str
    text: str
    tensors: bytes
    at: float


def ranks_of(task: object) -> Ranks | None:
    """A task's `processes`, and `process_timeout`; None where one process trains. Raises Misuse for other values."""
    count: object = getattr(task, "processes", 1)
    timeout: object = getattr(task, "process_timeout", TIMEOUT)
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST:
        raise Misuse(f"task: processes: expected a whole number from 1 to {MOST}, found {count!r}")
    if not isinstance(timeout, int | float) or isinstance(timeout, bool) or not 0 < timeout < float("inf"):
        raise Misuse(f"task: process_timeout: expected seconds, found {timeout!r}")
    return Ranks(count, float(timeout)) if count > 1 else None


def train_on(
    ranks: Ranks,
    task: Task[Any],
    module: nn.Module,
    client: str,
    data: object,
    turn: Turn | None,
    seeds: tuple[int, str],
) -> None:
    """Have the ranks train copies of `module`, and put into it what all of them ended with. seeds: as of `seeded`.

    Raises Misuse where a rank failed, or they ended with different models; Abstain where all of them do.
    """
    payload = _packed(_Work(task, module, client, data, turn, *seeds))
    with _own_signals(), tempfile.TemporaryDirectory(prefix="verifl-ranks-") as logs:
        outcomes = _launched(ranks, payload, logs)
    _check(outcomes)
    _write(module, _agreed(outcomes))


def _packed(work: _Work) -> bytes:
    """By value: torch would have the processes share the memory of tensors."""
    with user_code("processes: task, model or data cannot be sent to another process"):
        return pickle.dumps(work)


def _launched(ranks: Ranks, payload: bytes, logs: str) -> list[_Outcome]:
    from torch.distributed.elastic.multiprocessing import DefaultLogsSpecs, SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1, max_nodes=1, nproc_per_node=ranks.count, run_id="verifl", rdzv_backend="c10d",
        rdzv_endpoint="localhost:0", local_addr="localhost", start_method="spawn", max_restarts=0, monitor_interval=0.1,
        logs_specs=DefaultLogsSpecs(log_dir=logs),
    )  # fmt: skip
    try:
        found: Mapping[int, _Outcome] = elastic_launch(config, _rank)(payload, ranks.timeout)
    except ChildFailedError as error:
        rank, first = error.get_first_failure()
        raise Misuse(f"processes: process {rank} of {ranks.count} ended with status {first.exitcode}") from error
    except SignalException as error:
        raise _Signalled(error.sigval) from error
    return [found[rank] for rank in sorted(found)]


class _Signalled(Exception):
    """A signal that came while the ranks ran, which are gone now."""

    def __init__(self, number: int) -> None:
        super().__init__(number)
        self.number = number


@contextmanager
def _own_signals() -> Iterator[None]:
    """Elastic takes signals for its processes, and would keep them: what came is raised anew, for whoever had it."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {each: signal.getsignal(each) for each in _SIGNALS}
    came = 0
    try:
        yield
    except _Signalled as error:
        came = error.number
    finally:
        for each, handler in before.items():
            signal.signal(each, handler if handler is not None else signal.SIG_DFL)
    if came:
        signal.raise_signal(came)
        raise Misuse(f"processes: stopped by signal {came}")


def _rank(payload: bytes, timeout: float) -> _Outcome:
    """In a process of its own: train, and say what came of it."""
    import torch.distributed as dist

    work: _Work = pickle.loads(payload)  # noqa: S301  the parent made it
    count, place = int(os.environ["WORLD_SIZE"]), int(os.environ["LOCAL_RANK"])
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // count))
    device, backend = _device(work.module, place, count)
    told = {} if work.turn is None else {"turn": replace(work.turn, device=str(device))}
    dist.init_process_group(backend, timeout=timedelta(seconds=timeout))
    try:
        with user_code("train() failed"), seeded(work.seed, work.purpose):
            module = work.module.to(device)
            train: Callable[..., object] = work.task.train
            check_in_place(module, train(module, work.client, work.data, **told))
    except VeriflError as error:
        cause = error.__cause__
        if isinstance(cause, Abstain):
            return _Outcome(_ABSTAINS, str(cause), b"", time.time())
        waited = isinstance(cause, dist.DistError) or "gloo" in str(cause)
        return _Outcome(_FAILED, f"{error}{_STEPS if waited else ''}", b"", time.time())
    finally:
        dist.destroy_process_group()
    kept = io.BytesIO()
    torch.save({name: tensor.detach().cpu() for name, tensor in state_of(work.module).items()}, kept)
    return _Outcome(_TRAINED, "", kept.getvalue(), time.time())


def _device(module: nn.Module, place: int, count: int) -> tuple[torch.device, str]:
    """Where a rank trains: on an accelerator of its own where there are as many."""
    first = next(module.parameters()).device
    if first.type == "cuda" and torch.cuda.device_count() >= count:
        return torch.device("cuda", place), "nccl"
    return first, "gloo"


def _check(outcomes: list[_Outcome]) -> None:
    """That all ranks trained."""
    failed = [(each.at, rank) for rank, each in enumerate(outcomes) if each.kind == _FAILED]
    if failed:
        rank = min(failed)[1]  # the others may have failed for want of this one
        raise Misuse(f"process {rank} of {len(outcomes)}: {outcomes[rank].text}")
    if all(each.kind == _ABSTAINS for each in outcomes):
        raise Abstain(outcomes[0].text)
    for rank, each in enumerate(outcomes):
        if each.kind == _ABSTAINS:
            raise Misuse(f"process {rank} of {len(outcomes)} abstains, and others do not; all have to")


def _agreed(outcomes: list[_Outcome]) -> dict[str, Tensor]:
    """What all of them ended with."""
    first, *others = (_loaded(each.tensors) for each in outcomes)
    for rank, other in enumerate(others, 1):
        for name in sorted(first.keys() | other.keys()):
            if not _same(first.get(name), other.get(name)):
                raise Misuse(
                    f"processes: {name!r} of process {rank} is not what it is of process 0, and all have to end with "
                    "one model, bit for bit; wrap it in DistributedDataParallel, and average running statistics, "
                    "for example by torch.distributed.all_reduce"
                )
    return first


def _same(one: Tensor | None, other: Tensor | None) -> bool:
    if one is None or other is None or (one.dtype, one.shape) != (other.dtype, other.shape):
        return False
    return torch.equal(_bits(one), _bits(other))


def _bits(tensor: Tensor) -> Tensor:
    """As bytes: a NaN is itself, and zero is not minus zero."""
    return tensor.contiguous().reshape(-1).view(torch.uint8) if tensor.numel() else tensor


def _loaded(data: bytes) -> dict[str, Tensor]:
    tensors: dict[str, Tensor] = torch.load(io.BytesIO(data), weights_only=True)
    return tensors


def _write(module: nn.Module, tensors: Mapping[str, Tensor]) -> None:
    state = state_of(module)
    with torch.no_grad():
        for name, values in tensors.items():
            tensor = state.get(name)
            if tensor is None or (tensor.shape, tensor.dtype) != (values.shape, values.dtype):
                raise Misuse(f"processes: train() changed the architecture of the model: {name!r}")
            tensor.copy_(values)
