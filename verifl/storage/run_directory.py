"""Where a run puts its files: what may be published, and what must not."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from proofs.errors import Misuse
from protocols.locks import locked
from protocols.log.tiles import POLICY
from protocols.rounds.client_holdings import ANSWER
from verifl.storage.party_directory import PartyDirectory
from verifl.storage.stores import StoredValues, make_private_directory

_WRITTEN = r"policy\.cbor|(adapter_)?model\.safetensors|audited\.safetensors|adapter_config\.json|metrics\.jsonl"
_INJECTED = "injected"
_LEFTOVER = re.compile(rf"\.({_WRITTEN})\.[0-9a-f]+\.tmp")


@dataclass(frozen=True)
class RunDirectory:
    """policy and transcript may be published; state holds every party's secrets; model and metrics are the user's."""

    path: Path

    @property
    def policy(self) -> Path:
        """The signed policy, to be pinned by parties and auditors."""
        return self.path / "policy.cbor"

    @property
    def transcript(self) -> Path:
        """The publishable log and its blobs."""
        return self.path / "transcript"

    @property
    def state(self) -> Path:
        """One directory per party, each readable by nobody else."""
        return self.path / "state"

    @property
    def coordinator(self) -> PartyDirectory:
        """The coordinator's own directory."""
        return PartyDirectory(self.state / "coordinator")

    @property
    def issuer(self) -> PartyDirectory:
        """The issuer's, where the run made a policy itself."""
        return PartyDirectory(self.state / "issuer")

    def trustee(self, name: str) -> PartyDirectory:
        """A trustee's own directory."""
        return PartyDirectory(self.state / "trustees" / name)

    def client(self, name: str) -> PartyDirectory:
        """A client's own directory."""
        return PartyDirectory(self.state / "clients" / name)

    def trustees(self) -> list[PartyDirectory]:
        """Those of all trustees that have one, by id."""
        return self._parties("trustees")

    def clients(self) -> list[PartyDirectory]:
        """Those of all clients that have one, by id."""
        return self._parties("clients")

    @property
    def model(self) -> Path:
        """The final model, for `model.load_state_dict(safetensors.torch.load_file(path))`."""
        return self.path / "model.safetensors"

    @property
    def adapter(self) -> Path:
        """A folder for `peft.PeftModel.from_pretrained`, if an adapter is all that was trained."""
        return self.path / "adapter"

    @property
    def metrics(self) -> Path:
        """One JSON object a line and round."""
        return self.path / "metrics.jsonl"

    def create(self) -> None:
        """Make the directory, which must not exist or be empty; raises Misuse otherwise."""
        require_unused(self.path)
        self.path.mkdir(parents=True, exist_ok=True)
        make_private_directory(self.state)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only run in the directory for the block; raises Misuse where another one is."""
        with locked(self.state / "lock", f"{self.path}: another run has it open; wait for it to end, or stop it"):
            yield

    @property
    def begun(self) -> bool:
        """Whether a run got as far as writing its policy, the last file that it makes before the first entry."""
        return self.policy.is_file()

    @property
    def resumable(self) -> bool:
        """Whether there is anything of a run that a resumption would go on with."""
        return self.begun or self.is_abandoned()

    def is_abandoned(self) -> bool:
        """Whether a run was killed here before it had a policy, so that nothing of it can matter to anybody."""
        names = {path.name for path in self.path.iterdir()} if self.path.is_dir() else set()
        early = all(name == "state" or _LEFTOVER.fullmatch(name) for name in names)
        return names != set() and early and not self.has_spoken

    @property
    def has_spoken(self) -> bool:
        """Whether a party has put anything into its state."""
        return any(self.state.glob("**/*.value"))

    @property
    def has_submissions(self) -> bool:
        """Whether a client has made a submission, which nobody should have to make again."""
        return any(StoredValues(client.store).file(ANSWER.key).exists() for client in self.clients())

    def mark_injected(self) -> None:
        """Parties misbehave here: what they keep is not what they said, and nobody can go on from it."""
        (self.state / _INJECTED).touch()

    def require_honest(self) -> None:
        """Raise Misuse where parties misbehaved."""
        if (self.state / _INJECTED).exists():
            raise Misuse(
                f"{self.path}: parties misbehaved in this run (--inject), and it cannot go on; choose another --out"
            )

    def require_policy(self) -> None:
        """Raise Misuse where there is what a run has left, but not its policy."""
        if not self.begun and (self.has_spoken or (self.transcript / POLICY).exists()):
            found = "another kind" if self.policy.exists() else "no such file"
            copy = self.transcript / POLICY
            raise Misuse(
                f"{self.policy}: expected the signed policy of the run, found {found}; put it back, {copy} is the same "
                "file, then resume"
            )

    def tidy(self) -> None:
        """Remove what an interrupted write left beside the policy, the model and the metrics."""
        for path in (*self.path.iterdir(), *self.adapter.rglob("*")):
            if _LEFTOVER.fullmatch(path.name):
                path.unlink()

    def _parties(self, kind: str) -> list[PartyDirectory]:
        return [PartyDirectory(path) for path in sorted(self.state.glob(f"{kind}/*")) if path.is_dir()]

    def remove(self) -> None:
        """Take away everything `create` and the run made."""
        shutil.rmtree(self.path, ignore_errors=True)


def require_unused(path: Path) -> None:
    """Raise Misuse unless `path` is an empty directory or nothing at all."""
    directory = RunDirectory(path)
    directory.require_honest()
    if directory.resumable:
        raise Misuse(f"{path}: holds a run already; continue it with --resume, or choose another --out")
    if path.is_dir() and any(path.iterdir()):
        raise Misuse(f"{path}: is not empty, and a transcript is never overwritten; choose another --out")
    if path.exists() and not path.is_dir():
        raise Misuse(f"{path}: is a file, expected a new or empty directory; choose another --out")


def fresh_sibling(path: Path) -> Path:
    """`path`, or path-2, path-3, ...: the first that is not in use."""
    number, candidate = 1, path
    while candidate.exists() and not (candidate.is_dir() and not any(candidate.iterdir())):
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate
