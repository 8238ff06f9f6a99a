"""Runs of a task whose clients fail where a test says so, in histories of kills, resumptions and revocations, with the
real carrier on a model of three coordinates."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from auditor import audit
from protocols.log.writer import DiskWatch
from protocols.rounds.coordinator import Coordinator
from protocols.rounds.exchange import NOTHING, Publication, ReleasePackage
from verifl import Config, Federation
from verifl.carriers.in_process import InProcess
from verifl.commands import root as cli
from verifl.federation import FederationResult
from verifl.storage.stores import unobserved

Turn = tuple[str, int]  # (client, which of its turns, from 1)


class Line:
    """Four clients, whose turns fail where a test says so; `trained` has every turn."""

    names: Sequence[str] = ("a", "b", "c", "d")

    def __init__(self, failing: Callable[[str, int], BaseException | None] = lambda client, turn: None) -> None:
        self.failing, self.trained = failing, list[str]()

    def clients(self) -> Sequence[str]:
        return self.names

    def model(self) -> nn.Module:
        return nn.Linear(2, 1)

    def data(self, client: str) -> float:
        return 0.01 * ord(client)

    def train(self, model: nn.Module, client: str, data: float) -> None:
        self.trained.append(client)
        error = self.failing(client, self.trained.count(client))
        if error is not None:
            raise error
        model.bias.data += data

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {"bias": float(model.bias.detach())}


def only(*turns: Turn, error: BaseException | None = None) -> Callable[[str, int], BaseException | None]:
    """Which turns fail."""
    return lambda client, turn: (error or ValueError("no rows")) if (client, turn) in turns else None


def always(*clients: str) -> Callable[[str, int], BaseException | None]:
    return lambda client, _: ValueError("no rows") if client in clients else None


def run(
    task: Line,
    out: Path,
    rounds: int = 2,
    min_cohort: int = 3,
    watch: DiskWatch = unobserved,
    privacy: Mapping[str, float] | None = None,
    **options: Any,
) -> FederationResult:
    """Begin in a directory, or go on in it."""
    exact = {"update": {"encryption_proof": False}}
    config = Config.of(
        federation={"rounds": rounds, "seed": 5},
        trustees={"count": 2, "corrupt": 0, "threshold": 2},
        limits={"min_cohort": min_cohort, "max_aborts": 3},
        **(exact if privacy is None else {"privacy": privacy}),
    )
    return Federation(task, config, out, device="cpu", carrier=InProcess(watch), **options).run(resume=True)


def lines(out: Path) -> list[dict[str, Any]]:
    """`metrics.jsonl` but for the initial model."""
    first, *others = (json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines())
    assert first["round"] == 0
    return others


def accepted(out: Path) -> bool:
    return audit(out / "transcript", out / "policy.cbor").accepted


class Killed(BaseException):
    """As SIGKILL, for what is on the disk."""


def killed_before(task: Line, out: Path, description: str, nth: int, rounds: int = 2) -> None:
    """Run until just before the nth such step on disk."""
    seen = 0

    def step(text: str) -> None:
        nonlocal seen
        seen += text == description
        if seen >= nth:
            raise Killed

    with pytest.raises(Killed):
        run(task, out, rounds, watch=step)


def revocation(out: Path, party: str, changes: Path) -> bytes:
    """Signed with the issuer's key, which the run made itself."""
    arguments = ["--policy", str(out / "policy.cbor"), "--key", str(out / "state/issuer/identity.pem")]
    assert cli.invoke(["roster", "revoke", party, *arguments, "--reason", "left", "--out", str(changes)]) == 0
    return changes.read_bytes()


def withhold(patch: pytest.MonkeyPatch, *rounds: int) -> None:
    """In these rounds nothing that trustees release reaches the log, so that they are aborted once they were opened."""
    honest = Coordinator.receive_release

    def lose(self: Coordinator, release: ReleasePackage) -> Publication:
        return NOTHING if self.ledger.rounds in rounds else honest(self, release)

    patch.setattr(Coordinator, "receive_release", lose)
