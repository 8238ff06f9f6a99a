"""What an audit says of keys that were replaced and parties that were revoked."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from auditor import audit
from auditor.standing import Standing
from proofs.errors import Rejected
from protocols.envelopes import open_envelope, seal_rotation
from protocols.hashes import sha256
from protocols.log.merkle import EMPTY_ROOT
from protocols.membership import MOST_ROTATIONS
from protocols.messages import KeyRotation, Revocation, RoundAborted, RoundKey, RoundOpen, ShareAck, Submission
from protocols.reasons import LEFT
from tests.auditor.conftest import judged, last_bundle
from tests.auditor.forge import Forge
from tests.simulator import identity_of

SMALL_ORDER = bytes.fromhex("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05")
FEDERATION = "simulated"


def test_honest_changes_are_accepted_and_told(simulations) -> None:
    simulation = simulations("changed")
    report = audit(simulation.path, simulation.policy_data)
    assert report.accepted
    check = report.check("I3")
    assert check.checked.endswith("2 rotations and 2 revocations in force")
    assert [note.partition(":")[0].partition(" (")[2] for note in check.notes] == [
        "key-rotation of client-00)",
        "key-rotation of trustee-0)",
        "revocation of client-03)",
        "revocation of trustee-4)",
    ]
    assert simulation.key_of("client-00").public_key.hex() in check.notes[0]
    assert check.notes[2].endswith("left")
    assert report.checkpoint is not None
    assert report.checkpoint.cosigners == ("trustee-0", "trustee-1", "trustee-2", "trustee-3")


def test_the_trustees_in_force_at_every_size(simulations) -> None:
    simulation = simulations("changed")
    entries = simulation.coordinator.entries(0, simulation.coordinator.size)
    standing = Standing(simulation.pinned)
    changes = [
        index for index, entry in enumerate(entries) if open_envelope(entry).type in ("key-rotation", "revocation")
    ]
    for index in changes:
        standing.change(index, entries[index], open_envelope(entries[index]))
    rotated, revoked = changes[1], changes[3]
    first, new = identity_of("trustee-0").public_key, simulation.key_of("trustee-0").public_key
    for size, key, count in (
        (0, first, 5),
        (rotated, first, 5),
        (rotated + 1, new, 5),
        (revoked, new, 5),
        (10**9, new, 4),
    ):
        trustees = standing.trustees_at(size)
        assert (trustees[0].public_key, len(trustees)) == (key, count)
    with pytest.raises(Rejected) as excinfo:
        standing.key("submission", "client-03")
    assert excinfo.value.check == "revoked"


def last_round(forge: Forge) -> int:
    """Where the second round's first key is."""
    return forge.find(RoundKey, 2)


def revoked_client_submits(forge: Forge) -> None:
    submission = forge.message(forge.find(Submission, 2))
    forge.insert(forge.find(ShareAck, 2), type(submission)(**{**vars(submission), "client": "client-03"}))


def revoked_before_it_took_part(forge: Forge) -> None:
    forge.insert(1, Revocation(FEDERATION, sha256(forge.policy_data), "trustee-1", LEFT))


def signed_with_a_replaced_key(forge: Forge) -> None:
    forge.slots[forge.find(RoundKey, 2)].signer = identity_of("trustee-0")


def rotation_signed_by_another_party(forge: Forge) -> None:
    forge.slots[forge.find(KeyRotation)].signer = identity_of("client-01")


def rotation_replayed(forge: Forge) -> None:
    was = forge.slots[forge.find(KeyRotation)].was
    assert was is not None
    forge.insert_raw(last_round(forge), forge.honest[was])


def second_rotation(forge: Forge, party: str, generation: int) -> bytes:
    """A party's next rotation, rightly signed."""
    old, new = (forge.key_of(f"{party} rotated {count}") for count in (generation, generation + 1))
    return seal_rotation(FEDERATION, sha256(forge.policy_data), party, old, new)


def rotated_twice_between_two_rounds(forge: Forge) -> None:
    forge.insert_raw(last_round(forge), second_rotation(forge, "client-00", 1))


def rotated_more_often_than_ever_allowed(forge: Forge) -> None:
    """Each behind what looks like the end of a round; those themselves are I4's."""
    position = last_round(forge)
    federation = forge.policy.federation
    for generation in range(1, MOST_ROTATIONS + 1):
        forge.insert(position, RoundAborted(federation, 1, bytes(32), None, "no-quorum", ()))
        forge.insert_raw(position + 1, second_rotation(forge, "client-00", generation))
        position += 2


def new_key_in_use(forge: Forge) -> None:
    keys = identity_of("client-02"), identity_of("client-01")
    raw = seal_rotation(FEDERATION, sha256(forge.policy_data), "client-02", *keys)
    forge.insert_raw(last_round(forge), raw)


def new_key_of_small_order(forge: Forge) -> None:
    forge.edit(forge.find(KeyRotation), public_key=SMALL_ORDER)


def revocation_signed_by_the_server(forge: Forge) -> None:
    forge.slots[forge.find(Revocation)].signer = identity_of("coordinator")


def revocation_hidden_in_round_open(forge: Forge) -> None:
    forge.edit(forge.find(RoundOpen, 2), changes=EMPTY_ROOT)


def too_few_trustees_left(forge: Forge) -> None:
    forge.insert(last_round(forge), Revocation(FEDERATION, sha256(forge.policy_data), "trustee-3", LEFT))


def change_in_an_open_round(forge: Forge) -> None:
    forge.insert(forge.find(ShareAck, 2), Revocation(FEDERATION, sha256(forge.policy_data), "client-02", LEFT))


def change_after_a_round_key(forge: Forge) -> None:
    forge.insert(forge.find(RoundOpen, 2), Revocation(FEDERATION, sha256(forge.policy_data), "client-02", LEFT))


def revoked_trustee_counted(forge: Forge) -> None:
    forge.ghosts.add("trustee-4")


def cosigned_with_a_replaced_key(forge: Forge) -> None:
    at = forge.key_at
    forge.key_at = lambda name, built: identity_of(name) if name == "trustee-0" else at(name, built)


@pytest.mark.parametrize(
    ("attack", "checks", "exactly"),
    [
        (revoked_client_submits, {"I3"}, False),
        (revoked_before_it_took_part, {"I3"}, False),
        (signed_with_a_replaced_key, {"I3"}, False),
        (rotation_signed_by_another_party, {"I3"}, False),
        (rotation_replayed, {"I3"}, False),
        (rotated_twice_between_two_rounds, {"I3"}, False),
        (rotated_more_often_than_ever_allowed, {"I3"}, False),
        (new_key_in_use, {"I3"}, False),
        (new_key_of_small_order, {"I3"}, False),
        (revocation_signed_by_the_server, {"I3"}, False),
        (revocation_hidden_in_round_open, {"I3"}, False),
        (too_few_trustees_left, {"I3"}, False),
        (change_in_an_open_round, {"I4"}, False),
        (change_after_a_round_key, {"I4"}, False),
        (revoked_trustee_counted, {"I1"}, True),
        (cosigned_with_a_replaced_key, {"I1", "I3"}, False),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_attack(attack: Callable[[Forge], None], checks: set[str], exactly: bool, forge, tmp_path: Path) -> None:
    forged = forge("changed")
    attack(forged)
    found = judged(forged, tmp_path / "t")
    assert found == checks if exactly else checks <= found


@pytest.mark.parametrize(
    ("attack", "check"),
    [(rotated_twice_between_two_rounds, "rotation-pace"), (rotated_more_often_than_ever_allowed, "rotation-cap")],
)
def test_too_many_rotations_are_named(attack: Callable[[Forge], None], check: str, forge, tmp_path: Path) -> None:
    forged = forge("changed")
    attack(forged)
    report = audit(forged.write(tmp_path / "t"), forged.policy_data)
    (finding,) = [each for each in report.check("I3").findings if "rotation" in each.where]
    assert finding.where.endswith(f"(key-rotation of client-00), {check}")


def test_a_revoked_clients_submission_is_named(forge, tmp_path: Path) -> None:
    forged = forge("changed")
    revoked_client_submits(forged)
    report = audit(forged.write(tmp_path / "t"), forged.policy_data)
    (finding,) = report.check("I3").findings
    assert "submission by client-03" in finding.where
    assert "revoked by entry" in finding.found


def test_an_unreadable_log_leaves_the_policys_part_of_i3(copied, simulations) -> None:
    path = copied("changed")
    last_bundle(path).write_bytes(b"")
    report = audit(path, simulations("changed").policy_data)
    assert report.check("I1").status.value == "fail"
    assert report.check("I3").status.value == "skipped"
