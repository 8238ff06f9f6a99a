"""Every rule of the log: one complete round, and what happens when one entry of it is another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from proofs.errors import Malformed, Rejected
from protocols.cohorts import ack_digest, cohort_digest
from protocols.contexts import round_seed
from protocols.envelopes import open_envelope, required_signer, seal
from protocols.messages import (
    CohortClosed,
    Detail,
    Message,
    MissingParty,
    Release,
    RoundAborted,
    RoundKey,
    RoundOpen,
    ShareAck,
    Submission,
)
from protocols.rounds.follower import Follower
from tests.simulator import Setting, Simulation, identity_of

GENESIS, KEY, OPEN, SUBMISSION, ACK, COHORT, RELEASE, AGGREGATE, CLOSED = 0, 1, 6, 7, 10, 15, 16, 21, 22
LENGTH = 23
ZEROS = bytes(32)


class RecordedRound:
    """The log of one round of three clients and five trustees, with the follower before each of its entries."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        simulation.play_round()
        self.pinned = simulation.pinned
        self.entries = simulation.coordinator.entries(0, simulation.coordinator.size)
        self.messages: list[Any] = [open_envelope(entry).message for entry in self.entries]
        self.before = [Follower.start()]
        for entry in self.entries:
            self.before.append(self.before[-1].extended(self.pinned, [entry]))

    def apply(self, index: int, message: Message, signer: str | None = None) -> Follower:
        """A message instead of the entry at `index`, rightly signed."""
        name = signer or required_signer(message)
        return self.before[index].extended(self.pinned, [seal(message, name, identity_of(name))])

    def refusal(self, index: int, message: Message) -> str:
        with pytest.raises(Rejected) as excinfo:
            self.apply(index, message)
        return excinfo.value.check

    def changed(self, index: int, **fields: object) -> str:
        return self.refusal(index, replace(self.messages[index], **fields))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RecordedRound]:
    directory: Path = tmp_path_factory.mktemp("recorded")
    simulation = Simulation(directory, Setting(clients=3))
    simulation.start()
    yield RecordedRound(simulation)
    simulation.writer.close()


def test_the_recorded_round_is_what_these_tests_say(recorded: RecordedRound) -> None:
    types = [type(message).__name__ for message in recorded.messages]
    assert types == [
        "Genesis",
        *["RoundKey"] * 5,
        "RoundOpen",
        *["Submission"] * 3,
        *["ShareAck"] * 5,
        "CohortClosed",
        *["Release"] * 5,
        "Aggregate",
        "RoundClosed",
    ]


@pytest.mark.parametrize(
    ("index", "field", "value", "check"),
    [
        (GENESIS, "federation", "another", "federation"),
        (GENESIS, "policy", ZEROS, "policy-hash"),
        (GENESIS, "model", ZEROS, "model"),
        (KEY, "federation", "another", "federation"),
        (KEY, "policy", ZEROS, "policy-hash"),
        (KEY, "round", 2, "round"),
        (KEY, "round", 0, "round"),
        (KEY, "public_key", bytes(1216), "round-key"),
        (OPEN, "round", 2, "round"),
        (OPEN, "policy", ZEROS, "policy-hash"),
        (OPEN, "model", ZEROS, "model"),
        (OPEN, "checkpoint_size", 0, "seed"),
        (OPEN, "checkpoint_size", 7, "seed"),
        (OPEN, "checkpoint_size", 2, "seed"),
        (OPEN, "checkpoint_root", ZEROS, "seed"),
        (OPEN, "seed", ZEROS, "seed"),
        (OPEN, "round_keys", (1, 2, 3, 4), "round-keys"),
        (OPEN, "round_keys", (2, 1, 3, 4, 5), "round-keys"),
        (OPEN, "round_key_hashes", (ZEROS,) * 5, "round-keys"),
        (OPEN, "retry_of", 1, "retry"),
        (SUBMISSION, "round", 2, "round"),
        (SUBMISSION, "round_open", ZEROS, "round-open"),
        (SUBMISSION, "shares", (), "shares"),
        (ACK, "round", 2, "round"),
        (ACK, "round_open", ZEROS, "round-open"),
        (ACK, "first", 6, "acknowledgement"),
        (ACK, "first", 8, "acknowledgement"),
        (ACK, "answers", "hhhh", "acknowledgement"),
        (ACK, "answers", "hhho", "acknowledgement"),
        (ACK, "answers", "hh", "ack-digest"),
        (ACK, "answers", "ohh", "ack-digest"),
        (ACK, "answers", "", "ack-digest"),
        (ACK, "digest", ZEROS, "ack-digest"),
        (COHORT, "round_open", ZEROS, "round-open"),
        (COHORT, "first", 6, "cohort"),
        (COHORT, "first", 8, "cohort"),
        (COHORT, "verdicts", "aaa----", "cohort"),
        (COHORT, "verdicts", "aaa------", "cohort"),
        (COHORT, "verdicts", "aa------", "cohort"),
        (COHORT, "verdicts", "aaaa----", "cohort"),
        (COHORT, "verdicts", "aa2-----", "cohort"),
        (COHORT, "verdicts", "aad-----", "cohort"),
        (COHORT, "verdicts", "aau-----", "cohort"),
        (COHORT, "verdicts", "aai-----", "cohort-digest"),
        (COHORT, "details", (Detail(9, "linear-relation"),), "cohort"),
        (COHORT, "trustees", ("trustee-0", "trustee-1", "trustee-2", "trustee-3"), "cohort"),
        (COHORT, "trustees", (), "cohort"),
        (COHORT, "digest", ZEROS, "cohort-digest"),
        (RELEASE, "cohort", ZEROS, "cohort"),
        (RELEASE, "digest", ZEROS, "cohort-digest"),
        (AGGREGATE, "cohort", ZEROS, "cohort"),
        (AGGREGATE, "releases", (16, 17, 18), "releases"),
        (AGGREGATE, "releases", (16, 17, 18, 19, 20), "releases"),
        (AGGREGATE, "releases", (17, 16, 18, 19), "releases"),
        (AGGREGATE, "releases", (15, 16, 17, 18), "releases"),
        (CLOSED, "aggregate", ZEROS, "aggregate"),
        (CLOSED, "optimizer", ZEROS, "optimizer"),
    ],
)
def test_a_changed_field(recorded: RecordedRound, index: int, field: str, value: object, check: str) -> None:
    assert recorded.changed(index, **{field: value}) == check


def test_a_round_key_is_for_one_round_and_one_trustee(recorded: RecordedRound) -> None:
    first: RoundKey = recorded.messages[KEY]
    assert recorded.refusal(KEY + 1, replace(first, trustee="trustee-1")) == "round-keys"
    assert recorded.refusal(LENGTH, replace(first, round=2)) == "round-keys"


def test_a_round_key_is_not_used_again_in_another_spelling(recorded: RecordedRound) -> None:
    first: RoundKey = recorded.messages[KEY]
    other = replace(recorded.messages[KEY + 1], public_key=first.public_key)
    assert recorded.refusal(KEY + 1, other) == "round-keys"
    assert recorded.refusal(KEY + 1, replace(other, public_key=respelled(first.public_key))) == "round-key"


def respelled(public_key: bytes) -> bytes:
    """The same key to X25519, which ignores the top bit."""
    return public_key[:-1] + bytes([public_key[-1] | 0x80])


def test_nothing_can_be_said_twice(recorded: RecordedRound) -> None:
    said = {KEY: "round-keys", ACK: "acknowledgement", COHORT: "order", RELEASE: "release", AGGREGATE: "order"}
    for index, check in said.items():
        with pytest.raises(Rejected) as excinfo:
            recorded.before[index + 1].extended(recorded.pinned, [recorded.entries[index]])
        assert excinfo.value.check == check


STARTS = (GENESIS, KEY, OPEN, SUBMISSION, ACK, COHORT, RELEASE, AGGREGATE, CLOSED, LENGTH)
PHASES = [range(start, stop) for start, stop in pairwise(STARTS)]


EARLY_OR_LATE = {"order", "round", "round-keys", "seed", "retry", "cohort", "release", "releases"}


def test_no_entry_may_stand_in_another_phase(recorded: RecordedRound) -> None:
    """Submissions and acknowledgements share a phase; whatever else is early or late is refused."""
    collecting = range(SUBMISSION, COHORT)
    for phase in PHASES:
        state = recorded.before[phase.start]
        for index in range(LENGTH):
            if index in phase or (index in collecting and phase.start in (*collecting, COHORT)):
                continue
            with pytest.raises(Rejected) as excinfo:
                state.extended(recorded.pinned, [recorded.entries[index]])
            assert excinfo.value.check in {
                "order",
                "round",
                "round-keys",
                "seed",
                "retry",
                "cohort",
                "release",
                "releases",
            }


def test_nothing_of_a_round_may_follow_its_end(recorded: RecordedRound) -> None:
    for index in range(LENGTH):
        with pytest.raises(Rejected) as excinfo:
            recorded.before[LENGTH].extended(recorded.pinned, [recorded.entries[index]])
        assert excinfo.value.check in {"order", "round"}


def test_only_the_right_party_signs(recorded: RecordedRound) -> None:
    for index, message in enumerate(recorded.messages):
        signer = open_envelope(recorded.entries[index]).signer
        forged = seal(message, signer, identity_of("issuer"))
        with pytest.raises(Rejected) as excinfo:
            recorded.before[index].extended(recorded.pinned, [forged])
        assert excinfo.value.check == "signature"


def test_strangers_are_unknown(recorded: RecordedRound) -> None:
    key: RoundKey = recorded.messages[KEY]
    with pytest.raises(Rejected) as excinfo:
        recorded.apply(KEY, replace(key, trustee="client-00"), "client-00")
    assert excinfo.value.check == "unknown-trustee"
    submission: Submission = recorded.messages[SUBMISSION]
    with pytest.raises(Rejected) as excinfo:
        recorded.apply(SUBMISSION, replace(submission, client="trustee-0"), "trustee-0")
    assert excinfo.value.check == "unknown-client"


def test_bytes_that_are_no_entry(recorded: RecordedRound) -> None:
    for data in (b"", b"\xa0", recorded.entries[0] + b"\x00", recorded.pinned.data):
        with pytest.raises(Malformed):
            recorded.before[0].extended(recorded.pinned, [data])


def test_a_refused_entry_changes_nothing(recorded: RecordedRound) -> None:
    state = recorded.before[COHORT]
    before = state.encode()
    with pytest.raises(Rejected):
        state.extended(recorded.pinned, [recorded.entries[COHORT], recorded.entries[COHORT]])
    assert state.encode() == before


def test_states_survive_their_encoding(recorded: RecordedRound) -> None:
    for state in recorded.before:
        again = Follower.decode(state.encode())
        assert again.ledger == state.ledger
        assert again.root() == state.root()


def test_a_round_may_not_open_with_too_few_keys(recorded: RecordedRound) -> None:
    message: RoundOpen = recorded.messages[OPEN]
    fewer = replace(message, round_keys=(1, 2, 3), round_key_hashes=message.round_key_hashes[:3])
    assert recorded.refusal(4, fewer) == "round-keys"


def test_a_round_is_opened_on_these_round_keys_in_this_order(recorded: RecordedRound) -> None:
    first, second, *others = recorded.messages[OPEN].round_key_hashes
    for hashes in ((second, first, *others), (first, *others), (first, second, *others, first), ()):
        assert recorded.changed(OPEN, round_key_hashes=hashes) == "round-keys"


def test_any_later_checkpoint_may_seed_the_round(recorded: RecordedRound) -> None:
    message: RoundOpen = recorded.messages[OPEN]
    root = recorded.before[4].root()
    seed = round_seed(root, 1, message.round_key_hashes)
    recorded.apply(OPEN, replace(message, checkpoint_size=4, checkpoint_root=root, seed=seed))


def test_an_acknowledgement_by_a_trustee_without_a_round_key(recorded: RecordedRound) -> None:
    message: RoundOpen = recorded.messages[OPEN]
    hashes = message.round_key_hashes[:4]
    seed = round_seed(message.checkpoint_root, 1, hashes)
    fewer = replace(message, round_keys=(1, 2, 3, 4), round_key_hashes=hashes, seed=seed)
    state = recorded.apply(5, fewer)
    current = state.ledger.current
    assert current is not None
    digest = ack_digest(current.entry, "trustee-4", [])
    ack = ShareAck("simulated", 1, current.entry, "trustee-4", current.index + 1, "", digest)
    with pytest.raises(Rejected) as excinfo:
        state.extended(recorded.pinned, [seal(ack, "trustee-4", identity_of("trustee-4"))])
    assert excinfo.value.check == "acknowledgement"


def test_a_release_by_a_trustee_that_was_not_asked(recorded: RecordedRound) -> None:
    cohort: CohortClosed = recorded.messages[COHORT]
    asked = cohort.trustees[:4]
    state = recorded.before[14]  # four acknowledgements
    current = state.ledger.current
    assert current is not None
    pairs = [(each.message.client, each.entry) for each in current.submissions]
    entry = seal(
        replace(cohort, verdicts="aaa----", trustees=asked, digest=cohort_digest(current.entry, pairs, asked)),
        "coordinator",
        identity_of("coordinator"),
    )
    state = state.extended(recorded.pinned, [entry])
    closed = state.ledger.current
    assert closed is not None
    assert closed.cohort is not None
    share = Release("simulated", 1, closed.cohort.entry, closed.cohort.message.digest, "trustee-4", ZEROS)
    with pytest.raises(Rejected) as excinfo:
        state.extended(recorded.pinned, [seal(share, "trustee-4", identity_of("trustee-4"))])
    assert excinfo.value.check == "release"


def abort(
    recorded: RecordedRound, index: int, reason: str, missing: tuple[MissingParty, ...] = (), **fields: Any
) -> Any:
    """RoundAborted in the state before entry `index`; the check that refuses it, or the follower after it."""
    current = recorded.before[index].ledger.current
    assert current is not None
    cohort = current.cohort.entry if current.cohort else None
    message = replace(RoundAborted("simulated", 1, current.entry, cohort, reason, missing), **fields)
    try:
        return recorded.apply(index, message, "coordinator")
    except Rejected as error:
        return error.check


def named(reason: str, *numbers: int) -> tuple[MissingParty, ...]:
    return tuple(MissingParty(f"trustee-{number}", reason) for number in numbers)


@pytest.mark.parametrize(
    ("index", "reason", "missing", "allowed"),
    [
        (SUBMISSION, "too-few-submissions", (), True),
        (COHORT, "differencing", (), True),
        (COHORT, "too-few-submissions", named("no-release", 1), False),
        (COHORT, "missing-releases", (), False),
        (COHORT, "opening-failed", (), False),
        (COHORT, "boredom", (), False),
        (COHORT, "no-quorum", (), False),
        (ACK + 3, "no-quorum", named("no-acknowledgement", 3, 4), True),
        (ACK + 3, "no-quorum", named("no-acknowledgement", 4, 3), False),
        (ACK + 3, "no-quorum", named("no-acknowledgement", 3), False),
        (ACK + 4, "no-quorum", named("no-acknowledgement", 4), False),
        (RELEASE, "missing-releases", named("no-release", 0, 1, 2, 3, 4), True),
        (RELEASE, "too-few-submissions", (), False),
        (RELEASE, "differencing", (), False),
        (RELEASE + 3, "missing-releases", named("no-release", 3, 4), True),
        (RELEASE + 3, "missing-releases", named("no-release", 3), False),
        (RELEASE + 3, "missing-releases", named("wrong-release", 3, 4), False),
        (RELEASE + 4, "missing-releases", named("no-release", 4), False),
        (RELEASE + 4, "missing-releases", (*named("wrong-release", 0), *named("no-release", 4)), True),
        (RELEASE + 3, "opening-failed", (), False),
        (RELEASE + 4, "opening-failed", (), True),
        (RELEASE + 4, "opening-failed", named("no-release", 4), False),
    ],
)
def test_when_and_why_a_round_may_be_aborted(
    recorded: RecordedRound, index: int, reason: str, missing: tuple[MissingParty, ...], allowed: bool
) -> None:
    result = abort(recorded, index, reason, missing)
    assert isinstance(result, Follower) if allowed else result == "abort"


def test_an_abort_names_its_round_and_cohort(recorded: RecordedRound) -> None:
    assert abort(recorded, COHORT, "differencing", round_open=ZEROS) == "round-open"
    assert abort(recorded, COHORT, "differencing", cohort=ZEROS) == "abort"
    assert abort(recorded, RELEASE + 4, "opening-failed", cohort=None) == "abort"
    assert abort(recorded, CLOSED, "opening-failed") == "order"


def test_genesis_comes_first_and_once(recorded: RecordedRound) -> None:
    with pytest.raises(Rejected) as excinfo:
        recorded.before[0].extended(recorded.pinned, [recorded.entries[KEY]])
    assert excinfo.value.check == "order"
    with pytest.raises(Rejected) as excinfo:
        recorded.before[1].extended(recorded.pinned, [recorded.entries[GENESIS]])
    assert excinfo.value.check == "order"
