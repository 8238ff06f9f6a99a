"""Keys that are replaced and parties that are revoked while the federation runs: what everybody enforces."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import pytest

from proofs.errors import Malformed, Misuse, Rejected
from protocols.envelopes import Entry, open_envelope, seal, seal_rotation
from protocols.hashes import sha256
from protocols.identities import SigningKey
from protocols.invitation import Invitation, decode_invitation, encode_invitation, verify_invitation
from protocols.membership import ENROLLED, MOST_ROTATIONS
from protocols.messages import KeyRotation, Message, Revocation, RoundOpen
from protocols.parameters import CHANGES_BYTES
from protocols.reasons import LEFT, REVOCATIONS
from protocols.receipts import decode_receipt, encode_receipt, make_receipts, verify_receipt
from protocols.rounds.client import Client
from protocols.rounds.trustee import Trustee
from protocols.stores import MemoryStore
from protocols.verdicts import ACCEPTED
from tests.adversaries import ForgedLog, fork
from tests.seeded import seeded
from tests.simulator import Setting, Simulation, identity_of, make_policy

FEDERATION = "simulated"
POLICY = sha256(make_policy(Setting())[0])
NEW = identity_of("a new key")
SMALL_ORDER = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")


def rejected(step: Callable[[], object]) -> str:
    with pytest.raises(Rejected) as excinfo:
        step()
    return excinfo.value.check


def rotation(message: KeyRotation | None = None, signer: SigningKey | None = None, **fields: object) -> bytes:
    """client-00's rotation to NEW with some fields changed, signed by its key or by somebody else's."""
    honest = open_envelope(seal_rotation(FEDERATION, POLICY, "client-00", identity_of("client-00"), NEW)).message
    changed = replace(message or honest, **fields)
    assert isinstance(changed, KeyRotation)
    return seal(changed, changed.party, signer or identity_of("client-00"))


def message_of(entry: bytes) -> Message:
    message = open_envelope(entry).message
    assert isinstance(message, KeyRotation | Revocation | RoundOpen)
    return message


def refused_everywhere(simulation: Simulation, entry: bytes, check: str) -> None:
    """The coordinator does not log it, an honest trustee does not cosign a log with it."""
    assert rejected(lambda: simulation.coordinator.receive_change(entry)) == check
    log = fork(simulation, simulation.coordinator.size)
    log.entries.append(entry)
    for trustee in simulation.trustees.values():
        if simulation.in_force(trustee.name):
            assert rejected(lambda trustee=trustee: log.shown_to(trustee)) == check


# ---- what is allowed ----


def test_rounds_go_on_with_new_keys_and_without_the_revoked(simulation: Simulation) -> None:
    simulation.play_round()
    simulation.change(simulation.rotation("client-00"))
    simulation.change(simulation.rotation("trustee-0"))
    simulation.change(simulation.revocation("client-03", LEFT))
    simulation.change(simulation.revocation("trustee-4"))
    result = simulation.play_round()
    assert result.accepted == ("client-00", "client-01", "client-02")
    assert np.array_equal(result.plaintext, simulation.expected_sum(result))
    members = simulation.coordinator.ledger.membership
    assert members.count == 4
    assert [each.id for each in members.trustees(simulation.pinned.policy)] == [f"trustee-{i}" for i in range(4)]
    assert [each.id for each in members.clients(simulation.pinned.policy)] == ["client-00", "client-01", "client-02"]
    assert all(
        trustee._log.ledger.membership == members for name, trustee in simulation.trustees.items() if name[-1] < "4"
    )


def test_a_key_can_be_rotated_again(simulation: Simulation) -> None:
    for _ in range(3):
        simulation.change(simulation.rotation("client-00"))
        simulation.give_up_round()
    assert "client-00" in simulation.play_round().accepted


@pytest.mark.parametrize("name", ["client-00", "trustee-0"])
def test_after_its_rotation_a_party_needs_the_new_key_only(simulation: Simulation, name: str) -> None:
    simulation.change(simulation.rotation(name))
    simulation.play_round()
    kind = Client if name in simulation.clients else Trustee
    arguments = (name, simulation.stores[name], simulation.engine, seeded("again"))
    arguments += (simulation.waits,) if kind is Trustee else ()  # type: ignore[assignment]  # one more argument
    with pytest.raises(Misuse, match="another"):
        kind(simulation.pinned, identity_of(name), *arguments)
    parties: dict[str, object] = simulation.clients if kind is Client else simulation.trustees
    parties[name] = kind(simulation.pinned, simulation.key_of(name), *arguments)
    assert simulation.play_round().aborted is None


def test_a_client_that_missed_everything_is_shown_all_changes(simulation: Simulation) -> None:
    simulation.play_round(clients=["client-01", "client-02", "client-03"])
    simulation.change(simulation.rotation("trustee-0"))
    simulation.play_round(clients=["client-01", "client-02", "client-03"])
    simulation.change(simulation.revocation("trustee-4"))
    simulation.open_round()
    shown, true = simulation.accept("client-00").verified.membership, simulation.coordinator.ledger.membership
    assert (shown.root(), shown.retired) == (true.root(), true.retired)
    invitation = simulation.coordinator.invitation()
    assert len(invitation.changes) == 2
    assert decode_invitation(encode_invitation(invitation)) == invitation


def test_a_client_may_be_shown_only_what_it_does_not_know(simulation: Simulation) -> None:
    simulation.change(simulation.rotation("trustee-0"))
    simulation.play_round()
    simulation.change(simulation.rotation("trustee-1"))
    simulation.open_round()
    client = simulation.clients["client-00"]
    assert client.known_changes == 1
    invitation = simulation.coordinator.invitation(client.last_seen, client.known_changes)
    index = simulation.coordinator.size - 7
    assert list(invitation.changes) == simulation.coordinator.entries(index, index + 1)
    model = simulation.blob(simulation.coordinator.ledger.model or b"", simulation.pinned.model_size)
    assert client.accept(invitation, model).verified.membership.count == 2


def test_a_trustee_that_crashes_around_its_rotation_goes_on(simulation: Simulation) -> None:
    entry = simulation.rotation("trustee-0")
    simulation.restart_trustee("trustee-0")
    simulation.store(simulation.coordinator.receive_change(entry))
    simulation.restart_coordinator()
    simulation.checkpoint()
    simulation.restart_trustee("trustee-0")
    assert simulation.play_round().aborted is None


def test_the_same_bytes_are_logged_once(simulation: Simulation) -> None:
    entry = simulation.rotation("client-00")
    assert simulation.coordinator.receive_change(entry).entries == (Entry.open(entry),)
    assert simulation.coordinator.receive_change(entry).entries == ()
    assert (
        seal_rotation(FEDERATION, POLICY, "client-00", identity_of("client-00"), simulation.key_of("client-00"))
        == entry
    )


def test_whoever_was_barred_is_needed_when_another_is_revoked(simulation: Simulation) -> None:
    simulation.open_round()
    for name in simulation.clients:
        simulation.submit(name)
    simulation.acknowledge(["trustee-0", "trustee-1", "trustee-2", "trustee-3"])
    simulation.close_cohort()
    simulation.release(["trustee-1", "trustee-2", "trustee-3"])
    assert simulation.finish().aborted == "missing-releases"
    assert simulation.coordinator.ledger.barred == ("trustee-0",)
    simulation.change(simulation.revocation("trustee-4"))
    assert simulation.coordinator.ledger.barred == ()
    assert simulation.play_round().aborted is None


# ---- rotations that may not be ----


@pytest.mark.parametrize(
    ("entry", "check"),
    [
        (lambda: rotation(signer=identity_of("client-01")), "signature"),
        (lambda: rotation(signer=NEW), "signature"),
        (lambda: rotation(signer=identity_of("coordinator")), "signature"),
        (lambda: rotation(federation="another"), "federation"),
        (lambda: rotation(party="client-99"), "unknown-party"),
        (lambda: rotation(party="client-01"), "rotation-previous"),
        (lambda: rotation(previous=NEW.public_key), "rotation-previous"),
        (lambda: rotation(public_key=SMALL_ORDER), "public-key"),
        (lambda: rotation(public_key=b"\xff" * 32), "public-key"),
        (lambda: rotation(possession=bytes(64)), "possession"),
        (lambda: rotation(public_key=identity_of("another").public_key), "possession"),
    ],
)
def test_rotation_signed_by_another_party_or_false(
    simulation: Simulation, entry: Callable[[], bytes], check: str
) -> None:
    refused_everywhere(simulation, entry(), check)


def test_a_possession_signed_for_another_party_federation_or_policy(simulation: Simulation) -> None:
    for federation, policy, party in (
        ("another", POLICY, "client-00"),
        (FEDERATION, bytes(32), "client-00"),
        (FEDERATION, POLICY, "client-01"),
    ):
        other = open_envelope(seal_rotation(federation, policy, party, identity_of("client-00"), NEW)).message
        assert isinstance(other, KeyRotation)
        refused_everywhere(simulation, rotation(possession=other.possession), "possession")


@pytest.mark.parametrize("owner", ["client-00", "client-01", "trustee-0", "coordinator", "issuer"])
def test_new_key_already_in_use(simulation: Simulation, owner: str) -> None:
    entry = seal_rotation(FEDERATION, POLICY, "client-00", identity_of("client-00"), identity_of(owner))
    refused_everywhere(simulation, entry, "rotation-key")


def test_new_key_that_was_in_use(simulation: Simulation) -> None:
    simulation.change(simulation.rotation("client-00"))
    once = simulation.key_of("client-00")
    simulation.give_up_round()
    simulation.change(simulation.rotation("client-00"))
    simulation.give_up_round()
    refused_everywhere(
        simulation, seal_rotation(FEDERATION, POLICY, "client-01", identity_of("client-01"), once), "rotation-key"
    )
    refused_everywhere(
        simulation, seal_rotation(FEDERATION, POLICY, "client-00", simulation.key_of("client-00"), once), "rotation-key"
    )
    simulation.change(simulation.revocation("client-02"))
    gone = seal_rotation(FEDERATION, POLICY, "client-01", identity_of("client-01"), identity_of("client-02"))
    refused_everywhere(simulation, gone, "rotation-key")


def test_rotation_replayed(simulation: Simulation) -> None:
    entry = simulation.rotation("client-00")
    simulation.change(entry)
    simulation.give_up_round()
    simulation.change(simulation.rotation("client-00"))
    log = fork(simulation, simulation.coordinator.size)
    log.entries.append(entry)
    assert rejected(lambda: log.shown_to(simulation.trustees["trustee-0"])) == "rotation-previous"


def test_nothing_changes_while_a_round_is_open(simulation: Simulation) -> None:
    simulation.open_round()
    refused_everywhere(simulation, simulation.revocation("client-00"), "order")
    refused_everywhere(simulation, rotation(), "order")


def test_nothing_changes_between_round_keys_and_their_round(simulation: Simulation) -> None:
    log = fork(simulation, simulation.coordinator.size)
    log.entries += [simulation.trustees["trustee-0"].round_key(1), rotation()]
    assert rejected(lambda: log.shown_to(simulation.trustees["trustee-1"])) == "order"


def test_nothing_changes_before_genesis(simulation: Simulation) -> None:
    fresh = simulation.trustee_on(MemoryStore(), "trustee-0")
    log = ForgedLog(simulation, [rotation()])
    assert rejected(lambda: log.shown_to(fresh)) == "order"


def test_other_entries_are_no_changes(simulation: Simulation) -> None:
    with pytest.raises(Malformed, match="key-rotation or revocation"):
        simulation.coordinator.receive_change(simulation.trustees["trustee-0"].round_key(1))


# ---- revocations that may not be ----


def test_revocation_signed_by_the_server(simulation: Simulation) -> None:
    for signer in ("coordinator", "trustee-0", "client-01"):
        refused_everywhere(simulation, simulation.revocation("client-00", signer=signer), "signature")


@pytest.mark.parametrize(
    ("fields", "check"),
    [
        ({"party": "client-99"}, "unknown-party"),
        ({"reason": "call me: +49"}, "revocation-reason"),
        ({"federation": "another"}, "federation"),
        ({"policy": bytes(32)}, "policy-hash"),
    ],
)
def test_false_revocations(simulation: Simulation, fields: dict[str, object], check: str) -> None:
    message = replace(Revocation(FEDERATION, POLICY, "client-00", LEFT), **fields)
    refused_everywhere(simulation, seal(message, "issuer", identity_of("issuer")), check)


def test_nobody_is_revoked_twice_or_rotates_after_it(simulation: Simulation) -> None:
    late = simulation.rotation("client-00")
    simulation.change(simulation.revocation("client-00"))
    refused_everywhere(simulation, simulation.revocation("client-00", LEFT), "revoked")
    refused_everywhere(simulation, late, "revoked")


def test_t_trustees_must_be_left(simulation: Simulation) -> None:
    simulation.change(simulation.revocation("trustee-4"))
    refused_everywhere(simulation, simulation.revocation("trustee-3"), "revocation-quorum")


# ---- what the revoked may not do any more ----


def test_revoked_client_submits(simulation: Simulation) -> None:
    """It is refused; and where the server logs it nevertheless, no trustee cosigns."""
    simulation.change(simulation.revocation("client-00"))
    simulation.open_round()
    assert rejected(lambda: simulation.accept("client-00")) == "revoked"
    package = simulation.package("client-01")
    message = open_envelope(package.entry).message
    stolen = seal(replace(message, client="client-00"), "client-00", identity_of("client-00"))
    assert rejected(lambda: simulation.coordinator.receive(replace(package, entry=stolen))) == "revoked"
    log = fork(simulation, simulation.coordinator.size)
    log.entries.append(stolen)
    assert rejected(lambda: log.shown_to(simulation.trustees["trustee-0"])) == "revoked"


def test_a_submission_with_the_old_key(simulation: Simulation) -> None:
    simulation.change(simulation.rotation("client-00"))
    simulation.open_round()
    message = open_envelope(simulation.package("client-00").entry).message
    log = fork(simulation, simulation.coordinator.size)
    log.entries.append(seal(message, "client-00", identity_of("client-00")))
    assert rejected(lambda: log.shown_to(simulation.trustees["trustee-0"])) == "signature"


def test_a_revoked_trustee_cosigns_nothing_and_its_secrets_are_gone(simulation: Simulation) -> None:
    simulation.play_round()
    simulation.trustees["trustee-4"].round_key(2)
    simulation.store(simulation.coordinator.receive_change(simulation.revocation("trustee-4")))
    note = simulation.coordinator.checkpoint()
    assert rejected(lambda: simulation.observe("trustee-4", note)) == "revoked"
    left = simulation.stores["trustee-4"].keys()
    assert not [key for key in left if key.startswith(("round-key/", "share/"))]
    simulation.restart_trustee("trustee-4")
    assert rejected(lambda: simulation.observe("trustee-4", note)) == "revoked"


def test_revoked_trustees_cosignature_counted_toward_quorum(simulation: Simulation) -> None:
    """Three in force and the revoked one are not four: not for the coordinator, not for a client."""
    before = simulation.key_of("trustee-4")
    simulation.store(simulation.coordinator.receive_change(simulation.revocation("trustee-4")))
    note = simulation.coordinator.checkpoint()
    log = fork(simulation, simulation.coordinator.size)
    three = ["trustee-0", "trustee-1", "trustee-2"]
    lines = [simulation.observe(name, note) for name in three]
    forged = log.line("trustee-4", before)
    assert rejected(lambda: simulation.coordinator.cosigned(note, [*lines, forged])) == "checkpoint-quorum"
    simulation.checkpoint()
    simulation.open_round()
    log = fork(simulation, simulation.coordinator.size)
    shown = replace(simulation.coordinator.invitation(), note=log.cosigned_by([*three, "trustee-4"]))
    assert rejected(lambda: verify_invitation(simulation.pinned, shown, None)) == "checkpoint-unknown-signature"


def test_an_honest_trustee_refuses_a_note_with_a_revoked_cosigner(simulation: Simulation) -> None:
    simulation.store(simulation.coordinator.receive_change(simulation.revocation("trustee-4")))
    log = fork(simulation, simulation.coordinator.size)
    trustee = simulation.trustees["trustee-0"]
    note, entries = log.cosigned_by(["trustee-4"]), log.entries[trustee.size :]
    assert rejected(lambda: trustee.observe(note, entries, 1)) == "checkpoint-unknown-signature"


def test_the_old_key_of_a_trustee_cosigns_nothing(simulation: Simulation) -> None:
    simulation.store(simulation.coordinator.receive_change(simulation.rotation("trustee-0")))
    note = simulation.coordinator.checkpoint()
    log = fork(simulation, simulation.coordinator.size)
    lines = [simulation.observe(name, note) for name in ("trustee-1", "trustee-2", "trustee-3")]
    old = log.line("trustee-0", identity_of("trustee-0"))
    assert rejected(lambda: simulation.coordinator.cosigned(note, [*lines, old])) == "checkpoint-quorum"
    assert simulation.coordinator.cosigned(note, [*lines, simulation.observe("trustee-0", note)])


def test_a_revoked_trustees_round_key_is_refused(simulation: Simulation) -> None:
    keys = [trustee.round_key(1) for trustee in simulation.trustees.values()]
    simulation.change(simulation.revocation("trustee-4"))
    opened = simulation.store(simulation.coordinator.open_round(keys))
    assert [getattr(refusal.error, "check", "") for refusal in opened.refused] == ["revoked"]
    message = opened.entries[-1].message
    assert isinstance(message, RoundOpen)
    assert len(message.round_keys) == 4


def test_a_trustee_whose_key_a_thief_rotated_away_notices(simulation: Simulation) -> None:
    theft = seal_rotation(FEDERATION, POLICY, "trustee-0", identity_of("trustee-0"), NEW)
    simulation.store(simulation.coordinator.receive_change(theft))
    note = simulation.coordinator.checkpoint()
    assert rejected(lambda: simulation.observe("trustee-0", note)) == "own-key"


def test_a_client_whose_key_a_thief_rotated_away_notices(simulation: Simulation) -> None:
    simulation.change(seal_rotation(FEDERATION, POLICY, "client-00", identity_of("client-00"), NEW))
    simulation.open_round()
    assert rejected(lambda: simulation.accept("client-00")) == "own-key"


# ---- a server that hides a change ----


def without(invitation: Invitation, changes: Sequence[int]) -> Invitation:
    kept = [change for position, change in enumerate(invitation.changes) if position not in changes]
    return replace(invitation, changes=tuple(kept))


@pytest.mark.parametrize("hidden", [(0,), (1,), (0, 1)])
def test_server_hides_a_revocation_from_a_client(simulation: Simulation, hidden: tuple[int, ...]) -> None:
    simulation.change(simulation.rotation("client-01"))
    simulation.change(simulation.revocation("client-02"))
    simulation.open_round()
    shown = without(simulation.coordinator.invitation(), hidden)
    assert rejected(lambda: verify_invitation(simulation.pinned, shown, None)) == "changes"


def test_a_round_open_that_names_fewer_changes_is_not_cosigned(simulation: Simulation) -> None:
    """So the server cannot show a client a round that fits the story without the revocation."""
    simulation.change(simulation.revocation("client-02"))
    size = simulation.coordinator.size
    simulation.store(
        simulation.coordinator.open_round([simulation.trustees[f"trustee-{i}"].round_key(1) for i in range(4)])
    )
    *keys, opened = simulation.coordinator.entries(size, simulation.coordinator.size)
    log = fork(simulation, size)
    log.entries += keys
    log.append(replace(message_of(opened), changes=ENROLLED.root()))
    assert rejected(lambda: log.shown_to(simulation.trustees["trustee-0"])) == "changes"


def test_server_hides_a_revocation_that_a_client_knows(simulation: Simulation) -> None:
    """With the keys of revoked trustees a server may forge a log without the revocation; not for who has seen it."""
    simulation.change(simulation.revocation("trustee-4"))
    simulation.play_round()
    simulation.open_round()
    client = simulation.clients["client-00"]
    shown = simulation.coordinator.invitation(client.last_seen)
    for hiding in (replace(shown, changes=()), replace(shown, changes=(), known=2)):
        assert rejected(lambda hiding=hiding: client.accept(hiding, b"")) == "changes"


def test_changes_in_another_order_or_others(simulation: Simulation) -> None:
    simulation.change(simulation.rotation("client-01"))
    simulation.change(simulation.rotation("client-02"))
    simulation.open_round()
    honest = simulation.coordinator.invitation()
    first, second = honest.changes
    for changes, check in (
        ((second, first), "changes"),
        ((first, second, second), "rotation-previous"),
        ((first,), "changes"),
        ((first, second, honest.round_keys[0].entry), "order"),
    ):
        shown = replace(honest, changes=changes)
        assert rejected(lambda shown=shown: verify_invitation(simulation.pinned, shown, None)) == check


def test_a_change_that_only_one_client_is_shown(simulation: Simulation) -> None:
    """A rightful rotation that no log has: RoundOpen does not name it."""
    simulation.open_round()
    honest = simulation.coordinator.invitation()
    shown = replace(honest, changes=(rotation(),))
    assert rejected(lambda: verify_invitation(simulation.pinned, shown, None)) == "changes"


# ---- how many, how often ----


def test_a_party_rotates_once_between_two_rounds(simulation: Simulation) -> None:
    """A revocation is another thing: it is taken whatever was rotated before it."""
    simulation.change(simulation.rotation("client-00"))
    simulation.change(simulation.rotation("client-01"))
    again = simulation.rotation("client-00")
    refused_everywhere(simulation, again, "rotation-pace")
    simulation.give_up_round()
    simulation.change(again)
    refused_everywhere(simulation, simulation.rotation("client-00"), "rotation-pace")
    simulation.change(simulation.revocation("client-00"))
    assert "client-00" not in simulation.play_round().accepted


def test_at_the_cap_of_everybodys_rotations_all_goes_on(simulation: Simulation) -> None:
    """Every party has rotated as often as it may: a new client, one that knows, receipts, resumption, revocations."""
    parties = [*simulation.clients, *simulation.trustees]
    for _ in range(MOST_ROTATIONS):
        for name in parties:
            simulation.store(simulation.coordinator.receive_change(simulation.rotation(name)))
        simulation.checkpoint()
        simulation.give_up_round()
    for name in ("client-00", "trustee-0"):
        refused_everywhere(simulation, simulation.rotation(name), "rotation-cap")
        simulation.successors[name] = simulation.successors[name][:-1]
    simulation.restart_coordinator()
    for name in parties:
        (simulation.restart_client if name in simulation.clients else simulation.restart_trustee)(name)
    simulation.change(simulation.revocation("client-03"))
    simulation.change(simulation.revocation("trustee-4"))
    result = simulation.play_round()
    assert result.accepted == ("client-00", "client-01", "client-02")
    entries = simulation.coordinator.entries(0, simulation.coordinator.size)
    note = simulation.coordinator.note
    receipt = make_receipts(simulation.pinned, note, entries, result.number)["client-00"]
    assert len(receipt.changes) == MOST_ROTATIONS * len(parties) + 2
    assert verify_receipt(simulation.pinned, decode_receipt(encode_receipt(receipt))).verdict == ACCEPTED


def test_the_changes_of_the_largest_roster_fit_into_one_message() -> None:
    """16 rotations and a revocation of a party, under the longest names there are, each with a head of three bytes."""
    name, old, new = "p" * 64, identity_of("old"), identity_of("new")
    rotated = seal_rotation("f" * 64, bytes(32), name, old, new)
    revoked = seal(
        Revocation("f" * 64, bytes(32), name, max(REVOCATIONS.names, key=len)), "issuer", identity_of("issuer")
    )
    each = MOST_ROTATIONS * (len(rotated) + 3) + len(revoked) + 3
    assert each == CHANGES_BYTES[0]
