"""Random federations: clients drop out, repeat, lie, replay; trustees are silent, lie, crash; the coordinator crashes.

Whatever happens: a round that closes publishes the sum of what its accepted clients submitted, only clients that kept
to the protocol are accepted, nobody honest is called an offender, and every honest party goes on.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
from hypothesis import HealthCheck, assume, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from proofs.errors import Rejected
from protocols.rounds.exchange import SubmissionPackage
from protocols.rounds.ledger import CurrentRound
from tests.adversaries import (
    BadShareClient,
    WrongCiphertextClient,
    become,
    false_ack,
    false_release,
    resigned,
    submission_of,
    with_bad_ciphertext,
    with_bad_proof,
)
from tests.simulator import RoundResult, Setting, Simulation

CLIENTS = [f"client-{i:02}" for i in range(5)]
TRUSTEES = [f"trustee-{i}" for i in range(5)]
LIARS = ("client-03", "client-04")  # the only clients that may be called offenders, or spoil a round
CORRUPT = ("trustee-0", "trustee-1")

clients = st.sampled_from(CLIENTS)
liars = st.sampled_from(LIARS)
trustees = st.sampled_from(TRUSTEES)


class FederationMachine(RuleBasedStateMachine):
    """Steps that make no sense in the current phase are left out by preconditions; lies never are."""

    def __init__(self) -> None:
        super().__init__()
        self.directory = tempfile.TemporaryDirectory()
        self.simulation = Simulation(Path(self.directory.name), Setting(clients=5, dimension=20, max_aborts=50))
        self.simulation.start()
        self.sent: dict[str, SubmissionPackage] = {}
        self.spoiled: set[str] = set()  # clients whose logged submission of this round is not honest
        self.prepared: set[str] = set()  # clients that have made their submission of this round, sent or not
        self.poisoned = False  # an accepted ciphertext may not match
        self.results: list[RoundResult] = []

    def teardown(self) -> None:
        self.simulation.writer.close()
        self.directory.cleanup()

    @property
    def current(self) -> CurrentRound | None:
        return self.simulation.coordinator.ledger.current

    def collecting(self) -> bool:
        return self.current is not None and self.current.cohort is None

    def releasing(self) -> bool:
        return self.current is not None and self.current.cohort is not None

    def idle(self) -> bool:
        return self.current is None

    # ---- the round goes on ----

    @initialize()
    def first(self) -> None:
        self.open_round(None)

    @precondition(idle)
    @rule(absent=st.none() | trustees)
    def open_round(self, absent: str | None) -> None:
        barred = self.simulation.coordinator.ledger.barred
        names = [name for name in TRUSTEES if name != absent and name not in barred]
        assume(len(names) >= 4)
        self.simulation.open_round(names)
        self.sent, self.spoiled, self.poisoned, self.prepared = {}, set(), False, set()

    @precondition(collecting)
    @rule(name=clients)
    def submit(self, name: str) -> None:
        if name in self.sent:  # resent after a crash: the same bytes, logged once
            self.simulation.restart_client(name)
            size = self.simulation.coordinator.size
            update = self.simulation.updates[self.number()].get(name)
            assert name in self.spoiled or self.simulation.package(name, update) == self.sent[name]
            self.receive(self.sent[name])
            assert self.simulation.coordinator.size == size
            return
        self.prepared.add(name)
        package = self.simulation.package(name)
        if self.receive(package):
            self.sent[name] = package

    @precondition(collecting)
    @rule(name=liars, kind=st.sampled_from(["proof", "ciphertext", "share", "shares", "encryption"]))
    def submit_lie(self, name: str, kind: str) -> None:
        assume(name not in self.prepared)
        self.prepared.add(name)
        honest = self.simulation.clients[name]
        if kind == "encryption":
            become(self.simulation, name, WrongCiphertextClient)
        elif kind.startswith("share"):
            become(self.simulation, name, BadShareClient, victims=tuple(TRUSTEES[: 1 if kind == "share" else 4]))
        package = self.simulation.package(name)
        self.simulation.clients[name] = honest
        if kind == "proof":
            package = with_bad_proof(self.simulation, package)
        elif kind == "ciphertext":
            package = with_bad_ciphertext(self.simulation, package)
        if self.receive(package):
            self.sent[name] = package
            self.spoiled.add(name)
            self.poisoned |= kind == "encryption"

    @precondition(collecting)
    @rule(name=liars)
    def submit_again(self, name: str) -> None:
        assume(name in self.sent)
        self.receive(with_bad_proof(self.simulation, self.sent[name]))

    @precondition(collecting)
    @rule(thief=liars, victim=clients)
    def copy_submission(self, thief: str, victim: str) -> None:
        assume(victim in self.sent and victim != thief and thief not in self.sent)
        stolen = resigned(self.simulation, self.sent[victim], {}, client=thief)
        if self.receive(stolen):
            self.sent[thief] = stolen
            self.spoiled.add(thief)

    @precondition(collecting)
    @rule(name=clients, extra=st.sampled_from([b"\x00", b"\x00" * 5000]))
    def submit_oversize(self, name: str, extra: bytes) -> None:
        assume(name in LIARS and name not in self.sent)
        self.prepared.add(name)
        package = self.simulation.package(name)
        longer = package.blobs[submission_of(package).proof] + extra
        assert not self.receive(resigned(self.simulation, package, {"proof": longer}))

    @precondition(collecting)
    @rule(name=trustees, complain=st.booleans())
    def acknowledge(self, name: str, complain: bool) -> None:
        current = self.current
        assert current is not None
        assume(name in [key.trustee for key in current.keys] and name not in [ack.trustee for ack in current.acks])
        self.simulation.checkpoint()
        if complain and name in CORRUPT:
            entry = false_ack(self.simulation, name, [CLIENTS[0]])
            self.simulation.store(self.simulation.coordinator.receive_ack(entry))
        else:
            self.simulation.acknowledge([name])

    @precondition(lambda self: self.collecting() and len(self.current.acks) >= 4)
    @rule()
    def close_cohort(self) -> None:
        verdicts = self.simulation.coordinator.verdicts()
        assert {verdict.client for verdict in verdicts if verdict.fault is not None} <= set(LIARS)
        self.simulation.close_cohort()

    @precondition(collecting)
    @rule()
    def give_up(self) -> None:
        assume(self.current is not None and len(self.current.acks) >= 2)
        self.simulation.store(self.simulation.coordinator.abort())
        self.simulation.checkpoint()

    @precondition(releasing)
    @rule(name=trustees, lie=st.booleans())
    def release(self, name: str, lie: bool) -> None:
        current = self.current
        assert current is not None
        assume(name in self.simulation.asked() and name not in [each.message.trustee for each in current.releases])
        if lie and name in CORRUPT:
            release = false_release(self.simulation, name)
            self.simulation.store(self.simulation.coordinator.receive_release(release))
        else:
            self.simulation.release([name])

    @precondition(lambda self: self.releasing() and len(self.current.releases) >= 3)
    @rule()
    def finish(self) -> None:
        enough = len(self.simulation.coordinator.valid_releases()) >= 4
        result = self.simulation.finish()
        self.results.append(result)
        if not enough:
            assert result.aborted == "missing-releases"
        elif self.poisoned and set(result.accepted) & self.spoiled:
            assert result.aborted == "opening-failed"
        else:
            assert result.aborted is None

    # ---- things that may happen at any time ----

    @precondition(releasing)
    @rule(name=clients)
    def submit_late(self, name: str) -> None:
        assume(name not in self.sent)
        assert not self.receive(self.simulation.package(name))

    @rule(name=trustees)
    def crash_trustee(self, name: str) -> None:
        self.simulation.restart_trustee(name)

    @rule()
    def crash_coordinator(self) -> None:
        """Publish first: what nobody has cosigned may be lost, and then clients send it again."""
        self.simulation.checkpoint()
        self.simulation.restart_coordinator()

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
    def only_liars_are_offenders(self) -> None:
        assert set(self.simulation.coordinator.ledger.offenders) <= set(LIARS)


TestFederation = FederationMachine.TestCase
TestFederation.settings = settings(
    max_examples=12, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
