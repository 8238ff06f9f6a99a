"""Turns that come to nothing under a policy with noise: where others train the update zero is sent, and said; where
nobody does nothing is, so that no privacy is spent on noise alone."""

from __future__ import annotations

import functools
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from torch import nn

from auditor import audit
from proofs.errors import Misuse
from protocols.rounds.exchange import SubmissionPackage, Submit
from tests.verifl import failing
from tests.verifl.failing import Killed, Line, always, only, withhold
from verifl import Abstain
from verifl.agents.client import ClientAgent
from verifl.agents.party import PublicLog
from verifl.carriers.company import Company, honest_company
from verifl.carriers.exchange.training import ClientTurns
from verifl.carriers.in_process import InProcess
from verifl.progress import Callback, NoProgress

NAMES = ("a", "b", "c", "d")
run: Callable[..., Any] = functools.partial(failing.run, privacy={"epsilon": 8.0, "delta": 1e-5})


class Notes(Callback):
    def __init__(self) -> None:
        self.told: list[str] = []
        self.clipped: list[bool | None] = []

    def submitted(self, client: str, size: int, clipped: bool | None) -> None:
        self.clipped.append(clipped)

    def note(self, text: str) -> None:
        self.told.append(text)

    @property
    def zeros(self) -> list[str]:
        return [text for text in self.told if "update zero" in text]


def spent(out: Path) -> str:
    found = audit(out / "transcript", out / "policy.cbor")
    assert found.accepted
    return next(check.checked for check in found.checks if check.id == "P5")


def test_where_every_turn_fails_nothing_is_sent(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out, task = tmp_path / "out", Line(always(*NAMES))
    with pytest.raises(Misuse) as excinfo:
        run(task, out)
    assert str(excinfo.value).startswith("client a: train() failed: ValueError: no rows (at ")
    assert str(excinfo.value).endswith("; the turns of all 4 clients failed in round 1, which has cost nobody privacy")
    assert task.trained == list(NAMES)
    assert not out.exists()
    assert caplog.messages == []


def test_where_everybody_abstains_nothing_is_sent_either(tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="the turns of all 4 clients failed in round 1"):
        run(Line(lambda client, turn: Abstain("on battery")), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_who_fails_first_sends_zero_once_another_has_trained(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out, notes, task = tmp_path / "out", Notes(), Line(always("a", "c"))
    result = run(task, out, rounds=1, callbacks=[notes])
    assert set(result.rounds[0].accepted) == set(NAMES)
    assert result.rounds[0].failed == ()
    assert task.trained == ["a", "b", "c", "d"]  # none of them twice
    assert [message.partition(" as ")[0] for message in caplog.messages] == [
        "c sends the update zero,",
        "a sends the update zero,",
    ]
    assert None not in notes.clipped  # each has trained in this run
    assert notes.zeros == [
        "round 1: 2 of 4 sent the update zero, c, a; the round costs their privacy budget all the same",
        "training came to nothing, and the update zero was sent: a in 1 round, c in 1 round",
    ]


def test_a_turn_that_was_put_off_is_no_second_one(tmp_path: Path) -> None:
    """A task may count its turns, or draw from a stream of its own."""
    notes, task = Notes(), Line(only(("a", 1)))
    run(task, tmp_path / "out", rounds=1, callbacks=[notes])
    assert task.trained == list(NAMES)
    assert notes.zeros[0].startswith("round 1: 1 of 4 sent the update zero, a;")


def test_an_aborted_round_and_its_repetition_are_trained_each_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The budget has room for one of the two that were planned: the abort has spent the other."""
    withhold(monkeypatch, 1)
    notes, task = Notes(), Line(always("a"))
    result = run(task, tmp_path / "out", callbacks=[notes])
    assert [each.aborted is None for each in result.rounds] == [False, True]
    assert task.trained == list(NAMES) * 2
    assert notes.zeros[-1] == "training came to nothing, and the update zero was sent: a in 2 rounds"


def test_where_every_turn_fails_later_the_open_round_waits_and_costs_nothing(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Misuse, match="failed in round 2, which has cost nobody privacy"):
        run(Line(lambda client, turn: KeyError("age") if turn == 2 else None), out)
    assert "in 1 cohort" in spent(out)
    with pytest.raises(Misuse, match="failed in round 2, which has cost nobody privacy"):
        run(Line(always(*NAMES)), out)
    assert "in 1 cohort" in spent(out)
    assert [each.accepted for each in run(Line(), out).rounds] == [NAMES, NAMES]
    assert "in 2 cohorts" in spent(out)


def test_behind_a_kill_those_who_had_submitted_count(tmp_path: Path) -> None:
    """What they sent is theirs, so that the others may send zero, though nobody trains any more."""
    out, notes = tmp_path / "out", Notes()

    def kill(client: str, turn: int) -> BaseException | None:
        return KeyboardInterrupt() if client == "c" else None

    with pytest.raises(KeyboardInterrupt):
        run(Line(kill), out, rounds=1)
    task = Line(always(*NAMES))
    run(task, out, rounds=1, callbacks=[notes])
    assert task.trained == ["c", "d"]
    assert notes.zeros[0].startswith("round 1: 2 of 4 sent the update zero, c, d;")


def test_an_answer_of_which_the_log_knows_nothing_yet_counts(tmp_path: Path) -> None:
    """Its client was killed between its own disk and the log."""
    out = tmp_path / "out"
    seen: list[str] = []

    def step(text: str) -> None:
        if seen[-1:] == ["rename answer"]:
            raise Killed
        seen.append(text)

    with pytest.raises(Killed):
        run(Line(), out, rounds=1, watch=step)
    task = Line(always(*NAMES))
    assert set(run(task, out, rounds=1).rounds[0].accepted) == set(NAMES)
    assert task.trained == ["b", "c", "d"]


@pytest.mark.parametrize("privacy", [None, {"epsilon": 8.0, "delta": 1e-5}])
def test_a_failure_keeps_no_memory_while_others_train(tmp_path: Path, privacy: dict[str, float] | None) -> None:
    """Its calls may hold a model and a batch of data on a device that the next client needs."""

    class Holding(Line):
        held, lasting = list[weakref.ref[nn.Module]](), list[bool]()

        def train(self, model: nn.Module, client: str, data: float) -> None:
            self.lasting.append(any(each() is not None for each in self.held))
            if client == "b":
                self.held.append(weakref.ref(model))
            super().train(model, client, data)

    task = Holding(only(("b", 1)))
    failing.run(task, tmp_path / "out", rounds=1, privacy=privacy)
    assert task.lasting == [False] * 4


class Alone:
    """A client as a process of its own plays it, in the place of one that is asked here."""

    def __init__(self, agent: ClientAgent) -> None:
        self._turns = ClientTurns(agent, NoProgress())
        self.name, self.prepare, self.keep_receipt = agent.name, agent.prepare, agent.keep_receipt

    def answer(self, question: Submit, log: PublicLog, *_: object) -> SubmissionPackage | None:
        return self._turns.answer(question, log)


def test_a_client_by_itself_says_each_time_that_its_failures_spend_its_budget(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It sees no other, so that it cannot know whether the task is wrong."""

    def apart(*given: Any) -> Company:
        company = honest_company(*given)
        return Company(company.trustees, {name: Alone(each) for name, each in company.clients.items()})

    monkeypatch.setattr(failing, "InProcess", lambda watch: InProcess(watch, apart))
    run(Line(always("a")), tmp_path / "out")
    told = [each for each in caplog.records if each.levelname == "ERROR"]
    assert [each.fields for each in told] == [
        {"event": "spending", "client": "a", "closed": closed, "most": 2} for closed in (0, 1)
    ]
    assert "in 1 of at most 2 closed cohorts; stop this client until its task is put right" in told[1].getMessage()
