"""Units of systemd: what systemd itself says of them, and that a key that it hands over is read."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from proofs.errors import Misuse
from protocols.identities import SigningKey
from protocols.key_files import read_key, write_key
from tests.required import needs, needs_root
from verifl.carriers.exchange.systemd import ROLES, Unit, hidden_from, systemd_unit
from verifl.commands.root import invoke

TRUE = Path(shutil.which("true") or "/bin/true").resolve()  # a program that is there, in place of ours
EXPOSURE = 35  # of 100: what `systemd-analyze security` calls OK ends at 50; root without anything has 96


def unit_of(role: str) -> Unit:
    common = {"place": "https://log.example.org/cardio", "policy": Path("/etc/verifl/policy.cbor")}
    own = {"coordinator": {"public": Path("/srv/public"), "group": "www-data"}, "auditor": common}.get(role, {})
    key = None if role == "auditor" else Path(f"/etc/verifl/{role}.pem")
    return Unit(role, TRUE, Path(f"/etc/verifl/{role}.toml"), f"verifl-{role}", key, **own)


@pytest.mark.organisations
@pytest.mark.parametrize("role", ROLES)
def test_systemd_accepts_the_unit_and_finds_little_exposed(role: str, tmp_path: Path) -> None:
    needs("systemd-analyze")
    file = tmp_path / f"verifl-{role}.service"
    file.write_text(systemd_unit(unit_of(role)))
    verified = subprocess.run(["systemd-analyze", "verify", str(file)], capture_output=True, text=True, check=False)
    ours = [line for line in verified.stderr.splitlines() if file.name in line]
    assert (verified.returncode, ours) == (0, [])
    judged = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", f"--threshold={EXPOSURE}", "--no-pager", str(file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert judged.returncode == 0, judged.stdout[-3000:] + judged.stderr


@pytest.mark.parametrize("role", ROLES)
def test_a_unit_runs_as_nobody_in_particular_on_a_read_only_system(role: str) -> None:
    lines = systemd_unit(unit_of(role)).splitlines()
    for wanted in ("NoNewPrivileges=yes", "ProtectSystem=strict", "CapabilityBoundingSet=", "Restart=on-failure"):
        assert wanted in lines
    assert ("DynamicUser=yes" in lines) == (role == "auditor")
    assert (f"User=verifl-{role}" in lines) == (role != "auditor")
    written = [line for line in lines if line.startswith("ReadWritePaths=")]
    assert written == (["ReadWritePaths=/srv/public"] if role == "coordinator" else [])
    assert f"StateDirectory=verifl-{role}" in lines


@pytest.mark.parametrize("role", ["coordinator", "trustee", "client"])
def test_what_a_unit_starts_is_a_command_of_ours(role: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Its options are those of the command, and the key is the one that systemd hands over."""
    more = ["--public", "/srv/public"] if role == "coordinator" else []
    assert invoke(["exchange", "systemd", role, "--key", "/etc/verifl/own.pem", *more]) == 0
    text = capsys.readouterr().out
    found = re.search(r"^ExecStart=(\S+) (.*)$", text, re.M)
    assert found is not None
    assert Path(found[1]).name == "verifl"
    words = found[2].split()
    assert words == [
        role, "run", "--config", f"/etc/verifl/{role}.toml", "--state", f"%S/verifl-{role}", "--key", "%d/key.pem",
    ]  # fmt: skip
    assert "LoadCredential=key.pem:/etc/verifl/own.pem" in text.splitlines()
    assert invoke([role, "run", "--help"]) == 0
    described = capsys.readouterr().out
    assert all(word in described for word in words if word.startswith("--"))


def test_what_a_party_shows_the_web_server_is_handed_over(capsys: pytest.CaptureFixture[str]) -> None:
    given = ["--key", "/etc/verifl/own.pem", "--token-file", "/etc/verifl/own.token"]
    assert invoke(["exchange", "systemd", "client", *given]) == 0
    lines = capsys.readouterr().out.splitlines()
    [started] = [line for line in lines if line.startswith("ExecStart=")]
    assert started.endswith("--key %d/key.pem --token-file %d/token")
    assert "LoadCredential=token:/etc/verifl/own.token" in lines
    assert invoke(["exchange", "systemd", "trustee", "--client-certificate", "/etc/verifl/own.pem"]) == 0
    text = capsys.readouterr().out
    assert "--client-certificate %d/certificate.pem\n" in text
    assert "LoadCredential=certificate.pem:/etc/verifl/own.pem\n" in text
    assert invoke(["exchange", "systemd", "coordinator", "--public", "/srv/public", "--token-file", "/t"]) == 2
    assert "neither a token nor a certificate" in capsys.readouterr().err


def test_a_program_that_the_unit_does_not_see_is_told() -> None:
    """A home is hidden from all but clients, root's from everybody else than root."""
    places = [Path("/home/me/venv/bin/verifl"), Path("/root/python"), Path("/opt/verifl/bin/verifl")]
    assert hidden_from(unit_of("trustee"), places) == places[:2]
    assert hidden_from(unit_of("client"), places) == places[1:2]


def test_what_is_missing_or_cannot_be_written_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["exchange", "systemd", "coordinator"]) == 2
    assert "by --public" in capsys.readouterr().err
    assert invoke(["exchange", "systemd", "auditor"]) == 2
    assert "by --place and --policy" in capsys.readouterr().err
    with pytest.raises(Misuse, match="without spaces"):
        systemd_unit(Unit("trustee", TRUE, Path("/etc/my verifl/trustee.toml"), "verifl"))


def test_a_key_that_systemd_hands_over_is_read_and_no_other_that_a_group_reads(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """systemd gives root's file to the user by a list of access rights, which shows as mode 0440."""
    needs_root()
    path, key = tmp_path / "key.pem", SigningKey.from_seed(bytes(range(32)))
    write_key(path, key)
    os.chown(path, 0, 0)
    path.chmod(0o440)
    with pytest.raises(Misuse, match="has mode 440"):
        read_key(path)
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert read_key(path).public_key == key.public_key
    for mode, group in ((0o460, 0), (0o444, 0), (0o440, 1)):
        os.chown(path, 0, group)
        path.chmod(mode)
        with pytest.raises(Misuse, match="has mode"):
            read_key(path)
