"""A run that stops by a metric: the audit accepts its log, it can go on; another can once it is closed."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from auditor import audit
from proofs.errors import Misuse, Rejected
from protocols.continuation import LogEnd, require_lawful
from protocols.continuation import end_of as log_end
from protocols.envelopes import open_envelope
from protocols.log.reader import TranscriptReader
from protocols.messages import COORDINATOR
from tests.verifl.carriers.exchange.consortium import CONFIG as ELSEWHERE
from tests.verifl.carriers.exchange.stepping import Meeting
from verifl import Config, Federation, FederationResult
from verifl.commands.root import invoke

LOSSES = {0: 4.0, 1: 3.0, 2: 3.5, 3: 3.0, 4: 3.2}


class Said:
    """Clients that add one to their model; its metric is what a table says of the models that come of it."""

    def __init__(self, failing: Callable[[int], bool] = lambda _: False) -> None:
        self.failing = failing

    def clients(self) -> list[str]:
        return ["a", "b", "c"]

    def model(self) -> nn.Module:
        model = nn.Linear(1, 1)
        with torch.no_grad():
            model.weight.zero_()
            model.bias.zero_()
        return model

    def data(self, client: str) -> None:
        return None

    def train(self, model: nn.Module, client: str, data: None, turn: Any) -> None:
        if client == "c" and self.failing(turn.round):
            raise RuntimeError("gone")
        with torch.no_grad():
            model.weight += 1

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {"loss": LOSSES[round(model.weight.item())], "count": model.weight.item()}


class Noised(Said):
    """Its models are anything. until: in later rounds somebody presses Ctrl-C."""

    def __init__(self, until: int) -> None:
        super().__init__()
        self.until = until

    def train(self, model: nn.Module, client: str, data: None, turn: Any) -> None:
        if turn.round > self.until:
            raise KeyboardInterrupt
        super().train(model, client, data, turn)

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        return {}


def config(close: bool | str = False, **stopping: object) -> Config:
    return Config.of(
        federation={"rounds": 5, "close": close},
        update={"clip_norm": 2.0},
        trustees={"count": 3, "corrupt": 1, "threshold": 3},
        stopping={"metric": "loss", "patience": 2, **stopping},
    )


def end_of(result: FederationResult) -> LogEnd:
    reader = TranscriptReader(result.transcript)
    return log_end(reader.entries(0, reader.size), reader.size)


def kinds(result: FederationResult) -> list[str]:
    reader = TranscriptReader(result.transcript)
    return [type(open_envelope(entry).message).__name__ for entry in reader.entries(0, reader.size)]


def test_a_run_stops_behind_a_round_that_closed_and_may_go_on(tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = Federation(Said(), config(), out).run()
    assert [each.metrics["count"] for each in result.rounds] == [1, 2, 3]
    told = "stopped after 3 of 5 rounds: loss has not become better for 2 rounds; the best is 3 after round 1"
    assert (result.stopped, result.ended) == (told, None)
    assert result.to_dict()["stopped"] == told
    assert told in str(result)
    assert audit(result.transcript, result.policy).accepted
    reader = TranscriptReader(result.transcript)
    with pytest.raises(Rejected, match="previous-end"):  # as it may go on itself
        require_lawful(end_of(result))

    again = Federation(Said(), config(), out).run(resume=True)
    assert (again.stopped, TranscriptReader(result.transcript).size) == (told, reader.size)

    with pytest.raises(Rejected, match="too-few-submissions"):
        Federation(Said(lambda number: number > 3), config(patience=4), out).run(resume=True)
    last = Federation(Said(), config(), out).run(resume=True)  # the round that was aborted is closed first
    assert [each.aborted for each in last.rounds] == [None] * 3 + ["too-few-submissions"] * 2 + [None]
    assert last.stopped == told.replace("3 of 5", "4 of 5")
    assert kinds(last)[-1] == "RoundClosed"
    assert audit(last.transcript, last.policy).accepted


def test_a_run_that_stops_may_close_so_that_another_federation_goes_on_from_it(tmp_path: Path) -> None:
    result = Federation(Said(), config(close=True, patience=1), tmp_path / "out").run()
    assert [each.metrics["count"] for each in result.rounds] == [1, 2]
    assert result.stopped is not None
    assert kinds(result)[-2:] == ["RoundClosed", "FederationClosed"]
    require_lawful(end_of(result))
    assert audit(result.transcript, result.policy).accepted
    again = Federation(Said(), config(close=True, patience=4), tmp_path / "out").run(resume=True)
    assert (len(again.rounds), kinds(again)) == (2, kinds(result))  # nothing follows, whatever the patience


def test_a_federation_is_closed_now_however_many_rounds_have_closed(tmp_path: Path) -> None:
    """Under a policy with noise nobody can ask for fewer rounds: the noise is made for as many as there were to be."""

    def noisy(close: bool | str = False) -> Config:
        trustees = {"count": 3, "corrupt": 1, "threshold": 3}
        terms = {"rounds": 5, "close": close}
        return Config.of(federation=terms, trustees=trustees, privacy={"epsilon": 8.0, "delta": 1e-5})

    out, closing = tmp_path / "out", noisy("now")
    with pytest.raises(KeyboardInterrupt):
        Federation(Noised(until=1), noisy(), out).run()
    result = Federation(Noised(until=9), closing, out).run(resume=True)  # the round that is open ends first
    assert kinds(result)[-2:] == ["RoundClosed", "FederationClosed"]
    assert len(result.rounds) == 2
    require_lawful(end_of(result))
    assert audit(result.transcript, result.policy).accepted
    again = Federation(Noised(until=9), closing, out).run(resume=True)
    assert kinds(again) == kinds(result)


def test_a_federation_that_is_closed_before_its_first_round(tmp_path: Path) -> None:
    result = Federation(Said(), config("now"), tmp_path / "out").run()
    assert kinds(result)[-1] == "FederationClosed"
    assert result.rounds == ()
    assert audit(result.transcript, result.policy).accepted


def test_a_coordinator_of_parties_elsewhere_stops_and_its_best_model_is_found(tmp_path: Path) -> None:
    """The metric never changes by as much as it has to."""
    rule = '[stopping]\nmetric = "weight"\nmode = "max"\npatience = 1\nminimum_change = 1000.0\n'
    meeting = Meeting(tmp_path, ELSEWHERE.replace("rounds = 2", "rounds = 9") + rule)
    assert meeting.config.federation.rounds == 9
    meeting.convene()
    meeting.until_ended()
    assert (meeting.types().count("round-closed"), meeting.types()[-1]) == (2, "round-closed")
    assert meeting._host.stopped is not None
    meeting.audited()
    metrics, file = str(meeting.home(COORDINATOR).path / "metrics.jsonl"), tmp_path / "best.safetensors"
    options = ["--best", "weight", "--mode", "max", "--metrics", metrics]
    assert invoke(["export", str(meeting.public.path), str(file), *options]) == 0
    found = {each.round: each.metrics["weight"] for each in meeting._host.summaries}
    assert load_file(file)["weight"].sum().item() == max(found.values())


def test_what_evaluate_does_not_say_is_refused_before_anybody_has_said_anything(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match=r"stopping\.metric: expected one .* \(loss, count\), found 'error'"):
        Federation(Said(), config(metric="error"), tmp_path / "out").run()
    assert not (tmp_path / "out").exists()


def test_what_a_least_change_is_measured_from_is_not_called_the_best(tmp_path: Path) -> None:
    result = Federation(Said(), config(patience=1, minimum_change=100.0), tmp_path / "out").run()
    assert result.stopped is not None
    assert result.stopped.startswith(
        "stopped after 2 of 5 rounds: loss has not become better by 100 or more for 1 round; "
    )
    assert result.stopped.endswith("; it is compared with 3 after round 1")
