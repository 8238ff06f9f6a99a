"""`verifl bench`: every phase is measured, results have one form, mistakes are one line. No time is judged."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest

from proofs.errors import Misuse, Rejected
from protocols.encoding import decode, encode
from protocols.lattice.parameters import LatticeParameters
from protocols.pinned import PinnedPolicy
from tests.required import needs
from verifl.bench import client, federation, processes, report, setting, summation, verifier
from verifl.bench.stopwatch import Stopwatch
from verifl.commands import root as cli

CLIENT = ["client", "quantize", "expand", "commit", "encrypt", "share", "bind", "prove", "sign"]
VERIFIER = ["verify", "verify alone", "trustee", "release"]
ROUND = [
    "checkpoint", "accept", "client", "receive", "store", "verify", "trustee", "release",
    "sum", "decrypt", "opening", "aggregate", "step",
]  # fmt: skip
PARTS = {"commitments", "proof", "ciphertext", "share_commitments", "shares", "entry", "submission"}
SETTING = {
    "dimension", "rows", "columns", "norm_bound", "projections", "degree", "modulus_bits",
    "trustees", "threshold", "corrupt", "clients", "coordinate_bound", "encryption_proof", "largest_weight",
}  # fmt: skip
MACHINE = {"cpu", "cores", "avx512", "memory", "system", "python", "numpy", "numba", "torch"}


def run_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    assert cli.invoke(["bench", *arguments, "--format", "json"]) == 0
    result: dict[str, Any] = json.loads(capsys.readouterr().out)
    return result


def names(result: dict[str, Any]) -> list[str]:
    return [phase["phase"] for phase in result["phases"]]


def check_phases(result: dict[str, Any]) -> None:
    for phase in result["phases"]:
        assert set(phase) == {"phase", "median", "min", "max", "cpu", "runs"}
        assert 0 <= phase["min"] <= phase["median"] <= phase["max"]
        assert phase["cpu"] >= 0
        assert phase["runs"] >= 1


def check_head(result: dict[str, Any], benchmark: str) -> None:
    assert result["benchmark"] == benchmark
    assert set(result["machine"]) >= MACHINE
    assert result["threads"] >= 1
    assert all(peak > 2**20 for peak in result["peak_memory"].values())
    check_phases(result)


@pytest.mark.exhaustive
def test_validity(capsys: pytest.CaptureFixture[str]) -> None:
    result = run_json(capsys, "validity", "--dimension", "40", "--clients", "2", "--repeat", "3")
    check_head(result, "validity")
    assert names(result) == CLIENT + VERIFIER
    runs = {phase["phase"]: phase["runs"] for phase in result["phases"]}
    assert {runs[name] for name in CLIENT + VERIFIER} == {3}
    assert set(result["setting"]) == SETTING
    assert (result["setting"]["dimension"], result["setting"]["clients"]) == (40, 2)
    assert set(result["peak_memory"]) == {"client", "verifier"}
    sizes = result["bytes"]
    assert set(sizes) == PARTS
    assert sizes["submission"] == sum(size for name, size in sizes.items() if name != "submission")
    argument = setting.make_setting(40, 2).pinned.argument
    assert (sizes["proof"], sizes["commitments"]) == (argument.proof_size, argument.commitments_size("commitments"))


def test_validity_with_every_relation(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--repeat", "1", "--encryption-proof", "--coordinate-bound", "0.25")
    result = run_json(capsys, "validity", "--dimension", "40", "--clients", "2", *options)
    assert result["setting"]["encryption_proof"] is True
    made = setting.make_setting(40, 2, encryption_proof=True, coordinate_bound=0.25).pinned.argument
    assert result["setting"]["coordinate_bound"] == made.coordinate_bound
    total = 33 * made.layout.total_rows
    assert (result["bytes"]["proof"], result["bytes"]["commitments"]) == (made.proof_size, total)


def test_validity_with_private_weights(capsys: pytest.CaptureFixture[str]) -> None:
    options = ("--repeat", "1", "--private-weights", "7")
    result = run_json(capsys, "validity", "--dimension", "40", "--clients", "2", *options)
    assert result["setting"]["largest_weight"] == 7
    made = setting.make_setting(40, 2, private_weights=7).pinned.argument
    total = 33 * made.layout.total_rows
    assert (made.dimension, made.hidden_weight) == (41, 7)
    assert (result["bytes"]["proof"], result["bytes"]["commitments"]) == (made.proof_size, total)


def test_a_round_and_its_audit(capsys: pytest.CaptureFixture[str]) -> None:
    result = run_json(capsys, "round", "--dimension", "40", "--clients", "2", "--repeat", "1")
    check_head(result, "round")
    assert names(result) == [*ROUND, "audit"]
    assert set(result["setting"]) == SETTING
    assert set(result["bytes"]) == PARTS
    assert set(result["peak_memory"]) == {"round", "audit"}


def test_the_round_that_is_measured_is_a_real_one(tmp_path: Path) -> None:
    from auditor import audit

    measured = federation.measure_round(33, 3, 2, str(tmp_path))
    assert names(measured) == ROUND
    runs = {phase["phase"]: phase["runs"] for phase in measured["phases"]}
    assert runs == {
        "checkpoint": 5, "accept": 3, "client": 3, "receive": 3, "store": 3, "verify": 1, "trustee": 5, "release": 5,
        "sum": 2, "decrypt": 2, "opening": 2, "aggregate": 1, "step": 1,
    }  # fmt: skip
    verdict = audit(tmp_path / processes.TRANSCRIPT, tmp_path / processes.POLICY)
    assert verdict.accepted


def test_a_submission_that_does_not_hold_ends_the_benchmark(tmp_path: Path) -> None:
    client.measure_client(20, 1, 1, str(tmp_path), encryption_proof=True)
    assert names(verifier.measure_verifier(str(tmp_path), 1)) == VERIFIER
    path = tmp_path / "submission-0"
    made = decode(client.Submitted, path.read_bytes(), client.PACKAGE_LIMIT)
    moved = replace(made, seed=bytes(32))
    path.write_bytes(encode(moved, client.PACKAGE_LIMIT))
    with pytest.raises(Rejected) as excinfo:
        verifier.measure_verifier(str(tmp_path), 1)
    assert excinfo.value.check == "ciphertext-combination"


def test_the_update_is_dense_and_at_the_bound() -> None:
    made = setting.make_setting(500, 2)
    units = setting.in_units(made.pinned, setting.random_delta(500))
    bound = made.pinned.policy.update.norm_bound
    assert 0.99 * bound < float(np.linalg.norm(units.astype(np.float64))) <= bound
    assert np.count_nonzero(units) > 490


def test_room_for_a_cohort_does_not_depend_on_the_clients() -> None:
    few, many = setting.make_setting(10, 1), setting.make_setting(10, setting.COHORT_ROOM)
    assert few.pinned.lattice == many.pinned.lattice
    assert isinstance(few.pinned.lattice, LatticeParameters)
    assert PinnedPolicy.open(few.pinned.data).policy == few.pinned.policy


def test_summation(capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--dimension", "1000", "--clients", "3", "--device", "cpu", "--repeat", "2"]
    result = run_json(capsys, "summation", *options)
    check_head(result, "summation")
    assert names(result) == ["sum", "twin", "copy"]
    assert set(result["bytes_per_second"]) == {"sum", "twin", "copy"}
    assert result["same_as_twin"] is True
    assert (result["device"], result["device_name"]) == ("cpu", result["machine"]["cpu"])
    assert result["share_of_copy"] > 0


def test_a_sum_that_is_not_the_twins_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(_device: str) -> Any:
        return lambda arrays, _modulus: np.zeros_like(arrays[0])

    monkeypatch.setattr(summation, "summation_on", wrong)
    with pytest.raises(Rejected) as excinfo:
        summation.measure_summation(50, 2, 1, "cpu")
    assert excinfo.value.check == "summation"


def test_the_exit_status_of_a_measuring_process_is_the_commands(capfd: pytest.CaptureFixture[str]) -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("a CUDA device is here")
    assert cli.invoke(["bench", "summation", "--dimension", "10", "--device", "cuda"]) == 2
    captured = capfd.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines()[-1].startswith("verifl: device: cuda was asked for")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["validity"], "missing option --dimension"),
        (["validity", "--dimension", "0"], "invalid value for --dimension"),
        (["validity", "--dimension", str(2**28 + 1)], "invalid value for --dimension"),
        (["validity", "--dimension", "5", "--clients", "0"], "invalid value for --clients"),
        (["validity", "--dimension", "5", "--repeat", "0"], "invalid value for --repeat"),
        (["round", "--dimension", "5", "--clients", "1"], "invalid value for --clients"),
        (["round", "--dimension", "many"], "invalid value for --dimension"),
        (["summation", "--dimension", "5", "--device", "tpu"], "invalid value for --device"),
        (["summation", "--dimension", "5", "--format", "xml"], "invalid value for --format"),
        (["speed"], "no such command 'speed'"),
        (["measure", "nothing", "{}"], "invalid value for"),
    ],
)
def test_bad_arguments(capsys: pytest.CaptureFixture[str], arguments: list[str], message: str) -> None:
    assert cli.invoke(["bench", *arguments]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    (line,) = captured.err.splitlines()
    assert line.startswith("verifl: ")
    assert message in line


def test_help_lists_the_benchmarks_and_no_inner_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.invoke(["bench", "--help"]) == 0
    text = capsys.readouterr().out
    assert all(name in text for name in ("validity", "round", "summation"))
    assert "measure " not in text.replace("Measure what", "")


def test_a_process_that_is_killed_is_one_line() -> None:
    with pytest.raises(click.ClickException, match="signal 9"):
        processes._run([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"], quiet=False)


def test_every_style_says_the_same() -> None:
    watch = Stopwatch()
    with watch.phase("commit", among=2):
        pass
    watch.add("commit", 3.0, 1.0)
    watch.add("commit", 5.0, 2.0)
    (phase,) = watch.phases()
    assert (phase["median"], phase["max"], phase["cpu"], phase["runs"]) == (3.0, 5.0, 1.0, 3)
    result = {
        "benchmark": "validity",
        "machine": dict.fromkeys(MACHINE, 1),
        "threads": 2,
        "setting": {"dimension": 7},
        "phases": [phase],
        "bytes": {"proof": 1234},
        "peak_memory": {"client": 5_000_000},
    }
    assert json.loads(report.describe(result, "json")) == result
    lines = [json.loads(line) for line in report.describe(result, "jsonl").splitlines()]
    assert lines[0] == {"event": "phase", "benchmark": "validity", **phase}
    assert lines[1] == {"event": "benchmark", **{key: value for key, value in result.items() if key != "phases"}}
    text = report.describe(result, "txt")
    assert "3,000.00" in text
    assert "1,234" in text
    assert "5.0 MB" in text


def test_the_command_line_imports_no_measuring_module() -> None:
    code = (
        "import sys, verifl.commands.root; verifl.commands.root.invoke(['bench', '--help']);"
        "sys.exit(bool({'numpy', 'numba', 'torch', 'verifl.bench.client'} & set(sys.modules)))"
    )
    finished = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert finished.returncode == 0


def test_an_unusable_device_is_refused_where_it_measures() -> None:
    with pytest.raises(Misuse, match="expected auto, cpu, cuda or cuda:N"):
        summation.measure_summation(10, 2, 1, "tpu")


@pytest.mark.exhaustive
def test_a_round_over_a_public_directory(capsys: pytest.CaptureFixture[str]) -> None:
    result = run_json(capsys, "exchange", "--dimension", "200", "--clients", "3")
    check_head(result, "exchange")
    check_phases(result)
    assert names(result) == ["round", "trustee", "client"]
    stages = ("round keys", "submissions", "acknowledgements", "releases")
    assert list(result["peak_memory"]) == [*(f"host, {stage}" for stage in stages), "host"]
    assert sorted(result["peak_memory"].values()) == list(result["peak_memory"].values())


@pytest.mark.organisations
@pytest.mark.exhaustive
def test_virtual_clients(capsys: pytest.CaptureFixture[str]) -> None:
    needs("flwr", "ray")
    result = run_json(capsys, "virtual", "--dimension", "200", "--clients", "3", "--rounds", "2")
    check_head(result, "virtual")
    check_phases(result)
    assert names(result) == ["enrol", "whole run", "round", "audit"]
    [rounds] = [each for each in result["phases"] if each["phase"] == "round"]
    assert rounds["runs"] == 2
    assert result["setting"]["clients"] == 3
    assert result["bytes"]["transcript of a round"] > 3 * 2**10


@pytest.mark.organisations
def test_a_round_over_https(capsys: pytest.CaptureFixture[str]) -> None:
    """What a trustee reads is the shares of all clients and the log; a client sends its submission."""
    needs("nginx")
    assert cli.invoke(["bench", "exchange", "--dimension", "64", "--clients", "2", "--https", "--format", "json"]) == 0
    measured = json.loads(capsys.readouterr().out)
    sizes = measured["bytes"]
    assert sizes["a client sends"] > sizes["blobs of a submission"]
    assert sizes["a trustee reads"] > sizes["a trustee sends"] > 0
    assert {phase["phase"]: phase["runs"] for phase in measured["phases"]} == {"round": 1, "trustee": 5, "client": 2}
