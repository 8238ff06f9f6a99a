"""Federations in which somebody lies: small ones, each run once a session."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from torch import nn

from proofs.errors import Rejected
from protocols.log.reader import TranscriptReader
from protocols.pinned import PinnedPolicy
from verifl import Config, Federation
from verifl.adversaries.carrier import InjectedCarrier
from verifl.adversaries.forgeries import FORGED, Declined
from verifl.adversaries.injections import parse_injection
from verifl.adversaries.registry import DRAWN_CLIENTS, KINDS, NOISE, STATED_WEIGHTS
from verifl.storage.history import EndedRound, ended_rounds
from verifl.strategies.privacy import PrivacyConfig
from verifl.strategies.weights import WeightsConfig

CLIENTS = ("clinic-1", "clinic-2", "clinic-3", "clinic-4")
MANY = (*CLIENTS, "clinic-5", "clinic-6", "clinic-7")
TRUSTEES = tuple(f"trustee-{number}" for number in range(1, 6))
HONEST = TRUSTEES[2:]  # where the server lies, the first f = 2 trustees are its own
CONFIG = Config.of(
    federation={"rounds": 2},
    trustees={"count": 5, "corrupt": 2, "threshold": 4},
    update={"coordinate_bound": 0.3},
    limits={"min_cohort": 3, "max_aborts": 3},
)


PRIVATE = Config.of(weights={"kind": "private", "largest": 5}).weights
WEIGHED = Config.of(weights={"kind": "declared", "largest": 9}).weights
WEIGHTS = {each.kind: each for each in (CONFIG.weights, WEIGHED, PRIVATE)}
ABOUT_WEIGHTS = {name for name, kind in KINDS.items() if kind.needs == STATED_WEIGHTS}
PRIVACY = PrivacyConfig(epsilon=8.0, delta=1e-5, colluding=1)
ABOUT_NOISE = {name for name, kind in KINDS.items() if kind.needs.startswith(NOISE)}


def weights_for(inject: Sequence[str]) -> WeightsConfig:
    """The kind that the injections need."""
    needs = {parse_injection(each).kind.needs for each in inject}
    if any("private weights" in each for each in needs):
        return PRIVATE
    return WEIGHED if STATED_WEIGHTS in needs else CONFIG.weights


class Means:
    """Each client moves two coordinates towards its own number: rounds take no time."""

    def __init__(self, clients: Sequence[str] = CLIENTS) -> None:
        self._clients = clients

    def clients(self) -> Sequence[str]:
        return self._clients

    def model(self) -> nn.Module:
        model = nn.Linear(2, 1, bias=False)
        nn.init.zeros_(model.weight)
        return model

    def data(self, client: str) -> float:
        return float(client[-1])

    def weight(self, client: str, data: float) -> float:
        return data

    def train(self, model: nn.Module, client: str, data: float) -> None:
        with torch.no_grad():
            model.get_parameter("weight").add_(torch.tensor([[0.1, -0.05]]) * data)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {}


class Long(Means):
    """40 coordinates in 48 cells, three groups of noise: so what one of them has is not what all have."""

    def model(self) -> nn.Module:
        model = nn.Linear(40, 1, bias=False)
        nn.init.zeros_(model.weight)
        return model

    def train(self, model: nn.Module, client: str, data: float) -> None:
        with torch.no_grad():
            model.get_parameter("weight").add_(0.01 * data)


@dataclass(frozen=True)
class Played:
    """What a run with injections left behind. stopped: why it ended early, or None."""

    directory: Path
    refusals: tuple[Declined, ...]
    stopped: Rejected | None

    @property
    def policy(self) -> Path:
        return self.directory / "policy.cbor"

    @property
    def transcript(self) -> Path:
        return self.directory / "transcript"

    @property
    def forged(self) -> Path:
        return self.directory / FORGED

    @property
    def pinned(self) -> PinnedPolicy:
        return PinnedPolicy.open(self.policy.read_bytes())

    def entries(self, path: Path | None = None) -> list[bytes]:
        reader = TranscriptReader(path or self.transcript)
        return reader.entries(0, reader.size)

    def rounds(self) -> dict[int, EndedRound]:
        """The rounds that ended, by number."""
        return {each.last.number: each for each in ended_rounds(self.pinned, self.entries())}


Play = Callable[..., Played]


@pytest.fixture(scope="session")
def play(tmp_path_factory: pytest.TempPathFactory) -> Play:
    """Run a federation with these injections, as on the command line; each combination once."""
    played: dict[tuple[bool, str, bool, tuple[str, ...]], Played] = {}

    def run(
        *inject: str, encryption_proof: bool = True, weights: str | None = None, noised: bool | None = None
    ) -> Played:
        weighed = weights_for(inject) if weights is None else WEIGHTS[weights]
        noise = not ABOUT_NOISE.isdisjoint(inject) if noised is None else noised
        which = (encryption_proof, weighed.kind, noise, inject)
        if which not in played:
            update = CONFIG.update.model_copy(update={"encryption_proof": encryption_proof})
            needs_draws = any(parse_injection(each).kind.needs == DRAWN_CLIENTS for each in inject)
            limits = CONFIG.limits.model_copy(update={"per_round": 3 if needs_draws else None})
            tables = {"update": update, "weights": weighed, "limits": limits, "privacy": PRIVACY if noise else None}
            config = CONFIG.model_copy(update=tables)
            played[which] = _play(tmp_path_factory.mktemp("played") / "out", inject, config)
        return played[which]

    return run


def _play(directory: Path, inject: Sequence[str], config: Config) -> Played:
    carrier, stopped = InjectedCarrier([parse_injection(each) for each in inject]), None
    kind = Means if config.privacy is None else Long
    task = kind(MANY if "two-aborts" in inject else CLIENTS)
    try:
        Federation(task, config, directory, carrier=carrier).run()
    except Rejected as error:
        stopped = error
    return Played(directory, tuple(carrier.refusals), stopped)
