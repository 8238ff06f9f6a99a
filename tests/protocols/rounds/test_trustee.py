"""What a trustee cosigns, acknowledges and releases, and what it never does twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle

import pytest

from proofs.errors import Malformed, Misuse, Rejected
from protocols import hpke
from protocols.envelopes import open_envelope
from protocols.identities import SigningKey
from protocols.log.checkpoint import Checkpoint, parse_note, sign_checkpoint
from protocols.messages import RoundKey, ShareAck
from protocols.stores import MemoryStore
from tests.adversaries import become, fork, sealing_badly_for, with_bad_proof
from tests.seeded import seeded
from tests.simulator import Simulation, identity_of

NAMES = [f"trustee-{i}" for i in range(5)]


def refused(check: str) -> pytest.RaisesExc[Rejected]:
    return pytest.RaisesExc(Rejected, check=lambda error: error.check == check)


def keys_of(simulation: Simulation, trustee: str) -> list[str]:
    stored = simulation.stores[trustee].keys()
    return [key for key in stored if key.split("/")[0] in ("round-key", "share")]


def submitted(simulation: Simulation) -> int:
    number = simulation.open_round()
    for name in simulation.clients:
        simulation.submit(name)
    return number


def closed(simulation: Simulation) -> int:
    number = submitted(simulation)
    simulation.acknowledge()
    assert simulation.close_cohort() is None
    return number


# ---- round keys ----


def test_a_round_key_is_the_same_bytes_every_time(simulation: Simulation) -> None:
    entry = simulation.trustees["trustee-0"].round_key(1)
    simulation.restart_trustee("trustee-0")
    assert simulation.trustees["trustee-0"].round_key(1) == entry
    message = open_envelope(entry).message
    assert isinstance(message, RoundKey)
    hpke.check_public_key(message.public_key)


def test_no_key_for_a_round_that_is_over_or_erased(simulation: Simulation) -> None:
    simulation.play_round()
    trustee = simulation.trustees["trustee-0"]
    for number in (0, 1, 3, 51, 1 << 62):
        with refused("round"):
            trustee.round_key(number)
    assert keys_of(simulation, "trustee-0") == []
    trustee.round_key(2)
    trustee.erase(2)
    with refused("erased"):
        trustee.round_key(2)
    assert keys_of(simulation, "trustee-0") == []


def test_an_interrupted_erasure_is_finished_at_the_next_start(simulation: Simulation) -> None:
    simulation.trustees["trustee-0"].round_key(1)
    simulation.stores["trustee-0"].put("erased", b"1")
    assert keys_of(simulation, "trustee-0") == ["round-key/1"]
    simulation.restart_trustee("trustee-0")
    assert keys_of(simulation, "trustee-0") == []


# ---- observing ----


def test_equivocation_is_refused(simulation: Simulation) -> None:
    simulation.open_round()
    trustee, current = simulation.trustees["trustee-0"], simulation.coordinator.ledger.current
    assert current is not None
    other = fork(simulation, 1)
    for name in NAMES[:4]:
        other.entries.append(simulation.trustees[name].round_key(1))
    other.append(replace(current.message, round_keys=(1, 2, 3, 4)))
    with refused("rollback"):
        other.shown_to(trustee)
    while other.size < trustee.size:
        other.entries.append(other.entries[-1])
    with refused("fork"):
        other.shown_to(trustee)
    assert trustee.size == simulation.coordinator.size


def test_rollback_is_refused_and_survives_a_crash(simulation: Simulation) -> None:
    simulation.open_round()
    earlier = fork(simulation, 1)
    simulation.restart_trustee("trustee-0")
    with refused("rollback"):
        earlier.shown_to(simulation.trustees["trustee-0"])


def test_the_same_checkpoint_may_be_cosigned_again(simulation: Simulation) -> None:
    log = fork(simulation, 1)
    assert log.shown_to(simulation.trustees["trustee-0"], 5) != log.shown_to(simulation.trustees["trustee-0"], 6)


def test_a_checkpoint_needs_its_own_entries(simulation: Simulation) -> None:
    trustee = simulation.trustees["trustee-0"]
    log = fork(simulation, 1)
    log.entries.append(simulation.trustees["trustee-1"].round_key(1))
    with refused("entries"):
        trustee.observe(log.note(), [], 1)
    with refused("entries"):
        trustee.observe(log.note(), log.entries[1:] * 2, 1)
    with refused("fork"):
        trustee.observe(log.note(), [simulation.trustees["trustee-2"].round_key(1)], 1)
    assert trustee.size == 1


def test_a_checkpoint_by_another_key_or_of_another_log(simulation: Simulation) -> None:
    trustee, head = simulation.trustees["trustee-0"], fork(simulation, 1).head()
    with refused("checkpoint-signature"):
        trustee.observe(sign_checkpoint(head, head.origin, SigningKey.generate(seeded("x"))), [], 1)
    other = Checkpoint("example.org/other", head.size, head.root)
    with refused("checkpoint-origin"):
        trustee.observe(sign_checkpoint(other, other.origin, identity_of("coordinator")), [], 1)
    with pytest.raises(Malformed):
        trustee.observe(b"not a note", [], 1)


def test_one_bad_entry_stops_the_observation_as_a_whole(simulation: Simulation) -> None:
    trustee = simulation.trustees["trustee-0"]
    log = fork(simulation, 1)
    log.entries.append(simulation.trustees["trustee-1"].round_key(1))
    log.entries.append(simulation.trustees["trustee-1"].round_key(1))
    with refused("round-keys"):
        log.shown_to(trustee)
    log.entries[2] = b"\xa0"
    with pytest.raises(Malformed):
        log.shown_to(trustee)
    assert trustee.size == 1


def test_what_it_cosigned_is_stored_first(simulation: Simulation) -> None:
    simulation.open_round()

    class Broken(MemoryStore):
        def put(self, key: str, value: bytes) -> None:
            raise OSError("read-only")

    store = Broken()
    store._values = dict(simulation.stores["trustee-0"]._values)
    trustee = simulation.trustee_on(store, "trustee-0")
    simulation.submit("client-00")
    note = simulation.coordinator.checkpoint()
    size = trustee.size
    with pytest.raises(OSError, match="read-only"):
        trustee.observe(note, simulation.coordinator.entries(size, simulation.coordinator.size), 1)
    assert trustee.size == size


# ---- acknowledging ----


def test_an_acknowledgement_is_given_once_in_the_same_bytes(simulation: Simulation) -> None:
    number = submitted(simulation)
    simulation.checkpoint()
    first = simulation.trustees["trustee-0"].acknowledge(number, simulation.coordinator.note, simulation.blob)
    simulation.restart_trustee("trustee-0")
    assert simulation.trustees["trustee-0"].acknowledge(number, simulation.coordinator.note, simulation.blob) == first


def test_only_what_the_trustee_has_cosigned_is_acknowledged(simulation: Simulation) -> None:
    simulation.open_round()
    simulation.submit("client-00")
    simulation.checkpoint()
    simulation.submit("client-01")
    assert len(acknowledgement(simulation, "trustee-0").acknowledged) == 1


def acknowledgement(simulation: Simulation, trustee: str) -> ShareAck:
    entry = simulation.trustees[trustee].acknowledge(
        simulation.coordinator.ledger.rounds, simulation.coordinator.note, simulation.blob
    )
    message = open_envelope(entry).message
    assert isinstance(message, ShareAck)
    return message


def test_a_bad_share_is_disputed_by_its_trustee_only(simulation: Simulation) -> None:
    become(simulation, "client-01", sealing_badly_for("trustee-2"))
    submitted(simulation)
    simulation.checkpoint()
    assert [dispute.reason for dispute in acknowledgement(simulation, "trustee-2").disputed] == ["share-opening"]
    assert acknowledgement(simulation, "trustee-3").disputed == ()


def test_shares_that_do_not_decrypt_or_decode_are_disputed(simulation: Simulation) -> None:
    from tests.adversaries import resigned, submission_of

    simulation.open_round()
    for name, spoil in (("client-00", bytes), ("client-01", bytes)):
        package = simulation.package(name)
        message = submission_of(package)
        if name == "client-00":
            garbage = spoil(simulation.pinned.sealed_share_size)
            shares = tuple(replace(share, blob=_hash(garbage)) for share in message.shares)
            package = resigned(simulation, package, {}, shares=shares)
            package = replace(package, blobs={**package.blobs, _hash(garbage): garbage})
        else:
            package = resigned(simulation, package, {"share_commitments": b"\x05" * 33 * 4})
        simulation.store(simulation.coordinator.receive(package))
    simulation.checkpoint()
    disputed = acknowledgement(simulation, "trustee-0").disputed
    assert [dispute.reason for dispute in disputed] == ["share-decryption", "share-commitments"]


def _hash(data: bytes) -> bytes:
    from protocols.blobs import blob_hash

    return blob_hash(data)


def test_a_share_copied_from_another_client_is_disputed(simulation: Simulation) -> None:
    from tests.adversaries import resigned, submission_of

    simulation.open_round()
    victim, thief = simulation.package("client-00"), simulation.package("client-01")
    simulation.store(simulation.coordinator.receive(victim))
    copied = submission_of(victim)
    stolen = resigned(simulation, thief, {}, shares=copied.shares, share_commitments=copied.share_commitments)
    stolen = replace(stolen, blobs={**victim.blobs, **stolen.blobs})
    simulation.store(simulation.coordinator.receive(stolen))
    simulation.checkpoint()
    assert [each.reason for each in acknowledgement(simulation, "trustee-0").disputed] == ["share-decryption"]


@pytest.mark.parametrize("fault", ["missing", "other bytes", "other length"])
def test_withheld_blobs_frame_nobody(simulation: Simulation, fault: str) -> None:
    number = submitted(simulation)
    simulation.checkpoint()
    current = simulation.coordinator.ledger.current
    assert current is not None
    victim = current.submissions[1]

    def blobs(name: bytes, limit: int) -> bytes:
        if name not in {share.blob for share in victim.message.shares}:
            return simulation.blob(name, limit)
        if fault == "missing":
            raise Rejected("blob-missing", name.hex(), "none")
        return bytes(limit if fault == "other bytes" else limit - 1)

    message = open_envelope(
        simulation.trustees["trustee-0"].acknowledge(number, simulation.coordinator.note, blobs)
    ).message
    assert isinstance(message, ShareAck)
    assert victim.index not in message.acknowledged
    assert message.disputed == ()


def test_a_second_submission_is_neither_acknowledged_nor_disputed(simulation: Simulation) -> None:
    simulation.open_round()
    package = simulation.package("client-00")
    simulation.store(simulation.coordinator.receive(package))
    simulation.store(simulation.coordinator.receive(with_bad_proof(simulation, package)))
    simulation.checkpoint()
    message = acknowledgement(simulation, "trustee-0")
    assert (len(message.acknowledged), message.disputed) == (1, ())


def test_a_round_key_of_its_own_that_it_does_not_know(simulation: Simulation) -> None:
    number = submitted(simulation)
    simulation.checkpoint()
    simulation.stores["trustee-0"].delete("round-key/1")
    with refused("round-key"):
        simulation.trustees["trustee-0"].acknowledge(number, simulation.coordinator.note, simulation.blob)


def test_acknowledgements_end_with_the_cohort(simulation: Simulation) -> None:
    number = submitted(simulation)
    simulation.acknowledge(NAMES[:4])
    assert simulation.close_cohort() is None
    with refused("order"):
        simulation.trustees["trustee-4"].acknowledge(number, simulation.coordinator.note, simulation.blob)
    with refused("order"):
        simulation.trustees["trustee-4"].acknowledge(number + 1, simulation.coordinator.note, simulation.blob)


# ---- releasing ----


def test_a_release_is_given_once_in_the_same_bytes(simulation: Simulation) -> None:
    number = closed(simulation)
    first = simulation.trustees["trustee-0"].release(number, simulation.coordinator.note, simulation.blob)
    assert keys_of(simulation, "trustee-0") == []
    simulation.restart_trustee("trustee-0")
    assert simulation.trustees["trustee-0"].release(number, simulation.coordinator.note, simulation.blob) == first


def test_a_second_release_for_another_cohort_is_refused_after_a_crash(simulation: Simulation) -> None:
    number = closed(simulation)
    simulation.trustees["trustee-0"].release(number, simulation.coordinator.note, simulation.blob)
    record = simulation.stores["trustee-0"].get("release/1")
    assert record is not None
    digest = simulation.coordinator.ledger.current.cohort.message.digest
    simulation.stores["trustee-0"].put("release/1", record.replace(digest, bytes(32)))
    simulation.restart_trustee("trustee-0")
    with refused("released"):
        simulation.trustees["trustee-0"].release(number, simulation.coordinator.note, simulation.blob)


def test_a_crash_before_the_decision_is_stored_releases_nothing(simulation: Simulation) -> None:
    number = closed(simulation)

    class Full(MemoryStore):
        def put(self, key: str, value: bytes) -> None:
            if key.startswith("release"):
                raise OSError("no space left")
            super().put(key, value)

    store = Full()
    store._values = dict(simulation.stores["trustee-0"]._values)
    trustee = simulation.trustee_on(store, "trustee-0")
    with pytest.raises(OSError, match="no space left"):
        trustee.release(number, simulation.coordinator.note, simulation.blob)
    simulation.release()
    assert simulation.finish().aborted is None


def test_no_release_without_a_closed_cohort_or_after_the_round(simulation: Simulation) -> None:
    number = submitted(simulation)
    simulation.acknowledge()
    trustee = simulation.trustees["trustee-0"]
    with refused("order"):
        trustee.release(number, simulation.coordinator.note, simulation.blob)
    simulation.close_cohort()
    simulation.release()
    simulation.finish()
    with refused("order"):
        trustee.release(number, simulation.coordinator.note, simulation.blob)


def test_no_release_by_a_trustee_that_is_not_asked(simulation: Simulation) -> None:
    number = submitted(simulation)
    simulation.acknowledge(NAMES[:4])
    simulation.close_cohort()
    with refused("release"):
        simulation.trustees["trustee-4"].release(number, simulation.coordinator.note, simulation.blob)


def test_no_release_beyond_its_own_acknowledgement(simulation: Simulation) -> None:
    number = closed(simulation)
    simulation.stores["trustee-0"].delete("ack/1")
    with refused("unacknowledged"):
        simulation.trustees["trustee-0"].release(number, simulation.coordinator.note, simulation.blob)


def test_no_release_of_erased_shares(simulation: Simulation) -> None:
    number = closed(simulation)
    simulation.trustees["trustee-0"].erase(number)
    with refused("erased"):
        simulation.trustees["trustee-0"].release(number, simulation.coordinator.note, simulation.blob)


def test_erased_rounds_stay_open_to_nobody(simulation: Simulation) -> None:
    number = submitted(simulation)
    simulation.checkpoint()
    simulation.trustees["trustee-0"].erase(number)
    with refused("erased"):
        simulation.trustees["trustee-0"].acknowledge(number, simulation.coordinator.note, simulation.blob)


def test_cosignatures_verify(simulation: Simulation) -> None:
    from protocols.log.reader import TranscriptReader

    simulation.open_round()
    note = parse_note(TranscriptReader(simulation.path).latest())
    assert [signature.name for signature in note.signatures[1:]] == NAMES


def test_an_identity_that_the_policy_does_not_have(simulation: Simulation) -> None:
    with pytest.raises(Misuse):
        simulation.trustee_on(MemoryStore(), "trustee-0", identity_of("client-00"))


def test_entries_are_read_once_and_never_beyond_the_checkpoint(simulation: Simulation) -> None:
    """Of what passes by nothing is kept but what the rules keep, and nothing more is asked for than one entry."""
    trustee, log = simulation.trustees["trustee-0"], fork(simulation, 1)
    log.entries.append(simulation.trustees["trustee-1"].round_key(1))
    asked = 0

    def endless() -> Iterator[bytes]:
        nonlocal asked
        for entry in cycle(log.entries[1:]):
            asked += 1
            yield entry

    with refused("entries"):
        trustee.observe(log.note(), endless(), 1)
    assert asked == 2
    assert trustee.size == 1
    assert trustee.observe(log.note(), iter(log.entries[1:]), 1)
    assert trustee.size == 2
