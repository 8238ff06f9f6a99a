"""Enrolment: from an empty document to a run with everybody's own keys."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from auditor import audit
from proofs.errors import Misuse
from protocols.envelopes import open_policy
from protocols.key_files import write_key
from protocols.pinned import PinnedPolicy
from tests.seeded import seeded
from tests.verifl.office import CLIENTS, TRUSTEES, Office, key_of, public
from verifl.commands import root as cli
from verifl.config import Config
from verifl.enrolment.policies import TrainedModel, enrol, make_policy
from verifl.enrolment.roster import read_roster, roster_of

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
        ("threshold = 3 ", "threshold = 2 ", "missing: other thresholds: 2t > m + f and f < t, with t = 2, m = 4"),
        ("threshold = 3 ", "threshold = 5 ", "missing: trustees: 4 of at least 5"),
        ("min_cohort = 3 ", "min_cohort = 4 ", "missing: clients: 3 of at least 4"),
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


def test_what_a_roster_lacks_is_said_at_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["roster", "init", str(tmp_path)]) == 0
    write_key(tmp_path / "issuer.pem", key_of("issuer"))
    arguments = ["--config", "nowhere", "--key", str(tmp_path / "issuer.pem")]
    assert cli.invoke(["roster", "sign", str(tmp_path / "roster.toml"), *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(
        "verifl: roster: missing: the log: `verifl roster add log ORIGIN PUBLICKEY --roster FILE`; trustees: 0 of"
    )


def test_clients_without_training_are_not_enrolled(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    edit(office, '["x", "y", "z"]', '["x", "y", "w"]')
    (office.folder / "policy.cbor").unlink()
    assert office.sign() == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line == "verifl: task: has no client 'z', whom the roster enrols; it has w, x, y"


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
