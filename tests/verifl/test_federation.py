"""Federations end to end: the example, one's own model, the demonstration; and nothing secret in what is published."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import cbor2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from auditor import audit
from proofs.errors import Misuse, Rejected
from protocols.envelopes import open_envelope
from protocols.key_files import read_key
from protocols.log.reader import TranscriptReader
from protocols.messages import Genesis
from protocols.rounds import submitting
from protocols.rounds.coordinator import Coordinator
from protocols.rounds.exchange import NOTHING, Publication, ReleasePackage, Submit
from protocols.steps.step import decode_model
from verifl import Config, Federation
from verifl.carriers import in_process
from verifl.carriers.company import AskedClient
from verifl.config import FederationConfig, LimitsConfig
from verifl.federation import FederationResult
from verifl.progress import RoundSummary
from verifl.reports.console import initial_line
from verifl.reports.logs import LoggedProgress, logged
from verifl.storage.party_directory import IDENTITY_FILE
from verifl.storage.stores import DirectoryStore
from verifl.training.tensors import describe, write_vector

SMALLEST = 24  # bytes of a secret that cannot occur by chance


class Line:
    """y = w x on four clients: a model of three coordinates, so that rounds are quick."""

    def clients(self) -> Sequence[str]:
        return ["d", "b", "a", "c"]

    def model(self) -> nn.Module:
        return nn.Linear(2, 1)

    def data(self, client: str) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(ord(client))
        features = torch.randn(50, 2, generator=generator)
        return features, features @ torch.tensor([[1.0], [-2.0]]) + 0.5

    def train(self, model: nn.Module, client: str, data: tuple[Tensor, Tensor]) -> None:
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(5):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(data[0]), data[1]).backward()
            optimizer.step()

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        features, targets = self.data("z")
        with torch.no_grad():
            return {"loss": float(nn.functional.mse_loss(model(features), targets))}


class Recorder:
    """Progress that keeps what it is told."""

    def __init__(self) -> None:
        self.notes: list[str] = []
        self.sizes: dict[str, int] = {}
        self.summaries: list[RoundSummary] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def stage(self, text: str) -> None:
        self.notes.append(text)

    def submitted(self, client: str, size: int, clipped: bool) -> None:
        self.sizes[client] = size

    def measured(self, initial: RoundSummary) -> None:
        self.notes.append(initial_line(initial))

    def round_ended(self, summary: RoundSummary, rounds: int) -> None:
        self.summaries.append(summary)


CONFIG = Config.of(
    federation={"rounds": 2, "seed": 5},
    update={"clip_norm": 2.0},
    trustees={"count": 3, "corrupt": 1, "threshold": 3},
    server={"rule": "fedadam", "learning_rate": 0.3},
)


def published_files(result: FederationResult) -> dict[Path, bytes]:
    files = [path for path in result.transcript.rglob("*") if path.is_file()]
    return {path: path.read_bytes() for path in [*files, result.policy]}


def initial_model(result: FederationResult) -> np.ndarray:
    """The model that genesis names."""
    reader = TranscriptReader(result.transcript)
    genesis = open_envelope(reader.entries(0, 1)[0]).message
    assert isinstance(genesis, Genesis)
    return decode_model(reader.blob(genesis.model, 1 << 20), 3)


def test_ones_own_model_is_trained_and_audited(tmp_path: Path) -> None:
    recorder = Recorder()
    result = Federation(Line(), CONFIG, tmp_path / "out", progress=recorder).run()
    start = nn.Linear(2, 1)
    write_vector(start, describe(start), initial_model(result))
    report = audit(result.transcript, result.policy)
    assert report.accepted, [(check.id, check.findings) for check in report.checks if check.findings]
    assert [summary.accepted for summary in result.rounds] == [("a", "b", "c", "d")] * 2
    assert list(result.rounds) == recorder.summaries
    assert sorted(recorder.sizes) == ["a", "b", "c", "d"]
    lines = [json.loads(line) for line in result.metrics.read_text().splitlines()]
    initial = lines.pop(0)
    assert (initial["round"], initial["metrics"]) == (0, {"loss": Line().evaluate(start)["loss"]})
    assert f"round 0, the initial model: loss {initial['metrics']['loss']:.4g}" in recorder.notes
    assert lines == [summary.to_dict() for summary in result.rounds]
    assert lines[1]["metrics"]["loss"] < lines[0]["metrics"]["loss"] < initial["metrics"]["loss"]
    loaded = nn.Linear(2, 1)
    loaded.load_state_dict(load_file(result.model))
    assert Line().evaluate(loaded)["loss"] == pytest.approx(lines[1]["metrics"]["loss"])


def test_every_party_has_its_own_private_directory(tmp_path: Path) -> None:
    result = Federation(Line(), CONFIG, tmp_path / "out").run()
    parties = [*(f"clients/{name}" for name in "abcd"), *(f"trustees/trustee-{number}" for number in (1, 2, 3))]
    for party in [*parties, "coordinator", "issuer"]:
        assert len(read_key(result.state / party / IDENTITY_FILE).seed) == 32
    for path in result.state.rglob("*"):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600), path
    left = DirectoryStore(result.state / "trustees/trustee-1/store").keys()
    assert not [key for key in left if key.startswith(("share/", "round-key/"))]


def test_training_can_be_repeated_although_keys_are_fresh(tmp_path: Path) -> None:
    first, second = (Federation(Line(), CONFIG, tmp_path / name).run() for name in ("one", "two"))
    assert [summary.metrics for summary in first.rounds] == [summary.metrics for summary in second.rounds]
    assert TranscriptReader(first.transcript).latest() != TranscriptReader(second.transcript).latest()


class Tied(Line):
    """Two layers that share one weight, in bfloat16, with a batch norm."""

    def model(self) -> nn.Module:
        first, second = nn.Linear(2, 2), nn.Linear(2, 2)
        second.weight = first.weight
        return nn.Sequential(first, nn.BatchNorm1d(2), second, nn.Linear(2, 1)).bfloat16()

    def data(self, client: str) -> tuple[Tensor, Tensor]:
        features, targets = super().data(client)
        return features.bfloat16(), targets.bfloat16()


def test_tied_weights_and_dtypes_come_out_as_they_went_in(tmp_path: Path) -> None:
    result = Federation(Tied(), Config.of(federation={"rounds": 1}), tmp_path / "out").run()
    assert audit(result.transcript, result.policy).accepted
    model = Tied().model()
    before = model[0].weight.detach().clone()
    model.load_state_dict(load_file(result.model))
    assert model[2].weight is model[0].weight
    assert not torch.equal(model[0].weight, before)
    assert {tensor.dtype for tensor in model.state_dict().values()} == {torch.bfloat16, torch.int64}


class Diverging(Line):
    """Trains well once, and leaves NaN behind in its second round."""

    def __init__(self) -> None:
        self.turns = 0

    def train(self, model: nn.Module, client: str, data: tuple[Tensor, Tensor]) -> None:
        self.turns += 1
        super().train(model, client, data)
        if self.turns > len(self.clients()):
            model.bias.data.fill_(float("nan"))


def test_a_failure_in_a_later_round_keeps_the_rounds_before(tmp_path: Path) -> None:
    recorder = Recorder()
    with pytest.raises(Misuse, match=r"client a: tensor 'bias' holds 1 NaN.* clients failed in round 2"):
        Federation(Diverging(), CONFIG, tmp_path / "out", progress=recorder).run()
    assert recorder.notes[-1].startswith(f"kept: {tmp_path / 'out'}")
    lines = (tmp_path / "out" / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["round"] for line in lines] == [0, 1]
    assert not (tmp_path / "out" / "model.safetensors").exists()
    assert audit(tmp_path / "out" / "transcript", tmp_path / "out" / "policy.cbor").accepted


def absent(monkeypatch: pytest.MonkeyPatch, last: int) -> None:
    """Two of the four clients are silent in every round until `last`, so that a cohort of three cannot be met."""
    turn = in_process._Run._turn

    def turn_or_silence(run: in_process._Run, client: AskedClient, question: Submit) -> None:
        if question.round > last or client.name in ("a", "b"):
            turn(run, client, question)

    monkeypatch.setattr(in_process._Run, "_turn", turn_or_silence)


def test_an_aborted_round_is_reported_and_repeated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent(monkeypatch, last=1)
    result = Federation(Line(), CONFIG, tmp_path / "out").run()
    assert [summary.aborted for summary in result.rounds] == ["too-few-submissions", None, None]
    assert result.rounds[0].submitted == ("a", "b")
    assert [len(summary.accepted) for summary in result.rounds] == [0, 4, 4]
    assert audit(result.transcript, result.policy).accepted


def test_too_many_aborted_rounds_end_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    absent(monkeypatch, last=99)
    config = CONFIG.model_copy(update={"limits": LimitsConfig(max_aborts=0)})
    with pytest.raises(Rejected) as excinfo:
        Federation(Line(), config, tmp_path / "out").run()
    assert excinfo.value.check == "rounds"


def withhold(monkeypatch: pytest.MonkeyPatch, rounds: set[int]) -> None:
    """In these rounds nothing that trustees release reaches the log."""
    honest = Coordinator.receive_release

    def lose(self: Coordinator, release: ReleasePackage) -> Publication:
        return NOTHING if self.ledger.rounds in rounds else honest(self, release)

    monkeypatch.setattr(Coordinator, "receive_release", lose)


def ended(tmp_path: Path, config: Config) -> tuple[list[str | None], str]:
    """(why rounds were aborted, what the run says of its end); the same once more for a resumption."""
    told = Recorder()
    result = Federation(Line(), config, tmp_path / "out", progress=told).run()
    again = Federation(Line(), config, tmp_path / "out", progress=told).run(resume=True)
    assert [each.to_dict() for each in again.rounds] == [each.to_dict() for each in result.rounds]
    assert result.model.exists()
    assert audit(result.transcript, result.policy).accepted
    first, second = (note for note in told.notes if note.startswith("federation closed"))
    assert first == second
    return [each.aborted for each in result.rounds], first


def test_a_federation_ends_when_its_aborts_are_spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was made so far is kept, the run says why there is no more of it, and a resumption repeats it."""
    withhold(monkeypatch, {2, 3})
    aborted, note = ended(tmp_path, CONFIG.model_copy(update={"limits": LimitsConfig(max_aborts=1)}))
    assert aborted == [None, "missing-releases", "missing-releases"]
    assert note == (
        "federation closed after 1 of 2 rounds: more opened rounds were aborted than the policy's max_aborts "
        "(aborts-spent); the final model is that of round 1"
    )


def test_a_federation_ends_when_a_repetition_finds_no_cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of four come back, and one of them would have to leave."""
    withhold(monkeypatch, {1})
    turn = in_process._Run._turn

    def turn_or_silence(run: in_process._Run, client: AskedClient, question: Submit) -> None:
        if question.round == 1 or client.name != "a":
            turn(run, client, question)

    monkeypatch.setattr(in_process._Run, "_turn", turn_or_silence)
    aborted, note = ended(tmp_path, CONFIG)
    assert aborted == ["missing-releases", "differencing", "differencing"]
    assert note.startswith("federation closed after 0 of 2 rounds: the repetition of an opened round found no cohort")
    assert note.endswith("the final model is the initial one")


def windows(data: bytes) -> np.ndarray:
    """The eight bytes at every offset, as integers."""
    if len(data) < 8:
        return np.zeros(0, dtype=np.uint64)
    view = np.lib.stride_tricks.sliding_window_view(np.frombuffer(data, dtype=np.uint8), 8)
    return np.ascontiguousarray(view).view(np.uint64).ravel()


class Searched:
    """Secrets to look for in many files, each found by its first eight bytes."""

    def __init__(self, secrets: Iterable[bytes]) -> None:
        self.by_head: dict[int, list[bytes]] = {}
        for secret in secrets:
            self.by_head.setdefault(int.from_bytes(secret[:8], "little"), []).append(secret)
        self.heads = np.array(sorted(self.by_head), dtype=np.uint64)

    def occurring_in(self, data: bytes) -> list[bytes]:
        """Which of them occur in `data` as they are."""
        candidates = windows(data)
        places = np.searchsorted(self.heads, candidates)
        hits = candidates[self.heads[places % len(self.heads)] == candidates]
        return [secret for head in np.unique(hits) for secret in self.by_head[int(head)] if secret in data]


def scalars(value: bytes) -> list[bytes]:
    return [value[start : start + 32] for start in range(0, len(value), 32)]


def spellings(integers: np.ndarray) -> list[bytes]:
    """An integer vector in every fixed-width form that the formats use, from its first value that is not zero."""
    flat = np.trim_zeros(integers.reshape(-1))[:16]
    return [flat.astype(dtype).tobytes() for dtype in ("<i8", ">i8", "<i4", ">i4", "<f8")]


def failing_train(*_: object) -> None:
    raise RuntimeError("out of memory")


def failing_disk(*_: object) -> None:
    raise OSError(28, "No space left on device")


def failure(directory: Path, train: Callable[..., None]) -> str:
    """What is said when the third round of a federation fails in a client's turn."""
    config = CONFIG.model_copy(update={"federation": FederationConfig(rounds=3, seed=5)})
    task = Wide()
    task.train = train
    with pytest.raises((Misuse, OSError)) as excinfo:
        Federation(task, config, directory, progress=LoggedProgress()).run(resume=True)
    return "".join(traceback.format_exception(excinfo.value))


def test_what_is_published_logged_and_said_in_errors_holds_no_secret(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kinds = ("drawn", "stored", "blinding", "key", "errors", "update", "seed")
    secrets: dict[str, list[bytes]] = {name: [] for name in kinds}
    put, encode, commit = DirectoryStore.put, submitting.witness_tables, submitting.commit_tables
    generate = submitting.encryption.generate_key

    def recording_put(store: DirectoryStore, key: str, value: bytes) -> None:
        if key.startswith("round-key/"):
            secrets["stored"].append(cbor2.loads(value)["private"])
        elif key.startswith("share/"):
            secrets["stored"] += scalars(value)
        put(store, key, value)

    def recording_encode(parameters, update, rand, noise, privacy):
        secrets["errors"] += spellings(noise.errors)
        secrets["update"] += spellings(np.asarray(update))
        return encode(parameters, update, rand, noise, privacy)

    def recording_commit(engine, parameters, tables, rand, privacy):
        committed = commit(engine, parameters, tables, rand, privacy)
        secrets["blinding"] += [
            value.to_bytes(32, order) for value in committed.row_blindings for order in ("big", "little")
        ]
        return committed

    def recording_generate(parameters, rand):
        key = generate(parameters, rand)
        secrets["key"] += spellings(key)
        return key

    def recording_rand(count: int) -> bytes:
        drawn = os.urandom(count)
        secrets["drawn"].append(drawn)
        return drawn

    monkeypatch.setattr(DirectoryStore, "put", recording_put)
    monkeypatch.setattr(submitting, "witness_tables", recording_encode)
    monkeypatch.setattr(submitting, "commit_tables", recording_commit)
    monkeypatch.setattr(submitting.encryption, "generate_key", recording_generate)
    with logged("json", "debug") as progress:
        result = Federation(Wide(), CONFIG, tmp_path / "out", progress=progress, rand=recording_rand).run()
        errors = [failure(result.directory, each) for each in (failing_train, failing_disk)]
    logs = capsys.readouterr().err
    assert {json.loads(line)["event"] for line in logs.splitlines()} == {
        "note",
        "stage",
        "submitted",
        "trained",
        "beyond-clip",
        "round",
    }
    secrets["seed"] = [read_key(path).seed for path in result.state.rglob(IDENTITY_FILE)]
    assert len(secrets["seed"]) == 1 + 1 + 3 + 4
    assert all(secrets.values())
    told = "\n".join([logs, *errors, *map(repr, result.rounds), result.describe()])
    files = published_files(result) | {Path("progress"): told.encode(), result.metrics: result.metrics.read_bytes()}
    for kind, values in secrets.items():
        long = [value for value in values if len(value) >= SMALLEST and any(value)]
        assert long, kind
        spelled = Searched([*long, *(value.hex().encode() for value in long)])
        for path, data in files.items():
            assert not spelled.occurring_in(data), f"{kind} in {path}"


def test_the_search_for_secrets_finds_them() -> None:
    secret = os.urandom(32)
    data = os.urandom(1001) + secret + os.urandom(5)
    assert Searched([os.urandom(32), secret]).occurring_in(data) == [secret]
    assert Searched([secret.hex().encode()]).occurring_in(data.hex().encode()) == [secret.hex().encode()]
    assert Searched([secret]).occurring_in(b"") == []


class Wide(Line):
    """The same on more features, so that an update is long enough to be recognised."""

    def model(self) -> nn.Module:
        return nn.Linear(40, 1)

    def data(self, client: str) -> tuple[Tensor, Tensor]:
        features, targets = super().data(client)
        return features.repeat(1, 20), targets


def run_command(arguments: Sequence[str], folder: Path) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    command = [sys.executable, "-P", "-m", *arguments]
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def test_the_generated_example_runs_as_it_is(tmp_path: Path) -> None:
    assert run_command(["verifl", "init", "mine"], tmp_path).returncode == 0
    config = tmp_path / "mine" / "config.toml"
    config.write_text(config.read_text().replace("rounds = 3", "rounds = 1"), encoding="utf-8")
    done = run_command(["verifl", "run", "mine/config.toml", "--out", "out", "--format", "json"], tmp_path)
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document["rounds"][0]["accepted"] == [f"workshop-{number}" for number in range(1, 5)]
    assert document["audit_command"].endswith("verifl-audit out/transcript --policy out/policy.cbor")
    audited = run_command(["auditor.cli", "out/transcript", "--policy", "out/policy.cbor"], tmp_path)
    assert audited.returncode == 0, audited.stdout
    shown = run_command(["verifl", "policy", "show", "out"], tmp_path)
    assert "my-federation" in shown.stdout


@pytest.mark.exhaustive  # tests/packaging does the same through the installed commands
def test_the_demonstration_and_its_tampered_copy(tmp_path: Path) -> None:
    (tmp_path / "verifl-demo").mkdir()
    (tmp_path / "verifl-demo" / "kept").write_text("of an earlier demonstration", encoding="utf-8")
    done = run_command(["verifl.commands.root", "demo", "--rounds", "1"], tmp_path)
    assert done.returncode == 0, done.stderr
    assert "ACCEPTED" in done.stdout
    assert done.stdout.count("verifl-audit verifl-demo-2/transcript --policy verifl-demo-2/policy.cbor") == 1
    assert all(word in done.stderr for word in ("round 1 of 1", "hospital-8", "accuracy"))
    assert [path.name for path in (tmp_path / "verifl-demo").iterdir()] == ["kept"]
    again = ["verifl-demo-2/transcript", "--policy", "verifl-demo-2/policy.cbor", "--engine", "reference"]
    audited = run_command(["auditor.cli", *again], tmp_path)
    assert audited.returncode == 0, audited.stdout
    assert "8 proofs, 8 valid, 0 invalid" in audited.stdout
    blob = next((tmp_path / "verifl-demo-2" / "transcript" / "blobs").rglob("*/*"))
    content = blob.read_bytes()
    blob.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    report = audit(tmp_path / "verifl-demo-2" / "transcript", tmp_path / "verifl-demo-2" / "policy.cbor")
    assert not report.accepted


def test_the_demonstration_for_programs(tmp_path: Path) -> None:
    options = ["--rounds", "1", "--dataset", "digits", "--format", "jsonl", "--out", "here"]
    done = run_command(["verifl.commands.root", "demo", *options], tmp_path)
    assert done.returncode == 0, done.stderr
    events = [json.loads(line)["event"] for line in done.stdout.splitlines()]
    assert events[:2] == ["round", "run"]
    assert events[-1] == "audit"
    assert set(events[2:-1]) == {"check"}
