"""Signed envelopes, the policy file, the roster, and which blobs a message names."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.errors import Malformed, Misuse, Rejected
from protocols.blobs import blob_hash, message_blobs
from protocols.encoding import ENTRY_LIMIT
from protocols.envelopes import (
    Envelope,
    check_signature,
    entry_blobs,
    entry_hash,
    open_envelope,
    open_policy,
    required_signer,
    seal,
    seal_policy,
)
from protocols.identities import SigningKey
from protocols.messages import (
    MESSAGE_TYPES,
    RESERVED_TYPES,
    Aggregate,
    EncryptedShare,
    Genesis,
    Release,
    RoundClosed,
    RoundKey,
    ShareAck,
    Submission,
)
from protocols.policy import LatticeRule, Member, Policy, StepRule, TensorSpec, UpdateRule
from protocols.roster import both_roles, check_roster
from protocols.weights import EQUAL_WEIGHTS
from tests.strategies import instances

ISSUER = SigningKey.from_seed(b"i" * 32)
KEY = SigningKey.from_seed(b"k" * 32)
OTHER = SigningKey.from_seed(b"o" * 32)
GENESIS = Genesis("hospitals", b"p" * 32, b"m" * 32, None, None)
ACK = ShareAck("hospitals", 3, b"r" * 32, "t1", 4, "hho", b"d" * 32)
SUBMISSION = Submission(
    federation="hospitals",
    round=3,
    round_open=b"r" * 32,
    client="alice",
    commitments=b"1" * 32,
    ciphertext=b"2" * 32,
    share_commitments=b"3" * 32,
    shares=(EncryptedShare("t1", b"4" * 32), EncryptedShare("t2", b"5" * 32)),
    proof=b"6" * 32,
    range_commitments=None,
    weight_commitments=None,
    noise_commitments=None,
    privacy_noise_commitments=None,
    weight=None,
)


def member(name: str) -> Member:
    return Member(name, SigningKey.from_seed(hashlib.sha256(name.encode()).digest()).public_key)


POLICY = Policy(
    federation="hospitals",
    origin="verifl.example/hospitals",
    log_key=KEY.public_key,
    issuer_key=ISSUER.public_key,
    trustees=tuple(member(f"t{number}") for number in (2, 1, 3)),
    threshold=3,
    corrupt=1,
    roster=tuple(member(name) for name in ("alice", "bob", "carol")),
    min_cohort=2,
    max_cohort=3,
    max_rounds=10,
    max_aborts=2,
    per_round=3,
    strict_consecutive=False,
    tensors=(TensorSpec("layer.weight", (3, 4), "float32", nonnegative=False),),
    dimension=12,
    initial_model=b"m" * 32,
    update=UpdateRule(1 << 20, 16, None, ()),
    lattice=LatticeRule(4096, (1 << 61) - 1, 1 << 30, 66, 86, False),
    step=StepRule("fedavg", ("3ff0000000000000",), None, None, None),
    projections=360,
    required_checks=("I9",),
    approvals=(),
    task=None,
    initial_file=None,
    previous=None,
    weights=EQUAL_WEIGHTS,
    noise=None,
    privacy_budget=None,
)


def test_seal_open_and_check() -> None:
    data = seal(GENESIS, "coordinator", KEY)
    envelope = open_envelope(data)
    assert (envelope.type, envelope.signer, envelope.message) == ("genesis", "coordinator", GENESIS)
    check_signature(envelope, KEY.public_key)
    assert seal(GENESIS, "coordinator", KEY) == data
    assert entry_hash(data) == hashlib.sha256(data).digest()


@pytest.mark.parametrize("name", MESSAGE_TYPES.names)
def test_every_type_round_trips(name: str) -> None:
    @given(instances(MESSAGE_TYPES.find(name).cls))
    @settings(max_examples=8, deadline=None)
    def check(message: Any) -> None:
        envelope = open_envelope(seal(message, required_signer(message), KEY))
        assert (envelope.type, envelope.message) == (name, message)
        check_signature(envelope, KEY.public_key)

    check()


def test_signature_by_another_key_is_rejected() -> None:
    with pytest.raises(Rejected) as caught:
        check_signature(open_envelope(seal(ACK, "t1", KEY)), OTHER.public_key)
    assert caught.value.check == "signature"


@given(st.integers(0, 10**6), st.integers(1, 255))
@settings(max_examples=150, deadline=None)
def test_any_changed_byte_is_refused(position: int, change: int) -> None:
    data = bytearray(seal(SUBMISSION, "alice", KEY))
    data[position % len(data)] ^= change
    with pytest.raises((Malformed, Rejected)) as caught:
        check_signature(open_envelope(bytes(data)), KEY.public_key)
    assert isinstance(caught.value, Malformed) or caught.value.check == "signature"


def test_the_signature_covers_type_signer_and_body() -> None:
    envelope = open_envelope(seal(ACK, "t1", KEY))
    for changed in (
        dataclasses.replace(envelope, type="round-key"),
        dataclasses.replace(envelope, signer="t2"),
        dataclasses.replace(envelope, body=envelope.body[:-1] + b"\x00"),
    ):
        with pytest.raises(Rejected) as caught:
            check_signature(changed, KEY.public_key)
        assert caught.value.check == "signature"


def raw(**changes: object) -> bytes:
    """An envelope's bytes with fields changed after the fact."""
    import cbor2

    return cbor2.dumps(cbor2.loads(seal(ACK, "t1", KEY)) | changes, canonical=True)


@pytest.mark.parametrize("version", [0, 2, 2**63 - 1])
def test_other_versions_are_malformed(version: int) -> None:
    with pytest.raises(Malformed) as caught:
        open_envelope(raw(version=version))
    assert caught.value.where == "envelope.version"


@pytest.mark.parametrize("name", [*sorted(RESERVED_TYPES), "unknown", "policy", ""])
def test_types_outside_this_version_are_malformed(name: str) -> None:
    with pytest.raises(Malformed):
        open_envelope(raw(type=name))
    if name in RESERVED_TYPES:
        with pytest.raises(Malformed, match="reserved for a later version"):
            open_envelope(raw(type=name))


@pytest.mark.parametrize(
    ("message", "signer"), [(GENESIS, "alice"), (ACK, "coordinator"), (SUBMISSION, "bob"), (ACK, "t2")]
)
def test_the_type_says_who_signs(message: Any, signer: str) -> None:
    with pytest.raises(Misuse, match="signer"):
        seal(message, signer, KEY)


def test_an_entry_by_the_wrong_signer_is_malformed() -> None:
    with pytest.raises(Malformed) as caught:
        open_envelope(raw(signer="t2"))
    assert caught.value.where == "envelope.signer"


def test_malformed_bodies_name_their_field() -> None:
    with pytest.raises(Malformed) as caught:
        open_envelope(raw(type="genesis"))
    assert caught.value.where == "Genesis"
    assert "unknown field 'first'" in caught.value.found


def test_malformed_envelopes_name_their_field() -> None:
    with pytest.raises(Malformed) as caught:
        open_envelope(raw(signature=bytes(63)))
    assert caught.value.where == "envelope.signature"


def test_an_entry_fits_a_bundle() -> None:
    fitting = dataclasses.replace(ACK, answers="h" * 65000)
    assert len(seal(fitting, "t1", KEY)) <= ENTRY_LIMIT
    with pytest.raises(Misuse, match="the limit is 65535"):
        seal(dataclasses.replace(ACK, answers="h" * 65500), "t1", KEY)
    with pytest.raises(Malformed, match="at most 65535 bytes"):
        open_envelope(bytes(ENTRY_LIMIT + 1))


def test_policy_round_trip_and_tampering() -> None:
    data = seal_policy(POLICY, ISSUER)
    policy, envelope = open_policy(data)
    assert policy == POLICY
    assert envelope.signer == "issuer"
    flipped = bytearray(data)
    flipped[-1] ^= 1
    for changed in (flipped, data.replace(b"hospitals", b"hospitalz")):
        with pytest.raises((Malformed, Rejected)):
            open_policy(bytes(changed))
    with pytest.raises(Rejected) as caught:
        open_policy(data.replace(b"layer.weight", b"layer.height"))
    assert caught.value.check == "signature"


def test_policy_and_entries_are_not_confused() -> None:
    with pytest.raises(Malformed, match="never a log entry"):
        open_envelope(seal_policy(POLICY, ISSUER))
    with pytest.raises(Malformed) as caught:
        open_policy(seal(ACK, "t1", KEY))
    assert caught.value.where == "envelope.type"
    with pytest.raises(Misuse, match="issuer_key"):
        seal_policy(POLICY, KEY)
    with pytest.raises(Misuse, match="expected a message"):
        seal(Envelope("a", "b", b"", b"", GENESIS), "b", KEY)


def test_a_large_roster_fits_a_policy() -> None:
    roster = tuple(Member(f"client-{number:05}", number.to_bytes(32, "big")) for number in range(5000))
    large = dataclasses.replace(POLICY, roster=roster)
    assert open_policy(seal_policy(large, ISSUER))[0] == large


def test_a_good_roster() -> None:
    check_roster(POLICY)
    assert both_roles(POLICY) == ()
    both = dataclasses.replace(POLICY, trustees=(*POLICY.trustees, POLICY.roster[0]))
    check_roster(both)
    assert both_roles(both) == ("alice",)


T, R = POLICY.trustees, POLICY.roster
BAD_ROSTERS: dict[str, tuple[dict[str, Any], str]] = {
    "a trustee twice": ({"trustees": (*T, T[0])}, "roster-ids"),
    "clients out of order": ({"roster": (R[1], R[0])}, "roster-ids"),
    "a client twice": ({"roster": (R[0], R[0])}, "roster-ids"),
    "a client called coordinator": ({"roster": (member("coordinator"),)}, "roster-reserved-name"),
    "a trustee called issuer": ({"trustees": (member("issuer"),)}, "roster-reserved-name"),
    "two clients, one key": ({"roster": (R[0], Member("bob", R[0].public_key))}, "roster-keys"),
    "a client with the log's key": ({"roster": (Member("bob", KEY.public_key),)}, "roster-keys"),
    "a trustee with a client's key": ({"trustees": (Member("t9", R[0].public_key),)}, "roster-keys"),
    "one id, two keys": ({"trustees": (Member("alice", T[0].public_key),)}, "roster-keys"),
    "issuer is the log": ({"issuer_key": KEY.public_key}, "roster-keys"),
    "a key of small order": ({"roster": (Member("bob", bytes(32)),)}, "public-key"),
    "a log key that is no point": ({"log_key": b"\xff" * 32}, "public-key"),
}


@pytest.mark.parametrize(("changes", "check"), BAD_ROSTERS.values(), ids=BAD_ROSTERS.keys())
def test_bad_rosters(changes: dict[str, Any], check: str) -> None:
    with pytest.raises(Rejected) as caught:
        check_roster(dataclasses.replace(POLICY, **changes))
    assert caught.value.check == check


def test_blobs_of_each_message() -> None:
    a, b, c, d = (letter * 32 for letter in (b"a", b"b", b"c", b"d"))
    assert message_blobs(GENESIS) == (("policy", b"p" * 32), ("model", b"m" * 32))
    assert [name for name, _ in message_blobs(SUBMISSION)] == [
        "commitments",
        "ciphertext",
        "share_commitments",
        "shares",
        "shares",
        "proof",
    ]
    assert message_blobs(Release("f", 1, a, b, "t", c)) == (("share", c),)
    aggregate = Aggregate("f", 1, bytes(32), (1,), a, b, c, d, None, None)
    assert [hashed for _, hashed in message_blobs(aggregate)] == [a, b, c, d]
    assert message_blobs(RoundClosed("f", 1, a, b, None)) == (("model", b),)
    assert message_blobs(RoundClosed("f", 1, a, b, c)) == (("model", b), ("optimizer", c))
    assert message_blobs(RoundKey("f", a, 1, "t", bytes(1216), None, None)) == ()
    assert message_blobs(ACK) == ()
    assert entry_blobs(seal(SUBMISSION, "alice", KEY)) == tuple(str(n).encode() * 32 for n in range(1, 7))
    assert blob_hash(b"") == hashlib.sha256(b"").digest()


def test_every_entry_names_its_policy_or_an_entry_that_does() -> None:
    """So nothing that was signed under another policy of the same federation name is of this one."""
    by_entry = {"round_open", "cohort", "aggregate"}
    for each in MESSAGE_TYPES:
        names = {field.name for field in dataclasses.fields(each.cls)}
        assert "policy" in names or names & by_entry, each.name
