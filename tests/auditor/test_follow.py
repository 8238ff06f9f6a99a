"""Auditing while a federation runs: what is new, and that nothing old has changed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from auditor import Outcome, audit
from auditor.checks import opening, proofs, sums
from auditor.cli import main
from auditor.following import FollowState, default_state, follow, load_state, save_state
from auditor.memory import Memory
from proofs.errors import Malformed, Misuse
from protocols.audit_checks import AUDIT_CHECKS
from protocols.blobs import message_blobs
from protocols.envelopes import open_envelope
from protocols.log.reader import TranscriptReader
from protocols.log.snapshot import SnapshotReader
from protocols.log.tiles import blob_path
from protocols.messages import Aggregate, RoundClosed, Submission
from tests.auditor.conftest import failed
from tests.simulator import Simulation


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["follow", *map(str, arguments)])


def state_of(simulation: Simulation) -> FollowState:
    found = follow(simulation.path, simulation.pinned, None)
    assert found.state is not None
    return found.state


@pytest.fixture
def policy(simulations, tmp_path: Path) -> Path:
    path = tmp_path / "policy.cbor"
    path.write_bytes(simulations("quiet").policy_data)
    return path


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How often the expensive steps are taken."""
    counts = {"proofs": 0, "sums": 0, "openings": 0}

    def count(module: object, name: str, what: str, amount: Callable[..., int]) -> None:
        honest = getattr(module, name)

        def wrapped(*arguments: object) -> object:
            counts[what] += amount(*arguments)
            return honest(*arguments)

        monkeypatch.setattr(module, name, wrapped)

    count(proofs, "verify_batch", "proofs", lambda engine, parameters, claims: len(claims))
    count(sums, "pack", "sums", lambda *_: 1)
    count(opening, "check_opening", "openings", lambda *_: 1)
    return counts


def test_only_what_is_new_is_verified(tmp_path: Path, counted: dict[str, int]) -> None:
    simulation = Simulation(tmp_path)
    simulation.start()
    simulation.play_round()
    first = follow(simulation.path, simulation.pinned, None)
    assert counted == {"proofs": 4, "sums": 1, "openings": 1}
    assert first.state is not None
    again = follow(simulation.path, simulation.pinned, first.state)
    assert again.accepted
    assert counted == {"proofs": 4, "sums": 1, "openings": 1}
    simulation.play_round(clients=["client-00", "client-01", "client-03"])
    third = follow(simulation.path, simulation.pinned, first.state)
    assert third.accepted
    assert counted == {"proofs": 7, "sums": 2, "openings": 2}
    full = audit(simulation.path, simulation.policy_data)
    assert third.report is not None
    assert [(each.id, each.status, each.checked) for each in third.report.checks] == [
        (each.id, each.status, each.checked) for each in full.checks
    ]


def test_another_version_of_the_auditor_verifies_anew(simulations, counted: dict[str, int]) -> None:
    simulation = simulations("quiet")
    state = state_of(simulation)
    assert follow(simulation.path, simulation.pinned, replace(state, auditor="0")).accepted
    assert counted["proofs"] == 8


def test_a_rollback_and_a_fork(simulations, forge, tmp_path: Path) -> None:
    simulation = simulations("aborted")
    state = state_of(simulation)
    forged = forge("aborted")
    forged.cut(forged.find(RoundClosed) + 1)
    rolled = follow(forged.write(tmp_path / "rollback"), simulation.pinned, state)
    assert rolled.contradiction is not None
    assert (rolled.contradiction.kind, rolled.outcome) == ("rollback", Outcome.DAMAGED)
    assert rolled.contradiction.heads[0].note == state.note
    assert not rolled.accepted
    forged = forge("aborted")
    forged.edit(forged.find(Submission), proof=bytes(32))
    forked = follow(forged.write(tmp_path / "fork"), simulation.pinned, state)
    assert forked.contradiction is not None
    assert (forked.contradiction.kind, forked.outcome) == ("fork", Outcome.BROKEN)
    assert not forked.accepted


def changed_end(forged) -> None:
    """The last server step is another than the rules have it."""
    forged.edit(forged.find(RoundClosed), model=forged.put(bytes(8 * forged.policy.dimension)))


def test_a_broken_rule_in_what_was_rolled_back(simulations, forge, tmp_path: Path) -> None:
    """A server hides it behind an old copy in vain: a shorter transcript is audited, too."""
    simulation, forged = simulations("aborted"), forge("aborted")
    changed_end(forged)
    forged.cut(forged.find(RoundClosed) + 1)
    found = follow(forged.write(tmp_path / "t"), simulation.pinned, state_of(simulation))
    assert found.contradiction is not None
    assert (found.contradiction.kind, found.outcome, found.state) == ("rollback", Outcome.BROKEN, None)
    assert found.report is not None
    assert {result.id for result, _ in found.report.broken} == {"I11"}


SPOILT: dict[str, Callable[[Path], None]] = {
    "an earlier cosignature": lambda path: spoil(min((path / "checkpoints").iterdir(), key=size_of)),
    "a tile": lambda path: spoil(max((path / "tile" / "0" / "000.p").iterdir(), key=size_of)),
    "the entries": lambda path: shutil.rmtree(path / "tile" / "entries"),
}


def size_of(file: Path) -> int:
    return int(file.name)


def spoil(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[-5] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("damage", list(SPOILT))
def test_a_fork_is_not_hidden_by_damage(simulations, forge, tmp_path: Path, damage: str) -> None:
    """Two signed roots of one size convict; of a copy in which only a cosignature is wrong, so do its entries."""
    simulation, forged = simulations("aborted"), forge("aborted")
    forged.edit(forged.find(Submission), proof=bytes(32))
    path = forged.write(tmp_path / "t")
    SPOILT[damage](path)
    found = follow(path, simulation.pinned, state_of(simulation))
    assert found.contradiction is not None
    assert (found.contradiction.kind, found.outcome) == ("fork", Outcome.BROKEN)


@pytest.mark.parametrize("damage", list(SPOILT))
def test_damage_to_what_was_accepted_is_no_fork(simulations, copied, damage: str) -> None:
    simulation, path = simulations("aborted"), copied("aborted")
    SPOILT[damage](path)
    found = follow(path, simulation.pinned, state_of(simulation))
    assert found.contradiction is not None
    assert (found.contradiction.kind, found.outcome) == ("refused", Outcome.DAMAGED)


def test_what_nobody_signed_is_rejected(simulations, copied) -> None:
    simulation = simulations("quiet")
    state = state_of(simulation)
    path = copied("quiet")
    (path / "checkpoint").unlink()
    found = follow(path, simulation.pinned, state)
    assert found.contradiction is not None
    assert found.contradiction.kind == "refused"
    assert found.report is not None
    assert failed(found.report) >= {"I1"}
    assert found.outcome is Outcome.DAMAGED
    shutil.rmtree(path)
    path.mkdir()
    emptied = follow(path, simulation.pinned, state)
    assert emptied.contradiction is not None
    assert (emptied.contradiction.kind, emptied.outcome) == ("rollback", Outcome.DAMAGED)


def test_another_federation_is_no_continuation(simulations) -> None:
    """Even under a state: what was accepted is not contradicted by the log of another policy."""
    simulation = simulations("quiet")
    for state in (None, state_of(simulation)):
        found = follow(simulations("eventful").path, simulation.pinned, state)
        assert (found.outcome, found.state) == (Outcome.OTHER, None)


LIES: dict[str, Callable[..., None]] = {
    "proof": lambda forged: forged.edit(forged.find(Submission), proof=forged.put(bytes(len(first_proof(forged))))),
    "plaintext": lambda forged: forged.edit(forged.find(Aggregate), plaintext=forged.put(bytes(320))),
    "sum": lambda forged: forged.edit(
        forged.find(Aggregate), ciphertext=forged.message(forged.find(Submission)).ciphertext
    ),
    "cohort": lambda forged: forged.edit(forged.find(Aggregate), releases=()),
}


def first_proof(forged) -> bytes:
    return forged.blob(forged.message(forged.find(Submission)).proof)


@pytest.mark.parametrize("name", LIES)
def test_facts_of_one_history_prove_nothing_about_another(simulations, forge, tmp_path: Path, name: str) -> None:
    """All that was verified of the honest transcript, without its checkpoint: a full audit's verdict all the same."""
    simulation = simulations("quiet")
    memory = state_of(simulation).memory()
    forged = forge("quiet")
    LIES[name](forged)
    path = forged.write(tmp_path / "t")
    full, short = audit(path, simulation.policy_data), audit(path, simulation.policy_data, memory=memory)
    assert failed(full)
    assert failed(short) == failed(full)


def test_changed_blobs_of_old_rounds_are_found(simulations, copied) -> None:
    """A fact is about an entry; that its blobs are still the ones it names is checked each time."""
    simulation = simulations("quiet")
    state = state_of(simulation)
    path = copied("quiet")
    reader = TranscriptReader(path)
    entries = reader.entries(0, reader.size)
    message = next(m for m in (open_envelope(entry).message for entry in entries) if isinstance(m, Submission))
    proof = path / blob_path(dict(message_blobs(message))["proof"])
    data = proof.read_bytes()
    proof.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    found = follow(path, simulation.pinned, state)
    assert not found.accepted
    assert found.report is not None
    assert "I1" in failed(found.report)


def test_pruning_later_says_the_same_as_a_full_audit(simulations, copied) -> None:
    simulation = simulations("quiet")
    state = state_of(simulation)
    path = copied("quiet")
    reader = TranscriptReader(path)
    for entry in reader.entries(0, reader.size):
        message = open_envelope(entry).message
        if isinstance(message, Submission):
            (path / blob_path(message.ciphertext)).unlink()
    found = follow(path, simulation.pinned, state)
    full = audit(path, simulation.policy_data)
    assert found.report is not None
    assert [(each.id, each.status, each.reason) for each in found.report.checks] == [
        (each.id, each.status, each.reason) for each in full.checks
    ]


def test_what_was_verified_without_its_ciphertext_is_verified_again(simulations, copied, counted) -> None:
    simulation = simulations("quiet")
    path = copied("quiet")
    away = path.parent / "away"
    reader = TranscriptReader(path)
    for entry in reader.entries(0, reader.size):
        message = open_envelope(entry).message
        if isinstance(message, Submission):
            blob = path / blob_path(message.ciphertext)
            away.mkdir(exist_ok=True)
            shutil.move(blob, away / blob.name)
    state = follow(path, simulation.pinned, None).state
    assert state is not None
    assert counted == {"proofs": 4, "sums": 0, "openings": 1}
    for blob in away.iterdir():
        shutil.move(blob, path / blob_path(bytes.fromhex(blob.name)))
    assert follow(path, simulation.pinned, state).accepted
    assert counted == {"proofs": 8, "sums": 1, "openings": 1}


def test_a_writer_at_work(tmp_path: Path) -> None:
    """Blobs and files that no checkpoint covers yet are not judged; a stranger's file is."""
    simulation = Simulation(tmp_path)
    simulation.start()
    simulation.play_round()
    simulation.open_round()
    simulation.submit("client-00")
    (simulation.path / "checkpoint.tmp").write_bytes(b"torn")
    (simulation.path / "checkpoints" / "99999").write_bytes(b"torn")
    assert not audit(simulation.path, simulation.policy_data).accepted
    found = follow(simulation.path, simulation.pinned, None)
    assert found.accepted
    (simulation.path / "notes.txt").write_bytes(b"stranger")
    found = follow(simulation.path, simulation.pinned, None)
    assert found.report is not None
    assert failed(found.report) == {"I1"}


def test_a_snapshot_stays_while_the_writer_goes_on(tmp_path: Path) -> None:
    simulation = Simulation(tmp_path)
    simulation.start()
    simulation.play_round()
    reader = SnapshotReader(simulation.path)
    size = reader.size
    simulation.play_round()
    report = audit(simulation.path, simulation.policy_data, reader=reader)
    assert report.accepted
    assert report.checkpoint is not None
    assert report.checkpoint.size == size < simulation.coordinator.size


def test_the_command(simulations, forge, policy: Path, tmp_path: Path) -> None:
    file = tmp_path / "deep" / "state"
    arguments = ("--policy", policy, "--state", file, "--once")
    path = simulations("quiet").path
    first = run(path, *arguments)
    assert first.exit_code == 0, first.output
    size = TranscriptReader(path).size
    assert first.stdout.startswith(f"ACCEPTED up to entry {size - 1} ({size} new) in ")
    assert file.stat().st_mode & 0o777 == 0o600
    again = run(path, *arguments)
    assert "(0 new)" in again.stdout
    assert f"{size} entries accepted" in again.stderr
    kept = file.read_bytes()
    forged = forge("quiet")
    forged.edit(forged.find(Submission), proof=bytes(32))
    fork = run(forged.write(tmp_path / "fork"), *arguments)
    assert fork.exit_code == 1
    assert "fork: the first" in fork.stdout
    assert load_state(file).head.note.decode() in fork.stdout
    assert file.read_bytes() == kept


def test_a_rejected_transcript_leaves_no_state(simulations, copied, policy: Path, tmp_path: Path) -> None:
    path = copied("quiet")
    (path / "stranger").write_bytes(b"")
    result = run(path, "--policy", policy, "--state", tmp_path / "state", "--once")
    assert result.exit_code == 1
    assert "REJECTED in" in result.stdout
    assert f"audit again: verifl-audit {path} --policy {policy}" in result.stdout
    assert not (tmp_path / "state").exists()


def test_it_follows_until_interrupted(policy: Path, simulations, tmp_path: Path, monkeypatch) -> None:
    """Interrupted between audits: what there was is accepted. A checkpoint that has not changed is not audited."""
    from auditor import commands

    slept: list[float] = []

    def is_read(seconds: float) -> bool:
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt
        return True

    monkeypatch.setattr(commands, "is_read", is_read)
    result = run(simulations("quiet").path, "--policy", policy, "--state", tmp_path / "s", "--interval", "0.5")
    assert result.exit_code == 0, result.output
    assert slept == [0.5] * 3
    assert result.stdout.count("ACCEPTED") == 1


@pytest.mark.parametrize("form", ["json", "jsonl"])
def test_formats(simulations, forge, policy: Path, tmp_path: Path, form: str) -> None:
    """Of one that is accepted, rolled back, forked; the whole report is in it."""
    honest, file = simulations("quiet"), tmp_path / "s"
    size = TranscriptReader(honest.path).size
    rolled, forked = forge("quiet"), forge("quiet")
    rolled.cut(rolled.find(RoundClosed))
    forked.edit(forked.find(Submission), proof=bytes(32))
    expected = [
        (honest.path, 0, "accepted", (size, size), None, True),
        (honest.path, 0, "accepted", (size, 0), None, True),
        (rolled.write(tmp_path / "rolled"), 1, "damaged", (None, None), "rollback", True),
        (forked.write(tmp_path / "forked"), 1, "rule-broken", (None, None), "fork", False),
    ]
    for path, status, outcome, numbers, kind, audited in expected:
        result = run(path, "--policy", policy, "--state", file, "--once", "--format", form)
        assert result.exit_code == status
        if form == "json":
            plain = json.loads(result.stdout)
            checks = [] if plain["audit"] is None else plain.pop("audit")["checks"]
        else:
            *lines, plain = map(json.loads, result.stdout.splitlines())
            assert plain.pop("event") == "follow"
            assert [line["event"] for line in lines] == (["check"] * len(AUDIT_CHECKS) + ["audit"] if audited else [])
            checks = lines[:-1]
        assert [each["id"] for each in checks] == (list(AUDIT_CHECKS.names) if audited else [])
        assert (plain["accepted"], plain["outcome"]) == (status == 0, outcome)
        assert (plain["entries"], plain["new"]) == numbers
        assert (plain["contradiction"] or {}).get("kind") == kind


def test_it_ends_when_nobody_reads_it(simulations, policy: Path, tmp_path: Path) -> None:
    """With the status of the last audit; there is no new checkpoint that it would write about."""
    command = [sys.executable, "-P", "-m", "auditor", "follow", str(simulations("quiet").path), "--policy", str(policy)]
    command += ["--state", str(tmp_path / "s"), "--interval", "600"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("ACCEPTED")
        process.stdout.close()
        assert process.wait(60) == 0
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_a_warning_is_told_once_on_standard_error(copied, policy: Path, tmp_path: Path, monkeypatch) -> None:
    from auditor import commands

    path = copied("quiet")
    (path / ".DS_Store").touch()
    waits = iter([True, False])
    monkeypatch.setattr(commands, "is_read", lambda _: next(waits))
    monkeypatch.setattr(commands, "_is_new", lambda *_: True)
    result = run(path, "--policy", policy, "--state", tmp_path / "s", "--format", "jsonl")
    assert result.exit_code == 0
    assert result.stderr.count("verifl-audit: warning: 1 file of a desktop or an editor: find ") == 1
    assert result.stdout.count("follow") == 2


def test_state_files(simulations, tmp_path: Path, policy: Path, monkeypatch) -> None:
    simulation = simulations("quiet")
    state = state_of(simulation)
    file = tmp_path / "state"
    assert load_state(file) is None
    save_state(file, state)
    assert load_state(file) == state
    assert [path.name for path in tmp_path.iterdir() if path.name.endswith(".tmp")] == []
    file.write_bytes(file.read_bytes()[:-1])
    with pytest.raises(Malformed):
        load_state(file)
    result = run(simulation.path, "--policy", policy, "--state", file, "--once")
    assert result.exit_code == 2
    assert "no state of a follower" in result.stderr
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "xdg"))
    assert run(simulation.path, "--policy", policy, "--once").exit_code == 0
    assert load_state(default_state(simulation.pinned)) == state
    with pytest.raises(Misuse):
        follow(simulation.path, simulation.pinned, replace(state, policy=bytes(32)))
    for data in (b"short", bytes(64)):
        with pytest.raises(Malformed):
            Memory.decode(data)


@pytest.mark.parametrize("arguments", [[], ["--policy", "/nowhere"], ["--policy", "P", "--interval", "0"]])
def test_wrong_usage_is_status_2(simulations, policy: Path, arguments: list[str], tmp_path: Path) -> None:
    given = [str(policy) if each == "P" else each for each in arguments]
    assert run(simulations("quiet").path, *given, "--state", tmp_path / "s", "--once").exit_code == 2
    assert run(tmp_path / "nothing", "--policy", policy, "--state", tmp_path / "s", "--once").exit_code == 2
