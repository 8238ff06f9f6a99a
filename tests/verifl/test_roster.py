"""Enrolment: from an empty document to a run with everybody's own keys, and changes of who may act after it."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from auditor import audit
from proofs.errors import Misuse
from protocols.envelopes import open_envelope, open_policy, seal_rotation
from protocols.identities import SigningKey
from protocols.messages import KeyRotation, Revocation
from protocols.pinned import PinnedPolicy
from protocols.policy import TensorSpec
from tests.seeded import seeded
from verifl import cli
from verifl.config import Config, FederationConfig, read_config
from verifl.engines.in_process import InProcessEngine
from verifl.enrolment import TrainedModel, enrol, enrolled, make_policy
from verifl.federation import Federation, Members
from verifl.keys import read_keys, write_key
from verifl.roster import Roster, add_member, read_roster, roster_of, write_roster
from verifl.tasks.loading import load_task

CLIENTS = ("x", "y", "z")
TENSORS = (TensorSpec("weights", (3,), "float32", nonnegative=False),)
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

    def run(self, *more: str, keys: str = "keys", rounds: int = 1) -> int:
        (self.folder / "config.toml").write_text(f'[task]\nfile = "task.py"\n[federation]\nrounds = {rounds}\n')
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


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Office:
    """A complete roster of three clients and four trustees, signed."""
    office = Office(tmp_path_factory.mktemp("office"))
    (office.folder / "keys").mkdir()
    for name in ("issuer", "coordinator", *TRUSTEES, *CLIENTS, "spare"):
        write_key(Path(office.key(name)), key_of(name))
    (office.folder / "task.py").write_text(TASK, encoding="utf-8")
    (office.folder / "config.toml").write_text('[task]\nfile = "task.py"\n', encoding="utf-8")
    document = write_roster(office.folder)
    text = document.read_text(encoding="utf-8")
    document.write_text(text.replace("threshold = 4 ", "threshold = 3 ").replace("corrupt = 2 ", "corrupt = 1 "))
    add_member(document, "log", "fl.example.org/mine", public("coordinator"))
    for name in TRUSTEES:
        add_member(document, "trustee", name, public(name))
    for name in reversed(CLIENTS):
        add_member(document, "client", name, public(name))
    assert office.sign() == 0
    return office


@pytest.fixture
def office(desk: Office, tmp_path: Path) -> Office:
    """A copy, to be changed."""
    shutil.copytree(desk.folder, tmp_path / "office")
    return Office(tmp_path / "office")


# ---- the document ----


def test_the_example_is_complete_but_for_the_parties(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["roster", "init", str(tmp_path / "new")]) == 0
    roster = read_roster(tmp_path / "new" / "roster.toml")
    assert (roster.thresholds.threshold, roster.thresholds.corrupt, roster.limits.min_cohort) == (4, 2, 3)
    assert (roster.log, roster.trustees, roster.clients) == (None, (), ())
    capsys.readouterr()
    assert cli.invoke(["roster", "show", str(tmp_path / "new" / "roster.toml")]) == 0
    assert capsys.readouterr().out.count("missing") == 3
    assert cli.invoke(["roster", "init", str(tmp_path / "new")]) == 2


def test_adding_keeps_the_comments(desk: Office) -> None:
    text = (desk.folder / "roster.toml").read_text(encoding="utf-8")
    assert text.startswith("# The enrolment of a federation")
    roster = read_roster(desk.folder / "roster.toml")
    assert [each.id for each in roster.trustees] == list(TRUSTEES)
    assert [member.id for member in roster.client_members()] == list(CLIENTS)


@pytest.mark.parametrize(
    ("role", "name", "key", "message"),
    [
        ("client", "x", public("other"), "clients strictly ascending"),
        ("trustee", "trustee-1", public("other"), "each trustee once"),
        ("client", "w", public("x"), "roster-keys"),
        ("client", "w", public("coordinator"), "roster-keys"),
        ("client", "trustee-1", public("other"), "roster-keys"),
        ("client", "issuer", public("other"), "roster-reserved-name"),
        ("client", "Not An Id", public("other"), "expected 1 to 64 of"),
        ("client", 'w"\nx = "', public("other"), "no quotes"),
        ("client", "w", "00" * 32, "public-key"),
        ("client", "w", public("other")[:-1], "64 hexadecimal digits"),
        ("client", "w", public("other").upper(), "64 hexadecimal digits"),
        ("log", "fl.example.org/other", public("other"), "the document has one"),
    ],
)
def test_who_cannot_be_added(
    office: Office, capsys: pytest.CaptureFixture[str], role: str, name: str, key: str, message: str
) -> None:
    before = (office.folder / "roster.toml").read_bytes()
    assert cli.invoke(["roster", "add", role, name, key, "--roster", office.path("roster.toml")]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert (office.folder / "roster.toml").read_bytes() == before


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("[limits]", "[limit]", "unknown key 'limit'; did you mean 'limits'?"),
        ("min_cohort = 3 ", "min_cohrt = 3 ", "did you mean 'min_cohort'?"),
        ('id = "x"', 'name = "x"', "clients.2."),
        ("threshold = 3 ", 'threshold = "3" ', "thresholds.threshold"),
        ("threshold = 3 ", "# ", "thresholds.threshold"),
        ("[federation]", "[federation", "not valid TOML"),
        ("max_rounds = 1000", "max_rounds = 0", "limits.max_rounds"),
    ],
)
def test_a_mistake_in_the_document_names_its_field(office: Office, before: str, after: str, message: str) -> None:
    path = office.folder / "roster.toml"
    path.write_text(path.read_text(encoding="utf-8").replace(before, after, 1), encoding="utf-8")
    with pytest.raises(Misuse) as excinfo:
        read_roster(path)
    assert message in str(excinfo.value)


# ---- the policy ----


def test_the_policy_is_what_the_roster_says(desk: Office, capsys: pytest.CaptureFixture[str]) -> None:
    pinned = PinnedPolicy.open((desk.folder / "policy.cbor").read_bytes())
    policy = pinned.policy
    assert (policy.federation, policy.origin) == ("my-federation", "fl.example.org/mine")
    assert (policy.log_key, policy.issuer_key) == (key_of("coordinator").public_key, key_of("issuer").public_key)
    assert [member.id for member in policy.trustees] == list(TRUSTEES)
    assert [(member.id, member.public_key.hex()) for member in policy.roster] == [(n, public(n)) for n in CLIENTS]
    assert (policy.threshold, policy.corrupt, policy.min_cohort, policy.max_cohort) == (3, 1, 3, 3)
    again = read_roster(desk.folder / "roster.toml")
    assert roster_of(policy).trustees == again.trustees
    capsys.readouterr()
    assert cli.invoke(["roster", "show", desk.path("policy.cbor")]) == 0
    shown = capsys.readouterr().out
    assert pinned.hash.hex() in shown
    assert all(public(name) in shown for name in (*TRUSTEES, *CLIENTS, "issuer", "coordinator"))


@pytest.mark.parametrize(
    ("before", "after", "message"),
    [
        ("threshold = 3 ", "threshold = 2 ", "quorum-intersection"),
        ("threshold = 3 ", "threshold = 5 ", "expected at most the 4 trustees"),
        ("min_cohort = 3 ", "min_cohort = 4 ", "limits.min_cohort"),
        ("[log]", "# [log]", "roster.toml"),
        pytest.param(public("x"), public("issuer"), "issuer-key", id="issuer as client"),
    ],
)
def test_a_policy_that_does_not_hold_is_not_signed(
    office: Office, capsys: pytest.CaptureFixture[str], before: str, after: str, message: str
) -> None:
    path = office.folder / "roster.toml"
    head, _, tail = path.read_text(encoding="utf-8").rpartition(before)
    path.write_text(head + after + tail, encoding="utf-8")
    (office.folder / "policy.cbor").unlink()
    assert office.sign() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not (office.folder / "policy.cbor").exists()


def test_a_signed_policy_is_not_overwritten(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    assert office.sign() == 2
    assert "never overwritten" in capsys.readouterr().err


def test_the_roster_decides(desk: Office) -> None:
    roster = read_roster(desk.folder / "roster.toml")
    model = TrainedModel((), 3, bytes(32))
    for tables in (
        {"federation": {"name": "another"}},
        {"trustees": {"count": 5, "threshold": 4}},
        {"limits": {"min_cohort": 2}},
        {"limits": {"max_cohort": 3, "max_aborts": 0}},
    ):
        with pytest.raises(Misuse, match="the roster decides"):
            make_policy(roster, Config.of(**tables), model, bytes(32))
    same = Config.of(trustees={"count": 4, "threshold": 3, "corrupt": 1}, limits={"min_cohort": 3})
    assert make_policy(roster, same, model, bytes(32)).threshold == 3


def test_a_run_without_a_roster_takes_the_same_way() -> None:
    enrolment = enrol(Config(), (), 3, CLIENTS, b"model", seeded("run"))
    policy, _ = open_policy(enrolment.policy_file)
    assert policy == enrolment.policy
    described = make_policy(roster_of(policy), Config(), TrainedModel.of((), 3, b"model"), policy.issuer_key)
    assert described == policy


# ---- runs with enrolled keys ----


def test_a_run_with_enrolled_keys(office: Office) -> None:
    assert office.run() == 0
    out = office.folder / "out"
    assert (out / "policy.cbor").read_bytes() == (office.folder / "policy.cbor").read_bytes()
    assert audit(out / "transcript", office.folder / "policy.cbor").accepted
    assert not list(out.rglob("*.pem"))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda office: Path(office.key("y")).unlink(), "none is that of y, whose public key is"),
        (lambda office: Path(office.key("coordinator")).unlink(), "none is that of the coordinator"),
        (lambda office: Path(office.key("x")).chmod(0o644), "chmod 600"),
        (lambda office: edit(office, "Linear(2, 1)", "Linear(3, 1)"), "signed for"),
        (lambda office: edit(office, "Linear(2, 1)", "Linear(2, 1).half()"), "policy: tensors: signed for"),
        (lambda office: edit(office, "import torch", "import torch; torch.manual_seed(7)"), ""),
        (lambda office: edit(office, '["x", "y", "z"]', '["x", "y", "w"]'), "task: has no client 'z'"),
        (lambda office: (office.folder / "policy.cbor").write_bytes(b"no policy"), "expected"),
    ],
)
def test_a_run_that_does_not_fit_the_policy(
    office: Office, capsys: pytest.CaptureFixture[str], change: Callable[[Office], object], message: str
) -> None:
    change(office)
    if not message:  # the model is seeded by the run, whatever the task does at import
        assert office.run() == 0
        return
    assert office.run() in (1, 2)
    line = capsys.readouterr().err.splitlines()[-1]
    assert message in line
    assert not (office.folder / "out").exists()


def edit(office: Office, before: str, after: str) -> None:
    path = office.folder / "task.py"
    path.write_text(path.read_text(encoding="utf-8").replace(before, after), encoding="utf-8")


@pytest.mark.parametrize("given", ["--policy", "--keys"])
def test_policy_and_keys_go_together(office: Office, capsys: pytest.CaptureFixture[str], given: str) -> None:
    arguments = ["run", office.path("config.toml"), "--out", office.path("out"), given, office.path("keys")]
    assert cli.invoke(arguments) == 2
    assert "give both" in capsys.readouterr().err


def test_rotations_and_revocations_in_a_run_that_goes_on(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    assert office.run() == 0
    files = [
        office.rotate("trustee-2", "trustee-2", "spare"),
        office.revoke("trustee-4", "key-compromised"),
    ]
    changes = [word for file in files for word in ("--change", file)]
    assert office.run("--resume", *changes, rounds=2) == 0
    Path(office.key("trustee-2")).unlink()
    Path(office.key("trustee-4")).unlink()
    assert office.run("--resume", rounds=3) == 0
    report = audit(office.folder / "out/transcript", office.folder / "policy.cbor")
    assert report.accepted
    assert report.check("I3").checked.endswith("1 rotation and 1 revocation in force")
    assert report.checkpoint is not None
    assert report.checkpoint.cosigners == ("trustee-1", "trustee-2", "trustee-3")
    capsys.readouterr()
    assert cli.invoke(["roster", "show", office.path("out")]) == 0
    shown = capsys.readouterr().out
    assert f"{public('spare')}  trustee-2, from here on" in shown
    assert "revoked (key-compromised)  trustee-4" in shown


def test_changes_before_the_first_round(office: Office) -> None:
    """Keys of who is gone are not needed."""
    rotation = office.rotate("y", "y", "spare")
    revocation = office.revoke("trustee-1")
    Path(office.key("trustee-1")).unlink()
    assert office.run("--change", rotation, "--change", revocation) == 0
    report = audit(office.folder / "out/transcript", office.folder / "policy.cbor")
    assert report.accepted
    assert len(report.check("I3").notes) == 2


def test_a_change_that_no_log_takes_stops_the_run_before_it_begins(
    office: Office, capsys: pytest.CaptureFixture[str]
) -> None:
    rotation = office.rotate("y", "y", "spare")
    Path(office.key("spare")).unlink()
    assert office.run("--change", rotation) == 2
    assert "none is that of y" in capsys.readouterr().err
    thrice = [word for _ in range(2) for word in ("--change", office.revoke(f"trustee-{_ + 1}"))]
    assert office.run(*thrice) == 2
    assert "revocation-quorum" in capsys.readouterr().err
    assert not (office.folder / "out").exists()


@pytest.mark.parametrize("name", ["rotate", "revoke"])
def test_a_change_is_not_overwritten(office: Office, capsys: pytest.CaptureFixture[str], name: str) -> None:
    make: Mapping[str, Callable[[], str]] = {
        "rotate": lambda: office.rotate("y", "y", "spare"),
        "revoke": lambda: office.revoke("y"),
    }
    make[name]()
    with pytest.raises(AssertionError):
        make[name]()
    assert "never overwritten" in capsys.readouterr().err


def test_changes_on_file_are_what_the_protocol_signs(office: Office) -> None:
    entry = Path(office.rotate("y", "y", "spare")).read_bytes()
    assert entry == seal_rotation("my-federation", "y", key_of("y"), key_of("spare"))
    message = open_envelope(Path(office.revoke("y")).read_bytes()).message
    assert message == Revocation("my-federation", "y", "left")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["rotate", "nobody", "--key", "y", "--new", "spare"], "unknown-party"),
        (["rotate", "y", "--key", "y", "--new", "z"], "rotation-key"),
        (["rotate", "y", "--key", "y", "--new", "y"], "rotation-key"),
        (["revoke", "nobody", "--key", "issuer", "--reason", "left"], "unknown-party"),
        (["revoke", "y", "--key", "coordinator", "--reason", "left"], "expected that of the policy's issuer"),
        (["revoke", "y", "--key", "issuer", "--reason", "because"], "Invalid value for '--reason'"),
        (["revoke", "y", "--key", "issuer"], "Missing option '--reason'"),
    ],
)
def test_changes_that_are_not_signed(
    desk: Office, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    names = {"y", "z", "spare", "issuer", "coordinator"}
    words = [desk.key(word) if word in names and place > 1 else word for place, word in enumerate(arguments)]
    out = str(tmp_path / "change.cbor")
    assert cli.invoke(["roster", *words, "--policy", desk.path("policy.cbor"), "--out", out]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not Path(out).exists()


def test_other_files_are_no_changes(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("policy.cbor", "task.py"):
        assert office.run("--change", office.path(name)) == 2
        assert "expected a rotation or revocation" in capsys.readouterr().err


def test_a_rotated_party_without_its_new_key_cannot_be_run() -> None:
    enrolment = enrol(Config(), TENSORS, 3, CLIENTS, b"model", seeded("run"))
    own = [enrolment.coordinator, *enrolment.trustees.values(), *enrolment.clients.values()]
    keys = {key.public_key: key for key in own}
    rotation = seal_rotation(enrolment.policy.federation, "x", enrolment.clients["x"], key_of("spare"))
    model = TrainedModel.of(TENSORS, 3, b"model")
    assert isinstance(open_envelope(rotation).message, KeyRotation)
    for logged, changes in (((rotation,), ()), ((), (rotation,))):
        with pytest.raises(Misuse, match="none is that of x"):
            enrolled(enrolment.policy_file, keys, Config(), model, CLIENTS, logged, changes)
        both = keys | {key_of("spare").public_key: key_of("spare")}
        ready = enrolled(enrolment.policy_file, both, Config(), model, CLIENTS, logged, changes)
        assert ready.clients["x"] == enrolment.clients["x"]
        assert ready.successors == {"x": (both[key_of("spare").public_key],)}
    del both[enrolment.clients["x"].public_key]
    ready = enrolled(enrolment.policy_file, both, Config(), model, CLIENTS, (rotation,))
    assert ready.clients["x"].public_key == key_of("spare").public_key
    assert replace(ready, changes=()) == ready
    assert isinstance(roster_of(ready.policy), Roster)


class Killed(BaseException):
    """As if the process had ended here."""


@pytest.mark.parametrize("last", [1, 14, 30])
@pytest.mark.parametrize("again", [True, False])
def test_a_run_killed_around_a_change_goes_on(
    office: Office, monkeypatch: pytest.MonkeyPatch, last: int, again: bool
) -> None:
    """Whether or not the files are given again: what a trustee may have seen is in the log, the rest is not."""
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    assert office.run() == 0
    files = [office.rotate("trustee-2", "trustee-2", "spare"), office.revoke("trustee-4")]
    changes = [Path(file).read_bytes() for file in files]
    config = read_config(Path(office.path("config.toml"))).model_copy(update={"federation": FederationConfig(rounds=2)})
    members = Members((office.folder / "policy.cbor").read_bytes(), read_keys(office.folder / "keys"))
    steps = iter(range(last))

    def step(_what: str) -> None:
        if next(steps, None) is None:
            raise Killed

    def federation(given: list[bytes], **more: Any) -> Federation:
        task = load_task(config, office.folder)
        return Federation(task, config, office.folder / "out", members=members, changes=given, **more)

    with pytest.raises(Killed):
        federation(changes, engine=InProcessEngine(step)).run(resume=True)
    federation(changes if again else []).run(resume=True)
    report = audit(office.folder / "out/transcript", members.policy_file)
    assert report.accepted
    logged = len(report.check("I3").notes)
    assert logged == 2 if again else logged in (0, 2)
