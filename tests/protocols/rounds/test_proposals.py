"""Proposals and answers as files: one spelling each, every refusal by its name, whatever the bytes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proofs.domains import PROPOSAL
from proofs.errors import Malformed, Misuse, Rejected
from protocols import envelopes
from protocols.blobs import blob_hash
from protocols.encoding import decode, encode
from protocols.envelopes import Envelope
from protocols.identities import SigningKey
from protocols.log.checkpoint import Checkpoint, sign_checkpoint
from protocols.pinned import PinnedPolicy
from protocols.rounds import proposals
from protocols.rounds.answers import AnswerFile, answer_limit, decode_answer, encode_answer
from protocols.rounds.conductor import Stage
from protocols.rounds.exchange import Acknowledge, Cosignature, Observe, OfferKey, ReleaseShare, Submit
from protocols.rounds.proposals import (
    PROPOSAL_LIMIT,
    Proposal,
    bundled_entries,
    draft_proposal,
    open_proposal,
    seal_proposal,
)
from tests.simulator import Setting, Simulation, identity_of, make_policy

PINNED = PinnedPolicy.open(make_policy(Setting())[0])
KEY = identity_of("coordinator")
ORIGIN, FEDERATION = PINNED.policy.origin, PINNED.policy.federation


def note_of(size: int, origin: str = ORIGIN, key: SigningKey = KEY) -> bytes:
    return sign_checkpoint(Checkpoint(origin, size, bytes(32)), origin, key)


def proposal_of(**changed: object) -> Proposal:
    proposal = Proposal(
        FEDERATION, PINNED.hash, "submission", 3, note_of(20), 20, (), ("client-1",), 1_799_999_000, 1_800_000_000
    )
    return replace(proposal, **changed)  # type: ignore[arg-type]  # fields by name


def rejection(data: bytes) -> str:
    with pytest.raises(Rejected) as caught:
        open_proposal(PINNED, data)
    return caught.value.check


def questions(
    number: int, note: bytes, size: int
) -> Iterator[Observe | OfferKey | Submit | Acknowledge | ReleaseShare]:
    yield Observe(note, size)
    for kind in (OfferKey, Submit, Acknowledge, ReleaseShare):
        yield kind(number, note)


@given(st.integers(1, 9), st.integers(300, 900), st.integers(0, 600), st.integers(0, 2**63 - 1))
def test_a_proposal_says_the_question_and_the_entries_again(number: int, size: int, shown: int, until: int) -> None:
    shown = min(shown, size)
    entries = [index.to_bytes(4, "big") for index in range(shown)]
    for question in questions(number, note_of(size), size):
        given_entries = entries if isinstance(question, Observe) else []
        proposal, files = draft_proposal(PINNED, question, ("a", "b"), given_entries, until // 2, until)
        opened = open_proposal(PINNED, seal_proposal(proposal, KEY))
        assert opened == proposal
        assert opened.asked() == question
        assert opened.start == size - len(given_entries)
        assert list(bundled_entries(opened, lambda name, limit, files=files: files[name][:limit])) == given_entries


def test_the_bytes_of_a_proposal_are_these() -> None:
    """A proposal that says no more than its fields, so that no other format is in it."""
    key = SigningKey.from_seed(bytes(range(32)))
    proposal = Proposal(
        *("f", bytes(32), "observe", 0, b"a note", 7, (bytes(32),), ("a", "b"), 1_799_999_000, 1_800_000_000),
        software="verifl 0.0.0",
    )
    data = seal_proposal(proposal, key)
    assert data.hex() == VECTOR


def test_what_was_changed_is_refused() -> None:
    data = seal_proposal(proposal_of(), KEY)
    for place in range(len(data)):
        for other in (data[:place], data[:place] + bytes([data[place] ^ 1]) + data[place + 1 :]):
            with pytest.raises((Malformed, Rejected)):
                open_proposal(PINNED, other)
    assert rejection(seal_proposal(proposal_of(), identity_of("trustee-1"))) == "signature"


@pytest.mark.parametrize(
    ("changed", "check"),
    [
        ({"federation": "another"}, "federation"),
        ({"policy": bytes(32)}, "policy-hash"),
        ({"note": note_of(20, "another.example")}, "checkpoint-origin"),
        ({"note": note_of(20, key=identity_of("trustee-1"))}, "checkpoint-signature"),
        ({"start": 19, "bundles": (bytes(32),)}, "bundles"),  # entries that are not published, for a client
        ({"start": 21}, "bundles"),
        ({"bundles": (bytes(32),)}, "bundles"),
        ({"question": "observe", "round": 0, "start": 0, "bundles": ()}, "bundles"),
        ({"question": "observe"}, "round"),
        ({"round": 0}, "round"),
    ],
)
def test_each_rule_refuses_by_its_name(changed: dict[str, object], check: str) -> None:
    assert rejection(seal_proposal(proposal_of(**changed), KEY)) == check


def test_an_unknown_question_is_malformed_and_an_unknown_version_refused_by_name() -> None:
    with pytest.raises(Malformed, match=r"proposal\.question"):
        open_proposal(PINNED, seal_proposal(proposal_of(question="sing"), KEY))
    wire = decode(proposals._Wire, seal_proposal(proposal_of(), KEY))
    for version, advice in ((2, "install a newer verifl here"), (0, "whoever wrote this needs a newer verifl")):
        with pytest.raises(Rejected, match="exchange-version") as excinfo:
            open_proposal(PINNED, encode(replace(wire, version=version)))
        assert excinfo.value.found == f"version {version}; {advice}"


def test_sizes_are_limited() -> None:
    with pytest.raises(Malformed, match="at most"):
        open_proposal(PINNED, bytes(PROPOSAL_LIMIT + 1))
    with pytest.raises(Misuse):
        seal_proposal(proposal_of(parties=("a" * 64,) * 10_001), KEY)
    names = tuple(f"{index:064}" for index in range(10_000))
    assert open_proposal(PINNED, seal_proposal(proposal_of(parties=names), KEY)).parties == names


def test_a_bundle_is_the_one_that_was_named() -> None:
    proposal, files = draft_proposal(PINNED, Observe(note_of(3), 3), (), [b"one", b"two", b"three"], 0, 0)
    with pytest.raises(Rejected, match="bundles"):
        list(bundled_entries(proposal, lambda name, limit: files[name] + b"!"))
    short = replace(proposal, bundles=(blob_hash(files[proposal.bundles[0]][:-1]),))
    with pytest.raises(Malformed):
        list(bundled_entries(short, lambda name, limit: files[proposal.bundles[0]][:-1]))


@given(st.binary(max_size=300))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises((Malformed, Rejected)):
        open_proposal(PINNED, data)
    with pytest.raises((Malformed, Rejected)):
        open_proposal(PINNED, encode(proposals._Wire(1, data, KEY.sign(PROPOSAL + data))))
    with pytest.raises(Malformed):
        decode_answer(data, 1 << 20)
    for kind in ("cosignature", "round-key", "submission", "share-ack", "release", "song"):
        with pytest.raises(Malformed):
            decode_answer(encode(AnswerFile(1, kind, data, ())), 1 << 20)


def test_every_answer_of_a_round_is_one_file_within_its_limit(
    simulation: Simulation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a file says what was answered, by whom, in which round; its entry is decoded once, from file to log."""
    seen, opened, original = set(), list[bytes](), envelopes._open

    def counting(data: bytes, limit: int) -> Envelope:
        opened.append(data)
        return original(data, limit)

    simulation.updates[1] = {}
    simulation.conductor.open_round()
    while (due := simulation.conductor.due).stage is not Stage.IDLE:
        for party in due.parties:
            assert due.question is not None
            answer = simulation.answer(party, due.question)
            data, limit = encode_answer(answer), answer_limit(simulation.pinned, party)
            with monkeypatch.context() as patched:
                patched.setattr(envelopes, "_open", counting)
                opened.clear()
                received = decode_answer(data, limit)
                publication = simulation.conductor.take(party, received.answer)
            assert opened == ([] if isinstance(answer, Cosignature) else [answer.entry])
            assert (received.answer, received.party) == (answer, party)
            assert received.round == (None if isinstance(answer, Cosignature) else 1)
            if type(answer) not in seen:
                check_no_other_spelling(decode(AnswerFile, data, limit), limit)
            seen.add(type(answer))
            simulation.store(publication)
        simulation.store(simulation.conductor.proceed())
    assert len(seen) == 5


def check_no_other_spelling(file: AnswerFile, limit: int) -> None:
    twice = (b"one", b"one") if len(file.blobs) < 2 else file.blobs[::-1]
    with pytest.raises(Rejected, match="exchange-version"):
        decode_answer(encode(replace(file, version=2), limit), limit)
    for changed in ({"blobs": twice}, {"kind": "song"}):
        with pytest.raises(Malformed, match=r"AnswerFile\."):
            decode_answer(encode(replace(file, **changed), limit), limit)  # type: ignore[arg-type]  # fields by name
    with pytest.raises(Malformed, match="at most"):
        decode_answer(bytes(limit + 1), limit)


VECTOR = (
    "a364626f647958c6ab646e6f74654661206e6f746565726f756e64006573696e63651a6b49ce186573746172740765756e74"
    "696c1a6b49d20066706f6c696379582000000000000000000000000000000000000000000000000000000000000000006762"
    "756e646c65738158200000000000000000000000000000000000000000000000000000000000000000677061727469657382"
    "61616162687175657374696f6e676f62736572766568736f6674776172656c76657269666c20302e302e306a666564657261"
    "74696f6e61666776657273696f6e01697369676e61747572655840e383130ef74812a4267d67261d9b0f27245b5e8ed28f14"
    "3291e0ed44013607e91ac1dc0e49790d57251e329047be5f04bbe00900019900b992ddc89ee3818d04"
)
