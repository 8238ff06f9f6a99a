"""One party's own directory, readable by nobody else: its key, what it keeps of protocol and training, its receipts."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

IDENTITY_FILE = "identity.pem"


@dataclass(frozen=True)
class PartyDirectory:
    """A coordinator's, trustee's, client's or issuer's; not each kind of party has all of it."""

    path: Path

    @property
    def identity(self) -> Path:
        """The party's key, where it was made for the run."""
        return self.path / IDENTITY_FILE

    @property
    def store(self) -> Path:
        """What the party's side of the protocol keeps."""
        return self.path / "store"

    @property
    def training(self) -> Path:
        """What a client's training keeps for itself."""
        return self.path / "training"

    @property
    def receipts(self) -> Path:
        """A client's receipts."""
        return self.path / "receipts"

    @property
    def model(self) -> Path:
        """The model after the last round, where the parties are on machines of their own."""
        return self.path / "model.safetensors"

    @property
    def changes(self) -> Path:
        """Where a coordinator of parties on machines of their own finds rotations and revocations."""
        return self.path / "changes"
