"""Clients whose own code fails: each drops out of that round, and the others go on. Histories of failures, kills and
resumptions."""

from __future__ import annotations

import gc
import logging
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest
import torch
from torch import nn

from proofs.errors import Misuse, Rejected
from tests.verifl import failing
from tests.verifl.failing import Line, accepted, always, killed_before, lines, only, revocation, run
from verifl import Abstain
from verifl.storage.run_directory import RunDirectory
from verifl.tasks.user_code import ClientFailed


def test_the_round_closes_with_the_others_and_says_who_and_why(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    out = tmp_path / "out"
    with caplog.at_level(logging.WARNING, "verifl"):
        result = run(Line(only(("b", 1))), out)
    first, second = result.rounds
    assert (first.accepted, first.failed, second.accepted, second.failed) == (tuple("acd"), ("b",), tuple("abcd"), ())
    (said,) = [record.getMessage() for record in caplog.records]
    place = f"{Path(failing.__file__)}:{Line.train.__code__.co_firstlineno + 4}"
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


def test_where_every_turn_fails_the_task_is_wrong(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    out, task = tmp_path / "out", Line(always(*Line.names))
    with pytest.raises(Misuse) as excinfo:
        run(task, out)
    assert isinstance(excinfo.value.__cause__, ClientFailed)
    assert str(excinfo.value).startswith(f"client a: train() failed: ValueError: no rows (at {Path(failing.__file__)}:")
    assert str(excinfo.value).endswith("; the turns of all 4 clients failed in round 1")
    assert caplog.messages == []  # it is said once, and nobody dropped out
    assert task.trained == list("abcd")
    assert not out.exists()  # nobody had submitted anything


def test_who_drops_out_is_told_once_another_has_answered(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """Until then it may be the task's mistake; an interruption does not lose it."""
    told: list[int] = []

    class Watching(Line):
        def train(self, model: nn.Module, client: str, data: float) -> None:
            told.append(len(caplog.messages))
            super().train(model, client, data)

    failing = always("a", "b", "e")
    task = Watching(failing)
    task.names = ("a", "b", "c", "d", "e", "f")
    assert run(task, tmp_path / "out", rounds=1).rounds[0].failed == ("a", "b", "e")
    assert told == [0, 0, 0, 2, 2, 3]
    assert [message.partition(": train()")[0] for message in caplog.messages] == [
        f"round 1: client {client}" for client in "abe"
    ]
    caplog.clear()
    with pytest.raises(KeyboardInterrupt):
        run(Line(lambda client, _: KeyboardInterrupt() if client == "b" else ValueError("no rows")), tmp_path / "other")
    assert [message.partition(": train()")[0] for message in caplog.messages] == ["round 1: client a"]


def test_metrics_that_are_no_numbers_are_told_once_and_stop_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Unmeasured(Line):
        def evaluate(self, model: nn.Module) -> dict[str, float]:
            bias = float(model.bias.detach())
            return {"loss": float("nan"), "bias": bias, "perplexity": float("inf") if self.trained else bias}

    out = tmp_path / "out"
    result = run(Unmeasured(), out)
    assert [each.aborted for each in result.rounds] == [None, None]
    told = "; metrics.jsonl has null for it, and this is told once"
    assert caplog.messages == [
        f"round 0: evaluate() says nan for 'loss'{told}",
        f"round 1: evaluate() says inf for 'perplexity'{told}",
    ]
    assert [line["metrics"]["loss"] for line in lines(out)] == [None, None]
    assert accepted(out)


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
        run(Line(), tmp_path / "out", watch=step)
    assert RunDirectory(tmp_path / "out").begun


KILLED = """
import sys, time
from pathlib import Path
import torch
from tests.verifl.failing import Line, run

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
    out, root = tmp_path / "out", Path(__file__).parents[3]
    environment = {**os.environ, "PYTHONPATH": str(root)}
    command = [sys.executable, "-c", KILLED, str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "0\n"
        process.kill()
        process.wait()
        assert [each.accepted for each in run(Line(), out, rounds=1).rounds] == [tuple("abcd")]
    assert accepted(out)


def test_a_worker_that_fails_leaves_no_lock_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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
    monkeypatch.setattr(
        "torch.utils.data._utils.MP_STATUS_CHECK_INTERVAL", 0.1
    )  # else each is waited for, five seconds
    kept.clear()
    gc.collect()
