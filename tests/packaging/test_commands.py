"""The installed commands, as a newcomer runs them: `verifl demo`, then `verifl-audit` on what it wrote."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXHAUSTIVE = pytest.mark.exhaustive
COMMANDS = Path(sys.executable).parent
pytestmark = pytest.mark.skipif(
    not (COMMANDS / "verifl-audit").exists(), reason="the commands are not installed beside this interpreter"
)


def run(directory: Path, command: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [str(COMMANDS / command), *arguments], cwd=directory, capture_output=True, text=True, check=False, timeout=300
    )


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    pytest.importorskip("torch", reason="the demo trains with torch, which this environment leaves out")
    directory = tmp_path_factory.mktemp("newcomer")
    return directory, run(directory, "verifl", "demo", "--rounds", "1")


def flip_a_byte(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def test_the_demo_needs_no_arguments_but_its_length_and_is_accepted(
    demo: tuple[Path, subprocess.CompletedProcess[str]],
) -> None:
    directory, done = demo
    assert done.returncode == 0, done.stderr
    assert "ACCEPTED" in done.stdout
    assert (directory / "verifl-demo" / "policy.cbor").exists()
    assert "verifl-audit verifl-demo/transcript --policy verifl-demo/policy.cbor" in done.stdout


@pytest.mark.parametrize("style", ["txt", pytest.param("json", marks=EXHAUSTIVE), "jsonl"])
def test_the_printed_command_audits_it_again(demo: tuple[Path, subprocess.CompletedProcess[str]], style: str) -> None:
    directory, _ = demo
    arguments = ("verifl-demo/transcript", "--policy", "verifl-demo/policy.cbor", "--format", style)
    assert run(directory, "verifl-audit", *arguments).returncode == 0


@pytest.mark.parametrize(
    "part",
    ["blobs", "checkpoint", *(pytest.param(p, marks=EXHAUSTIVE) for p in ("tile/entries", "tile/0", "policy.cbor"))],
)  # tests/auditor damages every file; here the installed program ends so
def test_a_flipped_byte_ends_with_status_1_and_the_place(
    demo: tuple[Path, subprocess.CompletedProcess[str]], part: str, tmp_path: Path
) -> None:
    directory, _ = demo
    copy = tmp_path / "transcript"
    subprocess.run(["cp", "-r", str(directory / "verifl-demo" / "transcript"), str(copy)], check=True)
    target = copy / part
    chosen = target if target.is_file() else sorted(each for each in target.rglob("*") if each.is_file())[0]
    flip_a_byte(chosen)
    done = run(tmp_path, "verifl-audit", "transcript", "--policy", str(directory / "verifl-demo" / "policy.cbor"))
    assert done.returncode == 1, done.stderr
    assert chosen.name in done.stdout or "entry" in done.stdout


def test_usage_errors_end_with_status_2(tmp_path: Path) -> None:
    for arguments in (("nowhere", "--unpinned"), (".",), (".", "--policy", "missing.cbor"), (".", "--format", "yaml")):
        done = run(tmp_path, "verifl-audit", *arguments)
        assert done.returncode == 2, arguments
        assert "Traceback" not in done.stderr
