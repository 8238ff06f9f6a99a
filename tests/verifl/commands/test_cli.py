"""The command line: what it prints, its exit status, and one clear line for every mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from proofs import VERSION
from tests.verifl.written_task import write_task
from verifl.built_in import BUILT_IN_TASKS
from verifl.commands import root as cli
from verifl.federation import audit_command
from verifl.progress import RoundSummary
from verifl.reports.console import aligned, round_rows
from verifl.storage.run_directory import RunDirectory, fresh_sibling

SUBCOMMANDS = (["demo"], ["init"], ["plan"], ["run"], ["policy"], ["policy", "show"])


def failing_line(capsys: pytest.CaptureFixture[str], arguments: list[str], status: int = 2) -> str:
    """The single line on stderr of a command that must fail, and print nothing else."""
    assert cli.invoke(arguments) == status
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("verifl: ")
    return line


def test_help_imports_nothing_heavy() -> None:
    heavy = {"torch", "numpy", "numba", "pydantic", "rich", "sklearn", "networkx", "cryptography"}
    code = (
        "import sys; from verifl.commands import root; root.invoke(['--help']);"
        f"sys.exit(bool({heavy!r} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 0


def run_code(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


def test_importing_verifl_imports_no_torch() -> None:
    code = "import sys, verifl; verifl.Task, verifl.Config, verifl.make_plan; sys.exit('torch' in sys.modules)"
    assert run_code(code).returncode == 0


def test_without_torch_one_line_says_what_to_install(tmp_path: Path) -> None:
    code = f"""
import sys; sys.modules["torch"] = None; sys.path.insert(0, {str(Path(__file__).parents[3])!r})
from verifl.commands import root as cli
print(cli.invoke(["init", {str(tmp_path)!r}]), cli.invoke(["demo", "--out", {str(tmp_path / "out")!r}]))
"""
    done = run_code(code)
    assert done.stdout.splitlines()[-1] == "0 2"
    hint = "pip install '.[federation]' in the directory of the source"
    assert done.stderr == f"verifl: this needs torch, which is not installed: {hint}\n"


@pytest.mark.parametrize("arguments", SUBCOMMANDS, ids=" ".join)
def test_every_command_explains_itself(capsys: pytest.CaptureFixture[str], arguments: list[str]) -> None:
    assert cli.invoke([*arguments, "--help"]) == 0
    assert "Usage: verifl" in capsys.readouterr().out


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["--version"]) == 0
    assert VERSION in capsys.readouterr().out


def test_without_arguments_it_shows_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke([]) == 2
    assert "Commands:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["demmo"], "no such command 'demmo'; did you mean demo? (verifl --help)"),
        (["keys", "shw", "x"], "no such command 'shw'; did you mean show? (verifl keys --help)"),
        (["demo", "--rnds", "4"], "no such option --rnds; did you mean --rounds? (verifl demo --help)"),
        (["run", "config.toml"], "missing option --out (verifl run --help)"),
        (["run", "config.toml", "--out"], "option --out requires an argument (verifl"),
        (["plan"], "missing argument CONFIG (verifl plan --help)"),
        (["plan", "a.toml", "b.toml"], "got unexpected extra argument (b.toml) (verifl plan --help)"),
        (
            ["demo", "--rounds", "0"],
            "invalid value for --rounds: 0 is not in the range 1<=x<=1000 (verifl demo --help)",
        ),
        (
            ["demo", "--dataset", "mnist"],
            f"invalid value for --dataset: 'mnist' is not one of {', '.join(map(repr, BUILT_IN_TASKS.names))}",
        ),
        (["plan", "nowhere.toml"], "nowhere.toml: no such file"),
        (["run", "nowhere.toml", "--out", "out"], "nowhere.toml: no such file"),
        (["policy", "show", "nowhere.cbor"], "nowhere.cbor: no such file"),
    ],
)
def test_usage_errors(
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    message: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert message in failing_line(capsys, arguments)
    assert list(tmp_path.iterdir()) == []


def test_a_usage_error_is_a_log_record_where_logs_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["demo", "--rnds", "4", "--log-format", "json"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    found = json.loads(line)
    assert (found["level"], found["event"]) == ("error", "failed")
    assert found["message"] == "no such option --rnds; did you mean --rounds? (verifl demo --help)"


def test_init_writes_both_files_once(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    folder = tmp_path / "new" / "place"
    assert cli.invoke(["init", str(folder)]) == 0
    assert sorted(path.name for path in folder.iterdir()) == ["config.toml", "task.py"]
    assert f"verifl run {folder / 'config.toml'}" in capsys.readouterr().out
    (folder / "config.toml").unlink()
    (folder / "task.py").write_text("mine", encoding="utf-8")
    assert "task.py: already exists" in failing_line(capsys, ["init", str(folder)])
    assert [path.name for path in folder.iterdir()] == ["task.py"]
    assert (folder / "task.py").read_text(encoding="utf-8") == "mine"


def test_init_needs_a_directory(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "there").write_text("", encoding="utf-8")
    line = failing_line(capsys, ["init", str(tmp_path / "there")])
    assert line == f"verifl: {tmp_path / 'there'}: is a file, expected a directory; choose another name"


def test_plan_of_the_example(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    cli.invoke(["init", str(tmp_path)])
    capsys.readouterr()
    assert cli.invoke(["plan", str(tmp_path / "config.toml")]) == 0
    assert "Bytes per submission" in capsys.readouterr().out
    for style in ("json", "jsonl"):
        assert cli.invoke(["plan", str(tmp_path / "config.toml"), "--format", style]) == 0
        assert json.loads(capsys.readouterr().out)["dimension"] == 97


def test_plan_refuses_with_the_numbers(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = write_task(tmp_path)
    config.write_text(config.read_text() + "[update]\nfraction_bits = 60\n", encoding="utf-8")
    line = failing_line(capsys, ["plan", str(config)])
    assert "must be between 1 and 2^40" in line
    assert "use 12 fraction bits" in line


@pytest.mark.parametrize(
    ("train", "before", "message"),
    [
        (
            "model.weight.data.fill_(float('nan'))",
            "",
            "client x: tensor 'weight' holds 2 NaN or infinite values",
        ),
        ("raise KeyError('age')", "", "client x: train() failed: KeyError: 'age' (at "),
        ("raise SystemExit(3)", "", "client x: train() failed: SystemExit: 3 (at "),
        ("setattr(model, 'bias', None)", "", "'bias': expected float32 of shape (1,), found no such tensor"),
        ("pass", "raise RuntimeError('no data here')", "task.py does not run: RuntimeError: no data here (at "),
    ],
)
def test_a_run_that_fails_before_its_first_round_ends_leaves_nothing(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, train: str, before: str, message: str
) -> None:
    config = write_task(tmp_path, train, before)
    assert cli.invoke(["run", str(config), "--out", str(tmp_path / "out")]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    last = captured.err.splitlines()[-1]
    assert last.startswith("verifl: ")
    assert message in last
    assert ("nobody had submitted anything, so " in last) == (before == "")
    assert not (tmp_path / "out").exists()


def test_run_never_overwrites(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    config = write_task(tmp_path)
    assert cli.invoke(["run", str(config), "--out", str(tmp_path)]) == 2
    assert "is not empty, and a transcript is never overwritten" in capsys.readouterr().err
    assert cli.invoke(["run", str(config), "--out", str(config)]) == 2
    assert "is a file, expected a new or empty directory" in capsys.readouterr().err


def test_debug_shows_the_traceback(tmp_path: Path) -> None:
    config = write_task(tmp_path, before="raise RuntimeError('no data here')")
    command = [sys.executable, "-P", "-m", "verifl", "--debug", "plan", str(config)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "Traceback" in result.stderr
    assert "no data here" in result.stderr


def test_a_broken_policy_is_rejected(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "policy.cbor").write_bytes(b"\xa0")
    line = failing_line(capsys, ["policy", "show", str(tmp_path)], status=1)
    assert line.startswith(f"verifl: {tmp_path / 'policy.cbor'}: ")
    assert "expected" in line


def test_the_command_that_audits_is_one_that_the_shell_finds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs, run = tmp_path / "environment" / "bin", RunDirectory(tmp_path / "out")
    programs.mkdir(parents=True)
    (programs / "verifl-audit").touch(0o755)
    monkeypatch.setattr(sys, "executable", str(programs / "python"))
    monkeypatch.setenv("PATH", str(tmp_path))
    assert audit_command(run)[0] == str(programs / "verifl-audit")
    monkeypatch.chdir(tmp_path)
    assert audit_command(run)[0] == "environment/bin/verifl-audit"
    monkeypatch.setenv("PATH", str(programs))
    assert audit_command(run) == ["verifl-audit", str(run.transcript), "--policy", str(run.policy)]


def test_a_fresh_directory_is_the_next_number(tmp_path: Path) -> None:
    assert fresh_sibling(tmp_path / "demo") == tmp_path / "demo"
    (tmp_path / "demo").mkdir()
    assert fresh_sibling(tmp_path / "demo") == tmp_path / "demo"
    (tmp_path / "demo" / "file").touch()
    (tmp_path / "demo-2").touch()
    assert fresh_sibling(tmp_path / "demo") == tmp_path / "demo-3"


def test_a_round_for_people() -> None:
    summary = RoundSummary(
        3, ("a", "b"), ("a",), {"b": "invalid-proof"}, ("t-1", "t-2"), {"loss": 0.25}, 1.26, 2_500_000
    )
    rows = round_rows(summary, clipped=[True, False], sizes=[90_400, 1])
    assert rows == [
        ("submitted", "a, b, 90 kB each; 1 scaled back to the clip norm"),
        ("verdicts", "1 proofs verified and summed; released by t-1, t-2; b excluded: invalid-proof"),
        ("model", "loss 0.25; 1.3 s, 2.5 MB of transcript"),
    ]
    lines = aligned("round 3 of 9", rows, width=70)
    assert lines[:2] == [
        "round 3 of 9  submitted  a, b, 90 kB each; 1 scaled back to the clip",
        " " * 25 + "norm",
    ]
    assert max(map(len, lines)) <= 70
    aborted = replace(summary, aborted="no-quorum", metrics={})
    resumed = round_rows(summary, clipped=[True], sizes=[90_400, 1])  # the other one trained before a kill
    assert resumed[0][1].endswith("; 1 of 1 that trained in this run scaled back to the clip norm")
    assert round_rows(aborted, [], [])[1:] == [
        ("verdicts", "1 in the cohort; b excluded: invalid-proof"),
        ("aborted", "no-quorum"),
        ("model", "no metrics; 1.3 s, 2.5 MB of transcript"),
    ]
