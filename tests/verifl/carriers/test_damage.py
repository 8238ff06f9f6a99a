"""Every kind of file in a run's directory, truncated, changed by a byte, deleted, or with a directory in its place: a
resumption names the file and changes nothing, or does not need it."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from torch import Tensor

from auditor import audit
from protocols.envelopes import open_envelope
from protocols.log.reader import TranscriptReader
from protocols.log.tiles import blob_path, partial_pieces
from protocols.messages import RoundClosed, Submission
from protocols.rounds import client_holdings, record, trustee_holdings
from tests.verifl.recovery import CONFIG, Remembering
from verifl import Federation
from verifl.carriers.in_process import InProcess
from verifl.commands import root as cli
from verifl.storage.stores import DirectoryStore
from verifl.strategies.weights import WeightsConfig
from verifl.training import own_tensors

TASK = "from tests.verifl.recovery import Remembering\ntask = Remembering\n"
SETTINGS = """
[task]
file = "task.py"
[federation]
rounds = 2
seed = 5
[update]
clip_norm = 2.0
[trustees]
count = 3
corrupt = 1
threshold = 3
[server]
rule = "fedadam"
learning_rate = 0.3
"""


class Weighed(Remembering):
    """By the number of samples."""

    def weight(self, client: str, data: tuple[Tensor, Tensor]) -> float:
        return float(len(data[0]))


class Stopped(Exception):
    """The run has got as far as it should."""


@pytest.fixture(scope="module")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a configuration, and in `out` what a kill left just before the first release of round 2."""
    folder = tmp_path_factory.mktemp("damage")
    (folder / "task.py").write_text(TASK, encoding="utf-8")
    (folder / "config.toml").write_text(SETTINGS, encoding="utf-8")

    def step(description: str) -> None:
        if description == "write release/2" and not (folder / "out").exists():
            shutil.copytree(folder / "original", folder / "out")
            raise Stopped

    with pytest.raises(Stopped):
        Federation(Remembering(), CONFIG, folder / "original", carrier=InProcess(step), device="cpu").run()
    return folder


def store(party: str, key: str, kind: str = "store") -> str:
    return f"state/{party}/{kind}/{key.encode().hex()}.value"


def transcript_files(directory: Path) -> dict[str, str]:
    """Paths that depend on what was drawn, by what they are."""
    reader = TranscriptReader(directory / "transcript")
    messages = [open_envelope(entry).message for entry in reader.entries(0, reader.size)]
    submissions = [message for message in messages if isinstance(message, Submission)]
    (closed,) = (message for message in messages if isinstance(message, RoundClosed))
    assert closed.optimizer is not None
    blobs = {
        "the model": closed.model,
        "the optimizer": closed.optimizer,
        "a ciphertext of the open round": submissions[-1].ciphertext,
        "a share of the open round": submissions[-1].shares[0].blob,
        "a proof of the last round": submissions[0].proof,
        "a ciphertext of a round that is over": submissions[0].ciphertext,
    }
    paths = {name: f"transcript/{blob_path(blob)}" for name, blob in blobs.items()}
    sizes = reader.checkpoints()
    needed = next(message.checkpoint_size for message in messages if getattr(message, "checkpoint_size", 1) > 1)
    other = next(size for size in sizes if size not in (needed, 1, sizes[-1]))
    paths["the latest checkpoint"] = f"transcript/checkpoints/{sizes[-1]}"
    paths["a checkpoint that a round was opened on"] = f"transcript/checkpoints/{needed}"
    paths["another checkpoint"] = f"transcript/checkpoints/{other}"
    bundle, *tiles = (f"transcript/{piece.path}" for piece in partial_pieces(reader.size))
    return paths | {"a tile": tiles[0], "the entries": bundle}


FILES = {
    "policy": "policy.cbor",
    "metrics": "metrics.jsonl",
    "checkpoint": "transcript/checkpoint",
    "the transcript's policy": "transcript/policy.cbor",
    "the transcript's lock": "transcript.lock",
    "the run's lock": "state/lock",
    "the coordinator's key": "state/coordinator/identity.pem",
    "a trustee's key": "state/trustees/trustee-1/identity.pem",
    "a client's key": "state/clients/b/identity.pem",
    "the issuer's key": "state/issuer/identity.pem",
    "pending entries": store("coordinator", "pending"),
    "a trustee's log": store("trustees/trustee-1", "log"),
    "a trustee's mark": store("trustees/trustee-2", "erased"),
    "a round key": store("trustees/trustee-2", "round-key/2"),
    "held shares": store("trustees/trustee-3", "share/2"),
    "an acknowledgement": store("trustees/trustee-3", "ack/2"),
    "what a client saw": store("clients/a", "seen"),
    "a client's answer": store("clients/c", "answer"),
    "a client's own tensors": store("clients/b", "after/2", "training"),
    "a receipt": "state/clients/a/receipts/round-1.cbor",
}
DRAWN = (
    "the model", "the optimizer", "a ciphertext of the open round", "a share of the open round",
    "a proof of the last round", "a ciphertext of a round that is over", "the latest checkpoint",
    "a checkpoint that a round was opened on", "another checkpoint", "a tile", "the entries",
)  # fmt: skip


def truncate(path: Path) -> None:
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    if data:
        data[len(data) // 2] ^= 1
    path.write_bytes(data)


def replace_by_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


DAMAGES: dict[str, Callable[[Path], None]] = {
    "truncated": truncate,
    "flipped": flip,
    "deleted": Path.unlink,
    "a directory": replace_by_directory,
}
NOT_NEEDED = {  # (what, damage): the run goes on; None is every damage
    ("metrics", "truncated"),  # torn lines are written again
    ("metrics", "flipped"),
    ("metrics", "deleted"),
    ("the transcript's policy", "deleted"),  # written again
    ("the transcript's lock", "truncated"),  # empty, and made again
    ("the transcript's lock", "flipped"),
    ("the transcript's lock", "deleted"),
    ("the run's lock", "truncated"),
    ("the run's lock", "flipped"),
    ("the run's lock", "deleted"),
    ("pending entries", "deleted"),  # no trustee has seen more than what is published
    ("another checkpoint", "deleted"),  # no round was opened on it
    ("a receipt", None),  # for the client to keep, not for the run
    ("a ciphertext of a round that is over", None),  # for the audit to find
    ("the issuer's key", "deleted"),  # signs nothing more
}
CASES = [(what, damage) for what in (*FILES, *DRAWN) for damage in DAMAGES]


def contents(directory: Path) -> dict[str, bytes | None]:
    """Every file by its path; None for a directory."""
    return {
        str(path.relative_to(directory)): None if path.is_dir() else path.read_bytes() for path in directory.rglob("*")
    }


@pytest.mark.parametrize(("what", "damage"), CASES, ids=lambda each: each)
def test_a_damaged_file_is_named_and_nothing_changes(
    stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], what: str, damage: str
) -> None:
    out = Path(shutil.copytree(stopped / "out", tmp_path / "out"))
    file = out / {**FILES, **transcript_files(out)}[what]
    DAMAGES[damage](file)
    before = contents(out)
    status = cli.invoke(["run", str(stopped / "config.toml"), "--out", str(out), "--device", "cpu", "--resume"])
    errors = capsys.readouterr().err
    assert "Traceback" not in errors
    if {(what, damage), (what, None)} & NOT_NEEDED:
        assert status == 0, errors
        return
    line = errors.splitlines()[-1]
    assert line.startswith("verifl: ")
    if what == "the entries" and damage == "flipped":
        assert "tile/0/" in line  # over them, which does not fit
    assert str(file) in line
    assert "expected" in line
    assert "found" in line
    rejected = file.is_relative_to(out / "transcript") or (what == "policy" and damage in ("truncated", "flipped"))
    assert status == (1 if rejected else 2), line
    assert contents(out) == before


@pytest.mark.parametrize(
    ("party", "key", "value", "complaint"),
    [
        (
            "clients/a",
            "journal",
            b"",
            "expected one of what a client keeps: policy, seen, answer, weighed, found 'journal'",
        ),
        (
            "clients/a",
            "after/2",
            b"",
            "expected one of what a client keeps: policy, seen, answer, weighed, found 'after/2'",
        ),
        ("trustees/trustee-1", "share/02", b"", "expected one of what a trustee keeps: .*, found 'share/02'"),
        ("coordinator", "log", b"", "expected one of what a coordinator keeps: policy, pending, found 'log'"),
        ("clients/b", "answer", b"\xa0", "KeptAnswer.*: expected .*, found "),
        ("trustees/trustee-2", "erased", b"one", "count: expected a number in .*, found b'one'"),
        ("coordinator", "pending", b"\xff", "Pending.*: expected .*, found "),
    ],
)
def test_a_value_that_its_party_would_not_write(
    stopped: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    party: str,
    key: str,
    value: bytes,
    complaint: str,
) -> None:
    """Whole files, of another version or put there by somebody: named as damaged ones are, and nothing changes."""
    out = Path(shutil.copytree(stopped / "out", tmp_path / "out"))
    DirectoryStore(out / "state" / party / "store").put(key, value)
    before = contents(out)
    assert cli.invoke(["run", str(stopped / "config.toml"), "--out", str(out), "--device", "cpu", "--resume"]) == 2
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith(f"verifl: {out / store(party, key)}: ")
    assert re.search(complaint, line)
    assert contents(out) == before


def test_what_a_run_writes_is_what_its_parties_declare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = {
        "client": client_holdings.HOLDINGS,
        "training": own_tensors.HOLDINGS,
        "trustee": trustee_holdings.HOLDINGS,
        "coordinator": record.HOLDINGS,
    }
    written = {owner: set[str]() for owner in declared}
    put = DirectoryStore.put

    def checked(store: DirectoryStore, key: str, value: bytes) -> None:
        path = store.file(key).parent
        party = path.parent.name if path.parent.name == "coordinator" else path.parent.parent.name.removesuffix("s")
        owner = "training" if path.name == "training" else party
        declared[owner].check(key, value)
        written[owner].add(key.partition("/")[0])
        put(store, key, value)

    monkeypatch.setattr(DirectoryStore, "put", checked)
    config = CONFIG.model_copy(update={"weights": WeightsConfig(kind="private", largest=2, unit=20.0)})
    Federation(Weighed(), config, tmp_path / "out", device="cpu").run()
    assert written == {owner: {kind.name for kind in holdings.kinds} for owner, holdings in declared.items()}


def test_what_is_not_damaged_goes_on(stopped: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(stopped / "out", tmp_path / "out"))
    assert cli.invoke(["run", str(stopped / "config.toml"), "--out", str(out), "--device", "cpu", "--resume"]) == 0
    assert audit(out / "transcript", out / "policy.cbor").accepted


def test_a_value_that_was_being_erased_is_no_damage(stopped: Path, tmp_path: Path) -> None:
    """A kill between overwriting and removing it leaves zeros under a temporary name: here, of a round that is over."""
    out = Path(shutil.copytree(stopped / "out", tmp_path / "out"))
    value = out / store("trustees/trustee-1", "round-key/1")
    erased = value.with_name(f".{value.name}.0badcafe.tmp")
    erased.touch(0o600)
    erased.write_bytes(bytes(64))
    assert cli.invoke(["run", str(stopped / "config.toml"), "--out", str(out), "--device", "cpu", "--resume"]) == 0
    assert not value.exists()
    assert not erased.exists()


def test_a_value_in_use_is_not_taken_for_erased(
    stopped: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = Path(shutil.copytree(stopped / "out", tmp_path / "out"))
    file = out / store("trustees/trustee-1", "round-key/2")
    file.write_bytes(bytes(64))
    assert cli.invoke(["run", str(stopped / "config.toml"), "--out", str(out), "--device", "cpu", "--resume"]) == 2
    assert f"verifl: {file}: expected" in capsys.readouterr().err


def test_damage_that_the_run_does_not_need_is_found_by_the_audit(stopped: Path, tmp_path: Path) -> None:
    out = Path(shutil.copytree(stopped / "out", tmp_path / "out"))
    file = out / transcript_files(out)["a ciphertext of a round that is over"]
    flip(file)
    assert cli.invoke(["run", str(stopped / "config.toml"), "--out", str(out), "--device", "cpu", "--resume"]) == 0
    report = audit(out / "transcript", out / "policy.cbor")
    assert any(file.name in finding.where for finding in report.check("I1").findings)
