"""Declared weights: the weighted mean of what honest clients sent, and everybody's refusal of any other weight."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

from auditor import Report, audit
from proofs.engine import Engine
from proofs.errors import Malformed, Misuse, Rejected
from proofs.parameters import ArgumentParameters
from proofs.randomness import Randomness
from protocols.encoding import decode, encode
from protocols.messages import Aggregate, Submission
from protocols.policy import WeightRule
from protocols.rounds import rules, submitting
from protocols.rounds.client_holdings import WEIGHED
from protocols.rounds.ledger import packed_weights, weight_in
from protocols.rounds.submitting import HONEST, ClientRound, Composition, Parts, Secrets
from protocols.steps.doubles import format_double
from protocols.steps.fedopt import fedadam
from protocols.steps.step import apply_step, initial_state
from protocols.weights import check_weight
from tests.adversaries import become, resigned, submission_of
from tests.auditor.forge import Forge
from tests.independent.audit import audit as audit_again
from tests.simulator import Setting, Simulation, Update, identity_of

Simulate = Callable[..., Simulation]
LARGEST = 50
WEIGHTS = WeightRule("declared", LARGEST, format_double(1.0))
CORRUPT = ("trustee-0",)
SMALL = {"weights": WEIGHTS, "clients": 4, "trustees": 2, "threshold": 2, "corrupt": 1, "dimension": 8}
LIAR = "client-02"


@pytest.fixture
def weighed(simulate: Simulate) -> Simulation:
    return simulate(**SMALL)


def failures(report: Report) -> dict[str, str]:
    """By check, the first place of a finding."""
    found: dict[str, str] = {}
    for check, finding in report.broken:
        found.setdefault(check.id, finding.where)
    return found


def both(path: Path, policy: bytes) -> set[str]:
    """The checks that fail: the auditor and the second auditor agree on every status."""
    file = path.parent / "pinned.cbor"
    file.write_bytes(policy)
    report, again = audit(path, policy), audit_again(path, file)
    statuses = {check.id: check.status.value for check in report.checks}
    assert statuses == {number: again.status(number) for number in statuses}
    return {number for number, status in statuses.items() if status == "fail"}


# ---- honest ----


def test_the_model_moves_by_the_weighted_mean(simulate: Simulate) -> None:
    simulation = simulate(**{**SMALL, "clients": 3}, step=fedadam(), coordinate_clip=0.25, encryption_proof=True)
    first = simulation.play_round()
    second = simulation.play_round(clients=list(simulation.clients)[:2])
    simulation.writer.close()
    state = initial_state(simulation.pinned.policy, simulation.model)
    for result in (first, second):
        assert result.plaintext is not None
        assert np.array_equal(result.plaintext, simulation.expected_sum(result))
        total = sum(simulation.weights[name] for name in result.accepted)
        assert total > len(result.accepted)
        state = apply_step(simulation.pinned.policy, state, result.plaintext, total, result.number)
    assert np.array_equal(state.model, simulation.coordinator.step_state().model)
    assert both(simulation.path, simulation.policy_data) == set()


def test_the_step_divides_exactly(weighed: Simulation) -> None:
    result = weighed.play_round()
    assert result.plaintext is not None
    total, bits = sum(weighed.weights.values()), weighed.pinned.policy.update.fraction_bits
    mean = [Fraction(int(value), total << bits) for value in result.plaintext]
    moved = weighed.coordinator.step_state().model
    expected = [start + float(each) for start, each in zip(weighed.model, mean, strict=True)]
    assert moved.tolist() == expected


def test_both_engines_accept(weighed: Simulation) -> None:
    weighed.play_round(clients=list(weighed.clients)[:2])
    weighed.writer.close()
    assert audit(weighed.path, weighed.policy_data, engine="reference").accepted


@pytest.mark.parametrize("kind", ["declared", "private"])
def test_an_update_may_be_as_long_as_its_weight_allows_and_no_longer(simulate: Simulate, kind: str) -> None:
    weighed = simulate(**{**SMALL, "clients": 2, "weights": replace(WEIGHTS, kind=kind)})
    weighed.open_round()
    weighed.weights["client-00"] = LARGEST
    bound = LARGEST * weighed.pinned.policy.update.norm_bound
    full = np.zeros(weighed.setting.dimension, dtype=np.int64)
    full[3] = bound
    longer = full.copy()
    longer[4] = 1
    with pytest.raises(Misuse, match=rf"expected squared norm <= B\^2 = {bound**2}, found {bound**2 + 1}"):
        weighed.package("client-00", longer)
    weighed.submit("client-00", full)
    weighed.submit("client-01")
    weighed.acknowledge()
    assert weighed.close_cohort() is None
    weighed.release()
    assert weighed.finish().accepted == tuple(weighed.clients)


def test_sizes_do_not_depend_on_the_weight(weighed: Simulation) -> None:
    pinned = weighed.pinned
    for weight in (1, 7, LARGEST):
        of_weight = pinned.argument_of(weight)
        assert of_weight.proof_size == pinned.proof_size
        assert of_weight.response_bound == pinned.argument.response_bound
        assert of_weight.layout.families == pinned.argument.layout.families


def test_a_batch_of_different_weights_is_one_multiplication(
    weighed: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    weighed.open_round()
    packages = [weighed.package(name) for name in weighed.clients]
    assert len({submission_of(each).weight for each in packages}) == len(packages)
    for name, package in zip(weighed.clients, packages, strict=True):
        weighed.store(weighed.conductor.take(name, package))
    calls = []
    engine = type(weighed.engine)
    zero = engine.combination_is_zero
    monkeypatch.setattr(engine, "combination_is_zero", lambda *given: calls.append(1) or zero(*given))
    assert [each.fault for each in weighed.coordinator.verdicts()] == [None] * len(packages)
    assert len(calls) == 1


def test_parameters_are_derived_once_a_claim(weighed: Simulation, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever sends thousands of weights makes nobody derive more than one set of parameters for each."""
    weighed.open_round()
    for name in weighed.clients:
        weighed.submit(name)
    made = []
    derive = ArgumentParameters.weighing
    monkeypatch.setattr(
        ArgumentParameters, "weighing", lambda self, weight: made.append(weight) or derive(self, weight)
    )
    weighed.coordinator.verdicts()
    assert sorted(each for each in made if each != 1) == sorted(weighed.weights.values())


# ---- what may be stated ----


@pytest.mark.parametrize("weight", [0, LARGEST + 1, 2**63 - 1, None])
def test_a_weight_out_of_range_is_not_admitted(weighed: Simulation, weight: int | None) -> None:
    weighed.open_round()
    package = resigned(weighed, weighed.package("client-00"), weight=weight)
    with pytest.raises(Rejected) as excinfo:
        weighed.coordinator.receive(package)
    assert (excinfo.value.check, excinfo.value.expected) == ("weight", f"1 to {LARGEST}")
    with pytest.raises(Misuse, match=f"weight: expected 1 to {LARGEST}"):
        weighed.clients["client-01"].submit(weighed.accept("client-01"), weighed.random_update("u"), weight)


def test_no_weight_is_admitted_where_all_weigh_alike(simulation: Simulation) -> None:
    simulation.open_round()
    package = resigned(simulation, simulation.package("client-00"), weight=1)
    with pytest.raises(Rejected, match="weight: expected none with equal weights, found 1"):
        simulation.coordinator.receive(package)


@pytest.mark.parametrize(
    ("stated", "expected"),
    [(b"\x20", "no tag, float or negative integer"), (b"\x1b" + b"\xff" * 8, "an integer in 0 .. 2^63 - 1")],
    ids=["negative", "huge"],
)
def test_other_spellings_of_a_weight_are_malformed(weighed: Simulation, stated: bytes, expected: str) -> None:
    weighed.open_round()
    body = encode(submission_of(weighed.package("client-00")))
    key = b"\x66weight"
    start = body.index(key) + len(key)
    weight = weighed.weights["client-00"]
    old = bytes([weight]) if weight < 24 else bytes([0x18, weight])
    assert body[start:].startswith(old)
    with pytest.raises(Malformed, match=expected.replace(".", r"\.").replace("^", r"\^")):
        decode(Submission, body[:start] + stated + body[start + len(old) :])


# ---- a weight in the message and another in the proof ----


def proving_for(weight: int) -> Composition:
    """Commits and proves as of this weight, whatever is stated."""

    def commit(engine: Engine, at: ClientRound, update: Update, rand: Randomness) -> Secrets:
        return submitting.commit(engine, replace(at, weight=weight), update, rand)

    def prove(
        engine: Engine, at: ClientRound, secrets: Secrets, parts: Parts, message: Submission, rand: Randomness
    ) -> bytes:
        return submitting.prove(engine, replace(at, weight=weight), secrets, parts, message, rand)

    return replace(HONEST, commit=commit, prove=prove)


@pytest.mark.parametrize(("stated", "proved"), [(1, 9), (9, 8)])
def test_a_proof_for_another_weight_than_stated_is_invalid(weighed: Simulation, stated: int, proved: int) -> None:
    weighed.weights[LIAR] = stated
    become(weighed, LIAR, proving_for(proved))
    result = weighed.play_round()
    assert result.accepted == tuple(name for name in weighed.clients if name != LIAR)
    weighed.writer.close()
    assert both(weighed.path, weighed.policy_data) == set()
    notes = audit(weighed.path, weighed.policy_data).check("I7").notes
    assert any(f"{LIAR} is named: invalid-proof" in note and "(linear-relation)" in note for note in notes)


def test_a_submission_with_its_weight_changed_is_invalid(weighed: Simulation) -> None:
    """By its own client, which signs it: every blob is as it was, and the proof was made in another context."""
    weighed.open_round()
    for name in weighed.clients:
        package = weighed.package(name)
        if name == LIAR:
            package = resigned(weighed, package, weight=weighed.weights[LIAR] % LARGEST + 1)
        weighed.store(weighed.conductor.take(name, package))
    (verdict,) = [each for each in weighed.coordinator.verdicts() if each.fault is not None]
    assert (verdict.client, verdict.fault.reason, verdict.fault.detail) == (LIAR, "invalid-proof", "linear-relation")


# ---- repetitions ----


def test_a_repetition_repeats_the_weight(weighed: Simulation) -> None:
    weighed.play_round(silent=CORRUPT)
    weighed.open_round()
    stated, name = dict(weighed.weights), LIAR
    weighed.weights[name] = stated[name] % LARGEST + 1
    with pytest.raises(Misuse, match=rf"weight: expected {stated[name]}, as in round 1 on this model"):
        weighed.package(name)
    become(weighed, name, HONEST)
    with pytest.raises(Rejected, match=rf"retry-weight: expected {stated[name]}, as in round 1 on this model"):
        weighed.submit(name)
    weighed.clients[name] = weighed._client(name)
    weighed.weights = stated
    for client in weighed.clients:
        assert weighed.clients[client].weight_on(weighed.accept(client)) == stated[client]
        weighed.submit(client)
    weighed.acknowledge()
    assert weighed.close_cohort() is None
    weighed.release()
    assert weighed.finish().accepted == tuple(weighed.clients)
    weighed.weights[name] = stated[name] % LARGEST + 1  # on the next model it may weigh what it likes
    assert weighed.play_round().accepted == tuple(weighed.clients)
    weighed.writer.close()
    assert audit(weighed.path, weighed.policy_data).accepted


def test_a_repetition_of_what_was_not_opened_may_change_the_weight(weighed: Simulation) -> None:
    weighed.open_round()
    weighed.submit(LIAR)
    weighed.store(weighed.coordinator.abort())
    weighed.checkpoint()
    become(weighed, LIAR, HONEST)
    weighed.weights[LIAR] = weighed.weights[LIAR] % LARGEST + 1
    assert weighed.play_round().accepted == tuple(weighed.clients)


@pytest.mark.parametrize("kind", ["declared", "private"])
def test_a_client_weighs_the_same_on_a_model_that_comes_back(simulate: Simulate, kind: str) -> None:
    """Also where nobody else compares: the weights are private, or the round of the cohort closed. And after a restart,
    and where the model is that of the round that was closed last."""
    start = (0.0,) * SMALL["dimension"]
    weighed = simulate(**{**SMALL, "clients": 2, "weights": replace(WEIGHTS, kind=kind), "start": start})
    names = list(weighed.clients)
    weighed.weights = dict.fromkeys(names, 4)
    update = np.arange(SMALL["dimension"], dtype=np.int64)
    models = []
    for sign in (1, -1):
        assert weighed.play_round(dict.fromkeys(names, sign * update)).aborted is None
        models.append(weighed.coordinator.ledger.model)
    weighed.open_round()
    assert models[0] != models[1] == weighed.pinned.policy.initial_model
    weighed.restart_client(names[0])
    client, opened = weighed.clients[names[0]], weighed.accept(names[0])
    assert client.weight_on(opened) == 4
    with pytest.raises(Misuse, match="weight: expected 4, as in round 1 on this model, found 5"):
        client.submit(opened, update, 5)
    client.submit(opened, update, 4)
    assert [each.round for each in WEIGHED.get(weighed.stores[names[0]]).models] == [2, 3]


def test_changed_weights_in_a_repetition_are_found_by_both_auditors(
    simulate: Simulate, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All parties corrupt."""
    simulation = simulate(**SMALL)
    simulation.play_round(silent=CORRUPT)
    monkeypatch.setattr(rules, "weight_in", lambda *_: None)
    become(simulation, LIAR, HONEST)
    simulation.weights[LIAR] = simulation.weights[LIAR] % LARGEST + 1
    assert simulation.play_round().aborted is None
    simulation.writer.close()
    monkeypatch.undo()
    assert both(simulation.path, simulation.policy_data) == {"I5"}
    (finding,) = [finding for _, finding in audit(simulation.path, simulation.policy_data).broken]
    assert (finding.by, finding.place.party) == ("coordinator", LIAR)
    assert "as in round 1 on this model" in finding.expected


def test_weights_of_a_cohort_are_found_by_client(weighed: Simulation) -> None:
    weighed.play_round(clients=["client-00", "client-02", "client-03"], silent=CORRUPT)
    (opened,) = weighed.coordinator.ledger.opened
    for name in ("client-00", "client-02", "client-03"):
        assert weight_in(weighed.pinned, opened, name) == weighed.weights[name]
    assert packed_weights(weighed.pinned, {"client-01": 2**20}) == (2**20).to_bytes(3, "little")
    assert weighed.play_round(clients=["client-00", "client-02", "client-03"]).aborted is None
    assert [each.weights for each in weighed.coordinator.ledger.opened] == [b""]


# ---- a server that divides by something else, or lets anything in ----


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    simulation = Simulation(tmp_path_factory.mktemp("weighed"), Setting(**SMALL))
    simulation.start()
    simulation.play_round()
    simulation.writer.close()
    return simulation


def forge(simulation: Simulation) -> Forge:
    return Forge.load(simulation.path, simulation.pinned.policy, simulation.policy_data, identity_of)


@pytest.mark.parametrize("weight", [0, LARGEST + 1, 2**63 - 1, None])
def test_an_unlawful_weight_in_a_log_is_found_by_both_auditors(
    honest: Simulation, tmp_path: Path, weight: int | None
) -> None:
    forged = forge(honest)
    forged.edit(forged.find(Submission, nth=1), weight=weight)
    assert {"I5", "I6"} <= both(forged.write(tmp_path / "forged"), honest.policy_data)
    places = failures(audit(tmp_path / "forged", honest.policy_data))
    assert places["I5"].endswith("weight")


def test_another_lawful_weight_in_a_log_is_found(honest: Simulation, tmp_path: Path) -> None:
    """The proof was made for another, and the step divided by another sum."""
    forged = forge(honest)
    position = forged.find(Submission, nth=1)
    forged.edit(position, weight=forged.message(position).weight % LARGEST + 1)
    assert both(forged.write(tmp_path / "forged"), honest.policy_data) == {"I6", "I7", "I8", "I11"}


def test_a_weight_of_the_aggregate_is_reserved(honest: Simulation) -> None:
    forged = forge(honest)
    body = encode(forged.message(forged.find(Aggregate)))
    with pytest.raises(Malformed, match=r"Aggregate\.weight: expected null"):
        decode(Aggregate, body.replace(b"\x66weight\xf6", b"\x66weight\x05"))


def test_whoever_divides_by_the_number_of_clients_is_found(simulate: Simulate, monkeypatch: pytest.MonkeyPatch) -> None:
    simulation = simulate(**SMALL)
    closing = type(simulation.coordinator)
    count = len(simulation.clients)

    def unweighed(self):  # type: ignore[no-untyped-def]  # in the place of a method
        plaintext = self._plaintext(self._current())
        return apply_step(self._pinned.policy, self.step_state(), plaintext, count, self._current().number)

    monkeypatch.setattr(closing, "next_state", unweighed)
    simulation.play_round()
    simulation.writer.close()
    assert both(simulation.path, simulation.policy_data) == {"I11"}


def test_what_a_rule_lets_be_stated() -> None:
    for stated in (1, LARGEST):
        check_weight(WEIGHTS, stated)
    for stated in (None, 0, -1, LARGEST + 1):
        with pytest.raises(Rejected, match="weight: expected 1 to 50"):
            check_weight(WEIGHTS, stated)
