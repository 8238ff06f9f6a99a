"""Trackers of experiments are told what `metrics.jsonl` says, by their own libraries; one that fails ends no run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from auditor import audit
from proofs.errors import Misuse
from tests.required import needs
from tests.verifl.test_federation import CONFIG, Line
from verifl import Callback, Config, Federation, FederationResult, RoundSummary
from verifl.progress import NoProgress, Progress, Together
from verifl.reports.trackers import Lenient, numbers_of

SUMMARY = RoundSummary(3, ("a", "b"), ("a",), {"b": "malformed"}, (), {"loss": 0.5}, 1.5, 700, failed=("c",), closed=2)
COUNTS = {
    "round/submitted": 2, "round/accepted": 1, "round/excluded": 1, "round/failed": 1, "round/aborted": 0,
    "round/bytes": 700, "round/seconds": 1.5,
}  # fmt: skip


def configured(**report: str) -> Config:
    return Config.model_validate({**CONFIG.model_dump(), "report": report})


def test_what_is_drawn_of_a_round() -> None:
    assert numbers_of(SUMMARY) == {"loss": 0.5, **COUNTS}
    aborted = RoundSummary(4, (), (), {}, (), {"loss": 0.5}, None, 0, "no-quorum")
    assert numbers_of(aborted) == {name: 0 for name in COUNTS if name != "round/seconds"} | {"round/aborted": 1}


def test_a_tracker_that_fails_is_left_alone(caplog: pytest.LogCaptureFixture) -> None:
    asked = []

    def fail(step: int, numbers: object) -> None:
        asked.append(step)
        raise ConnectionError("refused")

    tracker = Lenient("mlflow", fail)
    tracker.measured(RoundSummary.initial({"loss": 1.0}))
    tracker.round_ended(SUMMARY, 5)
    assert asked == [0]
    (record,) = caplog.records
    assert record.fields == {"event": "tracker-failed", "tracker": "mlflow", "round": 0}
    assert "ConnectionError: refused" in record.message


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_a_tracker_that_is_not_installed_is_told_before_anything_is_done(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(Misuse, match=rf"report\.{name}: needs .*: pip install '\.\[{name}\]' in the dir"):
        Federation(Line(), configured(**{name: "x"}), tmp_path / "out").run()
    assert not (tmp_path / "out").exists()


class Heard(Callback):
    """Only some of what there is."""

    def __init__(self) -> None:
        self.rounds: list[int] = []

    def measured(self, initial: RoundSummary) -> None:
        self.rounds.append(initial.round)

    def round_ended(self, summary: RoundSummary, rounds: int) -> None:
        self.rounds.append(summary.round)


def test_a_callback_of_ones_own_hears_what_it_wants_to(tmp_path: Path) -> None:
    heard = [Heard(), Heard()]
    Federation(Line(), CONFIG, tmp_path / "out", callbacks=heard).run()
    assert [each.rounds for each in heard] == [[0, 1, 2]] * 2
    Federation(Line(), CONFIG, tmp_path / "out", callbacks=heard[:1]).run(resume=True)
    assert heard[0].rounds == [0, 1, 2]


def test_nothing_that_progress_can_say_is_lost_on_the_way_to_several() -> None:
    said = {name for name in vars(Progress) if not name.startswith("_")}
    for kind in (Callback, NoProgress, Together):
        assert said <= set(dir(kind))


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[FederationResult, Path]]:
    """A run that told both, and then went on for a third round."""
    needs("tensorboard", "mlflow")
    folder = tmp_path_factory.mktemp("told")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")  # a server's database is not what is tested
        config = configured(tensorboard=str(folder / "runs"), mlflow=(folder / "mlflow").as_uri())
        Federation(Line(), config, folder / "out").run()
        more = Config.model_validate({**config.model_dump(), "federation": {"rounds": 3, "seed": 5}})
        result = Federation(Line(), more, folder / "out").run(resume=True)
        assert audit(result.transcript, result.policy).accepted
        yield result, folder


@pytest.mark.organisations
def test_tensorboard_has_the_metrics_by_round(told: tuple[FederationResult, Path]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    result, folder = told
    (run,) = (folder / "runs").iterdir()
    found = EventAccumulator(str(run))
    found.Reload()
    expected = [result.initial_metrics["loss"], *(each.metrics["loss"] for each in result.rounds)]
    points = found.Scalars("loss")
    assert [each.step for each in points] == [0, 1, 2, 3]
    assert [each.value for each in points] == pytest.approx(expected)
    assert [each.value for each in found.Scalars("round/accepted")] == [4, 4, 4]


@pytest.mark.organisations
def test_mlflow_has_one_run_of_the_federation(told: tuple[FederationResult, Path]) -> None:
    from mlflow.tracking import MlflowClient

    result, folder = told
    client = MlflowClient(tracking_uri=(folder / "mlflow").as_uri())
    experiment = client.get_experiment_by_name("federation")
    (run,) = client.search_runs([experiment.experiment_id])
    assert run.info.status == "FINISHED"
    history = {each.step: each.value for each in client.get_metric_history(run.info.run_id, "loss")}
    assert history == {
        0: result.initial_metrics["loss"],
        **{each.round: each.metrics["loss"] for each in result.rounds},
    }


@pytest.mark.organisations
def test_a_tracker_that_cannot_be_opened_is_told_in_a_line(tmp_path: Path) -> None:
    needs("mlflow")
    with pytest.raises(Misuse, match=r"report\.mlflow: nowhere://x cannot be opened: "):
        Federation(Line(), configured(mlflow="nowhere://x"), tmp_path / "out").run()


def test_a_listener_without_the_youngest_method_still_hears_the_others() -> None:
    class Older:
        def __init__(self) -> None:
            self.heard: list[str] = []

        def note(self, text: str) -> None:
            self.heard.append(text)

    older = Older()
    together = Together([older])  # type: ignore[list-item]  # an older one lacks what is asked for
    together.measured(RoundSummary.initial({}))
    together.note("goes on")
    assert older.heard == ["goes on"]
