"""Who could lie in which field, and which check catches it: one lie for every field of every message.

Each case changes one field of one entry, signs the entry anew with the key of its rightful party, brings everything
after it in line, and has trustees cosign: only the lie is left. `CASES` names the checks that must fail; a field of a
message without a case fails the test at the end.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from protocols import messages
from protocols.messages import Detail, EncryptedShare, MissingParty
from tests.auditor.conftest import flipped, judged
from tests.auditor.forge import Forge

Lie = Callable[[Forge, Any], Any]  # (forge, the honest message) -> another value of the field
NOWHERE = bytes(31) + b"\x01"


@dataclass(frozen=True)
class Case:
    """lie: the field's other value. checks: those that must fail. exactly: no other may. name: the transcript."""

    lie: Lie
    checks: set[str]
    exactly: bool = True
    name: str = "quiet"
    round: int | None = None


def value(other: Any) -> Lie:
    return lambda forge, message: other


def blob(field: str, change: Callable[[bytes], bytes]) -> Lie:
    """The name of a blob like the honest one, but changed."""
    return lambda forge, message: forge.put(change(forge.blob(getattr(message, field))))


def turned(data: bytes) -> bytes:
    """Points in another order."""
    return data[33:] + data[:33]


def changed(dtype: str, position: int, by: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        array = np.frombuffer(data, dtype=dtype).copy()
        array[position] += by
        return array.tobytes()

    return change


def shares(forge: Forge, message: Any) -> Any:
    return tuple(reversed(message.shares))


def other_share_blob(forge: Forge, message: Any) -> Any:
    first = message.shares[0]
    return (EncryptedShare(first.trustee, forge.put(flipped(forge.blob(first.blob), -1))), *message.shares[1:])


def loose(check: set[str], lie: Lie, **more: Any) -> Case:
    """A lie that others follow from: `checks` fail, and maybe more."""
    return Case(lie, check, exactly=False, **more)


FEDERATION = "elsewhere"

CASES: dict[tuple[type, str], Case] = {
    (messages.Genesis, "federation"): loose({"I2"}, value(FEDERATION)),
    (messages.Genesis, "policy"): loose({"I2"}, value(NOWHERE)),  # another policy's log: nothing else is judged
    (messages.Genesis, "model"): loose({"I2"}, blob("model", changed("<f8", 0, 1))),
    (messages.Genesis, "approvals"): loose({"I13"}, lambda forge, message: forge.put(b"")),
    (messages.RoundKey, "policy"): loose({"I4"}, value(NOWHERE)),
    (messages.RoundKey, "federation"): loose({"I4"}, value(FEDERATION)),
    (messages.RoundKey, "round"): loose({"I4"}, value(2)),
    (messages.RoundKey, "trustee"): loose({"I4"}, value("trustee-1")),
    (messages.RoundKey, "public_key"): loose({"I4"}, value(b"\xff" * 1216)),
    (messages.RoundKey, "draw"): loose({"I4"}, value(bytes(80))),
    (messages.RoundOpen, "federation"): loose({"I4"}, value(FEDERATION)),
    (messages.RoundOpen, "round"): loose({"I4"}, value(2)),
    (messages.RoundOpen, "policy"): loose({"I4"}, value(NOWHERE)),
    (messages.RoundOpen, "model"): loose({"I4"}, blob("model", changed("<f8", 0, 1))),
    (messages.RoundOpen, "checkpoint_size"): loose({"I4"}, value(0)),
    (messages.RoundOpen, "checkpoint_root"): loose({"I4"}, value(NOWHERE)),
    (messages.RoundOpen, "seed"): loose({"I4", "I9"}, value(NOWHERE)),
    (messages.RoundOpen, "changes"): loose({"I3"}, value(NOWHERE)),
    (messages.RoundOpen, "round_keys"): loose({"I4"}, lambda forge, message: message.round_keys[:-1]),
    (messages.RoundOpen, "round_key_hashes"): loose(
        {"I4"}, lambda forge, message: (NOWHERE, *message.round_key_hashes[1:])
    ),
    (messages.RoundOpen, "retry_of"): loose({"I4"}, value(1)),
    (messages.RoundOpen, "draw"): loose({"I4"}, value(NOWHERE)),
    (messages.Submission, "federation"): loose({"I5", "I6"}, value(FEDERATION)),
    (messages.Submission, "round"): loose({"I4"}, value(2)),
    (messages.Submission, "round_open"): loose({"I5", "I6"}, value(NOWHERE)),
    (messages.Submission, "client"): loose({"I5", "I6"}, value("client-01")),
    (messages.Submission, "commitments"): loose({"I6", "I10"}, blob("commitments", turned)),
    (messages.Submission, "ciphertext"): loose({"I6", "I9"}, blob("ciphertext", flipped)),
    (messages.Submission, "share_commitments"): loose({"I6", "I8"}, blob("share_commitments", turned)),
    (messages.Submission, "shares"): loose({"I5", "I6"}, shares),
    (messages.EncryptedShare, "trustee"): loose(
        {"I5", "I6"}, lambda f, m: (replace(m.shares[0], trustee="trustee-1"), *m.shares[1:])
    ),
    (messages.EncryptedShare, "blob"): loose({"I6"}, other_share_blob),
    (messages.Submission, "proof"): loose({"I6"}, blob("proof", lambda data: flipped(data, -1))),
    (messages.Submission, "range_commitments"): loose({"I6"}, blob("range_commitments", turned), name="proved"),
    (messages.Submission, "weight_commitments"): loose({"I6"}, blob("weight_commitments", turned), name="private"),
    (messages.Submission, "noise_commitments"): loose({"I6"}, blob("noise_commitments", turned), name="proved"),
    (messages.Submission, "privacy_noise_commitments"): loose(
        {"I6"}, blob("privacy_noise_commitments", turned), name="noisy"
    ),
    (messages.Submission, "weight"): loose({"I5", "I6"}, value(1)),
    (messages.ShareAck, "federation"): Case(value(FEDERATION), {"I8"}),
    (messages.ShareAck, "round"): loose({"I4"}, value(2)),
    (messages.ShareAck, "round_open"): loose({"I8", "I12"}, value(NOWHERE)),
    (messages.ShareAck, "trustee"): loose({"I8"}, value("trustee-1")),
    (messages.ShareAck, "first"): loose({"I8"}, lambda forge, message: message.first + 1),
    (messages.ShareAck, "answers"): Case(lambda forge, message: "-" + message.answers[1:], {"I8"}),
    (messages.ShareAck, "digest"): Case(value(NOWHERE), {"I8"}),
    (messages.CohortClosed, "federation"): Case(value(FEDERATION), {"I7"}),
    (messages.CohortClosed, "round"): loose({"I4"}, value(2)),
    (messages.CohortClosed, "round_open"): loose({"I7"}, value(NOWHERE)),
    (messages.CohortClosed, "first"): loose({"I7", "I8"}, lambda forge, message: message.first + 1),
    (messages.CohortClosed, "verdicts"): loose({"I7", "I8"}, lambda forge, message: "i" + message.verdicts[1:]),
    (messages.CohortClosed, "details"): loose({"I7"}, lambda forge, message: (Detail(message.accepted[0], "lies"),)),
    (messages.Detail, "index"): loose(
        {"I7"}, lambda f, m: (replace(m.details[0], index=m.accepted[0]), *m.details[1:]), name="eventful", round=1
    ),
    (messages.CohortClosed, "trustees"): loose({"I8"}, lambda forge, message: message.trustees[:-1]),
    (messages.CohortClosed, "digest"): Case(value(NOWHERE), {"I8"}),
    (messages.Release, "federation"): Case(value(FEDERATION), {"I8"}),
    (messages.Release, "round"): loose({"I4"}, value(2)),
    (messages.Release, "cohort"): loose({"I8", "I12"}, value(NOWHERE)),
    (messages.Release, "digest"): loose({"I8"}, value(NOWHERE)),
    (messages.Release, "trustee"): loose({"I8", "I10", "P2"}, value("trustee-1")),
    (messages.Release, "share"): Case(blob("share", lambda data: flipped(data, -1)), {"I8", "I10"}),
    (messages.Aggregate, "federation"): Case(value(FEDERATION), {"I9"}),
    (messages.Aggregate, "round"): loose({"I4"}, value(2)),
    (messages.Aggregate, "cohort"): Case(value(NOWHERE), {"I8", "I12"}),
    (messages.Aggregate, "releases"): Case(lambda forge, message: message.releases[:-1], {"I8", "I10"}),
    (messages.Aggregate, "ciphertext"): Case(blob("ciphertext", flipped), {"I9"}),
    (messages.Aggregate, "key"): Case(blob("key", changed("<i4", 0, 1)), {"I9", "I10"}),
    (messages.Aggregate, "plaintext"): Case(blob("plaintext", changed("<i8", 0, 1)), {"I9", "I10", "I11"}),
    (messages.Aggregate, "blindings"): Case(blob("blindings", lambda data: flipped(data, -1)), {"I10"}),
    (messages.RoundClosed, "federation"): Case(value(FEDERATION), {"I11"}),
    (messages.RoundClosed, "round"): loose({"I4"}, value(2)),
    (messages.RoundClosed, "aggregate"): Case(value(NOWHERE), {"I11", "I12"}),
    (messages.RoundClosed, "model"): Case(blob("model", changed("<f8", 0, 1)), {"I11"}),
    (messages.RoundClosed, "optimizer"): Case(lambda forge, message: forge.put(bytes(16 * 40)), {"I1", "I11"}),
    (messages.RoundAborted, "federation"): Case(value(FEDERATION), {"I8"}, name="aborted"),
    (messages.RoundAborted, "round"): loose({"I4"}, value(3), name="aborted"),
    (messages.RoundAborted, "round_open"): Case(value(NOWHERE), {"I8", "I12"}, name="aborted"),
    (messages.RoundAborted, "cohort"): Case(value(None), {"I8", "I12"}, name="aborted"),
    (messages.RoundAborted, "reason"): Case(value("opening-failed"), {"I8"}, name="aborted"),
    (messages.RoundAborted, "missing"): Case(value(()), {"I8"}, name="aborted"),
    (messages.KeyRotation, "policy"): loose({"I3"}, value(NOWHERE), name="changed"),
    (messages.KeyRotation, "federation"): loose({"I3"}, value(FEDERATION), name="changed"),
    (messages.KeyRotation, "party"): loose({"I3"}, value("client-01"), name="changed"),
    (messages.KeyRotation, "previous"): loose({"I3"}, value(NOWHERE), name="changed"),
    (messages.KeyRotation, "public_key"): loose({"I3"}, value(NOWHERE), name="changed"),
    (messages.KeyRotation, "possession"): loose({"I3"}, value(bytes(64)), name="changed"),
    (messages.Revocation, "policy"): loose({"I3"}, value(NOWHERE), name="changed"),
    (messages.Revocation, "federation"): loose({"I3"}, value(FEDERATION), name="changed"),
    (messages.Revocation, "party"): loose({"I3"}, value("client-01"), name="changed"),
    (messages.Revocation, "reason"): loose({"I3"}, value("call me: +49"), name="changed"),
    (messages.FederationClosed, "policy"): Case(value(NOWHERE), {"I4"}, name="over"),
    (messages.FederationClosed, "federation"): Case(value(FEDERATION), {"I4"}, name="over"),
    (messages.FederationClosed, "model"): Case(blob("model", changed("<f8", 0, 1)), {"I11"}, name="over"),
    (messages.FederationClosed, "rounds"): Case(value(1), {"I4"}, name="over"),
    (messages.FederationClosed, "reason"): Case(value("aborts-spent"), {"I4"}, name="over"),
    (messages.MissingParty, "party"): Case(value((MissingParty("trustee-1", "no-release"),)), {"I8"}, name="aborted"),
    (messages.MissingParty, "reason"): Case(
        value((MissingParty("trustee-0", "wrong-release"),)), {"I8"}, name="aborted"
    ),
}

# Fields in which there is nothing to lie about, and why.
NO_LIE = {
    (messages.Detail, "text"): "free text for people; nothing is derived from it",
}
PARTS = {
    messages.EncryptedShare: (messages.Submission, "shares"),
    messages.Detail: (messages.CohortClosed, "details"),
    messages.MissingParty: (messages.RoundAborted, "missing"),
}


@pytest.mark.parametrize(("kind", "field"), list(CASES), ids=[f"{kind.__name__}.{field}" for kind, field in CASES])
def test_a_lie_in_any_field_is_found(kind: type, field: str, forge, tmp_path: Path) -> None:
    case = CASES[kind, field]
    entry_kind, entry_field = PARTS.get(kind, (kind, field))
    forged = forge(case.name)
    position = forged.find(entry_kind, case.round)
    forged.edit(position, **{entry_field: case.lie(forged, forged.message(position))})
    found = judged(forged, tmp_path / "t")
    if case.exactly:
        assert found == case.checks
    else:
        assert case.checks <= found


def test_every_field_has_a_lie() -> None:
    kinds = [*(each.cls for each in messages.MESSAGE_TYPES), *PARTS]
    fields = {(kind, field.name) for kind in kinds for field in dataclasses.fields(kind) if field.type != "Reserved"}
    assert fields == set(CASES) | set(NO_LIE)
