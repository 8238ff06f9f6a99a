"""Private weights, an adaptive rule with a schedule, clients that are drawn, statistics and scales, in one federation.

The configuration is that of docs/training.md, and the audits are both auditors' and both engines'.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from auditor import Report, audit
from protocols.envelopes import open_envelope
from protocols.log.reader import TranscriptReader
from protocols.messages import Aggregate, RoundClosed, RoundOpen
from protocols.opening import decode_plaintext
from protocols.pinned import PinnedPolicy
from protocols.steps.doubles import parse_double
from protocols.steps.step import decode_model
from tests.independent.audit import audit as audit_again
from verifl import Config, Federation
from verifl.config import read_config
from verifl.federation import FederationResult
from verifl.tasks.turns import Turn

DOCUMENT = Path(__file__).parents[3] / "docs" / "training.md"
SIZES = {f"site-{number}": size for number, size in enumerate((8, 12, 20, 36, 60, 74, 200), 1)}
WEIGHTS = {"site-1": 1, "site-2": 1, "site-3": 2, "site-4": 4, "site-5": 6, "site-6": 7, "site-7": 8}
STATISTICS = ("0.running_mean", "0.running_var")
AWAY = 2  # the round that one client is away from


class Sites:
    """The first client of round `AWAY` fails. Keeps what each made of the statistics, by round, to compare with."""

    def __init__(self) -> None:
        self.away = ""
        self.made: dict[tuple[int, str], dict[str, np.ndarray]] = {}

    def clients(self) -> Sequence[str]:
        return list(SIZES)

    def model(self) -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(2), nn.Linear(2, 1))

    def data(self, client: str) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(int(client[-1]))
        features = torch.randn(SIZES.get(client, 50), 2, generator=generator) * 2 + int(client[-1]) / 4
        return features, features @ torch.tensor([[1.0], [-2.0]]) + 0.5

    def weight(self, client: str, data: tuple[Tensor, Tensor]) -> float:
        return float(len(data[0]))

    def train(self, model: nn.Module, client: str, data: tuple[Tensor, Tensor], turn: Turn) -> None:
        if turn.round == AWAY and self.away in ("", client):
            self.away = client
            raise RuntimeError("no power today")
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
        for _ in range(2):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(data[0]), data[1]).backward()
            optimizer.step()
        state = model.state_dict()
        self.made[turn.round, client] = {name: state[name].double().numpy().copy() for name in STATISTICS}

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        features, targets = self.data("site-9")
        model.eval()
        with torch.no_grad():
            return {"loss": float(nn.functional.mse_loss(model(features), targets))}


@dataclass(frozen=True)
class Played:
    task: Sites
    result: FederationResult

    @property
    def pinned(self) -> PinnedPolicy:
        return PinnedPolicy.open(self.result.policy.read_bytes())

    def messages(self, kind: type) -> list[object]:
        reader = TranscriptReader(self.result.transcript)
        messages = [open_envelope(entry).message for entry in reader.entries(0, reader.size)]
        return [message for message in messages if isinstance(message, kind)]

    def blob(self, name: bytes) -> bytes:
        return TranscriptReader(self.result.transcript).blob(name, 1 << 20)


def configuration(tmp_path: Path) -> Config:
    """Of the document."""
    (block,) = (
        each for each in re.findall(r"```toml\n(.*?)```", DOCUMENT.read_text(), re.DOTALL) if "seven-sites" in each
    )
    (tmp_path / "config.toml").write_text(block, encoding="utf-8")
    return read_config(tmp_path / "config.toml")


def check(played: Played, rounds: int) -> None:
    """Who is in the cohorts; the weighted means of the statistics; a learning rate of each round."""
    policy, task = played.pinned.policy, played.task
    assert policy.step.rule == "fedyogi"
    rates = [parse_double(each) for each in policy.step.learning_rates]
    assert len(set(rates)) == len(rates) >= rounds
    closed = [each for each in played.result.rounds if each.aborted is None]
    assert len(closed) == rounds
    assert [each.failed for each in closed] == [(task.away,) if each.round == AWAY else () for each in closed]
    assert {len(each.accepted) for each in closed} == {policy.per_round, policy.per_round - 1}
    assert len({each.accepted for each in closed}) > 1
    for summary, aggregate, message in zip(
        closed, played.messages(Aggregate), played.messages(RoundClosed), strict=True
    ):
        plaintext = decode_plaintext(played.pinned, played.blob(aggregate.plaintext))
        total = sum(WEIGHTS[name] for name in summary.accepted)
        assert plaintext[-1] == total
        model = decode_model(played.blob(message.model), policy.dimension)
        check_statistics(played, summary.round, summary.accepted, model)


def check_statistics(played: Played, number: int, accepted: Sequence[str], model: np.ndarray) -> None:
    start = 0
    for tensor in played.pinned.policy.tensors:
        stop = start + int(np.prod(tensor.shape))
        if tensor.name in STATISTICS:
            weights = [WEIGHTS[name] for name in accepted]
            made = [played.task.made[number, name][tensor.name] for name in accepted]
            assert model[start:stop] == pytest.approx(np.average(made, axis=0, weights=weights), abs=1e-3)
        start = stop


def audited(result: FederationResult) -> Report:
    """By both auditors, which agree on every check."""
    report, again = audit(result.transcript, result.policy), audit_again(result.transcript, result.policy)
    assert {each.id: each.status.value for each in report.checks} == again.checks
    assert report.accepted
    assert again.accepted
    return report


def run(tmp_path: Path, **changes: dict[str, object]) -> Played:
    """With these changes of the tables."""
    task, config = Sites(), configuration(tmp_path)
    tables = {name: getattr(config, name).model_copy(update=values) for name, values in changes.items()}
    config = config.model_copy(update=tables)
    return Played(task, Federation(task, config, tmp_path / "out", device="cpu").run())


def test_all_of_it_together(tmp_path: Path) -> None:
    played = run(
        tmp_path,
        federation={"rounds": 3},
        limits={"per_round": 3},
        trustees={"count": 3, "threshold": 2, "corrupt": 0},
        update={"encryption_proof": False},
    )
    check(played, 3)
    report = audited(played.result)
    assert len(played.messages(RoundOpen)) == 3
    assert any("nobody can tell" in note for note in report.check("P6").notes)


@pytest.mark.exhaustive
def test_all_of_it_together_with_every_relation_and_engine(tmp_path: Path) -> None:
    """As it stands in the document, and with a bound on coordinates."""
    played = run(tmp_path, update={"encryption_proof": True, "coordinate_bound": 0.5})
    check(played, 4)
    audited(played.result)
    assert audit(played.result.transcript, played.result.policy, engine="reference").accepted
