"""Two copies of a transcript: the same history, or a fork with the evidence for it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from auditor.cli import main
from auditor.comparison import compare
from auditor.copies import open_copy
from proofs.errors import Rejected
from protocols.log.checkpoint import parse_note
from protocols.messages import RoundClosed, RoundOpen
from tests.auditor.conftest import flipped


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["compare", *map(str, arguments)])


@pytest.fixture
def policy(simulations, tmp_path: Path) -> Path:
    path = tmp_path / "policy.cbor"
    path.write_bytes(simulations("changed").policy_data)
    return path


@pytest.fixture
def earlier(forge, tmp_path: Path) -> Path:
    """The same federation as of the end of its first round."""
    forged = forge("changed")
    forged.cut(forged.find(RoundClosed) + 1)
    return forged.write(tmp_path / "earlier")


@pytest.fixture
def other(forge, tmp_path: Path) -> Path:
    """Another history with everybody's signature: its second round is the first with another seed."""
    forged = forge("changed")
    forged.edit(forged.find(RoundOpen, 2), seed=bytes(32))
    return forged.write(tmp_path / "other")


def test_a_transcript_is_consistent_with_itself(simulations, policy: Path) -> None:
    path = simulations("changed").path
    result = run(path, path, "--policy", policy)
    assert result.exit_code == 0, result.output
    assert "CONSISTENT: both are the same history" in result.stdout


def test_a_prefix_is_consistent(simulations, earlier: Path, policy: Path) -> None:
    path = simulations("changed").path
    size = parse_note((earlier / "checkpoint").read_bytes()).checkpoint.size
    for pair, said in (((path, earlier), "B is A as of"), ((earlier, path), "A is B as of")):
        result = run(*pair, "--policy", policy)
        assert result.exit_code == 0
        assert f"{said} its first {size} entries" in result.stdout


def test_a_fork_is_shown_with_both_signed_checkpoints(simulations, other: Path, policy: Path) -> None:
    path = simulations("changed").path
    result = run(path, other, "--policy", policy)
    assert result.exit_code == 1
    report = json.loads(run(path, other, "--policy", policy, "--format", "json").stdout)
    fork = report["fork"]
    assert report["consistent"] is False
    assert f"FORK: the histories differ from entry {fork['index']} on" in result.stdout
    assert all("(round-open, round 2)" in entry for entry in fork["entries"])
    assert fork["entries"][0] != fork["entries"][1]
    first, second = fork["checkpoints"]
    assert first["size"] == second["size"] > fork["index"]
    assert first["root"] != second["root"]
    for head, place in zip(fork["checkpoints"], (path, other), strict=True):
        assert (place / "checkpoints" / str(head["size"])).read_bytes() == head["note"].encode()
        assert head["note"] in result.stdout
    assert fork["cosigned_both"] == ["trustee-0", "trustee-1", "trustee-2", "trustee-3"]
    assert "trustee-0, trustee-1, trustee-2, trustee-3 cosigned both" in result.stdout


def test_forks_of_different_sizes(simulations, forge, tmp_path: Path, policy: Path) -> None:
    forged = forge("changed")
    position = forged.find(RoundOpen, 2)
    forged.edit(position, seed=bytes(32))
    forged.checkpoints = [size for size in forged.checkpoints if size <= position or size == len(forged.slots)]
    other = forged.write(tmp_path / "other")
    found = compare(simulations("changed").path, other, simulations("changed").pinned)
    assert found.fork is not None
    assert found.fork.index == position
    assert {head.head.size for head in found.fork.heads} == {len(forged.slots)}


def test_unpinned_takes_the_policy_from_the_first(simulations, policy: Path) -> None:
    path, other = simulations("changed").path, simulations("eventful").path
    result = run(path, path, "--unpinned")
    assert result.exit_code == 0
    assert f"UNPINNED: policy {simulations('changed').pinned.hash.hex()}" in result.stdout
    assert "the keys in it were taken from A" in result.stdout
    assert run(path, other, "--unpinned").exit_code == 1


def test_what_nobody_signed_is_no_fork(simulations, copied, policy: Path) -> None:
    path = copied("changed")
    (path / "checkpoint").write_bytes(flipped((path / "checkpoint").read_bytes(), -5))
    result = run(simulations("changed").path, path, "--policy", policy)
    assert result.exit_code == 1
    assert "REJECTED: no two signed histories to compare" in result.stdout
    assert f"{path} is no transcript of this federation" in result.stdout


def test_too_few_cosigners_are_no_evidence(simulations, forge, tmp_path: Path) -> None:
    forged = forge("changed")
    forged.cosigners = ["trustee-0", "trustee-1", "trustee-2"]
    with pytest.raises(Rejected) as excinfo:
        open_copy(forged.write(tmp_path / "t"), simulations("changed").pinned)
    assert excinfo.value.check == "checkpoint-quorum"


def test_a_checkpoint_that_its_own_log_contradicts(simulations, other: Path) -> None:
    size = max(int(path.name) for path in (other / "checkpoints").iterdir())
    note = (simulations("changed").path / "checkpoints" / str(size)).read_bytes()
    for path in (other / "checkpoints" / str(size), other / "checkpoint"):
        path.write_bytes(note)
    with pytest.raises(Rejected) as excinfo:
        open_copy(other, simulations("changed").pinned)
    assert excinfo.value.check == "checkpoint-root"


def test_a_checkpoint_under_another_size(simulations, copied) -> None:
    path = copied("changed")
    sizes = sorted(int(each.name) for each in (path / "checkpoints").iterdir())
    (path / "checkpoints" / str(sizes[0])).write_bytes((path / "checkpoints" / str(sizes[1])).read_bytes())
    with pytest.raises(Rejected) as excinfo:
        open_copy(path, simulations("changed").pinned)
    assert excinfo.value.check == "checkpoint-size"


@pytest.mark.parametrize("arguments", [[], ["--policy", "POLICY", "--unpinned"], ["--policy", "/nowhere"], ["--x"]])
def test_wrong_usage_is_status_2(simulations, policy: Path, arguments: list[str]) -> None:
    path = simulations("changed").path
    result = run(path, path, *(str(policy) if each == "POLICY" else each for each in arguments))
    assert result.exit_code == 2
    assert result.stdout == ""


def test_what_is_no_directory_is_status_2(simulations, policy: Path, tmp_path: Path) -> None:
    result = run(simulations("changed").path, tmp_path / "nothing", "--policy", policy)
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1


def test_a_wrong_policy_is_status_1(simulations, tmp_path: Path) -> None:
    path = simulations("changed").path
    (tmp_path / "policy").write_bytes(b"no policy")
    assert run(path, path, "--policy", tmp_path / "policy").exit_code == 1


def test_a_directory_called_compare_is_a_transcript(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("compare").mkdir()
    assert CliRunner().invoke(main, ["./compare", "--unpinned"]).exit_code == 1
    assert "Further commands" in CliRunner().invoke(main, ["--help"]).stdout
