"""A budget over two federations, with nothing put in the place of anything: noise, issuer's program, both auditors."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from auditor import Report, Status, audit
from proofs.errors import Misuse, Rejected
from protocols.continuation import end_of, link_to
from protocols.log.reader import TranscriptReader
from protocols.noise import carried_budgets
from protocols.policy import PrivacyBudget
from tests.auditor.test_budget import play
from tests.independent.audit import audit as second_audit
from tests.simulator import Setting, Simulation
from verifl.enrolment.former import audited_end

BUDGET = PrivacyBudget(8_000_000, 10_000_000)
FIRST = Setting(
    clients=3, dimension=8, trustees=3, threshold=3, corrupt=1, min_cohort=2, max_rounds=4, encryption_proof=True,
    private_rounds=2, budget=BUDGET, federation="first",
)  # fmt: skip


def refused(call: object, *arguments: object) -> tuple[str, str]:
    with pytest.raises(Rejected) as excinfo:
        call(*arguments)
    return excinfo.value.check, excinfo.value.found


def pinned_file(simulation: Simulation) -> Path:
    file = simulation.path.with_name(f"{simulation.setting.federation}.cbor")
    file.write_bytes(simulation.policy_data)
    return file


def left(simulation: Simulation) -> dict[str, int]:
    """In how many more cohorts each client may be, by the policy."""
    budget = simulation.pinned.budget
    assert budget is not None
    return {member.id: budget.rounds(member.id) for member in simulation.pinned.policy.roster}


def heard(simulation: Simulation, *clients: str) -> None:
    """A round that just these clients answer."""
    simulation.open_round()
    for name in clients:
        simulation.submit(name)
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    simulation.release()
    assert simulation.finish().aborted is None


def first_audit(path: Path, policy: Path, *previous: Path) -> Report:
    """In the place of the second auditor's own audit of the former transcript, which takes long."""
    return audit(path, policy, previous=previous)


def test_what_was_spent_in_one_federation_is_missing_in_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = Simulation(tmp_path / "one" / "run", FIRST)
    first.start()
    assert left(first) == {"client-00": 2, "client-01": 2, "client-02": 2}
    assert play(first) is None
    heard(first, "client-00", "client-01")
    reader = TranscriptReader(first.path)
    open_end = end_of(reader.entries(0, reader.size), reader.size)
    expected = "previous-end", f"a log that may go on behind its {reader.size} entries"  # to spend what is left
    assert refused(link_to, first.pinned.policy, first.pinned.hash, open_end) == expected

    first.end()
    former = audited_end(str(first.path), pinned_file(first))
    assert former.end.charges == {"client-00": 2, "client-01": 2, "client-02": 1}
    assert refused(first.trustees["trustee-0"].round_key, 3)[0] == "erased"
    assert refused(first.coordinator.receive_change, first.rotation("client-02"))[0] == "order"
    with pytest.raises(Misuse):
        first.conductor.open_round()

    wider = replace(BUDGET, epsilon_millionths=9_000_000)  # not as much as a third cohort would take
    carried = replace(wider, former=carried_budgets(first.pinned.policy, former.end.charges))
    start = tuple(float(each) for each in former.model)
    setting = replace(
        FIRST, clients=4, federation="second", previous=former.link, start=start, budget=carried, private_rounds=3
    )
    second = Simulation(tmp_path / "two" / "run", setting)
    former.check(second.pinned.policy)
    with pytest.raises(Misuse, match="--continues: previous-budget"):
        former.check(replace(second.pinned.policy, privacy_budget=wider))
    assert left(second) == {"client-00": 0, "client-01": 0, "client-02": 1, "client-03": 2}
    second.start()
    second.open_round()
    assert second.conductor.due.parties == ("client-02", "client-03")
    assert refused(second.submit, "client-00") == ("budget", "client-00, who is in 0")
    for name in ("client-02", "client-03"):
        second.submit(name)
    second.acknowledge()
    assert second.close_cohort() is None
    second.release()
    assert second.finish().aborted is None

    first.writer.close()
    second.writer.close()
    report = audit(second.path, second.policy_data, required=["I14", "P5"], previous=[first.path])
    assert report.accepted
    assert [report.check(each).status for each in ("I14", "P5")] == [Status.PASS] * 2
    account = report.account
    assert account is not None
    spent = {each.client: (each.former, each.cohorts, each.allowed) for each in account.clients}
    assert spent == {"client-00": (2, 0, 0), "client-01": (2, 0, 0), "client-02": (1, 1, 1), "client-03": (0, 1, 2)}
    assert all(each.epsilon is not None and each.epsilon <= 9 for each in account.clients)
    monkeypatch.setattr("tests.independent.audit.audit", first_audit)
    other = second_audit(second.path, pinned_file(second), first.path)
    assert other.accepted
    assert (other.status("I14"), other.status("P5")) == ("pass", "pass")
