"""What a run says of its privacy budget: of whom epsilon is, on what it rests, what is spent, and what aborts cost."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from proofs.machine.installing import install_hint
from tests.verifl import failing
from tests.verifl.failing import Line, withhold
from verifl.agents.client import ClientAgent
from verifl.carriers import spending
from verifl.config import Config
from verifl.planning.plan import make_plan
from verifl.progress import Callback

ROOT = Path(__file__).parents[3]
run: Callable[..., Any] = functools.partial(failing.run, privacy={"epsilon": 8.0, "delta": 1e-5})


class Notes(Callback):
    def __init__(self) -> None:
        self.told: list[str] = []

    def note(self, text: str) -> None:
        self.told.append(text)

    @property
    def privacy(self) -> list[str]:
        return [text for text in self.told if text.startswith("privacy: ")]


def test_the_claim_before_the_first_round_and_what_is_spent_behind_each(tmp_path: Path) -> None:
    notes = Notes()
    result = run(Line(), tmp_path / "out", callbacks=[notes])
    claim, colluding, first, second = notes.privacy
    assert claim == (
        "privacy: epsilon 8 at delta 1e-05, of a client with all its data (not of a patient or a record), in 2 closed "
        "cohorts, those of aborted rounds included; assumed: 3 of 3 clients of a cohort tell nobody their noise, and "
        f"more: {spending.PAGE}"
    )
    assert (ROOT / spending.PAGE).is_file()
    assert "privacy: no more than 0 clients of the roster may tell the server their noise" in colluding
    assert "up to 1 other client: say in privacy.colluding how many" in colluding
    assert re.fullmatch(
        r"privacy: epsilon 5\.\d+ of 8 is spent, at delta 1e-05, of a client as the unit: most of a, in 1 of at most 2 "
        r"closed cohorts; assumptions: docs/privacy\.md",
        first,
    )
    assert "most of a, in 2 of at most 2 closed cohorts" in second
    assert result.spent == result.to_dict()["spent"] == second
    assert str(result).count(second) == 1


@pytest.mark.parametrize(("colluding", "honest"), [(0, 3), (1, 2)])
def test_whoever_says_how_many_collude_is_told_no_more_of_it(tmp_path: Path, colluding: int, honest: int) -> None:
    notes = Notes()
    privacy = {"epsilon": 8.0, "delta": 1e-5, "colluding": colluding}
    failing.run(Line(), tmp_path / "out", rounds=1, privacy=privacy, callbacks=[notes])
    assert f"assumed: {honest} of 3 clients" in notes.privacy[0]
    assert not any("privacy.colluding" in each for each in notes.privacy)


def test_a_run_without_noise_says_nothing_of_it(tmp_path: Path) -> None:
    notes = Notes()
    result = failing.run(Line(), tmp_path / "out", rounds=1, callbacks=[notes])
    assert (notes.privacy, result.spent) == ([], None)
    assert "epsilon" not in str(result)


def test_training_that_is_hopeless_is_a_warning_of_the_run(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "verifl"):
        failing.run(Line(), tmp_path / "out", rounds=1, privacy={"epsilon": 0.01, "delta": 1e-5})
    said = [each.getMessage() for each in caplog.records if each.fields["event"] == "privacy"]
    assert len(said) == 1
    assert "times as long as its noise: training will hardly learn from it" in said[0]


@pytest.mark.parametrize(("delta", "told"), [(0.24, False), (0.25, True), (0.5, True)])
def test_a_delta_as_large_as_a_client_in_all_is_told(delta: float, told: bool) -> None:
    plan = make_plan(Line(), Config.of(privacy={"epsilon": 1.0, "delta": delta}, federation={"rounds": 1}))
    assert plan.privacy is not None
    assert any(f"delta {delta:g} is no less than 1 / 4, the number" in each for each in plan.privacy.notes()) == told


def test_an_abort_that_spent_the_budget_is_named_at_the_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    withhold(monkeypatch, 1)
    result = run(Line(), tmp_path / "out")
    assert result.ended is not None
    assert "(budget-spent); 1 round aborted behind a closed cohort spent budget, too; the final model" in result.ended
    assert "in 2 of at most 2 closed cohorts" in result.spent


def test_a_client_knows_by_its_receipts_what_it_has_spent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, object]] = []
    check = ClientAgent._check_budget

    def look(self: ClientAgent) -> None:
        seen.append((self.name, self.spent))
        check(self)

    monkeypatch.setattr(ClientAgent, "_check_budget", look)
    run(Line(), tmp_path / "out")
    assert [spent for name, spent in seen if name == "b"] == [(0, 2), (1, 2)]


def test_no_hint_names_a_package_on_a_registry(tmp_path: Path) -> None:
    """The name there may be somebody else's."""
    assert install_hint("remote") == "pip install '.[remote]' in the directory of the source"
    files = [ROOT / "README.md", *(ROOT / "docs").rglob("*.md")]
    files += [each for room in ("verifl", "auditor", "protocols", "proofs") for each in (ROOT / room).rglob("*.*")]
    texts = {each: each.read_text(encoding="utf-8") for each in files if each.suffix in (".py", ".md", ".toml")}
    named = re.compile(r"""pip install[^\n&"`]*\bverifl\b""")
    assert [each for each, text in texts.items() if named.search(text)] == []
