"""The examples as a reader runs them: the two commands of each README; then what was written is loaded again."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.ecosystem.filled import differing
from tests.ecosystem.packages import needs

ROOT = Path(__file__).parent.parent.parent
EXAMPLES = ROOT / "examples"
COMMANDS = Path(sys.executable).parent
PACKAGES = {
    "scikit-learn": ("torch", "sklearn"),
    "compile-autocast": ("torch", "sklearn"),
    "transformers-lora": ("transformers", "peft", "accelerate"),
    "lightning": ("lightning",),
    "monai-unet": ("monai",),
    "opacus": ("opacus",),
}
EVERYWHERE = ("scikit-learn",)  # the others take packages of others, or long
CASES = [name if name in EVERYWHERE else pytest.param(name, marks=pytest.mark.ecosystem) for name in PACKAGES]
BACKEND = "EXAMPLE_BACKEND"  # of torch.compile; the one that needs a compiler takes half a minute

PARTS = {"whole": [3], "resumed": [1, 3]}

pytestmark = pytest.mark.skipif(
    not (COMMANDS / "verifl-audit").exists(), reason="the commands are not installed beside this interpreter"
)


def test_every_example_is_run_and_listed() -> None:
    folders = {path.parent.name for path in EXAMPLES.glob("*/task.py")}
    assert folders == set(PACKAGES)
    assert set(re.findall(r"^\| \[(.*?)]", (EXAMPLES / "README.md").read_text(), re.MULTILINE)) == folders


def commands(name: str) -> list[list[str]]:
    """The command lines of the example's README."""
    block = re.search(r"```console\n(.*?)```", (EXAMPLES / name / "README.md").read_text(), re.DOTALL)
    assert block is not None
    return [shlex.split(line) for line in block[1].splitlines()]


def called(folder: Path, command: list[str], monkeypatch: pytest.MonkeyPatch) -> subprocess.CompletedProcess[str]:
    """The command's end, which is a good one, and what it wrote to stdout and stderr."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    program, *arguments = command
    done = subprocess.run(
        [str(COMMANDS / program), *arguments], cwd=folder, capture_output=True, text=True, check=False, timeout=600
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize("name", CASES)
def test_an_example_runs_is_audited_and_what_it_wrote_is_loaded(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(*PACKAGES[name])
    monkeypatch.setenv(BACKEND, "eager")
    check(name, tmp_path, monkeypatch)


@pytest.mark.ecosystem
@pytest.mark.parametrize("backend", ["aot_eager", "inductor"])
def test_the_compiled_example_runs_with_every_backend(
    backend: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs(*PACKAGES["compile-autocast"])
    if backend == "inductor" and not shutil.which("g++"):
        pytest.skip("there is no C++ compiler")
    monkeypatch.setenv(BACKEND, backend)
    check("compile-autocast", tmp_path, monkeypatch)


@pytest.mark.ecosystem
@pytest.mark.parametrize("name", PACKAGES)
def test_a_resumed_example_ends_as_one_that_nobody_stopped(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from safetensors.torch import load_file

    needs(*PACKAGES[name])
    monkeypatch.setenv(BACKEND, "eager")
    whole, resumed = (in_parts(name, tmp_path / each, parts, monkeypatch) for each, parts in PARTS.items())
    files = [load_file(tmp_path / each / "out" / "model.safetensors") for each in PARTS]
    assert differing(*files) == []
    if name == "opacus":
        check_ledgers(whole, resumed)


def in_parts(name: str, folder: Path, parts: Sequence[int], monkeypatch: pytest.MonkeyPatch) -> str:
    """Run a copy of the example for so many rounds, and go on to so many more; what the last process said on stderr."""
    shutil.copytree(EXAMPLES / name, folder)
    config = (folder / "config.toml").read_text()
    said = ""
    for rounds in parts:
        (folder / "config.toml").write_text(config.replace("rounds = 2", f"rounds = {rounds}"))
        resume = ["--resume"] if (folder / "out").exists() else []
        said = called(folder, ["verifl", "run", "config.toml", "--out", "out", *resume], monkeypatch).stderr
    return said


def check_ledgers(whole: str, resumed: str) -> None:
    """What each bank has spent grows from round to round, and does not begin anew with the process."""
    all_rounds, last_two = (re.findall(r"(bank-\d) has spent epsilon ([\d.]+)", said) for said in (whole, resumed))
    assert [bank for bank, _ in all_rounds] == ["bank-1", "bank-2", "bank-3"] * 3
    assert all(float(all_rounds[number][1]) < float(all_rounds[number + 3][1]) for number in range(6))
    assert all_rounds[3:] == last_two


def check(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "examples").symlink_to(EXAMPLES)
    run, audit = commands(name)
    report = json.loads(called(tmp_path, [*run, "--format", "json"], monkeypatch).stdout)
    first, last = (each["metrics"] for each in report["rounds"])
    assert last["loss"] < first["loss"]
    assert "ACCEPTED" in called(tmp_path, audit, monkeypatch).stdout
    assert {path.name for path in tmp_path.iterdir()} == {"examples", "out"}, "something else was left behind"
    assert loaded_metrics(name, tmp_path / "out", monkeypatch) == pytest.approx(last, rel=1e-3)
    assert (tmp_path / "out" / "adapter").exists() == (name == "transformers-lora")


def loaded_metrics(name: str, out: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, float]:
    """What the example's own evaluate() says of the model in the file, loaded strictly into its own model()."""
    from safetensors.torch import load_file

    from verifl.config import read_config
    from verifl.tasks.loading import load_task

    monkeypatch.setattr(sys, "path", list(sys.path))
    task = load_task(read_config(EXAMPLES / name / "config.toml"), EXAMPLES / name)
    model: Any = task.model()
    getattr(model, "_orig_mod", model).load_state_dict(load_file(out / "model.safetensors"))
    return dict(task.evaluate(model))
