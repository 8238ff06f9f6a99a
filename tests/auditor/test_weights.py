"""What an audit says of weights: whom they single out (P6), what is published of them (P4), what servers make up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from auditor import audit
from protocols.messages import Aggregate, CohortClosed, RoundClosed, Submission
from protocols.policy import WeightRule
from protocols.steps.doubles import format_double
from protocols.steps.step import apply_step, encode_model, initial_state
from tests.auditor.forge import Forge
from tests.protocols.rounds.test_weights import both
from tests.simulator import Setting, Simulation, Update, identity_of

exhaustive = pytest.mark.exhaustive
LARGEST = 9
SMALL = Setting(clients=2, trustees=2, threshold=2, corrupt=1, dimension=4)


def weighing(kind: str, setting: Setting = SMALL) -> Setting:
    return replace(setting, weights=WeightRule(kind, LARGEST, format_double(1.0)))


# ---- P6: whose weight changed ----


def own(position: int) -> Update:
    """What a client sends of weight 1, in every round."""
    return 16 * (np.arange(SMALL.dimension) * (position + 1) - position)


def play(simulation: Simulation, weights: Sequence[int], sign: int) -> Update:
    """A round in which clients of these weights send their own, or its negative; the sum of the updates."""
    simulation.open_round()
    for position, (name, weight) in enumerate(zip(simulation.clients, weights, strict=True)):
        simulation.weights[name] = weight
        simulation.submit(name, sign * weight * own(position))
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    simulation.release()
    plaintext = simulation.finish().plaintext
    assert plaintext is not None
    return plaintext[: SMALL.dimension]


def test_changed_weights_are_noted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There and back: round 3 is on the model of round 1, which closed, so that no rule compares; the client lies. The
    difference of these two sums is exactly its update."""
    monkeypatch.setattr("protocols.rounds.client.check_same_weight", lambda *_: None)
    simulation = Simulation(tmp_path, weighing("declared", replace(SMALL, clients=3, start=(0.0,) * 4)))
    simulation.start()
    sums = [play(simulation, *each) for each in (((4, 4, 4), 1), ((4, 4, 4), -1), ((4, 4, 5), 1))]
    simulation.writer.close()
    assert (sums[2] - sums[0]).tolist() == own(2).tolist()
    report = audit(simulation.path, simulation.policy_data)
    assert report.accepted
    said = "expose client-02: they weigh otherwise than before, beside the others; "
    consecutive, returned = report.check("P6").notes
    assert consecutive.startswith(f"rounds 2 and 3 {said}their sums show little else once training hardly moves")
    assert returned == f"rounds 1 and 3 {said}both are on one model"


@pytest.mark.parametrize("rounds", [1, 2])
def test_private_changes_are_said_not_to_be_listed(tmp_path: Path, rounds: int) -> None:
    simulation = Simulation(tmp_path, weighing("private"))
    simulation.start()
    for _ in range(rounds):
        play(simulation, (2, 4), 1)
    simulation.writer.close()
    notes = audit(simulation.path, simulation.policy_data).check("P6").notes
    assert sum("nobody can tell" in note for note in notes) == rounds - 1


# ---- P4 ----


def test_what_is_proved_of_the_published_sums(private: Simulation, declared: Simulation) -> None:
    bound = private.pinned.policy.update.norm_bound
    told = audit(private.path, private.policy_data).check("P4").checked
    together = np.ceil(LARGEST * np.sqrt(bound**2 + 1.0))
    assert told.endswith(
        f"({LARGEST} times {bound} units of 2^-12), and the sum of weights by at most {LARGEST}: "
        f"both together by less than {together:.0f} units"
    )
    told = audit(declared.path, declared.policy_data).check("P4").checked
    assert told.endswith(f"at most {LARGEST} in L2 ({LARGEST} times {bound} units of 2^-12)")


# ---- what only a server logs ----


def simulation_of(directory: Path, setting: Setting) -> Simulation:
    simulation = Simulation(directory, setting)
    simulation.start()
    simulation.play_round()
    simulation.writer.close()
    return simulation


@pytest.fixture(scope="module")
def private(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return simulation_of(tmp_path_factory.mktemp("private"), weighing("private"))


@pytest.fixture(scope="module")
def declared(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    return simulation_of(tmp_path_factory.mktemp("declared"), weighing("declared"))


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """With every relation."""
    setting = replace(weighing("private"), coordinate_clip=0.5, encryption_proof=True)
    return simulation_of(tmp_path_factory.mktemp("full"), setting)


def forged_of(simulation: Simulation) -> Forge:
    return Forge.load(simulation.path, simulation.pinned.policy, simulation.policy_data, identity_of)


RELATIONS = {
    "weight": ("full", {"weight_commitments": None}),
    "range": ("full", {"range_commitments": None}),
    "noise": ("full", {"noise_commitments": None}),
    "all": ("full", {"weight_commitments": None, "range_commitments": None, "noise_commitments": None}),
    "not-asked": ("declared", {"weight_commitments": b"\x02" * 66}),
    "stated": ("private", {"weight": 1}),
    "not-stated": ("declared", {"weight": None}),
}
QUICK = ("weight", "not-asked")


@pytest.mark.parametrize("excluded", [False, True], ids=["accepted", "excluded"])
@pytest.mark.parametrize("name", [pytest.param(each, marks=() if each in QUICK else exhaustive) for each in RELATIONS])
def test_other_commitments_than_are_asked_for(
    request: pytest.FixtureRequest, tmp_path: Path, name: str, excluded: bool
) -> None:
    """I5 and I6 refuse such an entry, and no client is blamed, whatever the coordinator says: both auditors alike."""
    of, changes = RELATIONS[name]
    simulation = request.getfixturevalue(of)
    forged = forged_of(simulation)
    at = forged.find(Submission, nth=1)
    named = {field: forged.put(data) if isinstance(data, bytes) else data for field, data in changes.items()}
    forged.edit(at, **named)
    if excluded:
        place = forged.find(CohortClosed)
        closed = forged.message(place)
        verdicts, mine = closed.verdicts, at - closed.first
        forged.edit(place, verdicts=verdicts[:mine] + "i" + verdicts[mine + 1 :])
    failing = both(forged.write(tmp_path / "forged"), simulation.policy_data)
    assert {"I5", "I6"} <= failing
    assert ("I7" in failing) is excluded  # it has no invalid proof
    report = audit(tmp_path / "forged", simulation.policy_data)
    (blamed,) = {finding.by for finding in report.check("I5").findings}
    assert blamed == "coordinator"
    assert not any("is named" in note for note in report.check("I7").notes)


# ---- private weights: a server that divides by another number, or publishes another sum ----


@pytest.mark.parametrize(
    "by", ["count", pytest.param("one less", marks=exhaustive), pytest.param("double", marks=exhaustive)]
)
def test_a_server_that_divides_by_another_number(private: Simulation, tmp_path: Path, by: str) -> None:
    forged = forged_of(private)
    plaintext = np.frombuffer(forged.blob(forged.message(forged.find(Aggregate)).plaintext), dtype="<i8")
    total = int(plaintext[-1])
    wrong = {"count": 2, "one less": total - 1, "double": 2 * total}[by]
    start = initial_state(private.pinned.policy, private.model)
    state = apply_step(private.pinned.policy, start, plaintext[:-1].astype(np.int64), wrong, 1)
    forged.edit(forged.find(RoundClosed), model=forged.put(encode_model(state.model)))
    assert both(forged.write(tmp_path / "forged"), private.policy_data) == {"I11"}


@pytest.mark.parametrize(
    "total",
    [1, *(pytest.param(each, marks=exhaustive) for each in (2, 3, 18, 19, 20, -1, 0, 2**63 - 1))],
)
def test_a_server_that_publishes_another_sum_of_weights(private: Simulation, tmp_path: Path, total: int) -> None:
    forged = forged_of(private)
    at = forged.find(Aggregate)
    plaintext = np.frombuffer(forged.blob(forged.message(at).plaintext), dtype="<i8").copy()
    assert plaintext[-1] != total
    plaintext[-1] = total
    forged.edit(at, plaintext=forged.put(plaintext.tobytes()))
    assert {"I9", "I10", "I11"} <= both(forged.write(tmp_path / "forged"), private.policy_data)
