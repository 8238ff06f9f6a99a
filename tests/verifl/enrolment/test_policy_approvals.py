"""Approvals by the commands: each party signs, the coordinator collects, and a run begins with all of them only."""

from __future__ import annotations

import hashlib
import subprocess
from pathlib import Path

import pytest

from auditor import Status, audit
from proofs.errors import Misuse
from protocols.envelopes import open_envelope
from protocols.log.reader import TranscriptReader
from protocols.messages import Genesis
from protocols.pinned import PinnedPolicy
from tests.verifl.office import CLIENTS, DEMANDED, TRUSTEES, Office, set_up
from verifl.commands import root as cli
from verifl.config import read_config
from verifl.enrolment.pins import check_task, task_hash

EVERYBODY = (*TRUSTEES, *CLIENTS)
BOTH = DEMANDED.removeprefix("required = ")


@pytest.fixture
def office(tmp_path: Path) -> Office:
    """One whose policy demands everybody's approval."""
    return set_up(tmp_path, BOTH)


def approve(office: Office, name: str, *more: str, policy: str = "policy.cbor") -> int:
    out = office.path(f"{name}.approval")
    return cli.invoke(["policy", "approve", office.path(policy), "--key", office.key(name), "--out", out, *more])


def collect(office: Office, *names: str, policy: str = "policy.cbor") -> int:
    files = [office.path(f"{name}.approval") for name in names]
    return cli.invoke(["policy", "collect", office.path(policy), *files, "--out", office.path("policy.approvals")])


def test_a_run_that_everybody_approved(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    assert office.run() == 2
    assert "approvals: the policy demands those of 7 parties before the first round" in capsys.readouterr().err
    assert not (office.folder / "out").exists()
    for name in EVERYBODY:
        assert approve(office, name) == 0
        assert "approvals      of all clients and trustees, before the first round" in capsys.readouterr().err
    assert collect(office, *reversed(EVERYBODY)) == 0
    assert office.run("--approvals", office.path("policy.approvals")) == 0
    report = audit(office.folder / "out/transcript", office.folder / "policy.cbor")
    assert report.accepted
    (check,) = (each for each in report.checks if each.id == "I13")
    assert (check.status, check.checked) == (Status.PASS, "7 approvals of the policy")
    assert office.run("--resume", rounds=2) == 0  # the log has them
    assert audit(office.folder / "out/transcript", office.folder / "policy.cbor").accepted


def test_approvals_that_are_not_all(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    for name in EVERYBODY:
        assert approve(office, name) == 0
    assert collect(office, *EVERYBODY[:-2]) == 2
    assert "none of y, z" in capsys.readouterr().err
    assert collect(office, *EVERYBODY, "x") == 2
    assert "found two of x" in capsys.readouterr().err
    assert collect(office, *EVERYBODY) == 0
    Path(office.path("policy.approvals")).unlink()
    spoilt = Path(office.path("x.approval"))
    spoilt.write_bytes(spoilt.read_bytes()[:-1] + b"\0")
    capsys.readouterr()
    assert collect(office, *EVERYBODY) == 2
    assert "x.approval: signature" in capsys.readouterr().err


def test_a_run_with_other_approvals(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    for name in EVERYBODY:
        assert approve(office, name) == 0
    assert collect(office, *EVERYBODY) == 0
    file = Path(office.path("policy.approvals"))
    data = file.read_bytes()
    for wrong in (data[:-1], data + b"\0", data[64:] + data[:64], b""):
        file.write_bytes(wrong)
        capsys.readouterr()
        assert office.run("--approvals", str(file)) == 2
        assert "policy.approvals: approvals: expected" in capsys.readouterr().err
        assert not (office.folder / "out").exists()


def test_approvals_of_an_earlier_policy_are_none(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    for name in EVERYBODY:
        assert approve(office, name) == 0
    roster = Path(office.path("roster.toml"))
    roster.write_text(roster.read_text().replace("max_aborts = 8", "max_aborts = 9"))
    Path(office.path("policy.cbor")).rename(office.path("earlier.cbor"))
    assert office.sign() == 0
    assert collect(office, *EVERYBODY) == 2
    assert "trustee-1.approval: policy-hash" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("name", "more", "message"),
    [
        ("spare", (), "key: the key of a party whose approval the policy demands"),
        ("issuer", (), "key: the key of a party whose approval the policy demands"),
        ("x", ("--sha256", "00" * 32), "--sha256: expected a policy of 0000"),
    ],
)
def test_who_does_not_approve(
    office: Office, capsys: pytest.CaptureFixture[str], name: str, more: tuple[str, ...], message: str
) -> None:
    assert approve(office, name, *more) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert message in line
    assert not Path(office.path(f"{name}.approval")).exists()


def test_a_party_of_a_role_that_is_not_asked_approves_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    office = set_up(tmp_path, '["client"]')
    assert approve(office, "trustee-1") == 2
    assert "found" in capsys.readouterr().err
    for name in CLIENTS:
        assert approve(office, name) == 0
    assert collect(office, *CLIENTS) == 0
    assert office.run("--approvals", office.path("policy.approvals")) == 0
    reader = TranscriptReader(office.folder / "out/transcript")
    genesis = open_envelope(reader.entries(0, 1)[0]).message
    assert isinstance(genesis, Genesis)
    assert genesis.approvals is not None
    assert len(reader.blob(genesis.approvals, 192)) == 192


def test_a_coordinator_begins_with_nothing_less(office: Office, capsys: pytest.CaptureFixture[str]) -> None:
    state, public = office.folder / "coordinator", office.folder / "public"
    arguments = ["coordinator", "run", office.path("config.toml"), "--public", str(public), "--state", str(state)]
    arguments += ["--policy", office.path("policy.cbor"), "--key", office.key("coordinator")]
    assert cli.invoke(arguments) == 2
    assert "the policy demands those of 7 parties" in capsys.readouterr().err
    assert not (public / "transcript" / "checkpoint").exists()


# ---- the task, pinned ----


@pytest.fixture
def pinned(tmp_path: Path) -> Office:
    """An office whose policy pins the task file."""
    office = set_up(tmp_path)
    (tmp_path / "policy.cbor").unlink()
    assert office.sign("--pin-task") == 0
    return office


def client(office: Office) -> list[str]:
    places = [
        "--public",
        office.path("public"),
        "--state",
        office.path("client"),
        "--policy",
        office.path("policy.cbor"),
    ]
    (office.folder / "public").mkdir(exist_ok=True)
    return ["client", "run", office.path("config.toml"), *places, "--key", office.key("x"), "--once"]


def test_another_task_is_refused_before_it_runs(pinned: Office, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["policy", "show", pinned.path("policy.cbor")]) == 0
    assert "task file      " in capsys.readouterr().out
    assert cli.invoke(client(pinned)) == 0
    assert approve_with_config(pinned) == 2  # nobody's approval is demanded
    assert "a party whose approval" in capsys.readouterr().err
    task = Path(pinned.path("task.py"))
    task.write_text(task.read_text() + f'\nopen({pinned.path("it ran")!r}, "w")\n')
    for arguments in (client(pinned), ["coordinator", *client(pinned)[1:-1]]):
        capsys.readouterr()
        if arguments[0] == "coordinator":
            arguments[arguments.index(pinned.key("x"))] = pinned.key("coordinator")
        assert cli.invoke(arguments) == 2
        line = capsys.readouterr().err.splitlines()[-1]
        assert line.startswith("verifl: task: the policy pins task files of SHA-256 ")
    assert pinned.run() == 2
    assert "task: the policy pins task files" in capsys.readouterr().err
    assert approve_with_config(pinned) == 2
    assert "task: the policy pins task files" in capsys.readouterr().err
    assert not Path(pinned.path("it ran")).exists()


def approve_with_config(office: Office) -> int:
    return approve(office, "x", "--config", office.path("config.toml"))


def test_a_task_of_several_files_has_one_hash(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """That of what `sha256sum` prints of them; each of them counts, and what is not named does not."""
    office = set_up(tmp_path)
    (tmp_path / "policy.cbor").unlink()
    (tmp_path / "parts/deeper").mkdir(parents=True)
    for name in ("parts/net.py", "parts/deeper/data.csv", "helpers.py", "other.py"):
        (tmp_path / name).write_text(f"# {name}\n")
    config = tmp_path / "config.toml"
    config.write_text(config.read_text().replace("[task]\n", '[task]\nalso = ["parts", "helpers.py"]\n'))
    assert office.sign("--pin-task") == 0
    names = ["helpers.py", "parts/deeper/data.csv", "parts/net.py", "task.py"]
    listed = subprocess.run(["sha256sum", *names], cwd=tmp_path, capture_output=True, check=True).stdout
    policy = PinnedPolicy.open((tmp_path / "policy.cbor").read_bytes()).policy
    assert policy.task == hashlib.sha256(listed).digest()

    settings = read_config(config)
    (tmp_path / "parts/__pycache__").mkdir()
    (tmp_path / "parts/__pycache__/net.pyc").write_bytes(b"compiled")
    (tmp_path / "other.py").write_text("changed")
    check_task(policy, settings, tmp_path)
    for name in names[:-1]:
        text = (tmp_path / name).read_text()
        (tmp_path / name).write_text(text + " ")
        with pytest.raises(Misuse, match=r"the policy pins task files of .*, task.py with parts, helpers.py has"):
            check_task(policy, settings, tmp_path)
        (tmp_path / name).write_text(text)
    (tmp_path / "parts/more.py").touch()
    with pytest.raises(Misuse, match="the policy pins task files"):
        check_task(policy, settings, tmp_path)
    (tmp_path / "parts/more.py").unlink()
    (tmp_path / "parts/link").symlink_to("net.py")
    with pytest.raises(Misuse, match=r"task\.also: .*parts/link: expected a file or directory, and no link"):
        check_task(policy, settings, tmp_path)
    for wrong in ("../up.py", "/etc/passwd", "a\nb"):
        task = settings.task and settings.task.model_copy(update={"also": (wrong,)})
        with pytest.raises(Misuse, match="expected a path below the configuration's directory"):
            task_hash(settings.model_copy(update={"task": task}), tmp_path)


def test_a_built_in_task_is_not_pinned(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    office = set_up(tmp_path)
    (tmp_path / "policy.cbor").unlink()
    (tmp_path / "config.toml").write_text('[task]\nname = "digits"\n')
    assert office.sign("--pin-task") == 2
    assert capsys.readouterr().err


def test_another_initial_file_is_refused(pinned: Office, capsys: pytest.CaptureFixture[str]) -> None:
    """Also where only what does not travel, or nothing but the file's form, is another."""
    file = Path(pinned.path("policy.initial.safetensors"))
    assert pinned.run("--initial", str(file)) == 0
    from safetensors.torch import load_file, save_file

    save_file(load_file(file), file, {"another": "header"})
    capsys.readouterr()
    assert pinned.run("--initial", str(file), "--resume") == 2
    assert "is not the initial model that came with the policy: expected SHA-256" in capsys.readouterr().err
