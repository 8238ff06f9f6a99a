"""Clients whose own code fails: each drops out of that round, and the others go on. Histories of failures, kills,
resumptions and revocations, with the real engine on a model of three coordinates."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from auditor import audit
from proofs.errors import Misuse, Rejected
from protocols.rounds.exchange import NOTHING, Publication, Release
from verifl import Abstain, Config, Federation
from verifl.carriers import in_process
from verifl.carriers.in_process import InProcessEngine
from verifl.commands import root as cli
from verifl.federation import FederationResult
from verifl.storage.run_directory import RunDirectory
from verifl.storage.stores import Step, unobserved
from verifl.tasks.user_code import ClientFailed

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
    task: Line, out: Path, rounds: int = 2, min_cohort: int = 3, step: Step = unobserved, **options: Any
) -> FederationResult:
    """Begin in a directory, or go on in it."""
    config = Config.of(
        federation={"rounds": rounds, "seed": 5},
        trustees={"count": 2, "corrupt": 0, "threshold": 2},
        update={"encryption_proof": False},
        limits={"min_cohort": min_cohort, "max_aborts": 3},
    )
    return Federation(task, config, out, device="cpu", engine=InProcessEngine(step), **options).run(resume=True)


def lines(out: Path) -> list[dict[str, Any]]:
    """`metrics.jsonl` but for the initial model."""
    first, *others = (json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines())
    assert first["round"] == 0
    return others


def accepted(out: Path) -> bool:
    return audit(out / "transcript", out / "policy.cbor").accepted


def test_the_round_closes_with_the_others_and_says_who_and_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    with caplog.at_level(logging.WARNING, "verifl"):
        result = run(Line(only(("b", 1))), out)
    first, second = result.rounds
    assert (first.accepted, first.failed, second.accepted, second.failed) == (tuple("acd"), ("b",), tuple("abcd"), ())
    (said,) = [record.getMessage() for record in caplog.records]
    place = f"{Path(__file__)}:{Line.train.__code__.co_firstlineno + 4}"
    assert said == f"round 1: client b: train() failed: ValueError: no rows (at {place}); it drops out of this round"
    line = lines(out)[0]
    assert (line["failed"], line["counts"]) == (["b"], {"submitted": 3, "accepted": 3, "excluded": 0, "failed": 1})
    assert accepted(out)


def test_a_client_that_abstains_says_so(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    result = run(Line(only(("c", 1), error=Abstain("on battery"))), tmp_path / "out", rounds=1)
    assert (result.rounds[0].failed, accepted(tmp_path / "out")) == (("c",), True)
    assert caplog.messages == ["round 1: client c: abstains: on battery; it drops out of this round"]


def test_values_that_are_not_finite_are_one_clients_failure(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Diverging(Line):
        def train(self, model: nn.Module, client: str, data: float) -> None:
            super().train(model, client, float("nan") if client == "d" else data)

    assert run(Diverging(), tmp_path / "out", rounds=1).rounds[0].accepted == tuple("abc")
    assert caplog.messages[0].startswith("round 1: client d: tensor 'bias' holds 1 NaN or infinite values")


def test_below_the_smallest_cohort_the_round_is_aborted_and_repeated(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    result = run(Line(only(("a", 1), ("b", 1))), out)
    assert [each.aborted for each in result.rounds] == ["too-few-submissions", None, None]
    assert [(each.round, each.closed) for each in result.rounds] == [(1, 0), (2, 1), (3, 2)]
    assert [each["failed"] for each in lines(out)] == [["a", "b"], [], []]
    assert caplog.messages[2:] == [
        "round 1: aborted, too-few-submissions, for 2 submitted, expected 3 or more; it is repeated once"
    ]
    assert accepted(out)


def test_who_goes_on_failing_ends_the_run_and_nothing_is_lost(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Rejected) as excinfo:
        run(Line(always("a", "b")), out)
    assert excinfo.value.check == "too-few-submissions"
    assert excinfo.value.expected == "3 or more"
    assert excinfo.value.found.startswith(
        "2 in round 2, after the same in the one before: client a: train() failed: ValueError: no rows (at "
    )
    assert excinfo.value.found.endswith(
        "; put right what failed and resume, or have a client that is gone for good revoked"
    )
    assert [each["aborted"] for each in lines(out)] == ["too-few-submissions"] * 2
    assert accepted(out)
    result = run(Line(), out)
    assert [(each.round, each.closed, each.aborted is None) for each in result.rounds[2:]] == [
        (3, 1, True),
        (4, 2, True),
    ]
    assert accepted(out)


def test_any_number_of_such_ends_leaves_a_federation_that_goes_on(tmp_path: Path) -> None:
    """Rounds that were aborted in earlier runs do not count against this one."""
    out = tmp_path / "out"
    for _ in range(3):
        with pytest.raises(Rejected, match="after the same in the one before"):
            run(Line(always("a", "b")), out, rounds=1)
    assert [each.closed for each in run(Line(), out, rounds=1).rounds] == [0] * 6 + [1]


def test_where_every_turn_fails_the_task_is_wrong(tmp_path: Path) -> None:
    out, task = tmp_path / "out", Line(always(*Line.names))
    with pytest.raises(Misuse) as excinfo:
        run(task, out)
    assert isinstance(excinfo.value.__cause__, ClientFailed)
    assert str(excinfo.value).startswith(f"client a: train() failed: ValueError: no rows (at {Path(__file__)}:")
    assert str(excinfo.value).endswith("; the turns of all 4 clients failed in round 1")
    assert task.trained == list("abcd")
    assert not out.exists()  # nobody had submitted anything


def test_where_every_turn_fails_later_the_open_round_waits(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Misuse, match="the turns of all 4 clients failed in round 2"):
        run(Line(lambda client, turn: KeyError("age") if turn == 2 else None), out)
    result = run(Line(), out)
    assert [(each.round, each.failed) for each in result.rounds] == [(1, ()), (2, ())]
    assert accepted(out)


def test_where_everybody_abstains_the_round_is_aborted(tmp_path: Path) -> None:
    task = Line(lambda client, turn: Abstain() if turn == 1 else None)
    assert [each.aborted for each in run(task, tmp_path / "out", rounds=1).rounds] == ["too-few-submissions", None]


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(1)])
def test_an_interruption_and_an_exit_are_no_dropouts(tmp_path: Path, error: BaseException) -> None:
    out, task = tmp_path / "out", Line(only(("c", 1), error=error))
    with pytest.raises((KeyboardInterrupt, Misuse)):
        run(task, out, rounds=1)
    assert task.trained == list("abc")
    again = Line()
    assert run(again, out, rounds=1).rounds[0].accepted == tuple("abcd")
    assert again.trained == list("cd")  # a and b had answered, and answer again with the same bytes


class _Kill(BaseException):
    """As SIGKILL, for what is on the disk."""


def killed_before(task: Line, out: Path, description: str, nth: int, rounds: int = 2) -> None:
    """Run until just before the nth such step on disk."""
    seen = 0

    def step(text: str) -> None:
        nonlocal seen
        seen += text == description
        if seen >= nth:
            raise _Kill

    with pytest.raises(_Kill):
        run(task, out, rounds, step=step)


@pytest.mark.parametrize(
    ("description", "nth", "rest"),
    [("write answer", 1, "abcd"), ("write answer", 3, "bd"), ("write erased", 1, "")],
)
def test_fail_kill_resume_fail_again(tmp_path: Path, description: str, nth: int, rest: str) -> None:
    """b fails in round 1; a kill; then it fails in what is left of round 1, and d fails in round 2."""
    out = tmp_path / "out"
    killed_before(Line(only(("b", 1))), out, description, nth)
    second = 1 + ("d" in rest)
    task = Line(only(("b", 1), ("d", second)) if "b" in rest else only(("d", second)))
    result = run(task, out)
    assert "".join(task.trained[: len(rest)]) == rest
    assert [each.failed for each in result.rounds] == [("b",), ("d",)]
    assert [each["failed"] for each in lines(out)] == [["b"], ["d"]]
    assert accepted(out)
    again = run(Line(), out)
    assert [each.to_dict() for each in again.rounds] == [each.to_dict() for each in result.rounds]


def test_fail_kill_resume_fail_again_revoke_resume(tmp_path: Path) -> None:
    """b fails in every round; the run is killed in the first and in the second, while rounds are open, and then b is
    revoked in the open third one."""
    out = tmp_path / "out"
    killed_before(Line(always("b")), out, "write ack/1", 1)
    killed_before(Line(always("b")), out, "write ack/2", 2)
    killed_before(Line(always("b")), out, "write answer", 2, rounds=3)  # who answered round 2 only sends it again
    change = revocation(out, "b", tmp_path / "revocation.cbor")
    task = Line(always("b"))
    result = run(task, out, rounds=4, changes=[change])
    assert [each.failed for each in result.rounds] == [("b",), ("b",), ("b",), ()]
    assert [each.accepted for each in result.rounds] == [tuple("acd")] * 4
    assert "b" not in task.trained
    assert [each["failed"] for each in lines(out)] == [["b"], ["b"], ["b"], []]
    assert accepted(out)


def test_a_metrics_line_that_is_gone_is_told_from_the_log(tmp_path: Path) -> None:
    out = tmp_path / "out"
    first = run(Line(only(("b", 1))), out, rounds=1)
    (out / "metrics.jsonl").unlink()
    again = run(Line(), out, rounds=1)
    assert again.rounds[0].to_dict() == {**first.rounds[0].to_dict(), "seconds": None}
    assert again.initial_metrics == first.initial_metrics


def test_what_other_parties_refuse_is_no_dropout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk is everybody's."""

    def step(text: str) -> None:
        if text == "write answer":
            raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space left"):
        run(Line(), tmp_path / "out", step=step)
    assert RunDirectory(tmp_path / "out").begun


KILLED = """
import sys, time
from pathlib import Path
import torch
from tests.verifl.test_dropouts import Line, run

class Loading(Line):
    def train(self, model, client, data):
        loader = torch.utils.data.DataLoader(list(range(8)), num_workers=2, persistent_workers=True,
                                             multiprocessing_context="fork")
        batches = iter(loader)
        print(next(batches).item(), flush=True)
        time.sleep(600)

run(Loading(), Path(sys.argv[1]))
"""


def test_a_run_killed_among_its_workers_is_resumed_at_once(tmp_path: Path) -> None:
    """They notice it only seconds later, and had all files of the run open."""
    out, root = tmp_path / "out", Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", KILLED, str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        process.kill()
        process.wait()
        assert [each.accepted for each in run(Line(), out, rounds=1).rounds] == [tuple("abcd")]
    assert accepted(out)


def test_a_worker_that_fails_leaves_no_lock_behind(tmp_path: Path) -> None:
    """Forked workers that outlive their loader have a copy of everything that was open."""

    class Rows(torch.utils.data.Dataset[torch.Tensor]):
        def __len__(self) -> int:
            return 4

        def __getitem__(self, index: int) -> torch.Tensor:
            if index == 3:
                raise ValueError("row 3 has no label")
            return torch.zeros(1)

    kept: list[Iterable[torch.Tensor]] = []

    class Loading(Line):
        def train(self, model: nn.Module, client: str, data: float) -> None:
            loader = torch.utils.data.DataLoader(
                Rows(), num_workers=2, persistent_workers=True, multiprocessing_context="fork"
            )
            kept.append(iter(loader))
            for _ in kept[-1]:
                pass

    out = tmp_path / "out"
    with pytest.raises(Misuse) as excinfo:
        run(Loading(), out, rounds=1)
    assert str(excinfo.value).startswith(
        "client a: train() failed: ValueError: row 3 has no label in DataLoader worker process 1 (at "
        f"{Path(__file__)}:{Rows.__getitem__.__code__.co_firstlineno + 2})"
    )
    assert run(Line(), out, rounds=1).rounds[0].failed == ()
    assert len(kept) == len(Line.names)


def revocation(out: Path, party: str, changes: Path) -> bytes:
    """Signed with the issuer's key, which the run made itself."""
    arguments = ["--policy", str(out / "policy.cbor"), "--key", str(out / "state/issuer/identity.pem")]
    assert cli.invoke(["roster", "revoke", party, *arguments, "--reason", "left", "--out", str(changes)]) == 0
    return changes.read_bytes()


def go(out: Path, party: str) -> None:
    """Nothing of a party is left."""
    shutil.rmtree(next(out.glob(f"state/*/{party}")))


@pytest.mark.parametrize(("moment", "nth", "published"), [("write answer", 2, False), ("write ack/1", 1, True)])
def test_a_client_gone_for_good_does_not_stop_a_federation(
    tmp_path: Path, moment: str, nth: int, published: bool
) -> None:
    """It leaves in an open round, before or after its submission is published, with its state and its key, and the task
    knows it no more: the open round closes without asking it, then its revocation is logged."""
    out = tmp_path / "out"
    killed_before(Line(), out, moment, nth)
    change = revocation(out, "b", tmp_path / "revocation.cbor")
    go(out, "b")
    task = Line()
    task.names = ("a", "c", "d")
    result = run(task, out, changes=[change])
    first, second = result.rounds
    assert first.accepted == tuple("abcd" if published else "acd")
    assert (first.failed, second.accepted, second.failed) == (() if published else ("b",), tuple("acd"), ())
    assert "b" not in task.trained
    report = audit(result.transcript, result.policy)
    assert report.accepted
    assert "1 revocation in force" in report.check("I3").checked
    assert [each.to_dict() for each in run(task, out).rounds] == [each.to_dict() for each in result.rounds]


def test_without_its_revocation_a_client_that_is_gone_is_missed(tmp_path: Path) -> None:
    out = tmp_path / "out"
    killed_before(Line(), out, "write answer", 4)
    task = Line()
    task.names = ("a", "c", "d")
    with pytest.raises(Misuse, match="has no client 'b', whom the policy enrols"):
        run(task, out)
    go(out, "b")
    with pytest.raises(Misuse, match=r"clients/b/identity.pem: expected the private key of .*, found no such file"):
        run(Line(), out)


def test_a_client_that_goes_on_failing_is_revoked(tmp_path: Path) -> None:
    """Fail, fail again, revoke, resume: what the message of the end says."""
    out = tmp_path / "out"
    with pytest.raises(Rejected, match="have a client that is gone for good revoked"):
        run(Line(always("a", "b")), out)
    change = revocation(out, "b", tmp_path / "revocation.cbor")
    result = run(Line(always("b")), out, changes=[change])
    assert [each.aborted is None for each in result.rounds] == [False, False, True, True]
    assert [each.failed for each in result.rounds[2:]] == [(), ()]
    assert accepted(out)


def withhold(patch: pytest.MonkeyPatch, *rounds: int) -> None:
    """In these rounds nothing that trustees release reaches the log, so that they are aborted once they were opened."""
    honest = in_process.Coordinator.receive_release

    def lose(self: in_process.Coordinator, release: Release) -> Publication:
        return NOTHING if self.ledger.rounds in rounds else honest(self, release)

    patch.setattr(in_process.Coordinator, "receive_release", lose)


class Seven(Line):
    """Enough for a cohort without three of them."""

    names = tuple("abcdefg")


def test_a_dropout_in_a_repetition_takes_others_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is isolated by its failure: min_cohort clients leave the cohort, by a rule that nobody chooses."""
    withhold(monkeypatch, 1)
    result = run(Seven(only(("c", 2))), tmp_path / "out")
    aborted, repeated, next_one = result.rounds
    assert (aborted.aborted, len(aborted.accepted), aborted.failed) == ("missing-releases", 7, ())
    assert (repeated.aborted, len(repeated.accepted), repeated.failed) == (None, 4, ("c",))
    assert (len(repeated.excluded), len(repeated.submitted)) == (2, 6)
    assert (next_one.accepted, next_one.failed, next_one.closed) == (tuple("abcdefg"), (), 2)
    assert accepted(tmp_path / "out")


def test_a_repetition_without_enough_clients_waits_for_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """b fails where all four are needed: nothing is closed, and the run goes on once b is right again."""
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        withhold(patch, 1)
        with pytest.raises(Rejected) as excinfo:
            run(Line(lambda client, turn: ValueError("no rows") if client == "b" and turn > 1 else None), out)
    assert excinfo.value.check == "differencing"
    assert excinfo.value.expected.startswith("all 4 of the cohort before")
    assert "client b: train() failed: ValueError: no rows" in excinfo.value.found
    assert [each["aborted"] for each in lines(out)] == ["missing-releases", "differencing", "differencing"]
    result = run(Line(), out)
    assert (result.ended, [each.closed for each in result.rounds]) == (None, [0, 0, 0, 1, 2])
    assert accepted(out)


def test_a_repetition_without_a_client_that_is_gone_ends_the_federation(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its revocation leaves three of four, and the sum of three would show the fourth: the last model is final."""
    out = tmp_path / "out"
    with monkeypatch.context() as patch:
        withhold(patch, 2)
        killed_before(Line(), out, "write answer", 10, rounds=3)
    assert [each["aborted"] for each in lines(out)] == [None, "missing-releases"]
    change = revocation(out, "b", tmp_path / "revocation.cbor")
    result = run(Line(), out, rounds=3, changes=[change])
    assert result.ended is not None
    assert result.ended.startswith("federation closed after 1 of 3 rounds: too few clients are left")
    assert result.ended.endswith("the final model is that of round 1")
    assert result.model.exists()
    assert accepted(out)
    again = run(Line(), out, rounds=3)
    assert (again.ended, len(again.rounds)) == (result.ended, len(result.rounds))


def test_a_federation_that_ends_early_is_status_1(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    withhold(monkeypatch, 1)
    arguments = command_line(tmp_path)
    assert [cli.invoke(arguments), cli.invoke([*arguments, "--resume"])] == [1, 1]
    assert (tmp_path / "out" / "model.safetensors").exists()


def command_line(folder: Path, more: str = "") -> list[str]:
    """A run of one round by the command."""
    (folder / "task.py").write_text("from tests.verifl.test_dropouts import Line as task\n", encoding="utf-8")
    (folder / "config.toml").write_text(
        '[task]\nfile = "task.py"\n[federation]\nrounds = 1\n[limits]\nmax_aborts = 0\n'
        f"[trustees]\ncount = 2\ncorrupt = 0\nthreshold = 2\n[update]\nencryption_proof = false\n{more}",
        encoding="utf-8",
    )
    return ["run", str(folder / "config.toml"), "--out", str(folder / "out"), "--device", "cpu"]


PROMISE = "interrupted or killed at any time, it goes on with --resume"


def test_a_resumption_is_promised_to_a_run_that_begins_and_to_no_other(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = command_line(tmp_path)
    assert cli.invoke(arguments) == 0
    assert PROMISE in capsys.readouterr().err
    assert cli.invoke(arguments) == 2  # there is a run
    refused = capsys.readouterr().err
    assert PROMISE not in refused
    assert "nothing is lost" not in refused
    command_line(tmp_path, "clip_norm = 0.5\n")
    assert cli.invoke([*arguments, "--resume"]) == 2  # it began with another configuration
    refused = capsys.readouterr().err
    assert "signed for clip_norm 1, fraction_bits 16, found clip_norm 0.5" in refused
    assert PROMISE not in refused
    assert "nothing is lost" not in refused
    (tmp_path / "task.py").write_text("1 / 0\n", encoding="utf-8")
    assert cli.invoke([*arguments, "--resume"]) == 2  # the task does not load
    assert "nothing is lost" not in capsys.readouterr().err


def test_a_run_that_ends_by_its_clients_says_how_to_go_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = command_line(tmp_path)
    monkeypatch.setattr(Line, "data", lambda task, client: {"a": 0.1, "b": 0.1}[client])
    assert cli.invoke(arguments) == 1
    said = capsys.readouterr().err.splitlines()[-1]
    assert said.startswith("verifl: too-few-submissions: expected 3 or more, found 2 in round 1: client c: ")
    assert "client c: data() failed: KeyError: 'c' (at " in said
    assert said.endswith(f"; nothing is lost: `verifl {' '.join(arguments[:-2])} --resume` goes on from there")
    monkeypatch.undo()
    assert cli.invoke([*arguments, "--resume"]) == 0
