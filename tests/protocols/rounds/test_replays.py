"""Which submissions are replays: those that name a blob of an earlier valid one where only its own belongs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.lattice.encryption import unpack
from protocols.messages import CohortClosed, Exclusion, Submission
from protocols.pinned import PinnedPolicy
from protocols.reasons import INVALID_PROOF, OWN_FAULTS
from protocols.rounds.faults import LoggedFaults
from protocols.rounds.submitting import HONEST, Ciphertext, ClientRound
from protocols.submissions import Fault, exclusive_blobs
from tests.adversaries import become, resigned, submission_of, with_bad_proof
from tests.simulator import Simulation
from tests.spelling import judging

Simulate = Callable[..., Simulation]
PROVED, UNPROVED = (
    cast("PinnedPolicy", SimpleNamespace(argument=SimpleNamespace(encryption=encryption)))
    for encryption in (object(), None)
)


EXTRAS = ["range_commitments", "weight_commitments", "noise_commitments", "privacy_noise_commitments"]
EXCLUSIVE = ["commitments", "proof", "ciphertext", *EXTRAS]


def submission(number: int, client: str, *names: int, **extras: int) -> Submission:
    """commitments, proof and ciphertext by short names."""
    commitments, proof, ciphertext = (name.to_bytes(32, "big") for name in names)
    more = {name: value.to_bytes(32, "big") for name, value in extras.items()}
    blobs = dict.fromkeys(EXTRAS) | more
    return Submission(
        "f", number, bytes(32), client, commitments, ciphertext, bytes(32), (), proof, weight=None, **blobs
    )


class Logged:
    """A log of submissions; those in `wrong` have proofs that do not verify."""

    def __init__(
        self, messages: Sequence[Submission], wrong: frozenset[int] = frozenset(), pinned: PinnedPolicy = PROVED
    ) -> None:
        self.messages, self.wrong, self.pinned = messages, wrong, pinned
        self.judged: list[list[int]] = []
        self.faults = LoggedFaults(self.pinned, self.messages.__getitem__, lambda number: bytes([number]))
        for index, message in enumerate(self.messages):
            self.faults.add(index, message)

    def judge(self, messages: Sequence[Submission], seed: bytes) -> list[Fault | None]:
        assert {message.round for message in messages} == {seed[0]}
        indices = [next(i for i, each in enumerate(self.messages) if each is message) for message in messages]
        self.judged.append(indices)
        return [Fault(INVALID_PROOF, "linear-relation") if index in self.wrong else None for index in indices]

    def reasons(self, *indices: int) -> list[str | None]:
        found = self.faults.of(indices or range(len(self.messages)), self.judge)
        return [None if fault is None else fault.reason for fault in found.values()]

    def defined(self) -> list[str | None]:
        """By the definition of spec 8.6, one after the other."""
        reasons: list[str | None] = []
        for index, message in enumerate(self.messages):
            earlier = list(enumerate(self.messages[:index]))
            own = {blob for _, blob in exclusive_blobs(self.pinned, message)}
            valid = [each for i, each in earlier if reasons[i] is None]
            if any((each.round, each.client) == (message.round, message.client) for _, each in earlier):
                reasons.append("duplicate")
            elif any(own & {blob for _, blob in exclusive_blobs(self.pinned, each)} for each in valid):
                reasons.append("replayed")
            else:
                reasons.append("invalid-proof" if index in self.wrong else None)
        return reasons


PARTS = st.tuples(st.integers(0, 2), st.integers(0, 2), *[st.integers(0, 6)] * 3, st.booleans())


@settings(max_examples=200, deadline=None)
@given(st.lists(PARTS, max_size=10), st.lists(st.integers(0, 9), max_size=4), st.booleans())
def test_the_definition_in_whatever_order_it_is_asked(parts: list[Any], asked: list[int], proved: bool) -> None:
    parts.sort(key=lambda part: part[0])
    messages = [submission(part[0], f"c{part[1]}", *part[2:5]) for part in parts]
    wrong = frozenset(index for index, part in enumerate(parts) if part[5])
    logged = Logged(messages, wrong, PROVED if proved else UNPROVED)
    right = logged.defined()
    for index in asked:
        if index < len(messages):
            assert logged.reasons(index) == [right[index]]
    assert logged.reasons() == right
    judged = [index for batch in logged.judged for index in batch]
    assert sorted(judged) == sorted(set(judged)), "nothing is judged twice"


def test_honest_rounds_are_judged_in_one_batch_each() -> None:
    starts = [(number, client, 9 * number + 3 * client) for number in (1, 2) for client in range(3)]
    logged = Logged([submission(number, f"c{client}", *range(n, n + 3)) for number, client, n in starts])
    assert logged.reasons() == [None] * 6
    assert logged.judged == [[0, 1, 2], [3, 4, 5]]


def test_a_round_that_was_asked_about_leaves_the_others() -> None:
    logged = Logged([submission(number, "c", *range(3 * number, 3 * number + 3)) for number in (1, 2, 3)])
    assert logged.reasons(2) == [None]
    assert logged.judged == [[2]]


def test_a_crowd_of_copies_is_judged_once_each() -> None:
    """Each is looked at once, until the one whose proof it is: that is valid, and all later ones are replays."""
    messages = [submission(1, f"c{index}", 1, 2, 3) for index in range(60)]
    logged = Logged(messages, frozenset(range(50)))
    assert logged.reasons(40) == ["invalid-proof"]
    assert logged.reasons() == ["invalid-proof"] * 50 + [None] + ["replayed"] * 9
    assert logged.judged == [[index] for index in range(51)]


@pytest.mark.parametrize("name", EXCLUSIVE)
@pytest.mark.parametrize("role", EXCLUSIVE)
def test_any_of_the_blobs_as_any_other(name: str, role: str) -> None:
    first = submission(1, "a", 1, 2, 3, **{name: number for number, name in enumerate(EXTRAS, 4)})
    other = submission(2, "b", 11, 12, 13, **{name: number for number, name in enumerate(EXTRAS, 14)})
    copy = replace(other, **{role: getattr(first, name)})
    assert Logged([first, copy]).reasons() == [None, "replayed"]
    assert Logged([first, copy], frozenset({0})).reasons() == ["invalid-proof", None]


def test_shares_may_repeat() -> None:
    """Pedersen commitments of a fresh key, and ciphertexts that nobody else's key opens."""
    first, second = submission(1, "a", 1, 2, 3), submission(1, "b", 4, 5, 6)
    assert Logged([first, replace(second, share_commitments=first.share_commitments)]).reasons() == [None, None]


def test_a_ciphertext_that_nothing_is_proved_about_makes_no_replay() -> None:
    """Whoever sees one in transit may name it in a submission that is valid as far as can be proved."""
    thief, victim = submission(1, "thief", 1, 2, 9), submission(1, "victim", 4, 5, 9)
    assert Logged([thief, victim], pinned=UNPROVED).reasons() == [None, None]
    assert Logged([thief, victim]).reasons() == [None, "replayed"]


def test_a_duplicate_makes_no_replay() -> None:
    messages = [submission(1, "a", 1, 2, 3), submission(1, "a", 4, 5, 6), submission(1, "b", 4, 5, 6)]
    assert Logged(messages).reasons() == [None, "duplicate", None]


def test_a_cohort_that_is_closed_settles_its_round() -> None:
    """As a coordinator that was restarted reads its own log: nothing is judged again, replays of it are found."""
    messages = [
        submission(1, "a", 1, 2, 3),
        submission(1, "b", 4, 5, 6),
        submission(1, "c", 7, 8, 9),
        *(submission(2, name, n, n + 1, n + 2) for name, n in (("a", 1), ("b", 4), ("c", 7))),
    ]
    logged = Logged(messages)
    excluded = (Exclusion(1, "invalid-proof", "shortness"), Exclusion(2, "unacknowledged", "by t"))
    logged.faults.settle(CohortClosed("f", 1, bytes(32), *judging(0, [0], excluded), ("t",), bytes(32)), OWN_FAULTS)
    found = logged.faults.of(range(6), logged.judge)
    assert found[1] == Fault("invalid-proof", "shortness")
    assert [fault and fault.reason for fault in found.values()] == [
        None,
        "invalid-proof",
        None,
        "replayed",
        None,
        "replayed",
    ]
    assert logged.judged == [[4]]


# ---- with real proofs ----


def verdicts(simulation: Simulation) -> list[str | None]:
    return [verdict.fault and verdict.fault.reason for verdict in simulation.coordinator.verdicts()]


def read_ciphertext(at: ClientRound, blob: bytes) -> Ciphertext:
    return Ciphertext(unpack(at.pinned.lattice, blob, at.pinned.cells), blob)


def stolen(simulation: Simulation, victim: Any, *fields: str) -> Any:
    """client-01's own submission with these blobs of another's, or all of the other's in its name."""
    message = submission_of(victim)
    if not fields:
        return resigned(simulation, victim, {}, client="client-01")
    blobs = {name: victim.blobs[getattr(message, name)] for name in fields}
    return resigned(simulation, simulation.package("client-01"), blobs)


@pytest.mark.parametrize(
    "fields",
    [(), ("proof",), ("commitments", "proof"), ("commitments",), ("ciphertext",), ("noise_commitments",)],
    ids=lambda fields: "+".join(fields) or "everything",
)
def test_whoever_copies_in_transit_and_is_logged_first_hurts_itself_alone(
    simulate: Simulate, fields: tuple[str, ...]
) -> None:
    simulation = simulate(dimension=8, encryption_proof=True)
    simulation.open_round()
    victim = simulation.package("client-00")
    simulation.store(simulation.coordinator.receive(stolen(simulation, victim, *fields)))
    simulation.store(simulation.coordinator.receive(victim))
    assert verdicts(simulation) == ["invalid-proof", None]
    for name in ("client-02", "client-03"):
        simulation.submit(name)
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    simulation.release()
    assert simulation.finish().accepted == ("client-00", "client-02", "client-03")


def test_a_stolen_ciphertext_without_its_proof(simulate: Simulate) -> None:
    """Nothing shows who copied: nobody is excluded, and the sum does not open, as with any wrong ciphertext."""
    simulation = simulate(dimension=8)
    simulation.open_round()
    victim = simulation.package("client-00")
    blob = victim.blobs[submission_of(victim).ciphertext]
    become(simulation, "client-01", replace(HONEST, encrypt=lambda at, _: read_ciphertext(at, blob)))
    thief = simulation.package("client-01")
    assert submission_of(thief).ciphertext == submission_of(victim).ciphertext
    simulation.store(simulation.coordinator.receive(thief))
    simulation.store(simulation.coordinator.receive(victim))
    assert verdicts(simulation) == [None, None]
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    simulation.release()
    assert simulation.finish().aborted == "opening-failed"


def test_copies_over_rounds_and_restarts(simulate: Simulate) -> None:
    """Of an invalid one, then of a valid one; of a round that was aborted, and of one that was closed."""
    simulation = simulate(dimension=8, clients=5, encryption_proof=True)
    simulation.open_round()
    first = simulation.package("client-00")
    simulation.store(simulation.coordinator.receive(with_bad_proof(simulation, first)))
    second = simulation.package("client-02")
    simulation.store(simulation.coordinator.receive(second))
    simulation.checkpoint()
    assert simulation.close_cohort() is not None
    simulation.restart_coordinator()
    simulation.open_round()
    simulation.submit("client-03")
    last = simulation.package("client-04")
    simulation.store(simulation.coordinator.receive(last))
    fields = {name: getattr(submission_of(first), name) for name in ("commitments", "ciphertext", "noise_commitments")}
    blobs = {name: first.blobs[hashed] for name, hashed in fields.items()}
    package = resigned(simulation, simulation.package("client-00"), blobs)
    simulation.store(simulation.coordinator.receive(package))
    blobs = {"ciphertext": second.blobs[submission_of(second).ciphertext]}
    simulation.store(simulation.coordinator.receive(resigned(simulation, simulation.package("client-02"), blobs)))
    assert verdicts(simulation) == [None, None, "invalid-proof", "replayed"]
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    simulation.release()
    assert simulation.finish().accepted == ("client-03", "client-04")
    simulation.restart_coordinator()  # the next round copies from this one, by a coordinator that judged none of it
    simulation.open_round()
    blobs = {"commitments": last.blobs[submission_of(last).commitments]}
    simulation.store(simulation.coordinator.receive(resigned(simulation, simulation.package("client-00"), blobs)))
    simulation.submit("client-01")
    assert verdicts(simulation) == ["replayed", None]
