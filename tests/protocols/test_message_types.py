"""The facts of every type of message: here, in the second auditor and in the specification the same."""

from __future__ import annotations

import re
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from auditor.index import label, number_of
from proofs.errors import Misuse, Rejected
from protocols.audit_checks import AUDIT_CHECKS
from protocols.blob_sizes import BLOB_ROLES, BlobRole, size_of
from protocols.blobs import blob_fields
from protocols.envelopes import required_signer
from protocols.messages import COORDINATOR, ISSUER, MESSAGE_TYPES, EncryptedShare, Message, MessageType, PartyId
from protocols.pinned import PinnedPolicy
from protocols.policy import Policy
from tests.independent import case as second
from tests.independent.encoding import MESSAGES, rightful_signer
from tests.independent.parameters import Numbers
from tests.protocols.test_encoding import instances
from tests.simulator import Setting, make_policy

SPEC = Path(__file__).parents[2] / "docs/spec"
ALL = pytest.mark.parametrize("kind", MESSAGE_TYPES, ids=MESSAGE_TYPES.names)


def spec(name: str) -> str:
    (path,) = SPEC.glob(f"{name}-*.md")
    return path.read_text(encoding="utf-8")


def cells(text: str) -> list[list[str]]:
    """The rows of all tables, without their heads' rules."""
    rows = [line.strip().strip("|").split("|") for line in text.splitlines() if line.strip().startswith("|")]
    return [[cell.strip() for cell in row] for row in rows]


def test_every_class_of_a_message_is_registered_once() -> None:
    assert {each.cls for each in MESSAGE_TYPES} == set(get_args(Message))
    assert len({each.cls for each in MESSAGE_TYPES}) == len(MESSAGE_TYPES)


def test_no_name_is_registered_twice() -> None:
    with pytest.raises(Misuse, match="message type 'genesis' is registered twice"):
        MESSAGE_TYPES.extended(MessageType("genesis", Policy, COORDINATOR, "I2"))
    with pytest.raises(Misuse, match="role of blobs 'key' is registered twice"):
        BLOB_ROLES.extended(BlobRole("key", lambda pinned: 0))


@ALL
def test_facts_name_what_there_is(kind: MessageType) -> None:
    assert kind.check in AUDIT_CHECKS
    if kind.signer not in (COORDINATOR, ISSUER):
        assert get_type_hints(kind.cls, include_extras=True)[kind.signer] == PartyId
    assert {field.role for field in blob_fields(kind.cls)} <= set(BLOB_ROLES.names)


def test_every_role_is_some_fields() -> None:
    assert {field.role for kind in MESSAGE_TYPES for field in blob_fields(kind.cls)} == set(BLOB_ROLES.names)
    with pytest.raises(Rejected, match=r"the role of blobs policy, .* or blindings, found 'noise'"):
        size_of(PinnedPolicy.open(make_policy(Setting())[0]), "noise")


@ALL
@settings(max_examples=5, suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(data=st.data())
def test_signers_and_labels_follow_from_the_facts(kind: MessageType, data: st.DataObject) -> None:
    message: Any = data.draw(instances(kind.cls))
    signer = required_signer(message)
    assert signer == rightful_signer(kind.name, asdict(message))
    assert number_of(message) == (message.round if kind.in_round else 0)
    said = str(label(7, message))
    assert said.startswith(f"entry 7 ({kind.name}")
    assert (f" by {signer}" in said) == (kind.signer in ("client", "trustee"))


# --- the second auditor ----------------------------------------------------------------------------------


def test_the_second_auditor_has_the_same_types_fields_and_owners() -> None:
    assert {name: set(of) for name, of in MESSAGES.items()} == {
        kind.name: {field.name for field in fields(kind.cls)} for kind in MESSAGE_TYPES
    }
    assert {kind.name: kind.check for kind in MESSAGE_TYPES} == second.OWNER


@ALL
def test_the_second_auditor_names_the_same_blobs(kind: MessageType) -> None:
    own = {field.role for field in blob_fields(kind.cls) if field.item is None}
    assert set(second.NAMED.get(kind.name, ())) == own
    items = [(field.role, field.item) for field in blob_fields(kind.cls) if field.item]
    assert items == [("shares", "blob")] * (kind.name == "submission")


@pytest.mark.parametrize("related", [False, True])
def test_the_second_auditor_has_the_same_sizes(related: bool) -> None:
    setting = replace(Setting(), coordinate_clip=0.1 if related else None, encryption_proof=related)
    pinned = PinnedPolicy.open(make_policy(setting)[0])
    numbers = Numbers(asdict(pinned.policy))
    for kind in MESSAGE_TYPES:
        for field in blob_fields(kind.cls):
            size = size_of(pinned, field.role)
            assert (size == 0) <= field.optional
            if field.role != "policy":
                assert numbers.blob_size(kind.name, field.item or field.role) == size, field


# --- the specification -----------------------------------------------------------------------------------


def test_the_specification_has_a_table_of_fields_for_each() -> None:
    """But for fields that are null in this version, which have none."""
    text = spec("8") + spec("2")
    described = {name for row in cells(text) for name in re.findall(r"`([a-z_]+)`", row[0])}
    for kind in MESSAGE_TYPES:
        assert f"`{kind.name}`" in text or kind.cls.__name__ in text, kind.name
        hints = get_type_hints(kind.cls, include_extras=True)
        reserved = {name for name, hint in hints.items() if hint is type(None)}
        assert hints.keys() - reserved - {"federation", "round"} <= described, kind.name


def test_the_specification_names_the_same_blobs() -> None:
    """3.6: the fields, by entry; 9.4: their sizes."""
    named = {row[0]: set(re.findall(r"`([a-z_]+)", row[1])) for row in cells(spec("3").partition("## 3.6")[2])}
    sizes = " ".join(row[0] for row in cells(spec("9").partition("## 9.4")[2]))
    sized = set(re.findall(r"\b([A-Z]\w+)\.([a-z_]+)", sizes))
    for kind in MESSAGE_TYPES:
        roles = {field.role for field in blob_fields(kind.cls)}
        assert named.get(kind.cls.__name__, set()) == roles, kind.name
        assert {field for cls, field in sized if cls == kind.cls.__name__} == roles, kind.name


def test_the_specification_has_the_same_owners() -> None:
    table = cells(spec("9").partition("the check that owns its type:")[2].partition("\n3. ")[0])
    pairs = [pair for row in table for pair in (row[:2], row[2:4])]
    owners = {name: check for names, check in pairs if check in AUDIT_CHECKS for name in names.split(", ")}
    assert owners == {kind.name: kind.check for kind in MESSAGE_TYPES}


def test_the_specification_has_the_same_signers() -> None:
    sentence = spec("2").partition("The signer is fixed by the message:")[2].partition("An envelope")[0]
    parts = [" ".join(part.split()) for part in sentence.split(";")]
    by_field = {re.findall(r"^`(\w+)`", part)[0]: set(re.findall(r"\b[A-Z]\w+", part)) for part in parts[:3]}
    for kind in MESSAGE_TYPES:
        if kind.signer in by_field:
            assert kind.cls.__name__ in by_field[kind.signer]
        else:
            assert not any(kind.cls.__name__ in each for each in by_field.values())
            assert (kind.cls.__name__ in parts[3]) == (kind.signer == ISSUER)


def test_a_share_is_in_the_role_of_its_array() -> None:
    assert [field.role for field in blob_fields(EncryptedShare)] == ["blob"]
