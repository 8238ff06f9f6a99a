"""Federations that are killed, and what must hold of them afterwards.

    original = Original(tmp_path, steps)        one whole run, photographed just before these steps on disk
    resumed = resume(original.photographs[k])   what a kill there leaves, taken up again, to the end
    original.check(k)                           everything that must hold then

A photograph is a copy of the run's directory: the system's view of the files is what a killed process leaves.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from auditor import audit
from auditor.arguments import is_transcript
from auditor.checks.log import LEFTOVER
from proofs.errors import Misuse
from protocols import hpke
from protocols.envelopes import open_envelope
from protocols.log.reader import TranscriptReader
from protocols.messages import Submission
from protocols.rounds.client import Client
from protocols.rounds.exchange import ReleasePackage, SubmissionPackage
from protocols.rounds.trustee import Trustee
from protocols.submissions import BlobSource
from verifl import Config, Federation
from verifl.carriers.in_process import InProcess
from verifl.federation import FederationResult

CONFIG = Config.of(
    federation={"rounds": 2, "seed": 5},
    update={"clip_norm": 2.0},
    trustees={"count": 3, "corrupt": 1, "threshold": 3},
    server={"rule": "fedadam", "learning_rate": 0.3},
)


class Remembering:
    """Three clients whose batch norm averages over all batches they ever saw: its counter does not travel, and a
    client that loses it trains another model."""

    def clients(self) -> Sequence[str]:
        return ["a", "b", "c"]

    def model(self) -> nn.Module:
        return nn.Sequential(nn.BatchNorm1d(2, momentum=None), nn.Linear(2, 1))

    def data(self, client: str) -> tuple[Tensor, Tensor]:
        generator = torch.Generator().manual_seed(ord(client))
        features = torch.randn(20, 2, generator=generator)
        return features, features @ torch.tensor([[1.0], [-2.0]]) + 0.5

    def train(self, model: nn.Module, client: str, data: tuple[Tensor, Tensor]) -> None:
        model.train()
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(data[0]), data[1]).backward()
            optimizer.step()

    def evaluate(self, model: nn.Module) -> dict[str, float]:
        features, targets = self.data("z")
        model.eval()
        with torch.no_grad():
            return {"loss": float(nn.functional.mse_loss(model(features), targets))}


def resume(directory: Path, step: Callable[[str], None] | None = None, **options: Any) -> FederationResult:
    """Go on in a directory, or begin in it, to the end."""
    carrier = InProcess(step) if step else InProcess()
    return Federation(Remembering(), CONFIG, directory, carrier=carrier, device="cpu", **options).run(resume=True)


@dataclass
class Said:
    """What the parties handed over, in order: (steps on disk before it, entry, names of the blobs with it)."""

    clock: Callable[[], int] = lambda: 0
    entries: list[tuple[int, bytes, frozenset[bytes]]] = field(default_factory=list)
    seen: list[tuple[int, int, bytes]] = field(default_factory=list)  # (steps, log index, entry) shown to trustees
    private_keys: list[bytes] = field(default_factory=list)

    def say(self, entry: bytes, blobs: Collection[bytes] = ()) -> None:
        self.entries.append((self.clock(), entry, frozenset(blobs)))


@contextmanager
def overheard(said: Said, monkeypatch: Any) -> Iterator[None]:
    """Record what every client and trustee answers, and every private round key, during the block."""

    def listen(owner: Any, name: str, hear: Callable[..., None]) -> None:
        original = getattr(owner, name)

        def heard(*arguments: Any, **named: Any) -> Any:
            result = original(*arguments, **named)
            hear(result, *arguments)
            return result

        patch.setattr(owner, name, heard)

    def package(result: SubmissionPackage, *_: Any) -> None:
        said.say(result.entry, result.blobs)

    def release(result: ReleasePackage, *_: Any) -> None:
        said.say(result.entry, [result.blob])

    def observe(owner: type[Trustee]) -> None:
        original = owner.observe

        def observed(self: Trustee, note: bytes, entries: Iterable[bytes], timestamp: int, *blobs: BlobSource) -> bytes:
            first, read = self.size, list(entries)
            line = original(self, note, read, timestamp, *blobs)
            said.seen += [(said.clock(), first + offset, entry) for offset, entry in enumerate(read)]
            return line

        patch.setattr(owner, "observe", observed)

    with monkeypatch.context() as patch:
        listen(Client, "submit", package)
        listen(Trustee, "round_key", lambda result, *_: said.say(result))
        listen(Trustee, "acknowledge", lambda result, *_: said.say(result))
        listen(Trustee, "release", release)
        listen(hpke, "generate_round_key", lambda result, *_: said.private_keys.append(result[0]))
        observe(Trustee)
        yield


class Original:
    """One run, photographed just before each of the steps in `moments`; `steps` describes all of them."""

    def __init__(self, folder: Path, moments: Callable[[int, str], bool], monkeypatch: Any) -> None:
        self.directory, self._folder, self._moments = folder / "original", folder, moments
        self.steps: list[str] = []
        self.photographs: dict[int, Path] = {}
        self.said = Said(lambda: len(self.steps))
        with overheard(self.said, monkeypatch):
            self.result = resume(self.directory, self._step)
        self.log = log_of(self.result)

    def _step(self, description: str) -> None:
        number = len(self.steps)
        self.steps.append(description)
        if self._moments(number, description):
            self.photographs[number] = self._folder / f"before-{number}"
            shutil.copytree(self.directory, self.photographs[number])

    def check(self, number: int, monkeypatch: Any) -> None:
        """Resume what a kill before this step leaves; see `check_end` for what must hold then."""
        directory = self.photographs[number]
        check_leftovers(directory)
        said = Said()
        with overheard(said, monkeypatch):
            resumed = resume(directory)
        before = Said(
            entries=[each for each in self.said.entries if each[0] <= number],
            seen=[each for each in self.said.seen if each[0] <= number],
            private_keys=self.said.private_keys,
        )
        check_end(resumed, [before, said])
        check_same_training(resumed, self.result)


def log_of(result: FederationResult) -> list[bytes]:
    reader = TranscriptReader(result.transcript)
    return reader.entries(0, reader.size)


def check_leftovers(directory: Path) -> None:
    """The auditor accepts what a kill left, or names leftovers and says what removes them, and nothing else."""
    if not (directory / "transcript").is_dir() or not (directory / "policy.cbor").is_file():
        return
    if not is_transcript(directory / "transcript"):  # nothing was written yet, but the directory made
        with pytest.raises(Misuse, match="holds no transcript"):
            audit(directory / "transcript", directory / "policy.cbor")
        return
    report = audit(directory / "transcript", directory / "policy.cbor")
    if not (directory / "transcript" / "checkpoint").exists():
        assert any(LEFTOVER in note for check in report.checks for note in check.notes)
        return
    findings = [(check.id, finding) for check in report.checks for finding in check.findings]
    assert report.accepted == (not findings)
    assert all(LEFTOVER in finding.found for _, finding in findings), findings


def check_end(result: FederationResult, saids: Sequence[Said]) -> None:
    """The audit accepts; nobody said two things for one round, before or after the kill; what a trustee saw of the log
    is there; no round key is left on the disk."""
    report = audit(result.transcript, result.policy)
    assert report.accepted, [(check.id, check.findings) for check in report.checks if check.findings]
    log = log_of(result)
    uttered: dict[tuple[str, str, int], bytes] = {}
    spoken = [entry for said in saids for _, entry, _ in said.entries]
    for entry in [*log, *spoken]:
        envelope = open_envelope(entry)
        key = (envelope.signer, envelope.type, getattr(envelope.message, "round", 0))
        assert uttered.setdefault(key, entry) == entry, key
    for said in saids:
        assert all(log[index] == entry for _, index, entry in said.seen)
    check_no_reuse(log)
    check_erased(result.state, [key for said in saids for key in said.private_keys])


def check_no_reuse(log: Sequence[bytes]) -> None:
    """No commitment, ciphertext, share or proof serves in two submissions."""
    used: list[bytes] = []
    for entry in log:
        message = open_envelope(entry).message
        if isinstance(message, Submission):
            used += [message.commitments, message.ciphertext, message.share_commitments, message.proof]
            used += [share.blob for share in message.shares]
    assert len(set(used)) == len(used)


def check_erased(state: Path, private_keys: Sequence[bytes]) -> None:
    """No private round key and no share is in any file of any party."""
    files = [path for path in state.rglob("*") if path.is_file()]
    for path in files:
        data = path.read_bytes()
        assert not any(key in data for key in private_keys), path
    names = [bytes.fromhex(path.stem).decode() for path in files if path.suffix == ".value"]
    assert not [name for name in names if name.startswith(("share/", "round-key/"))]
    assert not [path for path in files if path.suffix == ".tmp"]


def check_same_training(result: FederationResult, original: FederationResult) -> None:
    """The model and the metrics are those of a run that nobody killed."""
    ours, theirs = load_file(result.model), load_file(original.model)
    assert all(torch.equal(ours[name], theirs[name]) for name in {*ours, *theirs})
    assert [each.metrics for each in result.rounds] == [each.metrics for each in original.rounds]
    assert [each.size > 0 for each in result.rounds] == [True] * len(original.rounds)
