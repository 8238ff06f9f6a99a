"""`verifl measure`: what it measures, what it proposes, and what it puts into a configuration."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from proofs.errors import Misuse
from protocols.policy import STATISTIC, TensorSpec
from verifl.commands.measure import _require_publishable
from verifl.commands.root import cli, invoke
from verifl.config import Config, read_config
from verifl.planning.config_files import BEGIN, with_proposal
from verifl.planning.measured import MeasuredTensor, MeasuredTurn, Measurement, measurement_path, read_measurement
from verifl.planning.measured_turns import Turns
from verifl.planning.proposals import ProposedBounds, propose
from verifl.reports.measurement import describe_measurement
from verifl.strategies.weights import beyond, weight_rule
from verifl.training.tensors import TensorLayout

TASK = """
import torch
from torch import nn

X = torch.randn(60, 4, generator=torch.Generator().manual_seed(3)) * 300 + 1000
Y = (X[:, :1] - X[:, 1:2]) / 300

class Raw:
    def clients(self): return ["a", "b", "c"]
    def model(self): return nn.Sequential(nn.BatchNorm1d(4), nn.Linear(4, 1))
    def data(self, client):
        if client == "c":
            raise RuntimeError("not here")
        rows = slice(ord(client) - 97, None, 3)
        return X[rows], Y[rows]
    def train(self, model, client, data):
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        for _ in range(20):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(data[0]), data[1]).backward()
            optimizer.step()
    def evaluate(self, model):
        model.eval()
        with torch.no_grad():
            return {"loss": float(nn.functional.mse_loss(model(X), Y))}

def task(): return Raw()
"""
CONFIG = """# of raw features
[task]
file = "task.py"            # ours

[update]  # bounds
clip_norm = 1.0             # too short

[limits]
min_cohort = 2
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "task.py").write_text(TASK)
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path / "config.toml"


def measured(*turns: tuple[list[float], list[float]]) -> Measurement:
    """Of two parameters of 100 coordinates, and a statistic of 4."""
    tensors = (MeasuredTensor("w", 100, False), MeasuredTensor("v", 100, False), MeasuredTensor("mean", 4, True))
    made = tuple(MeasuredTurn(1, f"c{place}", tuple(norms), tuple(peaks)) for place, (norms, peaks) in enumerate(turns))
    return Measurement(tensors, made, {}, {})


def test_what_is_proposed_clips_nothing_that_is_usual() -> None:
    turns = [([3.0, 4.0, 0.1], [1.0, 0.5, 0.01])] * 9 + [([6.0, 8.0, 0.1], [1.0, 0.5, 0.01])]
    proposal = propose(measured(*turns))
    assert proposal.clip_norm == 13  # 1.25 times 10
    assert (proposal.scales, proposal.touched(13), proposal.touched(6)) == ({}, 0.0, 0.1)
    assert proposal.coordinate_bound == 2.0


def test_an_update_far_beyond_the_others_is_clipped() -> None:
    turns = [([3.0, 4.0, 0.0], [1.0, 0.5, 0.0])] * 99 + [([3e5, 4e5, 0.0], [1e5, 0.5, 0.01])]
    assert propose(measured(*turns)).clip_norm == 25  # 1.25 times 4 times 5


@pytest.mark.parametrize(("length", "scale"), [(1180.0, 1024.0), (1e6, 2.0**20), (3.0, None), (1e-6, 2.0**-20)])
def test_statistics_are_brought_near_the_weights(length: float, scale: float | None) -> None:
    proposal = propose(measured(([3.0, 4.0, length], [1.0, 0.5, length])))
    assert proposal.scales == ({} if scale is None else {"mean": scale})
    assert 5 <= proposal.clip_norm <= 8
    assert all(0.1 < length / each < 2 for each in proposal.scales.values())


def statistic(movements: list[float]) -> TensorLayout:
    """Of 100 weights, and a statistic of so many coordinates."""
    weights = TensorSpec("w", (100,), "float32", nonnegative=False)
    mean = TensorSpec("mean", (len(movements),), "float32", nonnegative=False, role=STATISTIC)
    return TensorLayout((weights, mean))


@pytest.mark.parametrize(
    ("movements", "slices"),
    [
        ([1.0, 15.0, 2.0], [(0, 3)]),
        ([1.0, 1.5, 300.0, 1e6], [(0, 2), (2, 3), (3, 4)]),
        ([0.0, 1.0, 0.0, 1e6, 0.0], [(0, 3), (3, 5)]),
        ([0.0, 0.0], [(0, 2)]),
    ],
)
def test_a_statistic_of_a_wide_range_is_measured_in_slices(
    movements: list[float], slices: list[tuple[int, int]]
) -> None:
    turns = Turns(statistic(movements))
    for factor in (0.5, 1.0):
        turns.add(1, f"c{factor}", np.concatenate([np.full(100, 0.1), factor * np.array(movements)]))
    found = turns.measurement({}, {})
    parts = found.tensors[1:]
    assert [(each.start, each.start + each.size) for each in parts] == slices
    assert found.norms[1, 1:] == pytest.approx([np.linalg.norm(movements[start:stop]) for start, stop in slices])
    assert [each.label for each in parts] == [
        "mean" if each == (0, len(movements)) else f"mean[{each[0]}:{each[1]}]" for each in slices
    ]


def test_scales_by_coordinate_keep_the_digits_of_each(tmp_path: Path) -> None:
    """What moves by 0.001 and what moves by a million both have more than eight bits, and the file says so."""
    movements = [0.001, 1e6, 1e6, 30.0]
    turns = Turns(statistic(movements))
    turns.add(1, "c", np.concatenate([np.full(100, 0.1), movements]))
    proposed = propose(turns.measurement({}, {}))
    scales = proposed.scales["mean"]
    assert isinstance(scales, tuple)
    assert scales[1] == scales[2] > scales[3] > scales[0]
    units = np.array(movements) / np.array(scales) * 2.0**proposed.fraction_bits
    assert units.min() > 2**8
    assert np.linalg.norm(np.array(movements) / np.array(scales)) < 0.3  # of weights as long as 1
    assert proposed.finer
    text = with_proposal(CONFIG, proposed, "here")
    assert f"fraction_bits = {proposed.fraction_bits}\n" in text
    assert with_proposal(text, proposed, "here") == text
    (tmp_path / "config.toml").write_text(text)
    assert [group.scales for group in read_config(tmp_path / "config.toml").update.groups] == [scales]


def test_nothing_that_moves() -> None:
    proposal = propose(measured(([0.0, 0.0, 0.0], [0.0, 0.0, 0.0])))
    assert (proposal.clip_norm, proposal.scales, proposal.coordinate_bound) == (1.0, {}, None)


def proposal(**scales: float) -> ProposedBounds:
    return ProposedBounds(4.5, {name.replace("_", "."): each for name, each in scales.items()}, 0.25, 14, None)


def test_comments_and_all_else_stay() -> None:
    text = with_proposal(CONFIG, proposal(bn_mean=1024.0, bn_var=2.0**-4), "here")
    assert [line for line in text.splitlines() if line not in CONFIG.splitlines() and not line.startswith("#")] == [
        "clip_norm = 4.5             # too short",
        "[[update.groups]]",
        "tensors = ['bn.var']",
        "scale = 0.0625",
        "[[update.groups]]",
        "tensors = ['bn.mean']",
        "scale = 1024.0",
    ]
    assert set(CONFIG.splitlines()) - set(text.splitlines()) == {"clip_norm = 1.0             # too short"}


def test_writing_again_is_writing_once() -> None:
    once = with_proposal(CONFIG, proposal(bn_mean=1024.0), "here")
    assert with_proposal(once, proposal(bn_mean=1024.0), "here") == once
    assert BEGIN not in with_proposal(once, proposal(), "here")


@pytest.mark.parametrize(
    ("update", "expected"),
    [
        ("", "clip_norm = 4.5\n"),
        ("[update]\nencryption_proof = true\n", "[update]\nclip_norm = 4.5\nencryption_proof = true\n"),
        ("[update]\nclip_norm=1\nfraction_bits = 9 # so\n", "[update]\nclip_norm=4.5\nfraction_bits = 14 # so\n"),
        ("[update]\ncoordinate_bound = 1.0\n", "clip_norm = 4.5\ncoordinate_bound = 0.25\n"),
    ],
)
def test_tables_of_any_kind(update: str, expected: str) -> None:
    assert expected in with_proposal('[task]\nname = "digits"\n' + update, proposal(), "here")


@pytest.mark.parametrize(
    ("update", "message"),
    [
        ("[update]\nclip_norm = 1.0\n[[update.groups]]\ntensors = ['*']\nscale = 4.0\n", "there are groups already"),
        ("[update]\ngroups = [{ tensors = ['*'], scale = 4.0 }]\n", "there are groups already"),
        ("[task.x]\n", "unknown key 'task.x'"),
    ],
)
def test_what_cannot_be_written_is_said(update: str, message: str) -> None:
    with pytest.raises(Misuse, match=message):
        with_proposal('[task]\nname = "digits"\n' + update, proposal(bn_mean=4.0), "here")


def test_an_inline_table_is_left_to_its_author() -> None:
    with pytest.raises(Misuse, match=r"write it by hand: clip_norm = 4\.5"):
        with_proposal('task = { name = "digits" }\nupdate = { clip_norm = 1.0 }\n', proposal(), "here")


def test_measure_write_plan(config: Path) -> None:
    """What is written is what is planned with, and the share of updates that it touches is known."""
    config.chmod(0o640)
    done = CliRunner().invoke(cli, ["measure", str(config), "--rounds", "2", "--write"], standalone_mode=False)
    assert done.return_value == 0, done.output
    assert "round 1: c is left out: client c: data() failed: RuntimeError: not here" in done.stderr
    assert "will be published with the policy" in done.stderr
    assert "0.running_var (statistic)" in done.stdout
    settings = read_config(config).update
    assert settings.clip_norm > 0.5
    assert {group.tensors for group in settings.groups} == {("0.running_mean",), ("0.running_var",)}
    assert min(group.scale for group in settings.groups) > 100
    assert measurement_path(config).stat().st_mode & 0o777 == 0o600
    planned = CliRunner().invoke(cli, ["plan", str(config)], standalone_mode=False)
    assert "note: of 4 updates that were measured 0.0% are longer than the clip norm" in planned.stdout
    assert "Scales: bounds and resolution are of changes divided by these" in planned.stdout


WEIGHED = """
    def weight(self, client, data): return {"a": 30, "b": 9}[client]

def task(): return Raw()
"""


@pytest.mark.parametrize("kind", ["declared", "private"])
def test_weights_are_measured_with(kind: str, config: Path) -> None:
    """Rounds step by the weighted mean; the table has w times the update beside w times the clip norm."""
    alike = CliRunner().invoke(
        cli, ["measure", str(config), "--rounds", "2", "--format", "json"], standalone_mode=False
    )
    (config.parent / "task.py").write_text(TASK.replace("\ndef task(): return Raw()\n", WEIGHED))
    config.write_text(f'{CONFIG}\n[weights]\nkind = "{kind}"\nlargest = 3\nunit = 10.0\n')
    arguments = ["measure", str(config), "--rounds", "2", "--write"]
    told = json.loads(CliRunner().invoke(cli, [*arguments, "--format", "json"], standalone_mode=False).stdout)
    assert [(each["client"], each["weight"], each["share"]) for each in told["weights"]] == [
        ("a", 3, 0.75),
        ("b", 1, 0.25),
    ]
    clip = told["proposal"]["clip_norm"]
    assert [each["bound"] for each in told["weights"]] == [3 * clip, clip]
    kept = read_measurement(measurement_path(config))
    assert kept is not None
    lengths = kept.lengths(told["proposal"]["scales"])
    longest = [max(lengths[place::2]) for place in range(2)]
    assert [each["norm"] for each in told["weights"]] == [3 * longest[0], longest[1]]
    before = json.loads(alike.stdout)
    assert told["norms_by_round"]["1"] == before["norms_by_round"]["1"]
    assert told["norms_by_round"]["2"] != before["norms_by_round"]["2"]  # of another model
    text = CliRunner().invoke(cli, ["measure", str(config), "--rounds", "1"], standalone_mode=False).stdout
    assert "  a                                 3    75.0%  " in text


def test_measuring_with_weights_needs_a_task_that_weighs(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config.write_text(f'{CONFIG}\n[weights]\nkind = "private"\n')
    assert invoke(["measure", str(config)]) == 2
    assert "weight" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ("float('nan')", "its data weigh nan, expected a finite number, 0 or more"),
        ("float('inf')", "its data weigh inf, expected a finite number, 0 or more"),
        ("-30", "its data weigh -30.0, expected a finite number, 0 or more"),
        ("'30'", "weight() failed: it returned '30', expected a number, such as how many samples it has"),
        ("0", "abstains: its data weigh 0"),
    ],
)
def test_whom_a_round_would_be_without_is_not_measured(said: str, why: str, config: Path) -> None:
    (config.parent / "task.py").write_text(
        TASK.replace("\ndef task(): return Raw()\n", WEIGHED.replace('"a": 30', f'"a": {said}'))
    )
    config.write_text(f'{CONFIG}\n[weights]\nkind = "private"\n')
    done = CliRunner().invoke(cli, ["measure", str(config), "--rounds", "1", "--format", "json"], standalone_mode=False)
    assert done.return_value == 0, done.output
    assert f"round 1: a is left out: client a: {why}" in done.stderr
    assert [each["client"] for each in json.loads(done.stdout)["weights"]] == ["b"]


TRAINED = "optimizer.step()"


def test_whose_training_diverges_is_left_out(config: Path) -> None:
    diverging = f'{TRAINED}\n        if client == "a": model[1].weight.data.fill_(float("nan"))'
    (config.parent / "task.py").write_text(TASK.replace(TRAINED, diverging))
    done = CliRunner().invoke(cli, ["measure", str(config), "--rounds", "2", "--format", "json"], standalone_mode=False)
    assert json.loads(done.stdout)["updates"] == 2
    assert "round 2: a is left out: client a: tensor '1.weight' holds 4 NaN or infinite values after" in done.stderr


def test_training_that_changes_nothing_measures_nothing(config: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (config.parent / "task.py").write_text(
        TASK.replace(TRAINED, "pass").replace("optimizer = ", "model.eval(); optimizer = ")
    )
    assert invoke(["measure", str(config), "--rounds", "2", "--write"]) == 2
    said = capsys.readouterr()
    assert (
        "2 rounds: training changed nothing that is sent, so there is nothing to measure; train() changes" in said.err
    )
    assert said.out == ""
    assert config.read_text() == CONFIG


def test_what_was_measured_is_shown_where_the_file_cannot_take_it(config: Path) -> None:
    config.write_text(f'{CONFIG}\n[[update.groups]]\ntensors = ["1.*"]\ncoordinate_bound = 0.0\n')
    done = CliRunner().invoke(cli, ["measure", str(config), "--rounds", "1", "--write"], standalone_mode=False)
    assert isinstance(done.exception, Misuse)
    assert "there are groups already; put `scale` into these" in str(done.exception)
    assert "Norms of updates, quantiles" in done.stdout
    assert "clip_norm = " in done.stdout
    assert not measurement_path(config).exists()


def test_one_client_with_its_own_data(config: Path) -> None:
    done = CliRunner().invoke(
        cli, ["measure", str(config), "--rounds", "1", "--client", "b", "--format", "json"], standalone_mode=False
    )
    told = json.loads(done.stdout)
    assert told["updates"] == 1
    assert told["proposal"]["clipped"] == 0.0
    assert [each["statistic"] for each in told["norms_by_tensor"]] == [False, False, True, True, False, False]
    assert config.read_text() == CONFIG
    assert not measurement_path(config).exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--client", "z"], "--client: the task has no client 'z'; it has a, b, c"),
        (["--client", "c"], "round 1: the turns of all clients failed, so there is nothing to measure"),
    ],
)
def test_mistakes(config: Path, arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert invoke(["measure", str(config), *arguments]) == 2
    assert message in capsys.readouterr().err


def test_a_file_that_is_no_measurement(config: Path) -> None:
    assert read_measurement(measurement_path(config)) is None
    for text in ("{", '{"tensors": [], "turns": []}', '{"tensors": [["a", 1, true]], "turns": [[1, "a", [], []]]}'):
        measurement_path(config).write_text(text)
        with pytest.raises(Misuse, match="measure again"):
            read_measurement(measurement_path(config))


@pytest.mark.parametrize(
    ("data", "largest", "unit"),
    [
        ({}, 100, None),
        ({"a": 40.0, "b": 100.0}, 100, 1.0),  # exact
        ({"a": 40.0, "b": 1204.0}, 100, 13.0),
        ({"a": 0.5, "b": 3.0}, 100, 0.03),
        ({"a": 2.0, "b": 3.0}, 1, 3.0),
    ],
)
def test_a_unit_in_which_the_heaviest_is_the_largest(data: dict[str, float], largest: int, unit: float | None) -> None:
    turns = (MeasuredTurn(1, "a", (1.0,), (1.0,)),)
    measured = Measurement((MeasuredTensor("w", 4, False),), turns, {}, {}, data)
    proposal = propose(measured, largest)
    assert proposal.unit == unit
    written = with_proposal('[task]\nfile = "t.py"\n[weights]\nkind = "declared"  # ours\n', proposal, "c")
    said = Config.of(**tomllib.loads(written)).weights
    assert said.unit == unit
    assert "# ours" in written
    if unit is not None:
        rule = weight_rule(said.model_copy(update={"largest": largest}))
        assert not any(beyond(each, rule) for each in data.values())
        assert f"  [weights]\n  unit = {unit!r}\n" in describe_measurement(measured, proposal)


class Noised(Config):
    """A configuration that asks for noise."""

    privacy: str | None = "epsilon"


def test_with_noise_only_public_data_are_measured_for_a_policy(config: Path) -> None:
    private = Noised.model_validate({"task": {"file": "task.py"}})
    with pytest.raises(Misuse, match=r"task\.public_data: not declared"):
        _require_publishable(private, config)
    _require_publishable(Noised.model_validate({"task": {"file": "task.py", "public_data": True}}), config)
    _require_publishable(Noised.model_validate({"task": {"name": "digits"}}), config)
    _require_publishable(read_config(config), config)
