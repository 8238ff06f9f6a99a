"""The command: its exit status, its formats, what goes where."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from auditor.cli import main
from protocols.audit_checks import AUDIT_CHECKS
from protocols.log.files import LocalDirectory

QUOTED = ", ".join(map(repr, AUDIT_CHECKS.names))


@pytest.fixture
def policy(simulations, tmp_path: Path) -> Path:
    path = tmp_path / "policy.cbor"
    path.write_bytes(simulations("quiet").policy_data)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(each) for each in arguments])


def spoil(path: Path) -> Path:
    """One bit of the last checkpoint."""
    data = bytearray((path / "checkpoint").read_bytes())
    data[-5] ^= 1
    (path / "checkpoint").write_bytes(data)
    return path


@pytest.mark.parametrize("form", ["txt", "json", "jsonl"])
def test_the_status_is_the_same_in_every_format(simulations, copied, policy: Path, form: str) -> None:
    honest = simulations("quiet").path
    assert run(honest, "--policy", policy, "--format", form).exit_code == 0
    assert run(honest, "--unpinned", "--format", form).exit_code == 0
    assert run(spoil(copied("quiet")), "--policy", policy, "--format", form).exit_code == 1
    assert run(honest.parent / "nothing", "--policy", policy, "--format", form).exit_code == 2


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        ["--policy", "POLICY", "--unpinned"],
        ["--policy", "/nowhere/policy.cbor"],
        ["--policy", "/"],
        ["--unpinned", "--format", "xml"],
        ["--unpinned", "--require", "I99"],
        ["--unpinned", "--workers", "0"],
        ["--unpinned", "--engine", "abacus"],
        ["--unpinned", "--colour"],
    ],
)
def test_wrong_usage_is_status_2(simulations, policy: Path, arguments: list[str]) -> None:
    given = [str(policy) if each == "POLICY" else each for each in arguments]
    result = run(simulations("quiet").path, *given)
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    assert result.stdout == ""


@pytest.mark.parametrize("form", ["txt", "json", "jsonl"])
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ([], "missing argument TRANSCRIPT (verifl-audit --help)"),
        (["t", "--polcy", "p"], "no such option --polcy; did you mean --policy? (verifl-audit --help)"),
        (["t", "--policy"], "option --policy requires an argument (verifl-audit --help)"),
        (["t", "u"], "got unexpected extra argument (u) (verifl-audit --help)"),
        (
            ["t", "--unpinned", "--engine", "abacus"],
            "invalid value for --engine: 'abacus' is not one of 'native', 'reference' (verifl-audit --help)",
        ),
        (
            ["t", "--unpinned", "--workers", "0"],
            "invalid value for --workers: 0 is not in the range 1<=x<=256 (verifl-audit --help)",
        ),
        (
            ["t", "--unpinned", "--require", "I99"],
            f"invalid value for --require: 'I99' is not one of {QUOTED} (verifl-audit --help)",
        ),
        (
            ["t"],
            "give either --policy FILE, the policy you pinned at enrolment, or --unpinned (verifl-audit --help)",
        ),
        (["compare", "a"], "missing argument B (verifl-audit compare --help)"),
        (["compare", "a", "b", "--polic", "p"], "no such option --polic; did you mean --policy? (verifl-audit compare"),
        (["follow", "t", "--one", "--policy", "p"], "no such option --one; did you mean --once? (verifl-audit follow"),
    ],
)
def test_wrong_usage_is_one_line_that_says_what_to_do(arguments: list[str], line: str, form: str) -> None:
    given = arguments if "follow" in arguments or arguments[-1:] == ["--policy"] else [*arguments, "--format", form]
    result = run(*given)
    assert result.exit_code == 2
    assert result.stdout == ""
    (found,) = result.stderr.splitlines()
    assert found.startswith(f"verifl-audit: {line}")


@pytest.mark.parametrize("place", ["nothing", "file"])
def test_what_is_no_directory_is_status_2(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").write_bytes(b"")
    result = run(tmp_path / place, "--unpinned")
    assert result.exit_code == 2
    assert result.stderr.startswith("verifl-audit: cannot read "), result.stderr
    assert result.stderr.count("\n") == 1


def one_line(result: Result) -> str:
    """What standard error has beside the progress."""
    (line,) = [each for each in result.stderr.splitlines() if not each.endswith("...")]
    return line


@pytest.fixture(scope="module")
def place(simulations, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A directory as a run leaves it, and what may be taken for a transcript or a policy in it; only to be read."""
    made = tmp_path_factory.mktemp("place")
    shutil.copytree(simulations("quiet").path, made / "out" / "transcript")
    (made / "out" / "policy.cbor").write_bytes(simulations("quiet").policy_data)
    (made / "empty").mkdir()
    (made / "notes.txt").write_text("hello = 1\n")
    (made / "nothing.cbor").touch()
    (made / "other.bin").write_bytes(bytes(8))
    for form in ("gztar", "bztar", "xztar", "tar", "zip"):
        shutil.make_archive(str(made / "archive"), form, made / "out", "transcript")
    return made


@pytest.mark.parametrize(
    ("transcript", "given", "said"),
    [
        ("empty", "out/policy.cbor", "empty holds no transcript: no checkpoint, no checkpoints, no tile"),
        ("out", "out/policy.cbor", "out holds no transcript: no checkpoint, no checkpoints, no tile; did you mean "),
        ("out/transcript/tile", "out/policy.cbor", "out/transcript?"),
        ("notes.txt", "out/policy.cbor", "notes.txt: a transcript is a directory"),
        ("nothing", "out/policy.cbor", "nothing: No such file or directory"),
        ("out/policy.cbor", "out/transcript", "a policy; the transcript is a directory, and the policy belongs behind"),
        ("archive.tar.gz", "out/policy.cbor", "unpack it first, in an empty one: tar -xzf "),
        ("archive.tar.bz2", "out/policy.cbor", "unpack it first, in an empty one: tar -xjf "),
        ("archive.tar.xz", "out/policy.cbor", "unpack it first, in an empty one: tar -xJf "),
        ("archive.tar", "out/policy.cbor", "unpack it first, in an empty one: tar -xf "),
        ("archive.zip", "out/policy.cbor", "is no transcript that `verifl-audit pack` made, or a damaged one ("),
        ("out/transcript", "out", "out is a directory, a policy is a file; did you mean "),
        ("out/transcript", "out/transcript", "out/policy.cbor?"),
        ("out/transcript", "empty", "empty is a directory, a policy is a file"),
        ("out/transcript", "notes.txt", "notes.txt is no policy: it is text, a policy is the binary file that "),
        ("out/transcript", "notes.txt", "out/policy.cbor?"),
        ("out/transcript", "nothing.cbor", "nothing.cbor is no policy: it is empty; did you mean "),
        ("out/transcript", "other.bin", "other.bin is no policy: it is damaged, or another kind of file: envelope: "),
        ("out/transcript", "archive.tar.gz", "archive.tar.gz is no policy: an archive: tar -xzf "),
        ("out/transcript", "out/transcript/checkpoint", "checkpoint is no policy: "),
    ],
)
@pytest.mark.parametrize("command", [(), ("compare",), ("follow",)])
def test_what_is_no_transcript_or_no_policy_is_wrong_usage(
    place: Path, tmp_path: Path, transcript: str, given: str, said: str, command: tuple[str, ...]
) -> None:
    other = [place / "out" / "transcript"] if "compare" in command else []
    more = ["--once", "--state", tmp_path / "state"] if "follow" in command else []
    result = run(*command, place / transcript, *other, "--policy", place / given, *more)
    lines = [each for each in result.stderr.splitlines() if not each.endswith("...")]
    assert result.exit_code == 2
    assert result.stdout == ""
    exchanged = transcript == "out/policy.cbor" and command  # these look at the policy first
    assert ("is a directory, a policy is a file" if exchanged else said) in lines[-1]
    assert all(line.startswith("state in") for line in lines[:-1])


def test_a_transcripts_own_policy_is_never_what_was_meant(simulations, tmp_path: Path) -> None:
    path = Path(shutil.copytree(simulations("quiet").path, tmp_path / "out" / "transcript"))
    for given in (path, path / "checkpoint"):
        assert "did you mean" not in one_line(run(path, "--policy", given))


@pytest.mark.parametrize("fault", [OSError(errno.EIO, "Input/output error"), PermissionError(13, "Permission denied")])
@pytest.mark.parametrize("command", [(), ("compare",), ("follow",)])
def test_a_disk_that_fails_is_status_2(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: OSError, command: tuple[str, ...]
) -> None:
    honest = LocalDirectory.read

    def failing(self: LocalDirectory, path: str, limit: int) -> bytes:
        if path.startswith("tile/entries"):
            raise fault
        return honest(self, path, limit)

    monkeypatch.setattr(LocalDirectory, "read", failing)
    transcript = place / "out" / "transcript"
    other = [transcript] if "compare" in command else []
    more = ["--once", "--state", tmp_path / "state"] if "follow" in command else []
    result = run(*command, transcript, *other, "--policy", place / "out" / "policy.cbor", *more)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert fault.strerror in result.stderr.splitlines()[-1]


def test_json(simulations, policy: Path) -> None:
    result = run(simulations("quiet").path, "--policy", policy, "--format", "json")
    report = json.loads(result.stdout)
    assert report["accepted"] is True
    assert report["pinned"] is True
    assert report["policy_hash"] == simulations("quiet").pinned.hash.hex()
    assert len(report["checkpoint"]["hash"]) == 64
    assert [check["id"] for check in report["checks"]] == list(AUDIT_CHECKS.names)


def test_json_lines(simulations, copied, policy: Path) -> None:
    result = run(spoil(copied("quiet")), "--policy", policy, "--format", "jsonl")
    lines = [json.loads(line) for line in result.stdout.splitlines()]
    assert [line["event"] for line in lines] == ["check"] * len(AUDIT_CHECKS) + ["audit"]
    assert lines[0]["status"] == "fail"
    assert lines[0]["findings"][0]["where"].startswith("checkpoint")
    assert lines[-1]["accepted"] is False


def test_text(simulations, copied, policy: Path) -> None:
    result = run(simulations("quiet").path, "--policy", policy)
    assert "\x1b" not in result.stdout
    assert "ACCEPTED in" in result.stdout
    assert f"audit again: verifl-audit {simulations('quiet').path} --policy {policy}" in result.stdout
    rejected = run(spoil(copied("quiet")), "--policy", policy, "--require", "i9")
    assert "REJECTED" in rejected.stdout
    assert "expected" in rejected.stdout
    assert "--require I9" in rejected.stdout


@pytest.mark.parametrize("form", ["txt", "json", "jsonl"])
def test_warnings_are_on_standard_error(copied, policy: Path, form: str) -> None:
    path = copied("quiet")
    (path / "Thumbs.db").touch()
    result = run(path, "--policy", policy, "--format", form)
    assert result.exit_code == 0
    command = f"find {path} -type f \\( -name Thumbs.db \\) -delete"
    assert one_line(result) == f"verifl-audit: warning: 1 file of a desktop or an editor: {command}"


def test_unpinned_is_loud(simulations) -> None:
    result = run(simulations("quiet").path, "--unpinned")
    assert "UNPINNED" in result.stdout
    assert "NOT PINNED" in result.stdout
    assert "ACCEPTED, unpinned" in result.stdout
    assert simulations("quiet").pinned.policy.log_key.hex() in result.stdout


def test_progress_is_on_standard_error(simulations, policy: Path) -> None:
    result = run(simulations("quiet").path, "--policy", policy, "--format", "json")
    assert "I6   validity proofs ..." in result.stderr


def test_a_transcript_that_may_not_be_read(copied, policy: Path) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may read everything")
    path = copied("quiet")
    (path / "checkpoint").chmod(0)
    assert run(path, "--policy", policy).exit_code == 2


def test_a_report_that_cannot_be_written_is_status_2(simulations, policy: Path) -> None:
    command = [sys.executable, "-P", "-m", "auditor", str(simulations("quiet").path), "--policy", str(policy)]
    with Path("/dev/full").open("w") as full:
        result = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert result.returncode == 2
    assert "cannot write the report: No space left" in result.stderr
    assert "Traceback" not in result.stderr


def test_help_and_version() -> None:
    assert "verifl-audit, version" in run("--version").stdout
    assert "Exit status: 0 accepted" in run("--help").stdout


BLOCKED = """
import sys
for name in {names!r}:
    sys.modules[name] = None
from auditor.cli import main
sys.argv = ["verifl-audit", {path!r}, "--policy", {policy!r}, "--format", "json", "--workers", "1"]
try:
    main()
finally:
    forbidden = {names!r}
    print([name for name in sys.modules if sys.modules[name] and name.startswith(forbidden)], file=sys.stderr)
"""


def test_it_runs_without_torch_runtime_prover_parties_and_writer(simulations, policy: Path) -> None:
    names = (
        "torch",
        "sklearn",
        "verifl",
        "proofs.prover",
        "proofs.witness",
        "proofs.squares",
        "proofs.decompositions",
        "proofs.quotients",
        "proofs.sumcheck",
        "proofs.opening",
        "protocols.rounds",
        "protocols.log.writer",
    )
    script = BLOCKED.format(names=names, path=str(simulations("quiet").path), policy=str(policy))
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert json.loads(result.stdout)["accepted"] is True
    assert result.stderr.splitlines()[-1] == "[]"


def test_help_loads_no_arithmetic() -> None:
    script = "import sys, auditor.cli; print([m for m in ('numba', 'numpy', 'networkx', 'rich') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == "[]\n"
