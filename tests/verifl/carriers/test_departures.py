"""Clients that are gone for good, or missing where a round is repeated: the federation goes on or ends."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from auditor import audit
from proofs.errors import Misuse, Rejected
from tests.verifl.failing import Line, accepted, always, killed_before, lines, only, revocation, run, withhold


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
