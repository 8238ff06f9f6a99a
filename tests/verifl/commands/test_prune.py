"""`verifl prune`: says what may go before it does it; models stay, runs go on, and audits say what is gone.

That it takes what an audit does without, and nothing that is evidence, is in tests/auditor/test_evidence.py.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from auditor import Status, audit
from protocols.log.checkpoint import SignedNote
from protocols.log.reader import TranscriptReader
from protocols.log.tiles import blob_path
from protocols.pinned import PinnedPolicy
from tests.simulator import Setting, Simulation
from tests.verifl.commands.test_cli import failing_line
from tests.verifl.test_federation import CONFIG, Line
from verifl import Config, Federation
from verifl.agents import published
from verifl.agents.pruning import prunable
from verifl.commands.root import invoke


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def told(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    assert invoke(["prune", *arguments, "--format", "json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_what_is_pruned_is_skipped_and_said_by_every_audit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simulation = Simulation(tmp_path, Setting(encryption_proof=True, dimension=8))
    simulation.start()
    simulation.play_round()
    before = files(tmp_path)
    assert told(capsys, str(tmp_path))["written"] is False
    assert invoke(["prune", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "5 ciphertexts may go" in text
    assert "nobody can check then: I9, replay of the summation (1 of them)\n  and of I6 that each ciphertext" in text
    assert "warning" not in text
    assert files(tmp_path) == before
    said = told(capsys, str(tmp_path), "--write")
    gone = before.keys() - files(tmp_path).keys()
    assert (said["ciphertexts"], said["bytes"]) == (len(gone), sum(before[path] for path in gone)) == (5, said["bytes"])
    report = audit(tmp_path / "transcript", simulation.policy_data)
    assert report.accepted
    assert report.check("I9").status is Status.SKIPPED
    assert "5 ciphertexts pruned" in report.check("I1").notes
    again = told(capsys, str(tmp_path), "--write")
    assert (again["ciphertexts"], again["bytes"], again["gone_before"]) == (0, 0, 5)
    simulation.play_round()
    assert invoke(["prune", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert "nobody can check now: I9, replay of the summation (1 of them)\n" in text
    assert "nobody can check then: I9, replay of the summation (2 of them)\n" in text
    assert "--write does it; keep a whole copy elsewhere, unless somebody has one\n" in text
    assert invoke(["prune", str(tmp_path), "--write", "--despite", "I99"]) == 2
    assert "'I99' is not 'I9'" in capsys.readouterr().err
    simulation.writer.close()


def test_a_policy_that_requires_the_replay_is_named_and_a_run_goes_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out, fields = tmp_path / "out", CONFIG.model_dump(exclude_unset=True)
    strict = {**fields, "federation": {"rounds": 1, "seed": 5}, "audit": {"required": ["I9", "I1"]}}
    result = Federation(Line(), Config.of(**strict), out).run()
    assert invoke(["prune", str(out)]) == 0
    assert "warning: the policy requires I9: no audit accepts a copy without them\n" in capsys.readouterr().out
    line = failing_line(capsys, ["prune", str(out), "--write"])
    assert "the policy requires I9 of every audit" in line
    assert line.endswith("add --despite I9")
    assert audit(result.transcript, result.policy).accepted
    assert told(capsys, str(out), "--write", "--despite", "I9")["required"] == ["I9"]
    report = audit(result.transcript, result.policy)
    assert not report.accepted
    assert report.check("I9").status is Status.FAIL

    assert invoke(["export", str(out), "--round", "1", str(tmp_path / "one")]) == 0  # models are never pruned
    more = Federation(Line(), Config.of(**{**strict, "federation": {"rounds": 2, "seed": 5}}), out).run(resume=True)
    assert [each.aborted for each in more.rounds] == [None, None]
    capsys.readouterr()
    said = told(capsys, str(out))
    assert (said["ciphertexts"], said["gone_before"], said["rounds"]) == (5, 5, [1, 2])


def test_a_log_that_grows_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its last bundle of entries was a partial one, and may be gone: a writer removes it once there is the full one."""
    simulation = Simulation(tmp_path / "grows", Setting(dimension=8))
    simulation.start()
    simulation.play_round()
    before = simulation.writer.published_size
    shutil.copytree(tmp_path / "grows", tmp_path / "before")
    simulation.play_round()
    simulation.writer.close()
    for path in (simulation.path / "tile/entries").rglob(f"*.p/{before}"):
        path.unlink()
    known = published.own_note
    for name, *options in (["prune"], ["export", "--round", "1", str(tmp_path / "model")]):
        place, looks = tmp_path / name, list[int]()
        shutil.copytree(tmp_path / "before", place)

        def own_note(
            pinned: PinnedPolicy, reader: TranscriptReader, place: Path = place, looks: list[int] = looks
        ) -> SignedNote:
            note = known(pinned, reader)
            looks.append(note.checkpoint.size)
            shutil.rmtree(place)
            shutil.copytree(tmp_path / "grows", place)
            return note

        monkeypatch.setattr(published, "own_note", own_note)
        assert invoke([name, str(place), *options]) == 0
        assert looks == [before, simulation.writer.published_size]


def test_what_is_missing_of_a_log_that_rests_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simulation = Simulation(tmp_path, Setting(dimension=8))
    simulation.start()
    simulation.play_round()
    simulation.writer.close()
    for path in (simulation.path / "tile/entries").rglob("*"):
        if path.is_file():
            path.unlink()
    assert "file-missing" in failing_line(capsys, ["prune", str(tmp_path)], status=1)


def test_what_is_no_file_is_left_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    simulation = Simulation(tmp_path, Setting(dimension=8))
    simulation.start()
    simulation.play_round()
    simulation.writer.close()
    name = next(iter(prunable(simulation.pinned, simulation.path).files))
    path = simulation.path / blob_path(name)
    path.rename(tmp_path / "kept")
    path.symlink_to(tmp_path / "kept")
    before = files(tmp_path)
    assert "expected a file, found something else; nothing was removed" in failing_line(
        capsys, ["prune", str(tmp_path), "--write"]
    )
    assert files(tmp_path) == before
    assert "holds no federation yet" in failing_line(capsys, ["prune", str(tmp_path / "transcript")])
