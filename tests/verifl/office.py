"""An issuer's desk, to enrol parties, run their federation and change who they are, by the commands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from protocols.identities import SigningKey
from protocols.key_files import write_key
from tests.seeded import seeded
from verifl.commands import root as cli
from verifl.enrolment.roster import add_member, write_roster

CLIENTS = ("x", "y", "z")
TRUSTEES = ("trustee-1", "trustee-2", "trustee-3", "trustee-4")
TASK = """
import torch

class Mine:
    def clients(self): return ["x", "y", "z"]
    def model(self): return torch.nn.Linear(2, 1)
    def data(self, client): return None
    def train(self, model, client, data): model.weight.data += 0.01
    def evaluate(self, model): return {"weight": float(model.weight.detach().sum())}

def task():
    return Mine()
"""


def key_of(name: str) -> SigningKey:
    return SigningKey.generate(seeded(f"enrolled {name}"))


def public(name: str) -> str:
    return key_of(name).public_key.hex()


@dataclass(frozen=True)
class Office:
    """The issuer's desk: roster, configuration, and a directory with everybody's key files."""

    folder: Path

    def path(self, name: str) -> str:
        return str(self.folder / name)

    def key(self, name: str) -> str:
        return self.path(f"keys/{name}.pem")

    def run(self, *more: str, keys: str = "keys", rounds: int = 1, close: bool = False) -> int:
        wanted = f"rounds = {rounds}\nclose = {str(close).lower()}\n"
        (self.folder / "config.toml").write_text(f'[task]\nfile = "task.py"\n[federation]\n{wanted}')
        members = ("--policy", self.path("policy.cbor"), "--keys", self.path(keys))
        return cli.invoke(["run", self.path("config.toml"), "--out", self.path("out"), *members, *more])

    def sign(self, *more: str) -> int:
        arguments = [
            "--config",
            self.path("config.toml"),
            "--key",
            self.key("issuer"),
            "--out",
            self.path("policy.cbor"),
        ]
        return cli.invoke(["roster", "sign", self.path("roster.toml"), *arguments, *more])

    def rotate(self, name: str, old: str, new: str) -> str:
        out = self.path(f"{name}-rotation.cbor")
        files = ("--policy", self.path("policy.cbor"), "--key", self.key(old), "--new", self.key(new), "--out", out)
        assert cli.invoke(["roster", "rotate", name, *files]) == 0
        return out

    def revoke(self, name: str, reason: str = "left") -> str:
        out = self.path(f"{name}-revocation.cbor")
        files = ("--policy", self.path("policy.cbor"), "--key", self.key("issuer"), "--reason", reason, "--out", out)
        assert cli.invoke(["roster", "revoke", name, *files]) == 0
        return out


DEMANDED = 'required = ["client", "trustee"]'


def set_up(folder: Path, approvals: str = "[]") -> Office:
    """A complete roster of three clients and four trustees, signed; it demands these approvals."""
    office = Office(folder)
    (office.folder / "keys").mkdir()
    for name in ("issuer", "coordinator", *TRUSTEES, *CLIENTS, "spare"):
        write_key(Path(office.key(name)), key_of(name))
    (office.folder / "task.py").write_text(TASK, encoding="utf-8")
    (office.folder / "config.toml").write_text('[task]\nfile = "task.py"\n', encoding="utf-8")
    document = write_roster(office.folder)
    text = document.read_text(encoding="utf-8")
    document.write_text(
        text.replace("threshold = 4 ", "threshold = 3 ")
        .replace("corrupt = 2 ", "corrupt = 1 ")
        .replace(DEMANDED, f"required = {approvals}")
    )
    add_member(document, "log", "fl.example.org/mine", public("coordinator"))
    for name in TRUSTEES:
        add_member(document, "trustee", name, public(name))
    for name in reversed(CLIENTS):
        add_member(document, "client", name, public(name))
    assert office.sign() == 0
    return office
