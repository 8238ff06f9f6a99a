"""Clients of one machine trained in several processes, each with a device: for runs that play all parties.

Each process makes the task from its configuration, as a client's own would, and holds no key. Which process trains a
client is fixed, so that a run that is repeated on the same devices is the same. The proofs are made where they were.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import torch

from proofs.errors import Misuse, VeriflError
from protocols.steps.doubles import Doubles
from verifl.config import Config
from verifl.strategies.weights import weighs
from verifl.tasks.loading import load_task
from verifl.tasks.user_code import ClientFailed
from verifl.training.initial_files import started_from
from verifl.training.local_training import LocalTraining
from verifl.training.own_tensors import NOTHING, Kept
from verifl.training.tensors import TensorLayout, tensor_filter

_PATIENCE = 5.0  # seconds in which a process that was asked to end may do so
_WATCH = 1.0  # seconds between two looks at whether the parent is there


@dataclass(frozen=True)
class Apart:
    """devices: one for each process, by torch's names. folder: of the configuration, whose task they load. initial:
    what the task starts from, if it does."""

    devices: tuple[str, ...]
    folder: Path
    initial: Path | None = None

    def __post_init__(self) -> None:
        for name in self.devices:
            _check_device(name)


@dataclass(frozen=True)
class _Setting:
    """What a process needs to train. parent: whose end is its own."""

    config: Config
    apart: Apart
    device: str
    parent: int


@dataclass(frozen=True)
class _Job:
    client: str
    model: Doubles
    number: int
    kept: Kept


@dataclass(frozen=True)
class _Trained:
    """What came of a job."""

    before: Doubles
    after: Doubles
    kept: Kept
    measured: float | None
    buffers: tuple[str, ...]


@dataclass(frozen=True)
class _Failed:
    """Why nothing did. text: of Misuse; with a reason, of ClientFailed."""

    text: str
    reason: str | None = None
    abstained: bool = False

    def error(self, client: str) -> Misuse:
        if self.reason is None:
            return Misuse(self.text)
        return ClientFailed(client, self.reason, self.abstained, self.text)


@dataclass
class _Worker:
    """A process, what it does now, and what is to be done after that."""

    process: BaseProcess
    pipe: Connection
    busy: _Job | None = None
    waiting: deque[_Job] = field(default_factory=deque)


@contextmanager
def trained_apart(training: LocalTraining, config: Config, apart: Apart, clients: Sequence[str]) -> Iterator[Workers]:
    """Processes that train these clients during the block, and are gone after it."""
    workers = Workers(training.layout, config, apart, clients)
    try:
        yield workers
    finally:
        workers.close()


class Workers:
    """A `Training` whose turns are made in other processes, several at once where they are begun before they are asked
    for."""

    def __init__(self, layout: TensorLayout, config: Config, apart: Apart, clients: Sequence[str]) -> None:
        self.layout, self._config, self._apart = layout, config, apart
        self._place = {name: number % len(apart.devices) for number, name in enumerate(sorted(clients))}
        self._workers: dict[int, _Worker] = {}
        self._begun: dict[str, int] = {}  # the round that a client's turn was begun for
        self._given: dict[str, Kept] = {}
        self._results: dict[str, _Trained | _Failed] = {}

    def restore(self, client: str, kept: Kept) -> None:
        """See `LocalTraining.restore`."""
        self._given[client] = kept

    def begin(self, client: str, model: Doubles, number: int) -> None:
        """Have its turn made, as soon as its process is free."""
        self._begun[client] = number
        self._results.pop(client, None)
        worker = self._worker(client)
        worker.waiting.append(_Job(client, model, number, self._given.get(client, NOTHING)))
        self._feed(worker)

    def train(self, client: str, model: Doubles, round_number: int) -> tuple[Doubles, Doubles]:
        """See `LocalTraining.train`; of a turn that was begun, what came of it."""
        if self._begun.get(client) != round_number:
            self.begin(client, model, round_number)
        while client not in self._results:
            self._receive()
        del self._begun[client]
        result = self._results[client]
        if isinstance(result, _Failed):
            raise result.error(client)
        return result.before, result.after

    def measured(self, client: str) -> float | None:
        """See `LocalTraining.measured`."""
        return self._trained(client).measured

    def kept(self, client: str) -> Kept:
        """See `LocalTraining.kept`."""
        return self._trained(client).kept

    def changed_buffers(self, client: str) -> tuple[str, ...]:
        """See `LocalTraining.changed_buffers`."""
        return self._trained(client).buffers

    def forget(self, client: str) -> None:
        """See `LocalTraining.forget`."""
        self._results.pop(client, None)
        self._given.pop(client, None)

    def close(self) -> None:
        """End the processes, whatever they do."""
        for worker in self._workers.values():
            worker.pipe.close()
            worker.process.terminate()
        until = time.monotonic() + _PATIENCE
        for worker in self._workers.values():
            worker.process.join(max(0.0, until - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._workers.clear()

    def _trained(self, client: str) -> _Trained:
        result = self._results.get(client)
        if not isinstance(result, _Trained):
            raise Misuse(f"client {client}: has not trained")
        return result

    def _worker(self, client: str) -> _Worker:
        place = self._place[client]
        if place not in self._workers:
            self._workers[place] = _started(
                _Setting(self._config, self._apart, self._apart.devices[place], os.getpid())
            )
        return self._workers[place]

    def _feed(self, worker: _Worker) -> None:
        """One job at a time, and only to a process that waits for one: else both could wait for the other to read."""
        if worker.busy is None and worker.waiting:
            worker.busy = worker.waiting.popleft()
            try:
                worker.pipe.send(worker.busy)
            except OSError:
                self._lost(worker)

    def _receive(self) -> None:
        """Take what any process has made, and give it the next."""
        pipes = {worker.pipe: worker for worker in self._workers.values() if worker.busy is not None}
        for ready in wait(list(pipes)):
            worker = next(each for pipe, each in pipes.items() if pipe is ready)
            if worker.busy is None:
                continue
            try:
                self._results[worker.busy.client] = worker.pipe.recv()
            except (EOFError, OSError):
                self._lost(worker)
                continue
            worker.busy = None
            self._feed(worker)

    def _lost(self, worker: _Worker) -> None:
        """A process has ended: so has the turn that it made, and another takes its place."""
        worker.process.join()
        place = next(place for place, each in self._workers.items() if each is worker)
        text = f"its process on {self._apart.devices[place]} ended with status {worker.process.exitcode}"
        if worker.busy is not None:
            client = worker.busy.client
            self._results[client] = _Failed(f"client {client}: {text}", text)
        worker.pipe.close()
        del self._workers[place]
        for job in worker.waiting:
            self.begin(job.client, job.model, job.number)


def _started(setting: _Setting) -> _Worker:
    """A process, spawned: nothing of the parties' keys is in it. It may have children of its own."""
    context = multiprocessing.get_context("spawn")
    ours, theirs = context.Pipe()
    process = context.Process(target=_work, args=(setting, theirs), name=f"verifl training on {setting.device}")
    process.start()
    theirs.close()
    return _Worker(process, ours)


def _work(setting: _Setting, pipe: Connection) -> None:
    """In a process of its own: make turns until nobody asks for any."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which ends this one
    threading.Thread(target=_end_with, args=(setting.parent,), daemon=True).start()
    os.dup2(2, 1)  # what a task prints is no report
    logging.getLogger("verifl").setLevel(logging.ERROR)  # the parent has told the same
    torch.set_num_threads(max(1, (os.cpu_count() or 1) // len(setting.apart.devices)))
    training: LocalTraining | None = None
    with suppress(EOFError, BrokenPipeError):
        while True:
            job: _Job = pipe.recv()
            try:
                training = training or _training(setting)
                pipe.send(_turn(training, job))
            except ClientFailed as error:
                pipe.send(_Failed(str(error), error.reason, error.abstained))
            except VeriflError as error:
                pipe.send(_Failed(str(error)))


def _turn(training: LocalTraining, job: _Job) -> _Trained:
    try:
        training.restore(job.client, job.kept)
        before, after = training.train(job.client, job.model, job.number)
        kept, buffers = training.kept(job.client), training.changed_buffers(job.client)
        return _Trained(before, after, kept, training.measured(job.client), buffers)
    finally:
        training.forget(job.client)


def _training(setting: _Setting) -> LocalTraining:
    config, apart = setting.config, setting.apart
    task = load_task(config, apart.folder)
    task = task if apart.initial is None else started_from(task, apart.initial)
    seed, rounds = config.federation.seed, config.federation.rounds
    return LocalTraining(task, tensor_filter(config), setting.device, seed, weighs(config.weights), rounds)


def _end_with(parent: int) -> None:
    """A parent that is killed says nothing."""
    while os.getppid() == parent:
        time.sleep(_WATCH)
    os._exit(1)


def _check_device(name: str) -> None:
    try:
        wanted = torch.device(name)
        module: Any = torch.get_device_module(wanted)
        there = bool(module.is_available()) and (wanted.index or 0) < module.device_count()
    except RuntimeError:  # of a kind that this torch does not know
        there = False
    if not there:
        raise Misuse(f"--train-on: expected a device of this machine, such as cpu or cuda:0, found {name!r}")
