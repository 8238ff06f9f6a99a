"""When a submission is at fault by what its blobs show."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from proofs.engines import get_engine
from proofs.errors import Malformed, Rejected
from proofs.relations.privacy_noise import PRIVACY_COMMITMENTS
from proofs.verifier import verify
from protocols.blob_sizes import ROW_FIELDS, sized_blobs
from protocols.blobs import blob_hash
from protocols.contexts import submission_context
from protocols.encoding import ENTRY_LIMIT
from protocols.envelopes import open_envelope
from protocols.messages import Submission
from protocols.policy import WeightRule
from protocols.reasons import INVALID_PROOF, MALFORMED
from protocols.rounds.answers import answer_limit
from protocols.sharing import decode_commitments
from protocols.steps.doubles import format_double
from protocols.submissions import (
    Fault,
    _name,
    check_blob,
    check_ciphertext,
    check_extras,
    check_share_commitments,
    claim_of,
    extra_sizes,
    judge,
    named_extras,
    read_blob,
)
from tests.simulator import Setting, Simulation

ROLES = ("commitments", "ciphertext", "share_commitments", "proof")
EXTRAS = ("range_commitments", "weight_commitments", "noise_commitments")
PRIVACY = "privacy_noise_commitments"


class Received:
    """Three submissions of one round with their blobs, and the means to change both."""

    def __init__(self, simulation: Simulation) -> None:
        simulation.open_round()
        current = simulation.coordinator.ledger.current
        assert current is not None
        self.seed = current.message.seed
        packages = [simulation.package(name) for name in simulation.clients]
        self.pinned, self.engine = simulation.pinned, simulation.engine
        self.messages: list[Submission] = []
        for package in packages:
            message = open_envelope(package.entry).message
            assert isinstance(message, Submission)
            self.messages.append(message)
        self.blobs = {name: blob for package in packages for name, blob in package.blobs.items()}

    def source(self, name: bytes, size: int) -> bytes:
        if name not in self.blobs:
            raise Rejected("blob-missing", name.hex(), "nothing")
        return self.blobs[name]

    def changed(self, message: Submission, role: str, change: Callable[[bytes], bytes]) -> Submission:
        """The submission with another blob in this role."""
        data = change(self.blobs[getattr(message, role)])
        self.blobs[blob_hash(data)] = data
        return replace(message, **{role: blob_hash(data)})

    def judge(self, *messages: Submission) -> list[Fault | None]:
        return judge(self.engine, self.pinned, messages, self.seed, self.source)


@pytest.fixture(scope="module")
def received(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Received]:
    simulation = Simulation(tmp_path_factory.mktemp("received"), Setting(clients=3))
    simulation.start()
    yield Received(simulation)
    simulation.writer.close()


@pytest.fixture(scope="module")
def proved(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Received]:
    """The same with the proof of encryption in force."""
    simulation = Simulation(tmp_path_factory.mktemp("proved"), Setting(clients=3, encryption_proof=True))
    simulation.start()
    yield Received(simulation)
    simulation.writer.close()


@pytest.fixture(scope="module")
def related(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Received]:
    """The same with a coordinate bound and private weights too: every commitment that a policy can ask for."""
    weights = WeightRule("private", 9, format_double(1.0))
    setting = Setting(clients=3, encryption_proof=True, coordinate_clip=0.25, weights=weights)
    simulation = Simulation(tmp_path_factory.mktemp("related"), setting)
    simulation.start()
    yield Received(simulation)
    simulation.writer.close()


def flipped(position: int) -> Callable[[bytes], bytes]:
    def change(data: bytes) -> bytes:
        changed = bytearray(data)
        changed[position] ^= 1
        return bytes(changed)

    return change


# ---- blobs ----


def test_every_blob_has_the_size_of_its_role(received: Received) -> None:
    pinned, message = received.pinned, received.messages[0]
    sizes = sized_blobs(pinned, message)
    assert len(sizes) == len(ROLES) + len(message.shares)
    assert {name for name, _ in sizes} >= {getattr(message, role) for role in ROLES}
    for name, size in sizes:
        assert read_blob(received.source, name, size) == received.blobs[name]
    assert {size for name, size in sizes if name in {share.blob for share in message.shares}} == {
        pinned.sealed_share_size
    }


def test_commitments_of_relations_have_their_own_sizes(related: Received) -> None:
    pinned, message = related.pinned, related.messages[0]
    assert None not in [getattr(message, role) for role in EXTRAS]
    rows = pinned.argument.shape.data_rows
    noise = [table.rows for table in pinned.argument.layout.tables[7:]]
    expected = {"range_commitments": 33 * 3 * rows, "weight_commitments": 66, "noise_commitments": 33 * sum(noise)}
    assert extra_sizes(pinned) == {**expected, PRIVACY: 0}  # hidden weights and noise for privacy exclude each other
    assert {*pinned.argument.layout.families, PRIVACY_COMMITMENTS} == ROW_FIELDS.keys()
    assert set(ROW_FIELDS.values()) == {"commitments", PRIVACY, *EXTRAS}
    assert named_extras(message) == tuple((role, getattr(message, role)) for role in EXTRAS)
    sizes = sized_blobs(pinned, message)
    assert sizes[-3:] == [(getattr(message, role), size) for role, size in expected.items()]
    assert len(sizes) == len(ROLES) + len(message.shares) + 3
    for name, size in sizes:
        assert len(related.blobs[name]) == size


def test_an_answer_has_room_for_every_blob_that_a_submission_names(received: Received, related: Received) -> None:
    """And for none that the policy asks nobody for."""
    rooms = set()
    for setting in (received, related):
        message = setting.messages[0]
        named = sum(size for _, size in sized_blobs(setting.pinned, message))
        rooms.add(answer_limit(setting.pinned, message.client) - named)
    (beside,) = rooms  # for the entry and the framing
    assert beside > ENTRY_LIMIT


def test_no_relation_no_commitments(received: Received) -> None:
    assert named_extras(received.messages[0]) == ()
    assert extra_sizes(received.pinned) == dict.fromkeys((*EXTRAS, PRIVACY), 0)


@pytest.mark.parametrize("missing", [*((each,) for each in EXTRAS), EXTRAS])
def test_exactly_the_commitments_that_the_policy_asks_for(
    received: Received, related: Received, missing: tuple[str, ...]
) -> None:
    """Too few, and none at all where they are asked for; too many where they are not."""
    message = related.messages[0]
    check_extras(related.pinned, message)
    nothing: dict[str, Any] = dict.fromkeys(missing)
    fewer = replace(message, **nothing)
    plain = replace(received.messages[0], **{role: getattr(message, role) for role in missing})
    for setting, wrong in ((related, fewer), (received, plain)):
        for act in (
            lambda at=setting, about=wrong: check_extras(at.pinned, about),
            lambda at=setting, about=wrong: claim_of(at.pinned, about, at.seed, at.source),
        ):
            with pytest.raises(Rejected) as excinfo:
                act()
            assert excinfo.value.check == "relations"


def test_a_claim_has_the_commitments_of_its_relations(related: Received) -> None:
    first = related.messages[0]
    claim = claim_of(related.pinned, first, related.seed, related.source)
    assert blob_hash(claim.range_commitments) == first.range_commitments
    assert blob_hash(claim.encryption_commitments) == first.noise_commitments
    assert related.judge(*related.messages) == [None] * 3
    for role in EXTRAS:
        wrong = related.changed(first, role, flipped(0))
        assert related.judge(wrong, related.messages[1]) == [Fault(INVALID_PROOF, "ciphertext-combination"), None]
        longer = related.changed(first, role, lambda data: data + data[:33])
        with pytest.raises(Rejected) as excinfo:
            related.judge(longer)
        assert excinfo.value.check == "blob-size"


def test_what_a_source_serves_is_checked() -> None:
    data = b"some bytes"
    check_blob(blob_hash(data), 10, data)
    for name, size, check in (
        (blob_hash(data), 9, "blob-size"),
        (blob_hash(data), 11, "blob-size"),
        (blob_hash(b""), 10, "blob-hash"),
        (blob_hash(b""), 9, "blob-size"),  # the size first: it bounds what is hashed
    ):
        for act in (lambda n=name, s=size: check_blob(n, s, data), lambda n=name, s=size: read_blob(serving, n, s)):
            with pytest.raises(Rejected) as excinfo:
                act()
            assert excinfo.value.check == check


def serving(name: bytes, size: int) -> bytes:
    """A source that serves the same bytes to everybody."""
    return b"some bytes"


@pytest.mark.parametrize("role", ROLES)
def test_a_missing_blob_is_nobodys_fault(received: Received, role: str) -> None:
    """Whoever serves blobs is to blame: no verdict on the client."""
    message = replace(received.messages[0], **{role: bytes(32)})
    with pytest.raises(Rejected) as excinfo:
        received.judge(message)
    assert excinfo.value.check == "blob-missing"


@pytest.mark.parametrize("role", ROLES)
def test_a_blob_of_another_size_is_not_judged(received: Received, role: str) -> None:
    message = received.changed(received.messages[0], role, lambda data: data + b"\x00")
    with pytest.raises(Rejected) as excinfo:
        received.judge(message)
    assert excinfo.value.check == "blob-size"


# ---- what blobs show ----


def test_honest_submissions(received: Received) -> None:
    assert received.judge(*received.messages) == [None, None, None]
    assert received.judge() == []


def not_canonical(data: bytes) -> bytes:
    return b"\xff" * 16 + data[16:]


def test_a_ciphertext_that_does_not_decode(received: Received) -> None:
    message = received.changed(received.messages[0], "ciphertext", not_canonical)
    assert received.judge(message) == [Fault(MALFORMED, "ciphertext")]
    for data in (b"", received.blobs[received.messages[0].ciphertext][:-1]):
        with pytest.raises(Malformed) as excinfo:
            check_ciphertext(received.pinned, data)
        assert excinfo.value.where == "ciphertext"


@pytest.mark.parametrize("engine", ["native", "reference"])
@pytest.mark.parametrize("point", [b"\x07" + bytes(32), b"\x02" + b"\xff" * 32, b"\x03" + bytes(32)])
def test_share_commitments_that_do_not_decode(received: Received, engine: str, point: bytes) -> None:
    """One name in either engine, which is that of a trustee's dispute: it stands in a signed entry."""
    arithmetic = get_engine(engine)
    message = received.changed(received.messages[0], "share_commitments", lambda data: data[:33] + point + data[66:])
    (fault,) = judge(arithmetic, received.pinned, [message], received.seed, received.source)
    assert fault == Fault(MALFORMED, "share-commitments")
    good = received.blobs[received.messages[0].share_commitments]
    for data in (b"", good[:-33], good[:-1], good + good[:33], received.blobs[message.share_commitments]):
        with pytest.raises(Malformed) as excinfo:
            check_share_commitments(arithmetic, received.pinned, data)
        assert excinfo.value.where == "share-commitments"
        with pytest.raises(Rejected) as refused:
            decode_commitments(arithmetic, data, received.pinned.policy.threshold)
        assert refused.value.check == "share-commitments"


@pytest.mark.parametrize(
    ("role", "change", "detail"),
    [
        ("proof", flipped(-1), "linear-relation"),
        ("proof", flipped(40), "linear-relation"),
        ("proof", lambda data: data[:-32] + b"\xff" * 32, "scalar-range"),
        ("proof", lambda data: b"\x07" + data[1:], "point-encoding"),
        ("commitments", flipped(0), "linear-relation"),
        ("commitments", lambda data: b"\x07" + data[1:], "point-encoding"),
        ("ciphertext", flipped(0), "linear-relation"),  # names what the proof was made for
        ("share_commitments", flipped(0), "linear-relation"),
    ],
)
def test_a_proof_that_does_not_hold(
    received: Received, role: str, change: Callable[[bytes], bytes], detail: str
) -> None:
    message = received.changed(received.messages[0], role, change)
    assert received.judge(message) == [Fault(INVALID_PROOF, detail)]


def test_a_proof_for_another_context(received: Received) -> None:
    first, second, _ = received.messages
    assert received.judge(replace(first, round=2)) == [Fault(INVALID_PROOF, "linear-relation")]
    assert received.judge(replace(first, client=second.client)) == [Fault(INVALID_PROOF, "linear-relation")]
    claim = claim_of(received.pinned, first, received.seed, received.source)
    assert claim.context == submission_context(first)
    assert (blob_hash(claim.commitments), blob_hash(claim.proof)) == (first.commitments, first.proof)


def test_a_claim_is_about_the_ciphertext_that_is_named(proved: Received) -> None:
    """The proof is verified under the hash in the submission, so nothing else may be put in the ciphertext's place."""
    first, second, _ = proved.messages
    claim = claim_of(proved.pinned, first, proved.seed, proved.source)
    assert claim.encryption is not None
    assert claim.encryption.ciphertext_hash == first.ciphertext == blob_hash(proved.blobs[first.ciphertext])

    def exchanged(name: bytes, size: int) -> bytes:
        return proved.source(second.ciphertext if name == first.ciphertext else name, size)

    with pytest.raises(Rejected) as excinfo:
        claim_of(proved.pinned, first, proved.seed, exchanged)
    assert excinfo.value.check == "blob-hash"


def test_a_claim_without_its_ciphertext(proved: Received) -> None:
    """Pruned, it is not asked for; everything else of the claim is the same, and verified."""
    first = proved.messages[0]
    whole = claim_of(proved.pinned, first, proved.seed, proved.source)

    def remaining(name: bytes, size: int) -> bytes:
        if name == first.ciphertext:
            raise Rejected("blob-missing", name.hex(), "nothing")
        return proved.source(name, size)

    claim = claim_of(proved.pinned, first, proved.seed, remaining, pruned=True)
    assert whole.encryption is not None
    assert claim.encryption is not None
    assert claim.encryption.ciphertext is None
    assert claim.encryption.ciphertext_hash == first.ciphertext
    assert claim == replace(whole, encryption=claim.encryption)
    verify(proved.engine, proved.pinned.argument, claim)
    with pytest.raises(Rejected) as excinfo:
        claim_of(proved.pinned, first, proved.seed, remaining)
    assert excinfo.value.check == "blob-missing"


def test_a_ciphertext_of_something_else(proved: Received) -> None:
    """Under its own hash: the proof was made for another."""
    message = proved.changed(proved.messages[0], "ciphertext", lambda _: proved.blobs[proved.messages[1].ciphertext])
    assert proved.judge(message) == [Fault(INVALID_PROOF, "ciphertext-combination")]
    assert proved.judge(*proved.messages) == [None] * 3


def test_faults_stand_beside_their_submissions(received: Received) -> None:
    """A malformed one is not verified further, and does not shift the others."""
    first, second, third = received.messages
    malformed = received.changed(first, "ciphertext", not_canonical)
    both = received.changed(malformed, "proof", flipped(-1))
    invalid = received.changed(second, "proof", flipped(-1))
    faults = received.judge(both, invalid, third, malformed)
    assert [fault and fault.reason for fault in faults] == [MALFORMED, INVALID_PROOF, None, MALFORMED]
    assert [fault and fault.reason for fault in received.judge(malformed, both)] == [MALFORMED, MALFORMED]


def test_ciphertexts_are_judged_before_share_commitments(received: Received) -> None:
    message = received.changed(received.messages[0], "ciphertext", not_canonical)
    message = received.changed(message, "share_commitments", lambda data: b"\x07" + data[1:])
    (fault,) = received.judge(message)
    (alone,) = received.judge(received.changed(received.messages[0], "ciphertext", not_canonical))
    assert fault == alone


def test_details_are_fit_for_a_signed_entry() -> None:
    """The log takes at most 256 printable characters."""
    assert _name(Rejected("linear-relation", "", "")) == "linear-relation"
    assert _name(Malformed("point-encoding", "", "")) == "point-encoding"
    assert _name(Malformed("a\nb\x1b[31m" + "c" * 300, "", "")) == "a?b?[31m" + "c" * 248
