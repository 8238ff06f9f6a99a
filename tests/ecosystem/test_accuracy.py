"""The comparison with plain averaging: its short cut is the whole run, and its hard cases learn as plain rounds do."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from xml.parsers.expat import ParserCreate

import pytest
import torch

FOLDER = Path(__file__).parent.parent.parent / "examples" / "accuracy"
SCRIPTS = ("arms", "datasets", "panels", "compare", "curves", "noised")


@pytest.fixture
def scripts(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, ModuleType]]:
    """The folder's scripts, which import each other."""
    import importlib

    monkeypatch.syspath_prepend(FOLDER)
    yield {name: importlib.import_module(name) for name in SCRIPTS}
    for name in SCRIPTS:
        sys.modules.pop(name)


@pytest.mark.parametrize("kind", ["declared", pytest.param("private", marks=pytest.mark.exhaustive)])
def test_the_short_cut_gives_the_models_of_a_whole_run(
    scripts: dict[str, ModuleType], tmp_path: Path, kind: str
) -> None:
    prepared = scripts["datasets"].prepare(scripts["datasets"].DATASETS["breast-cancer"], tmp_path)
    prepared.path.write_text(prepared.path.read_text().replace("clients = 8", "clients = 3"))
    task, config = prepared.task(1), prepared.config(1, 2, kind, 250)
    short = list(scripts["arms"].verified(task, config))
    whole = list(scripts["arms"].proved(task, config))
    assert [each.model for each in short] == [each.model for each in whole]
    assert [each.metrics for each in short] == [each.metrics for each in whole]
    assert short[0].model != short[1].model


def test_what_is_measured_is_not_measured_again(
    scripts: dict[str, ModuleType], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that was stopped goes on; the table and the curves are of what is there."""
    compare, made, results = scripts["compare"], [], tmp_path / "results.jsonl"

    def run(prepared: object, arm: str, seed: int, arguments: object) -> Iterator[object]:
        made.append((arm, seed))
        if len(made) == 3:
            raise KeyboardInterrupt
        return iter([scripts["arms"].Round(number, {"accuracy": 0.5 + number / 50}, b"") for number in range(1, 21)])

    monkeypatch.setattr(compare, "_run", run)
    asked = ["--results", str(results), "--dataset", "digits", "--seeds", "1"]
    with pytest.raises(KeyboardInterrupt):
        compare.main(asked)
    compare.main(asked)
    assert [arm for arm, _ in made] == [
        "plain-weighted", "plain-unweighted", "verified-equal", "verified-equal", "verified-declared",
        "verified-private",
    ]  # fmt: skip
    lines = compare.lines_of(results)
    table = scripts["curves"].table(lines)
    assert table[2] == "| **digits**, 1 seeds | | | | | |"
    assert table[3] == "| plain, weighted | 0.520 | 0.600 | 0.700 | 0.900 | 0.000 |"
    drawn = scripts["panels"].drawing(scripts["curves"].curves(lines))
    ParserCreate().Parse(drawn, True)
    assert drawn.count("<polyline") == 4


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", ["raw-features", "pixels", "segmentation"])
def test_what_nothing_was_learnt_of_before(
    scripts: dict[str, ModuleType], tmp_path: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Through `verifl init` and `verifl measure --write`: within two points of plain averaging after ten rounds, which
    updates of one clip norm and one scale are not; and a whole run reports what its file has."""
    from safetensors.torch import load_file

    from verifl import Federation

    dataset = scripts["datasets"].DATASETS[name]
    prepared = scripts["datasets"].prepare(dataset, tmp_path)
    task, config = prepared.task(1), prepared.config(1, 10, "equal")
    assert any(group.scales or group.scale > 1000 for group in config.update.groups)
    plain = [each.metrics[dataset.metric] for each in scripts["arms"].plain(task, config, weighted=False)]
    found = [each.metrics[dataset.metric] for each in scripts["arms"].verified(task, config)]
    bare = config.model_copy(update={"update": replace_groups(config.update)})
    without = [each.metrics[dataset.metric] for each in scripts["arms"].verified(task, bare)]
    assert abs(found[-1] - plain[-1]) < 0.02
    assert without[-1] < plain[-1] - 0.1
    short = config.model_copy(update={"federation": config.federation.model_copy(update={"rounds": 1})})
    result = Federation(task, short, tmp_path / "out").run()
    model = task.model()
    model.load_state_dict(load_file(result.model))
    assert dict(task.evaluate(model)) == dict(result.rounds[-1].metrics)


def replace_groups(update: object) -> object:
    return update.model_copy(update={"groups": (), "fraction_bits": None})  # type: ignore[attr-defined]  # a table of pydantic


def test_the_results_hold_what_the_documents_say() -> None:
    """Of the file that the table of docs/training.md was made of: with the weights of the samples, verified rounds are
    within a point of plain weighted averaging in rounds 10 and 20; declared and private weights give one model."""
    lines = [json.loads(line) for line in (FOLDER / "results.jsonl").read_text().splitlines()]
    usual = [line for line in lines if line["entry_bits"] is None and line["of"] == 20]
    names = dict.fromkeys(line["dataset"] for line in usual)
    assert len(names) >= 6
    for name in names:
        plain, declared, private = (
            {line["seed"]: line for line in usual if (line["dataset"], line["arm"]) == (name, arm)}
            for arm in ("plain-weighted", "verified-declared", "verified-private")
        )
        assert list(plain) == list(declared)
        for number in (10, 20):
            means = [sum(line["rounds"][number - 1] for line in arm.values()) / len(arm) for arm in (plain, declared)]
            assert abs(means[0] - means[1]) <= 0.01, (name, number)
        for seed, line in private.items():
            assert line["model"] == declared[seed]["model"]


def test_the_page_has_the_tables_and_curves_of_the_results(
    scripts: dict[str, ModuleType], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    docs, drawn = FOLDER.parent.parent / "docs", tmp_path / "accuracy.svg"
    page = (docs / "training.md").read_text()
    for further in (["--svg", str(drawn)], ["--entry-bits"]):
        scripts["curves"].main([str(FOLDER / "results.jsonl"), *further])
        assert capsys.readouterr().out in page
    assert drawn.read_text() == (docs / "figures" / "accuracy.svg").read_text()


def test_noise_costs_what_a_trusted_server_s_does(
    scripts: dict[str, ModuleType], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where all clients' noise counts, the noise of a sum has the variance of central differential privacy, but for
    what is rounded upward; where half of it does, twice that."""
    noised = scripts["noised"]
    dimension, count, epsilon = 62, 456, 3
    bound = noised.norm_bound(noised.CLIP, 8)
    central = noised.analytic(epsilon)
    for honest, factor in ((count, 1.0), (count // 2, 2.0)):
        each = noised.least_variance(bound, Fraction(epsilon), honest)
        assert 1 <= count * each / (bound * central) ** 2 / factor < 1.02
    steps = torch.full((count, dimension), 0.5 / dimension**0.5, dtype=torch.float64)
    exact, found = steps.sum(dim=0), noised.verified(None, 1.0)(steps)
    assert torch.allclose(found, exact, atol=count / 512)
    assert not torch.allclose(noised.verified(epsilon, 1.0)(steps), exact, atol=count / 512)
    lines = [
        {"dataset": "digits", "arm": arm, "epsilon": epsilon, "seed": 1, "accuracy": 0.9}
        for arm in noised.ARMS
        for epsilon in noised.EPSILONS
    ]
    results = tmp_path / "noised.jsonl"
    results.write_text("\n".join(map(json.dumps, lines)))
    noised.main(["--results", str(results), "--svg", str(tmp_path / "noise.svg")])
    assert capsys.readouterr().out.splitlines()[2].startswith("| digits, central | 0.900 (0.900 to 0.900) |")
    assert (tmp_path / "noise.svg").read_text().count("<polyline") == 3
