"""What a client believes, what it refuses, and that it speaks once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.errors import Malformed, Misuse, Rejected
from protocols import hpke
from protocols.contexts import round_seed
from protocols.envelopes import entry_hash, open_envelope, seal
from protocols.identities import SigningKey
from protocols.invitation import Invitation, decode_invitation, encode_invitation, verify_invitation
from protocols.messages import RoundKey, RoundOpen
from protocols.rounds.client import Client
from protocols.stores import MemoryStore
from tests.adversaries import ForgedLog, fork, submission_of
from tests.seeded import seeded
from tests.simulator import Simulation

Change = Callable[[RoundOpen], RoundOpen]


class Forgery:
    """A log whose trustees all cosign whatever it says, so that each of a client's checks stands alone."""

    def __init__(self, simulation: Simulation) -> None:
        self.simulation = simulation
        simulation.open_round()
        current = simulation.coordinator.ledger.current
        assert current is not None
        self.log = fork(simulation, 1)
        self.key_entries = simulation.coordinator.entries(1, current.index)
        self.round_open = current.message

    def invitation(
        self,
        change: Change | None = None,
        keys: list[RoundKey] | None = None,
        cosigners: int = 4,
        signer: str = "coordinator",
    ) -> Invitation:
        log, names = ForgedLog(self.simulation, self.log.entries), list(self.simulation.trustees)
        if keys is None:
            log.entries.extend(self.key_entries)
        else:
            for key in keys:
                log.append(key, key.trustee)
        indices = tuple(range(1, log.size))
        hashes = tuple(map(entry_hash, log.entries[1:]))
        message = replace(self.round_open, round_keys=indices, round_key_hashes=hashes)
        index = log.append(message if change is None else change(message), signer)
        note = log.cosigned_by(names[:cosigners])
        return log.invitation(note, index, indices, self.round_open.checkpoint_size)

    def keys(self) -> list[RoundKey]:
        messages = [open_envelope(entry).message for entry in self.key_entries]
        return [message for message in messages if isinstance(message, RoundKey)]

    def refusal(self, invitation: Invitation, seen: tuple[int, bytes] | None = None) -> str:
        with pytest.raises(Rejected) as excinfo:
            verify_invitation(self.simulation.pinned, invitation, seen)
        return excinfo.value.check


@pytest.fixture
def forgery(simulation: Simulation) -> Forgery:
    return Forgery(simulation)


def test_a_true_invitation_is_accepted_and_survives_its_encoding(forgery: Forgery) -> None:
    invitation = forgery.invitation()
    verified = verify_invitation(forgery.simulation.pinned, decode_invitation(encode_invitation(invitation)), None)
    assert verified.message.round == 1
    assert [key.trustee for key in verified.round_keys] == list(forgery.simulation.trustees)


@pytest.mark.parametrize(
    ("field", "value", "check"),
    [
        ("policy", bytes(32), "policy-hash"),
        ("federation", "another", "federation"),
        ("model", bytes(32), "model"),
        ("seed", bytes(32), "seed"),
        ("round", 0, "round"),
        ("round", 51, "round"),
        ("round", 2, "round-keys"),
        ("checkpoint_root", bytes(32), "consistency-proof"),
        ("checkpoint_size", 99, "seed"),
        ("checkpoint_size", 0, "seed"),
        ("round_keys", (1, 2, 3, 4), "round-keys"),
        ("round_key_hashes", (), "round-keys"),
        ("round_key_hashes", (bytes(32),) * 5, "round-keys"),
    ],
)
def test_a_round_open_that_differs_from_policy_or_log(forgery: Forgery, field: str, value: object, check: str) -> None:
    assert forgery.refusal(forgery.invitation(lambda message: replace(message, **{field: value}))) == check


def test_a_seed_from_another_root(forgery: Forgery) -> None:
    def change(message: RoundOpen) -> RoundOpen:
        seed = round_seed(bytes(32), 1, message.round_key_hashes)
        return replace(message, checkpoint_root=bytes(32), seed=seed)

    assert forgery.refusal(forgery.invitation(change)) == "consistency-proof"


def test_fewer_than_t_cosignatures(forgery: Forgery) -> None:
    assert forgery.refusal(forgery.invitation(cosigners=3)) == "checkpoint-quorum"


def test_a_round_key_that_its_trustee_did_not_sign(forgery: Forgery) -> None:
    _, public = hpke.generate_round_key(seeded("attacker"))
    key = forgery.keys()[0]
    log = fork(forgery.simulation, 1)
    log.entries.append(seal(replace(key, public_key=public), key.trustee, SigningKey.generate(seeded("attacker"))))
    log.entries.extend(forgery.key_entries[1:])
    index = log.append(replace(forgery.round_open, round_key_hashes=tuple(map(entry_hash, log.entries[1:]))))
    note = log.cosigned_by(list(forgery.simulation.trustees))
    assert forgery.refusal(log.invitation(note, index, forgery.round_open.round_keys, 1)) == "signature"


def test_round_keys_at_the_right_places_that_round_open_does_not_name(forgery: Forgery) -> None:
    """Whoever logged it: RoundOpen, and so every share's context, is of these keys and no others."""
    _, public = hpke.generate_round_key(seeded("attacker"))
    log = fork(forgery.simulation, 1)
    log.append(replace(forgery.keys()[0], public_key=public), "trustee-0")
    log.entries.extend(forgery.key_entries[1:])
    index = log.append(forgery.round_open)
    note = log.cosigned_by(list(forgery.simulation.trustees))
    assert forgery.refusal(log.invitation(note, index, forgery.round_open.round_keys, 1)) == "round-keys"


def test_a_round_key_of_a_stranger(forgery: Forgery) -> None:
    keys = forgery.keys()
    assert forgery.refusal(forgery.invitation(keys=[*keys, replace(keys[0], trustee="client-00")])) == "unknown-trustee"


@pytest.mark.parametrize("count", [0, 3])
def test_fewer_than_t_round_keys(forgery: Forgery, count: int) -> None:
    assert forgery.refusal(forgery.invitation(keys=forgery.keys()[:count])) == "round-keys"


def test_a_trustee_counted_twice(forgery: Forgery) -> None:
    keys = forgery.keys()
    assert forgery.refusal(forgery.invitation(keys=[*keys[:3], keys[0]])) == "round-keys"


def test_round_keys_for_another_round(forgery: Forgery) -> None:
    keys = forgery.keys()
    assert forgery.refusal(forgery.invitation(keys=[replace(keys[0], round=2), *keys[1:]])) == "round-keys"


def test_entries_that_are_not_in_the_log(forgery: Forgery) -> None:
    invitation = forgery.invitation()
    logged = invitation.round_open
    assert forgery.refusal(replace(invitation, round_open=replace(logged, inclusion=()))) == "inclusion-proof"
    first, second, *others = invitation.round_keys
    swapped = (replace(first, entry=second.entry), replace(second, entry=first.entry), *others)
    assert forgery.refusal(replace(invitation, round_keys=swapped)) == "inclusion-proof"


def test_an_entry_of_another_type(forgery: Forgery) -> None:
    invitation = forgery.invitation()
    with pytest.raises(Malformed):
        verify_invitation(forgery.simulation.pinned, replace(invitation, round_open=invitation.round_keys[0]), None)


def test_a_log_that_does_not_extend_what_was_seen(forgery: Forgery) -> None:
    invitation = forgery.invitation()
    seen = (1, forgery.log.root(1))
    assert forgery.refusal(invitation, seen) == "since"
    names = list(forgery.simulation.trustees)
    log = ForgedLog(forgery.simulation, [*forgery.log.entries, *forgery.key_entries])
    index = log.append(forgery.round_open)
    shown = log.invitation(log.cosigned_by(names), index, forgery.round_open.round_keys, 1, since=1)
    verify_invitation(forgery.simulation.pinned, shown, seen)
    assert forgery.refusal(shown, (1, bytes(32))) == "consistency-proof"
    assert forgery.refusal(replace(shown, since=20), (20, bytes(32))) == "consistency-proof"


@settings(max_examples=60, deadline=None)
@given(st.binary(max_size=200))
def test_decoding_is_total(data: bytes) -> None:
    with pytest.raises(Malformed):
        decode_invitation(data)


# ---- the client itself ----


def test_the_model_must_be_the_one_named(simulation: Simulation) -> None:
    simulation.open_round()
    client, invitation = simulation.clients["client-00"], simulation.coordinator.invitation()
    for model in (bytes(320), bytes(8)):
        with pytest.raises(Rejected) as excinfo:
            client.accept(invitation, model)
        assert excinfo.value.check == "model"
    assert client.last_seen == 0


def test_the_checkpoint_seen_is_remembered_across_a_crash(simulation: Simulation) -> None:
    simulation.open_round()
    simulation.accept("client-00")
    simulation.restart_client("client-00")
    assert simulation.clients["client-00"].last_seen == simulation.coordinator.published
    with pytest.raises(Rejected) as excinfo:
        simulation.clients["client-00"].accept(simulation.coordinator.invitation(0), bytes(320))
    assert excinfo.value.check == "since"


def test_identical_bytes_after_a_crash(simulation: Simulation) -> None:
    simulation.open_round()
    update = simulation.random_update("u")
    first = simulation.package("client-00", update)
    simulation.restart_client("client-00")
    opened = simulation.accept("client-00")
    assert simulation.clients["client-00"].answered(opened) == first
    assert simulation.clients["client-00"].submit(opened, update) == first


def test_a_crash_before_the_submission_is_stored_sends_nothing_twice(simulation: Simulation) -> None:
    class Full(MemoryStore):
        def put(self, key: str, value: bytes) -> None:
            if key == "answer":
                raise OSError("no space left")
            super().put(key, value)

    simulation.open_round()
    store = Full()
    client = Client(*simulation._party("client-00"), "client-00", store, simulation.engine, seeded(5))
    opened = client.accept(
        simulation.coordinator.invitation(), simulation.blob(simulation.pinned.policy.initial_model, 320)
    )
    with pytest.raises(OSError, match="no space left"):
        client.submit(opened, simulation.random_update("u"))
    assert client.answered(opened) is None


def test_a_second_update_for_one_round_is_refused(simulation: Simulation) -> None:
    simulation.open_round()
    simulation.package("client-00", simulation.random_update("first"))
    with pytest.raises(Misuse, match="another update"):
        simulation.package("client-00", simulation.random_update("second"))


def test_another_round_open_for_an_answered_round_is_refused(simulation: Simulation) -> None:
    simulation.open_round()
    simulation.package("client-00")
    client = simulation.clients["client-00"]
    opened = simulation.accept("client-00")
    changed = replace(opened, verified=replace(opened.verified, entry_hash=bytes(32)))
    for act in (client.answered, lambda shown: client.submit(shown, simulation.random_update("u"))):
        with pytest.raises(Rejected) as excinfo:
            act(changed)
        assert excinfo.value.check == "round-answered"


def test_rounds_do_not_go_back(simulation: Simulation) -> None:
    simulation.open_round()
    first = simulation.accept("client-00")
    for name in simulation.clients:
        simulation.submit(name)
    simulation.acknowledge()
    simulation.close_cohort()
    simulation.release()
    simulation.finish()
    simulation.open_round()
    simulation.package("client-00")
    with pytest.raises(Rejected) as excinfo:
        simulation.clients["client-00"].submit(first, simulation.random_update("u"))
    assert excinfo.value.check == "round"


def test_an_update_one_unit_over_the_bound_is_the_callers_mistake(simulation: Simulation) -> None:
    simulation.open_round()
    update = np.zeros(40, dtype=np.int64)
    update[0] = simulation.pinned.policy.update.norm_bound + 1
    with pytest.raises(Misuse):
        simulation.package("client-00", update)


def test_fresh_secrets_in_every_round(simulation: Simulation) -> None:
    update = simulation.random_update("same")
    names: set[bytes] = set()
    for _ in range(2):
        simulation.open_round()
        message = submission_of(simulation.package("client-00", update))
        fresh = {message.commitments, message.ciphertext, message.share_commitments, message.proof}
        assert not names & fresh
        names |= fresh | {share.blob for share in message.shares}
        simulation.store(simulation.coordinator.abort())
        simulation.checkpoint()


def test_an_identity_that_the_policy_does_not_have(simulation: Simulation) -> None:
    stranger = SigningKey.generate(seeded("stranger"))
    with pytest.raises(Misuse):
        Client(simulation.pinned, stranger, "client-00", MemoryStore(), simulation.engine, seeded(1))
    with pytest.raises(Rejected) as excinfo:
        Client(simulation.pinned, stranger, "stranger", MemoryStore(), simulation.engine, seeded(1))
    assert excinfo.value.check == "unknown-client"
