"""What can go wrong outside: full and read-only disks, two runs at once, damaged files, clocks, Ctrl-C. Each is one
clear line, and nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from auditor import audit
from auditor.comparison import compare
from proofs.errors import Misuse, Rejected
from proofs.machine.command_line import command_name
from protocols.envelopes import open_envelope
from protocols.log.checkpoint import parse_note
from protocols.log.reader import TranscriptReader
from protocols.log.tiles import blob_path
from protocols.messages import RoundClosed
from protocols.pinned import PinnedPolicy
from protocols.stores import MemoryStore
from tests.verifl.office import Office
from tests.verifl.recovery import CONFIG, Remembering, check_end, check_same_training, log_of, resume
from tests.verifl.written_task import write_task
from verifl import Federation
from verifl.agents import client as client_agent
from verifl.agents.clock import CosignatureClock
from verifl.carriers import in_process
from verifl.commands import root as cli
from verifl.config import Config, FederationConfig, UpdateConfig
from verifl.federation import FederationResult
from verifl.storage import stores as state
from verifl.storage.run_directory import RunDirectory
from verifl.training.own_tensors import NOTHING, Kept, LocalState

ONE_ROUND = CONFIG.model_copy(update={"federation": FederationConfig(rounds=1, seed=5)})
SETTINGS = "[federation]\nrounds = 1\n[trustees]\ncount = 3\ncorrupt = 1\nthreshold = 3\n"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> FederationResult:
    """One round of two; never changed."""
    return Federation(Remembering(), ONE_ROUND, tmp_path_factory.mktemp("finished") / "out", device="cpu").run()


@pytest.fixture
def halfway(finished: FederationResult, tmp_path: Path) -> Path:
    """A copy to go on with."""
    shutil.copytree(finished.directory, tmp_path / "out")
    return tmp_path / "out"


def last_line(capsys: pytest.CaptureFixture[str]) -> str:
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err.splitlines()[-1]


@pytest.mark.parametrize("number", [150, 400])
def test_a_full_disk_loses_nothing(tmp_path: Path, number: int) -> None:
    steps = 0

    def step(description: str) -> None:
        nonlocal steps
        steps += 1
        if steps >= number:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), description)

    with pytest.raises(OSError, match="No space left"):
        resume(tmp_path / "out", step)
    check_end(resume(tmp_path / "out"), [])


def test_a_full_disk_is_one_line_that_says_how_to_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    config, out, secret = write_task(tmp_path, settings=SETTINGS), tmp_path / "out", tmp_path / "passphrase"
    secret.touch(0o600)
    secret.write_text("of no key\n", encoding="utf-8")
    arguments = ["run", str(config), "--out", str(out), "--passphrase-file", str(secret)]

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # as a write does: without the name of the file

    with monkeypatch.context() as patch:
        patch.setattr(state, "replace_private", full)
        assert cli.invoke(arguments) == 2
    hint = f"nothing is lost: `{command_name('verifl')} {' '.join(arguments)} --resume` goes on from there"
    assert last_line(capsys) == f"verifl: {out}: No space left on device; {hint}"
    assert cli.invoke([*arguments, "--resume"]) == 0
    assert audit(out / "transcript", out / "policy.cbor").accepted


@pytest.mark.parametrize(
    ("error", "status", "what"),
    [
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), 2, "{}: No space left on device"),
        (KeyboardInterrupt(), 130, "interrupted"),
    ],
)
def test_a_demonstration_that_ends_early_says_what_to_do_with_its_directory(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    error: BaseException,
    status: int,
    what: str,
) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr(client_agent, "encode_update", fails)
    out = tmp_path / "out"
    assert cli.invoke(["demo", "--out", str(out)]) == status
    hint = f"{out} holds an unfinished demonstration: remove it, or choose another --out"
    assert last_line(capsys) == f"verifl: {what.format(out)}; {hint}"
    assert cli.invoke(["demo", "--out", str(out)]) == 2
    anew = f"verifl: {out}: holds a run already, and a demonstration begins anew; choose another --out"
    assert last_line(capsys) == anew


@contextmanager
def unprivileged() -> Iterator[Path]:
    """A directory that may be read but not written, also for root."""
    folder = Path(tempfile.mkdtemp())
    try:
        write_task(folder, settings=SETTINGS)
        folder.chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            yield folder
        finally:
            if root:
                os.seteuid(0)
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_read_only_directory_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with unprivileged() as folder:
        status = cli.invoke(["run", str(folder / "config.toml"), "--out", str(folder / "out")])
        assert not (folder / "out").exists()
    assert status == 2
    assert last_line(capsys) == f"verifl: {folder / 'out'}: Permission denied"


def test_two_runs_in_one_directory(halfway: Path) -> None:
    before = sorted(halfway.rglob("*"))
    with RunDirectory(halfway).locked(), pytest.raises(Misuse, match="another run has it open; wait for it"):
        resume(halfway)
    assert sorted(halfway.rglob("*")) == before
    check_end(resume(halfway), [])


def test_a_directory_with_a_run_says_how_to_go_on(halfway: Path, tmp_path: Path) -> None:
    with pytest.raises(Misuse, match="holds a run already; continue it with --resume, or choose another --out"):
        Federation(Remembering(), CONFIG, halfway, device="cpu").run()
    (tmp_path / "killed-early" / "state").mkdir(parents=True)
    with pytest.raises(Misuse, match="continue it with --resume"):
        Federation(Remembering(), CONFIG, tmp_path / "killed-early", device="cpu").run()


def test_a_finished_run_goes_on_with_more_rounds(halfway: Path, tmp_path: Path) -> None:
    again = Federation(Remembering(), ONE_ROUND, halfway, device="cpu").run(resume=True)
    assert [summary.round for summary in again.rounds] == [1]
    resumed, whole = resume(halfway), resume(tmp_path / "whole")
    check_same_training(resumed, whole)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"update": UpdateConfig(clip_norm=1.5)}, "policy: update: signed for .* made for another configuration"),
        ({"federation": FederationConfig(rounds=2, seed=6)}, "policy: initial_model: .* other weights; .* seed"),
    ],
)
def test_another_configuration_is_refused(halfway: Path, change: dict[str, object], message: str) -> None:
    other: Config = CONFIG.model_copy(update=change)
    with pytest.raises(Misuse, match=message):
        Federation(Remembering(), other, halfway, device="cpu").run(resume=True)


def test_keys_that_are_not_there(halfway: Path) -> None:
    for path in halfway.rglob("identity.pem"):
        path.unlink()
    with pytest.raises(Misuse, match=r"its keys are not here; give --policy .* and --keys as before"):
        resume(halfway)


def model_blob(directory: Path) -> Path:
    reader = TranscriptReader(directory / "transcript")
    messages = [open_envelope(entry).message for entry in reader.entries(0, reader.size)]
    (closed,) = [message for message in messages if isinstance(message, RoundClosed)]
    return directory / "transcript" / blob_path(closed.model)


def test_a_missing_blob_and_a_truncated_one(halfway: Path) -> None:
    blob = model_blob(halfway)
    data = blob.read_bytes()
    blob.unlink()
    with pytest.raises(Rejected) as missing:
        resume(halfway)
    assert missing.value.check == "blob-missing"
    assert missing.value.found.endswith("put the file back from a copy of the transcript, then resume")
    blob.write_bytes(data[:-1])
    with pytest.raises(Rejected) as truncated:
        resume(halfway)
    assert truncated.value.check == "blob-hash"
    blob.write_bytes(data)  # from any copy of the transcript
    check_end(resume(halfway), [])


def test_a_truncated_state_file_is_refused(halfway: Path) -> None:
    file = halfway / "state" / "trustees" / "trustee-2" / "store" / f"{b'log'.hex()}.value"
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(Misuse, match=r"this state file is damaged, and no old copy may take its place"):
        resume(halfway)


def test_a_state_older_than_what_its_party_signed_is_refused(halfway: Path) -> None:
    shutil.rmtree(halfway / "state" / "trustees" / "trustee-2" / "store")
    with pytest.raises(Misuse, match=r"trustee-2/store/6c6f67.value: .* this state is older .* never put back"):
        resume(halfway)


def test_a_state_file_in_the_place_of_another_is_refused(tmp_path: Path) -> None:
    store = state.DirectoryStore(tmp_path / "party")
    store.put("release/1", b"of the first round")
    (file,) = (tmp_path / "party").iterdir()
    file.rename(file.with_name(f"{b'release/2'.hex()}.value"))
    with pytest.raises(Misuse, match="damaged"):
        store.get("release/2")


def test_a_metrics_line_that_was_torn_is_written_again(halfway: Path, finished: FederationResult) -> None:
    metrics = halfway / "metrics.jsonl"
    metrics.write_text(metrics.read_text()[:-20], encoding="utf-8")
    again = Federation(Remembering(), ONE_ROUND, halfway, device="cpu").run(resume=True)
    first, line = (json.loads(line) for line in metrics.read_text().splitlines())
    assert (first["round"], first["metrics"]) == (0, dict(finished.initial_metrics))
    assert line == {**finished.rounds[0].to_dict(), "seconds": None}
    assert again.rounds[0].to_dict() == line


def cosigned_at(directory: Path) -> list[int]:
    """The times in all cosignatures, by size of the checkpoint."""
    reader = TranscriptReader(directory / "transcript")
    notes = [parse_note(reader.note(size)) for size in reader.checkpoints()]
    return [int.from_bytes(line.signature[:8], "big") for note in notes for line in note.signatures[1:]]


def test_a_clock_that_goes_backwards(
    halfway: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(in_process, "CosignatureClock", lambda: CosignatureClock(lambda: -1e6))
    result = resume(halfway)
    assert audit(result.transcript, result.policy).accepted
    times = cosigned_at(halfway)
    assert times == sorted(times)
    (said,) = [record.message for record in caplog.records if record.name == "verifl.agents.clock"]
    assert "behind the last cosignature" in said


def test_the_time_in_cosignatures_never_decreases() -> None:
    clock = CosignatureClock(iter([50.9, 70.0, 60.0, -3.0, 71.0]).__next__)
    assert [clock.now() for _ in range(5)] == [50, 70, 70, 70, 71]


def test_an_interrupt_loses_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config, out = write_task(tmp_path, "raise KeyboardInterrupt", settings=SETTINGS), tmp_path / "out"
    assert cli.invoke(["run", str(config), "--out", str(out)]) == 130
    command = f"{command_name('verifl')} run {config} --out {out} --resume"
    assert last_line(capsys) == f"verifl: interrupted; nothing is lost: `{command}` goes on from there"
    write_task(tmp_path, settings=SETTINGS)
    assert cli.invoke([*command.split()[1:], "--log-format", "json"]) == 0
    events = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert any("resumed in round 1" in event["message"] for event in events)
    assert audit(out / "transcript", out / "policy.cbor").accepted


def test_what_was_signed_for_a_signed_policy_is_not_forgotten(
    office: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Begun anew, the run would sign a second history with the same key: a fork that nobody meant."""
    task, out = office.folder / "task.py", office.folder / "out"
    right = task.read_text(encoding="utf-8")
    task.write_text(right.replace("model.weight.data += 0.01", "raise KeyError('age')"), encoding="utf-8")
    assert office.run() == 2
    assert "nothing is lost" in last_line(capsys)
    copy = Path(shutil.copytree(out / "transcript", tmp_path / "copy"))
    task.write_text(right, encoding="utf-8")
    assert office.run() == 2
    assert "holds a run already; continue it with --resume" in last_line(capsys)
    assert office.run("--resume") == 0
    assert audit(out / "transcript", out / "policy.cbor").accepted
    pinned = PinnedPolicy.open((out / "policy.cbor").read_bytes())
    assert compare(copy, out / "transcript", pinned).consistent


def test_a_state_without_its_run_is_not_taken_away(halfway: Path) -> None:
    """Parties that have said something are there, though neither policy nor transcript is."""
    for path in halfway.iterdir():
        if path.is_file():
            path.unlink()
    shutil.rmtree(halfway / "transcript")
    before = sorted(halfway.rglob("*"))
    with pytest.raises(Misuse, match=r"policy.cbor: expected the signed policy of the run, found no such file"):
        resume(halfway)
    assert sorted(halfway.rglob("*")) == before


def test_what_a_client_keeps_for_itself_is_that_before_the_round() -> None:
    store = MemoryStore()
    local = LocalState(store)
    two, again, four = (Kept(b"", state) for state in (b"two", b"again, after a kill", b"four"))
    assert local.before(1) == NOTHING
    local.after(1, NOTHING)
    assert store.keys() == []
    local.after(2, two)
    assert (local.before(2), local.before(3)) == (NOTHING, two)
    local.after(2, again)
    local.after(4, four)
    assert (local.before(4), local.before(5)) == (again, four)
    local.after(5, NOTHING)
    assert (local.before(5), local.before(6)) == (four, NOTHING)
    assert store.keys() == ["after/4", "after/5"]
    local.discard_after(4)  # round 5 was trained for, and never answered
    assert store.keys() == ["after/4"]
    assert local.before(6) == four


def test_the_log_of_a_resumed_run_is_the_old_one_continued(halfway: Path, finished: FederationResult) -> None:
    old = log_of(finished)
    assert log_of(resume(halfway))[: len(old)] == old
