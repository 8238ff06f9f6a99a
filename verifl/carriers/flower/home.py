"""The coordinator's directory, which the run's configuration names: what the ServerApp opens, and nothing else.

config.toml                  [deadlines], and what else a coordinator's configuration has; may be missing
policy.cbor                  as the issuer signed it
policy.initial.safetensors   the model that came with it
policy.approvals             what `verifl policy collect` wrote, where the policy demands approvals
passphrase                   of the log's key, in its first line, where that has one
state/                       identity.pem, and what the coordinator keeps
public/                      what everybody reads; a link, where a web server has it elsewhere
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from proofs.errors import Misuse
from protocols.pinned import PinnedPolicy
from verifl.config import Config, read_config
from verifl.enrolment.approvals import read_approvals, require_approvals
from verifl.training.initial_files import SUFFIX

COORDINATOR = "verifl-coordinator"


@dataclass(frozen=True)
class Home:
    """A coordinator's directory."""

    path: Path

    @classmethod
    def of(cls, run_config: Mapping[str, object]) -> Home:
        """As the configuration of the run names it; raises Misuse."""
        value = run_config.get(COORDINATOR)
        if not isinstance(value, str) or not Path(value).is_absolute():
            raise Misuse(f"{COORDINATOR}: expected the coordinator's directory as an absolute path, found {value!r}")
        if not Path(value).is_dir():
            raise Misuse(f"{COORDINATOR}: {value}: no such directory on this machine")
        return cls(Path(value))

    @property
    def policy(self) -> Path:
        """The signed policy."""
        return self.path / "policy.cbor"

    @property
    def state(self) -> Path:
        """The coordinator's own."""
        return self.path / "state"

    @property
    def passphrase(self) -> Path | None:
        """Of the log's key; None where there is no such file."""
        file = self.path / "passphrase"
        return file if file.exists() else None

    @property
    def public(self) -> Path:
        """What everybody reads."""
        return self.path / "public"

    def config(self) -> Config:
        """Its configuration; the defaults where it has none."""
        file = self.path / "config.toml"
        return read_config(file, needs_task=False) if file.exists() else Config()

    def approvals(self, pinned: PinnedPolicy) -> bytes:
        """Those that the policy demands, where they are needed: before there is a log. Raises Misuse for any other."""
        file = self.path / "policy.approvals"
        given = read_approvals(pinned, file if file.exists() else None)
        if not (self.public / "transcript" / "checkpoint").exists():
            require_approvals(pinned, given)
        return given

    @property
    def initial(self) -> Path:
        """The model before the first round."""
        return self.path / f"policy{SUFFIX}"
