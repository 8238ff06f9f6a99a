"""P6 on whole transcripts: whom a repeated round may leave out, and what the log must prove for that."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from auditor import audit
from protocols.rounds import trustee
from protocols.rounds.closing import DIFFERENCING
from tests import retries
from tests.auditor.conftest import failed
from tests.simulator import Simulation


@pytest.fixture
def simulation(tmp_path: Path) -> Iterator[Simulation]:
    made = Simulation(tmp_path)
    made.start()
    yield made
    made.writer.close()


@pytest.mark.parametrize("name", list(retries.UNJUST))
def test_a_sum_released_against_the_rule_is_found(
    name: str, simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every trustee is corrupt and releases; otherwise nothing is wrong with the log."""
    retries.UNJUST[name](simulation)
    monkeypatch.setattr(trustee, "check_cohort_difference", lambda *_: None)
    message = retries.cohort_of(simulation)
    simulation.store(simulation.coordinator._log([simulation.coordinator._seal(message)]))
    simulation.checkpoint()
    simulation.release()
    assert simulation.finish().aborted is None
    report = audit(simulation.path, simulation.policy_data)
    assert failed(report) == {"P6"}
    assert {finding.found for finding in report.check("P6").findings} == {f"a difference of {retries.VICTIM}"}


@pytest.mark.parametrize("name", list(retries.UNJUST))
def test_a_round_aborted_by_the_rule_is_accepted(name: str, simulation: Simulation) -> None:
    retries.UNJUST[name](simulation)
    assert simulation.close_cohort() == "differencing"
    report = audit(simulation.path, simulation.policy_data)
    assert failed(report) == set()
    assert report.accepted


@pytest.mark.parametrize("name", list(retries.JUST))
def test_a_repetition_without_one_at_fault_is_accepted(name: str, simulation: Simulation) -> None:
    retries.JUST[name](simulation)
    assert simulation.close_cohort() is None
    simulation.release()
    assert simulation.finish().accepted == tuple(retries.others(simulation))
    report = audit(simulation.path, simulation.policy_data)
    assert failed(report) == set()
    assert report.accepted


@pytest.mark.parametrize("name", list(retries.JUST))
def test_a_fault_that_exempts_is_no_reason_to_abort(name: str, simulation: Simulation) -> None:
    retries.JUST[name](simulation)
    current = simulation.coordinator.ledger.current
    assert current is not None
    simulation.store(simulation.coordinator._abort(current, DIFFERENCING))
    simulation.checkpoint()
    assert failed(audit(simulation.path, simulation.policy_data)) == {"I8"}
