"""Random federations: clients drop out, repeat, lie, replay; trustees are silent, lie, crash; the coordinator crashes.

Whatever happens: a round that closes publishes the sum of what its accepted clients submitted, only clients that kept
to the protocol are accepted, nobody honest is called an offender, and every honest party goes on.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from proofs.errors import Rejected
from protocols.rounds.exchange import Acknowledgement, SubmissionPackage
from protocols.rounds.ledger import CurrentRound
from protocols.rounds.offences import disputed_clients
from tests.adversaries import (
    WRONG_CIPHERTEXT,
    become,
    false_ack,
    false_release,
    resigned,
    sealing_badly_for,
    submission_of,
    with_bad_ciphertext,
    with_bad_proof,
)
from tests.simulator import RoundResult, Setting, Simulation

CLIENTS = [f"client-{i:02}" for i in range(5)]
TRUSTEES = [f"trustee-{i}" for i in range(5)]
LIARS = ("client-03", "client-04")  # the only clients that may be called offenders, or spoil a round
CORRUPT = ("trustee-0", "trustee-1")

LIES = st.sampled_from(
    ["none", "none", "none", "none", "none", "proof", "ciphertext", "oversize", "copy", "share", "shares", "encryption"]
)

SILENT = st.sampled_from([None, None, None, None, None, None, *TRUSTEES[1:3]])
LYING = st.sampled_from([set(), set(), set(), set(), {CORRUPT[0]}, set(CORRUPT)])
CRASHES = st.sampled_from(["nobody", "nobody", "nobody", "coordinator", *TRUSTEES])


class FederationMachine(RuleBasedStateMachine):
    """One federation; each step draws who acts, who lies, who is silent and who crashes first."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.simulation = Simulation(Path(self.directory.name), Setting(clients=5, dimension=20, max_aborts=50))
        self.simulation.start()
        self.sent: dict[str, SubmissionPackage] = {}
        self.spoiled: set[str] = set()  # clients whose logged submission of this round is not honest
        self.prepared: set[str] = set()  # clients that have made their submission of this round, sent or not
        self.forged: set[str] = set()  # trustees whose acknowledgement of this round is made up
        self.false: set[str] = set()  # trustees that ever lied
        self.waves = 0  # how often the clients were asked
        self.twice: str | None = None  # a client that submitted twice
        self.poisoned = False  # an accepted ciphertext may not match
        self.results: list[RoundResult] = []

    def teardown(self) -> None:
        self.simulation.writer.close()
        self.directory.cleanup()

    @property
    def current(self) -> CurrentRound | None:
        return self.simulation.coordinator.ledger.current

    # ---- the round goes on ----

    @rule(
        clients=st.permutations(CLIENTS),
        lies=st.fixed_dictionaries(dict.fromkeys(LIARS, LIES)),
        absent=st.none() | st.sampled_from(CLIENTS),
        trustees=st.permutations(TRUSTEES),
        corrupt=LYING,
        silent=SILENT,
        crash=CRASHES,
        linger=st.integers(0, 3),
    )
    def go_on(
        self,
        clients: list[str],
        lies: dict[str, str],
        absent: str | None,
        trustees: list[str],
        corrupt: set[str],
        silent: str | None,
        crash: str,
        linger: int,
    ) -> None:
        """The next step of the round; with `linger` = 0 once more what was done last, where that is possible."""
        self.crash(crash)
        current = self.current
        if current is None:
            self.open_round(silent)
        elif current.cohort is not None:
            if not current.releases or (linger == 0 and len(current.releases) < len(self.simulation.asked())):
                self.trustees_release(trustees, corrupt, silent)
            else:
                self.finish()
        elif self.waves == 0 or (linger == 0 and self.waves < 2):
            self.clients_submit(clients, lies, absent)
        elif not current.acks or (linger == 0 and len(current.acks) < len(current.keys)):
            self.trustees_acknowledge(trustees, corrupt, silent)
        else:
            self.close_cohort()

    @rule(liar=st.sampled_from(LIARS))
    def disturb(self, liar: str) -> None:
        """A second submission while the round collects, a late one afterwards."""
        if self.current is None:
            return
        if self.current.cohort is None and liar in self.sent and self.twice is None:
            self.twice = liar
            self.receive(with_bad_proof(self.simulation, self.sent[liar]))
        elif self.current.cohort is not None and liar not in self.prepared:
            self.prepared.add(liar)
            assert not self.receive(self.simulation.package(liar))

    def open_round(self, absent: str | None) -> None:
        barred = self.simulation.coordinator.ledger.barred
        names = [name for name in TRUSTEES if name != absent and name not in barred]
        if len(names) < self.simulation.setting.threshold:
            names = [name for name in TRUSTEES if name not in barred]
        self.simulation.open_round(names)
        self.sent, self.spoiled, self.poisoned = {}, set(), False
        self.prepared, self.forged, self.waves = set(), set(), 0
        self.twice = None

    def clients_submit(self, plan: list[str], lies: dict[str, str], absent: str | None) -> None:
        self.waves += 1
        for name in plan:
            if name in self.sent:
                self.resend(name)
            elif name in LIARS and lies[name] != "none":
                self.lie(name, lies[name])
            elif name != absent:
                self.submit(name)

    def submit(self, name: str) -> None:
        self.prepared.add(name)
        package = self.simulation.package(name)
        if self.receive(package):
            self.sent[name] = package

    def resend(self, name: str) -> None:
        """After a crash: the same bytes, logged once."""
        self.simulation.restart_client(name, told=name not in LIARS)
        size = self.simulation.coordinator.size
        update = self.simulation.updates[self.number()].get(name)
        assert name in self.spoiled or self.simulation.package(name, update) == self.sent[name]
        self.receive(self.sent[name])
        assert self.simulation.coordinator.size == size

    def lie(self, name: str, kind: str) -> None:
        if kind == "copy" and self.sent:
            package = resigned(self.simulation, next(iter(self.sent.values())), {}, client=name)
        elif kind in ("proof", "ciphertext", "oversize"):
            package = self.spoil(name, kind)
        elif name not in self.prepared:
            package = self.dishonest(name, kind)
            self.poisoned |= kind == "encryption"
        else:
            return
        if self.receive(package):
            assert kind != "oversize"
            self.sent[name] = package
            self.spoiled.add(name)

    def spoil(self, name: str, kind: str) -> SubmissionPackage:
        """An honest submission, changed in a way that its proof or its size betrays."""
        self.prepared.add(name)
        update = self.simulation.updates[self.number()].get(name)
        package = self.simulation.package(name, update)
        if kind == "oversize":
            longer = package.blobs[submission_of(package).proof] + bytes(5000)
            return resigned(self.simulation, package, {"proof": longer})
        return (with_bad_proof if kind == "proof" else with_bad_ciphertext)(self.simulation, package)

    def dishonest(self, name: str, kind: str) -> SubmissionPackage:
        """A submission with a valid proof and something else wrong."""
        self.prepared.add(name)
        honest = self.simulation.clients[name]
        if kind == "encryption":
            become(self.simulation, name, WRONG_CIPHERTEXT)
        else:
            become(self.simulation, name, sealing_badly_for(*TRUSTEES[: 1 if kind == "share" else 4]))
        package = self.simulation.package(name)
        self.simulation.clients[name] = honest
        return package

    def trustees_acknowledge(self, plan: list[str], complaints: set[str], silent: str | None) -> None:
        self.simulation.checkpoint()
        current = self.current
        assert current is not None
        keyed, said = {key.trustee for key in current.keys}, {ack.trustee for ack in current.acks}
        for name in plan:
            if name == silent or name not in keyed - said:
                continue
            if name in complaints:
                self.forged.add(name)
                self.false.add(name)
                entry = false_ack(self.simulation, name, [CLIENTS[0]])
                self.simulation.store(self.simulation.coordinator.receive_ack(Acknowledgement(entry)))
            else:
                self.simulation.acknowledge([name])

    def close_cohort(self) -> None:
        verdicts = self.simulation.coordinator.verdicts()
        assert {verdict.client for verdict in verdicts if verdict.fault is not None} <= set(LIARS)
        self.simulation.close_cohort()

    def trustees_release(self, plan: list[str], lies: set[str], silent: str | None) -> None:
        current = self.current
        assert current is not None
        asked, said = set(self.simulation.asked()), {release.message.trustee for release in current.releases}
        for name in plan:
            if name == silent or name not in asked - said:
                continue
            if name in lies | self.forged:
                self.false.add(name)
                release = false_release(self.simulation, name)
                self.simulation.store(self.simulation.coordinator.receive_release(release))
            else:
                self.simulation.release([name])

    def finish(self) -> None:
        enough = len(self.simulation.coordinator.valid_releases()) >= self.simulation.setting.threshold
        result = self.simulation.finish()
        self.results.append(result)
        if not enough:
            assert result.aborted == "missing-releases"
        elif self.poisoned and set(result.accepted) & self.spoiled:
            assert result.aborted == "opening-failed"
        else:
            assert result.aborted is None

    def crash(self, name: str) -> None:
        """The coordinator publishes first: what nobody has cosigned may be lost, and is then sent again."""
        if name == "coordinator":
            self.simulation.checkpoint()
            self.simulation.restart_coordinator()
        elif name != "nobody":
            self.simulation.restart_trustee(name, told=name not in self.false)

    def number(self) -> int:
        return self.simulation.coordinator.ledger.rounds

    def receive(self, package: SubmissionPackage) -> bool:
        try:
            self.simulation.store(self.simulation.coordinator.receive(package))
        except Rejected:
            return False
        return True

    @invariant()
    def every_closed_round_is_the_sum_over_honest_submissions(self) -> None:
        for result in self.results:
            if result.aborted is None:
                assert result.plaintext is not None
                assert np.array_equal(result.plaintext, self.simulation.expected_sum(result))
                assert len(result.accepted) >= self.simulation.setting.min_cohort
        self.results.clear()

    @invariant()
    def only_liars_are_exempt(self) -> None:
        if self.current is not None:
            assert disputed_clients(self.current) <= set(LIARS)


TestFederation = FederationMachine.TestCase
TestFederation.settings = settings(
    max_examples=10,
    stateful_step_count=24,
    deadline=None,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # a step takes long: shrinking would take minutes
    suppress_health_check=list(HealthCheck),
)
