"""The choreography under bad weather: answers that come late, twice, in another order or never, crashes in between.

One seed is one history. Whatever happens, a round ends closed or aborted, or the conductor says for what it waits;
nobody says two things; and what is published is accepted by the audit.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from auditor import audit
from proofs.errors import Malformed, Misuse, Rejected
from protocols import envelopes
from protocols.rounds.conductor import ANSWERED_IN, STAGES, Conductor, Stage
from protocols.rounds.exchange import (
    Acknowledgement,
    Answer,
    Cosignature,
    Publication,
    ReleasePackage,
    RoundKeyOffer,
    SubmissionPackage,
)
from protocols.rounds.phases import Phase
from tests.simulator import RoundResult, Setting, Simulation

WAITS = {Stage.COSIGN: "checkpoint-quorum", Stage.KEYS: "round-keys", Stage.ACKNOWLEDGEMENTS: "quorum-wait"}
UNWELCOME = {"order", "cosignature", "round", "acknowledgement", "release", "round-keys", "barred-trustee", "duplicate"}
STORM = 60  # events
ROUNDS = 2

Statement = tuple[str, type[Answer], int]


class Weather:
    """Carries questions and answers badly. gone: parties that never answer."""

    def __init__(self, simulation: Simulation, generator: random.Random, gone: frozenset[str]) -> None:
        self.simulation, self.generator, self.gone = simulation, generator, gone
        self.post: list[tuple[str, Answer]] = []  # answers under way
        self.said: dict[Statement, set[bytes]] = {}
        self.waits: set[str] = set()
        self.sums: list[RoundResult] = []

    @property
    def conductor(self) -> Conductor:
        return self.simulation.conductor

    def storm(self) -> None:
        """Anything may happen to anybody."""
        events = [self.ask, self.ask, self.ask, self.deliver, self.deliver, self.deliver, self.lose, self.crash]
        for _ in range(STORM):
            if self.conductor.due.stage is Stage.IDLE:
                return
            self.generator.choice([*events, self.proceed])()

    def clear(self) -> bool:
        """Whoever is not gone answers, and time passes. Whether it came to where nothing is due; else it waits."""
        patience = 3
        while patience and self.conductor.due.stage is not Stage.IDLE:
            for party in self.conductor.due.parties:
                self.question(party)
            while self.post:
                self.deliver()
            self.simulation.clock += self.simulation.waits.quorum
            patience = 3 if self.proceed() else patience - 1
        return patience > 0

    def ask(self) -> None:
        parties = self.conductor.due.parties
        if parties:
            self.question(self.generator.choice(parties))

    def question(self, party: str) -> None:
        question = self.conductor.due.question
        if party in self.gone or question is None:
            return
        try:
            answer = self.simulation.answer(party, question)
        except Rejected as error:
            self.expect(error, {"quorum-wait"})  # it has not been shown the round for long enough
            return
        self.remember(party, answer)
        self.post.append((party, answer))

    def remember(self, party: str, answer: Answer) -> None:
        if not isinstance(answer, Cosignature):
            key = (party, type(answer), self.simulation.coordinator.ledger.next_round)
            self.said.setdefault(key, set()).add(answer.entry)

    def deliver(self) -> None:
        """Some answer arrives; at times it is on its way once more, and at times the process dies with it in hand."""
        if not self.post:
            return
        at = self.generator.randrange(len(self.post))
        party, answer = self.post[at] if self.generator.random() < 0.2 else self.post.pop(at)
        try:
            publication = self.conductor.take(party, answer)
        except Rejected as error:
            self.expect(error, UNWELCOME)
            return
        self.keep(publication)

    @staticmethod
    def expect(error: Rejected, checks: set[str]) -> None:
        if error.check not in checks:
            raise error

    def lose(self) -> None:
        if self.post:
            self.post.pop(self.generator.randrange(len(self.post)))

    def crash(self) -> None:
        name = self.generator.choice(["coordinator", *self.simulation.clients, *self.simulation.trustees])
        if name == "coordinator":
            self.simulation.restart_coordinator()
        elif name in self.simulation.clients:
            self.simulation.restart_client(name, told=False)
        else:
            self.simulation.restart_trustee(name, told=False)

    def proceed(self) -> bool:
        """The time is up; whether the coordinator went on."""
        due, before = self.conductor.due, self.simulation.coordinator.ledger.current
        try:
            publication = self.conductor.proceed()
        except Rejected as error:
            self.expect(error, {WAITS[due.stage]})
            self.waits.add(error.check)
            return False
        if due.stage is Stage.RELEASES and publication.aborted is None and before is not None:
            accepted = tuple(each.message.client for each in before.accepted_submissions())
            plaintext = self.simulation._plaintext(publication)
            self.sums.append(RoundResult(before.number, None, accepted, plaintext))
        self.keep(publication)
        return True

    def keep(self, publication: Publication) -> None:
        if self.generator.random() < 0.03:
            self.simulation.restart_coordinator()
        else:
            self.simulation.store(publication)


def history(seed: int, folder: Path) -> Weather:
    """Two rounds, or as far as it comes."""
    generator = random.Random(seed)
    setting = Setting(clients=3, trustees=4, threshold=3, corrupt=1, dimension=8, max_aborts=9, seed=seed)
    simulation = Simulation(folder / str(seed), setting)
    weather = Weather(simulation, generator, frozenset())
    everybody, leaving, when = (
        [*simulation.clients, *simulation.trustees],
        generator.randrange(4),
        generator.randrange(3),
    )
    while True:
        if simulation.coordinator.ledger.rounds >= when:
            weather.gone = weather.gone or frozenset(generator.sample(everybody, leaving))
        weather.storm()
        if not weather.clear() or simulation.coordinator.ledger.rounds == ROUNDS:
            return weather
        weather.conductor.open_round()
        simulation.updates.setdefault(simulation.coordinator.ledger.next_round, {})


def check_history(weather: Weather) -> None:
    simulation, due = weather.simulation, weather.conductor.due
    there = set(simulation.trustees) - weather.gone
    if len(there) < simulation.setting.threshold:
        assert due.stage in (Stage.COSIGN, Stage.KEYS)
    elif len(there - set(simulation.coordinator.ledger.barred)) < simulation.setting.threshold:
        assert due.stage in (Stage.KEYS, Stage.IDLE)  # until one who is gone is revoked: then nobody is barred
    else:
        assert due.stage is Stage.IDLE
    assert due.stage is Stage.IDLE or WAITS[due.stage] in weather.waits
    assert all(len(entries) == 1 for entries in weather.said.values())
    for result in weather.sums:
        assert result.plaintext is not None
        assert np.array_equal(result.plaintext, simulation.expected_sum(result))
    if simulation.writer.published_size:
        assert audit(simulation.path, simulation.policy_data, workers=1).accepted
    simulation.writer.close()


@pytest.mark.parametrize("part", range(4))
def test_any_weather_ends_in_a_round_or_a_stated_wait(tmp_path: Path, part: int) -> None:
    for seed in range(4 * part, 4 * part + 4):
        check_history(history(seed, tmp_path))


@pytest.mark.exhaustive
@pytest.mark.parametrize("part", range(50))
def test_much_weather(tmp_path: Path, part: int) -> None:
    for seed in range(1000 + 20 * part, 1020 + 20 * part):
        check_history(history(seed, tmp_path))


# ---- what is due ----


@contextmanager
def refused(check: str) -> Iterator[None]:
    with pytest.raises(Rejected) as excinfo:
        yield
    assert excinfo.value.check == check


def due(simulation: Simulation) -> tuple[Stage, tuple[str, ...]]:
    return simulation.conductor.due.stage, simulation.conductor.due.parties


def through(simulation: Simulation) -> Iterator[Stage]:
    """A whole round, a stage at a time, everybody answering: before they do, and before the coordinator goes on."""
    simulation.conductor.open_round()
    simulation.updates[simulation.coordinator.ledger.next_round] = {}
    while (stage := simulation.conductor.due.stage) is not Stage.IDLE:
        yield stage
        if simulation.conductor.due.stage is stage:
            simulation.ask()
            assert not simulation.conductor.due.parties
            simulation.proceed()


PUBLISHED = [Stage.SIGN, Stage.COSIGN]
ROUND = [
    *(Stage.KEYS, *PUBLISHED, Stage.SUBMISSIONS, *PUBLISHED, Stage.ACKNOWLEDGEMENTS, *PUBLISHED),
    *(Stage.RELEASES, Stage.MODEL, *PUBLISHED),
]


def test_the_stages_of_a_round(simulation: Simulation) -> None:
    assert list(through(simulation)) == ROUND
    assert simulation.conductor.ended.aborted is None
    assert simulation.conductor.ended.asked == tuple(simulation.clients)


def test_every_phase_has_stages_and_every_answer_a_stage() -> None:
    assert set(STAGES) == set(Phase)
    assert {stage for stages in STAGES.values() for stage in stages} | set(PUBLISHED) == set(Stage)
    assert set(ANSWERED_IN) == {Cosignature, RoundKeyOffer, SubmissionPackage, Acknowledgement, ReleasePackage}


# Where a coordinator is that was killed at each stage of `ROUND`: what no trustee may have seen is lost.
RESUMED = [
    *(Stage.IDLE, Stage.IDLE, Stage.SIGN),
    *(Stage.SUBMISSIONS, Stage.SUBMISSIONS, Stage.SIGN),
    *(Stage.SUBMISSIONS, Stage.SUBMISSIONS, Stage.SIGN),
    *(Stage.RELEASES, Stage.RELEASES, Stage.RELEASES, Stage.SIGN),
]


def test_a_coordinator_starts_again_at_every_stage(simulation: Simulation) -> None:
    """A round for each stage. Clients whose submission is published are not asked again."""
    for position, (stage, resumed) in enumerate(zip(ROUND, RESUMED, strict=True)):
        assert list(islice(through(simulation), position + 1))[-1] is stage
        published = stage is Stage.ACKNOWLEDGEMENTS or position == ROUND.index(Stage.ACKNOWLEDGEMENTS) + 1
        simulation.restart_coordinator()
        assert simulation.conductor.due.stage is resumed
        if resumed is Stage.SUBMISSIONS:
            assert simulation.conductor.due.parties == (() if published else tuple(simulation.clients))
        if resumed is Stage.IDLE:
            simulation.conductor.open_round()
        while simulation.conductor.due.stage is not Stage.IDLE:
            simulation.ask()
            simulation.proceed()
        assert simulation.coordinator.ledger.rounds == position + 1
        assert simulation.coordinator.ledger.retry_of is None  # it closed


def test_nothing_is_due_between_rounds(simulation: Simulation) -> None:
    with pytest.raises(Misuse, match="nothing is due"):
        simulation.conductor.proceed()
    with pytest.raises(Misuse, match="no round has ended"):
        _ = simulation.conductor.ended
    simulation.conductor.open_round()
    with pytest.raises(Misuse, match="open_round: round keys comes first"):
        simulation.conductor.open_round()


def test_the_round_waits_for_as_many_as_it_needs(simulation: Simulation) -> None:
    """Four of five trustees, two of four clients; `enough` says when the others need not be waited for."""
    conductor = simulation.conductor
    for stage in through(simulation):
        needed = {Stage.SUBMISSIONS: 2}.get(stage, 4) if conductor.due.parties else 0
        for count, name in enumerate(conductor.due.parties[:needed]):
            assert not conductor.enough, (stage, count)
            if stage in (Stage.COSIGN, Stage.KEYS):
                with refused(WAITS[stage]):
                    conductor.proceed()
            simulation.ask([name])
        assert conductor.enough
    assert conductor.ended.aborted is None


def test_acknowledgements_are_waited_for(simulation: Simulation) -> None:
    simulation.open_round()
    for name in simulation.clients:
        simulation.submit(name)
    simulation.acknowledge(["trustee-0"])
    with refused("quorum-wait"):
        simulation.conductor.proceed()
    simulation.clock += simulation.waits.quorum
    assert simulation.proceed().aborted == "no-quorum"


def note_of(simulation: Simulation) -> bytes:
    """Of what is asked now."""
    question = simulation.conductor.due.question
    assert question is not None
    return question.note


LATE: dict[Stage, Callable[[Simulation], Answer]] = {
    Stage.KEYS: lambda simulation: RoundKeyOffer(simulation.trustees["trustee-4"].round_key(1)),
    Stage.SUBMISSIONS: lambda simulation: simulation.package("client-03"),
    Stage.ACKNOWLEDGEMENTS: lambda simulation: Acknowledgement(simulation.acknowledgement("trustee-4")),
    Stage.RELEASES: lambda simulation: simulation.release_of("trustee-4"),
    Stage.COSIGN: lambda simulation: Cosignature(simulation.observe("trustee-4", note_of(simulation))),
}


@pytest.mark.parametrize("stage", LATE)
def test_an_answer_that_comes_late_is_out_of_order(simulation: Simulation, stage: Stage) -> None:
    """And one that is in the log already is nothing new, however late it comes."""
    late: Answer | None = None
    stages = through(simulation)
    for reached in stages:
        if late is not None:
            with refused("cosignature" if stage is reached is Stage.COSIGN else "order"):  # of another checkpoint
                simulation.conductor.take("whoever", late)
        if reached is stage and late is None:
            late = LATE[stage](simulation)
            simulation.ask(simulation.conductor.due.parties[: 4 if stage is not Stage.SUBMISSIONS else 3])
            simulation.proceed()
    assert late is not None


def test_what_is_in_the_log_is_nothing_new(simulation: Simulation) -> None:
    sent: list[tuple[str, Answer]] = []
    take = simulation.conductor.take
    for stage in through(simulation):
        for name in simulation.conductor.due.parties if stage in ANSWERED_IN.values() else ():
            question = simulation.conductor.due.question
            assert question is not None
            answer = simulation.answer(name, question)
            simulation.store(take(name, answer))
            if stage is not Stage.COSIGN:
                sent.append((name, answer))
                assert take(name, answer).entries == ()
    assert len(sent) == 5 + 4 + 5 + 5
    for name, answer in sent:
        assert take(name, answer).entries == ()


def test_a_cosignature_of_nobody_counts_for_nothing(simulation: Simulation) -> None:
    simulation.conductor.open_round()
    simulation.ask()
    simulation.proceed()
    simulation.proceed()
    asked = due(simulation)
    line = simulation.observe("trustee-0", note_of(simulation))
    with refused("cosignature"):
        simulation.conductor.take("trustee-0", Cosignature(line[:-3] + b"AA=\n"))
    assert due(simulation) == asked
    simulation.conductor.take("trustee-1", Cosignature(line))  # whoever brings it, it is that of trustee-0
    assert due(simulation) == (Stage.COSIGN, tuple(f"trustee-{each}" for each in range(1, 5)))


def test_only_a_round_key_is_one(simulation: Simulation) -> None:
    """A trustee's rotation may be logged at that place, and then the round could not be opened."""
    rotation = simulation.rotation("trustee-0")
    simulation.conductor.open_round()
    with pytest.raises(Malformed) as excinfo:
        simulation.conductor.take("trustee-0", RoundKeyOffer(rotation))
    assert (excinfo.value.expected, excinfo.value.found) == ("a round-key", "key-rotation")
    assert simulation.coordinator.size == 1


def test_who_is_asked(simulation: Simulation) -> None:
    """Not who is revoked, barred, or was not in the cohort that the round repeats."""
    simulation.change(simulation.revocation("client-01"))
    simulation.open_round()
    for name in ("client-00", "client-02", "client-03"):
        simulation.submit(name)
    simulation.acknowledge(["trustee-0", "trustee-1", "trustee-2", "trustee-3"])
    simulation.close_cohort()
    simulation.release(["trustee-0", "trustee-2", "trustee-3"])
    assert simulation.finish().aborted == "missing-releases"
    simulation.change(simulation.revocation("client-00"))
    asked: dict[Stage, tuple[str, ...]] = {}
    for stage in through(simulation):
        asked.setdefault(stage, simulation.conductor.due.parties)
    assert asked[Stage.COSIGN] == tuple(simulation.trustees)
    assert asked[Stage.KEYS] == asked[Stage.ACKNOWLEDGEMENTS] == ("trustee-0", "trustee-2", "trustee-3", "trustee-4")
    assert asked[Stage.SUBMISSIONS] == ("client-02", "client-03")


def test_a_change_while_round_keys_are_collected(simulation: Simulation) -> None:
    """What was offered is forgotten: who offered it may be revoked, and the others offer the same bytes again."""
    simulation.conductor.open_round()
    question = simulation.conductor.due.question
    assert question is not None
    offered = {name: simulation.answer(name, question) for name in ("trustee-0", "trustee-1")}
    for name, answer in offered.items():
        simulation.conductor.take(name, answer)
    assert due(simulation)[1] == ("trustee-2", "trustee-3", "trustee-4")
    simulation.store(simulation.conductor.change(simulation.revocation("trustee-0")))
    assert due(simulation)[0] is Stage.SIGN
    while simulation.conductor.due.stage is not Stage.IDLE:
        simulation.ask()
        simulation.proceed()
    simulation.conductor.open_round()
    asked = simulation.conductor.due
    assert (asked.stage, asked.parties) == (Stage.KEYS, ("trustee-1", "trustee-2", "trustee-3", "trustee-4"))
    assert asked.question is not None
    assert simulation.answer("trustee-1", asked.question) == offered["trustee-1"]


def test_an_entry_is_decoded_once_on_its_way_into_the_log(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every type of a round, whoever sent it, until it is published."""
    decoded: Counter[bytes] = Counter()
    honest = envelopes._open

    def count(data: bytes, limit: int) -> envelopes.Envelope:
        decoded[data] += 1
        return honest(data, limit)

    def put(publication: Publication) -> int:
        simulation.store(publication)
        entries = [entry.data for entry in publication.entries]
        assert {entry: decoded[entry] for entry in entries} == dict.fromkeys(entries, 1)
        return len(publication.entries)

    total = 0
    for _ in through(simulation):
        due = simulation.conductor.due
        answers = [(name, simulation.answer(name, due.question)) for name in due.parties if due.question is not None]
        decoded.clear()
        monkeypatch.setattr(envelopes, "_open", count)
        total += sum(put(simulation.conductor.take(name, answer)) for name, answer in answers)
        total += put(simulation.conductor.proceed())
        monkeypatch.setattr(envelopes, "_open", honest)
    assert total == simulation.coordinator.size - 1
