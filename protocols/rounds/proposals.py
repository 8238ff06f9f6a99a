"""What a coordinator wants of whom, signed and published where everybody reads it (spec 8.13).

A proposal carries a question to parties that only read files. It needs no trust: it says what is asked and where the
entries lie, and whoever is asked answers by the log alone, as spec 8.4 says. The signature keeps whoever serves the
file from having parties work, or wait, for nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated

from proofs.domains import PROPOSAL
from proofs.errors import Malformed, Rejected
from protocols.blobs import blob_hash
from protocols.encoding import decode, encode
from protocols.identities import SigningKey, verify
from protocols.log.checkpoint import NOTE_LIMIT, check_own, parse_note
from protocols.log.tiles import BUNDLE_LIMIT, TILE_WIDTH, Bundle, decode_bundle, encode_bundle
from protocols.messages import AtMost, Hash32, PartyId, Signature
from protocols.pinned import PinnedPolicy
from protocols.rounds.exchange import Acknowledge, Observe, OfferKey, Question, ReleaseShare, Submit
from protocols.rounds.versions import EXCHANGE_VERSION, SOFTWARE, Software, check_version

PROPOSAL_LIMIT = 1 << 20  # bytes: the names of all parties, of 64 characters each, are most of it
BUNDLES_LIMIT = 1024  # of entries that are not published yet

OBSERVE = "observe"
# questions about a round, as a proposal spells them
IN_ROUND: dict[str, type[OfferKey | Submit | Acknowledge | ReleaseShare]] = {
    "round-key": OfferKey,
    "submission": Submit,
    "share-ack": Acknowledge,
    "release": ReleaseShare,
}

OF_CLIENTS = ("submission",)  # who is asked what
OF_TRUSTEES = (OBSERVE, "round-key", "share-ack", "release")


@dataclass(frozen=True)
class Proposal:
    """What is asked of `parties`, about the checkpoint `note`.

    question: OBSERVE, or one of IN_ROUND. round: its number, 0 for OBSERVE. start: the log index of the first entry
    that is not published yet, and bundles: the SHA-256 of the files that hold those from there up to the checkpoint;
    none but for OBSERVE. parties: those who have not answered; none once all have. since, until: from when and how long
    answers are waited for, in POSIX seconds by the coordinator's clock. software: what the coordinator runs. No rule
    depends on these three.
    """

    federation: PartyId
    policy: Hash32
    question: Annotated[str, AtMost(32)]
    round: int
    note: Annotated[bytes, AtMost(NOTE_LIMIT)]
    start: int
    bundles: Annotated[tuple[Hash32, ...], AtMost(BUNDLES_LIMIT)]
    parties: Annotated[tuple[PartyId, ...], AtMost(10_000)]
    since: int
    until: int
    software: Software = SOFTWARE

    def asked(self) -> Question:
        """The question itself."""
        if self.question == OBSERVE:
            return Observe(self.note, parse_note(self.note).checkpoint.size)
        return IN_ROUND[self.question](self.round, self.note)


@dataclass(frozen=True)
class _Wire:
    """The file. The signature is over PROPOSAL || body."""

    version: int
    body: Annotated[bytes, AtMost(PROPOSAL_LIMIT)]
    signature: Signature


def draft_proposal(
    pinned: PinnedPolicy,
    question: Question,
    parties: Sequence[str],
    entries: Sequence[bytes],
    since: int,
    until: int,
) -> tuple[Proposal, dict[bytes, bytes]]:
    """The proposal of a question, and the files that it names, by hash. entries: those that are not published."""
    size = parse_note(question.note).checkpoint.size
    files = [encode_bundle(entries[start : start + TILE_WIDTH]) for start in range(0, len(entries), TILE_WIDTH)]
    bundles = {blob_hash(file): file for file in files}
    proposal = Proposal(
        pinned.policy.federation,
        pinned.hash,
        *_named(question),
        question.note,
        size - len(entries),
        tuple(map(blob_hash, files)),
        tuple(parties),
        since,
        until,
    )
    return proposal, bundles


def seal_proposal(proposal: Proposal, key: SigningKey) -> bytes:
    """The file, signed by the log's key; raises Misuse for values outside their fields."""
    body = encode(proposal, PROPOSAL_LIMIT)
    return encode(_Wire(EXCHANGE_VERSION, body, key.sign(PROPOSAL + body)), PROPOSAL_LIMIT)


def open_proposal(pinned: PinnedPolicy, data: bytes) -> Proposal:
    """Decode and check a proposal.

    1. It is of the version that this program speaks: "exchange-version".
    2. The log's key signed it: "signature". Only then its body is decoded, a Proposal with a question that is known, or
       Malformed. It is of this federation and policy: "federation", "policy-hash".
    3. The note is a checkpoint of this log with the log's signature: "checkpoint-...".
    4. The bundles are as many as the entries from `start` up to the checkpoint fill, 256 in each: "bundles"; and there
       are none, and a round from 1 on, but for OBSERVE: "bundles", "round".
    Raises Malformed, or Rejected with these names; total on hostile bytes.
    """
    wire = decode(_Wire, data, PROPOSAL_LIMIT)
    check_version(wire.version)
    verify(pinned.policy.log_key, wire.signature, PROPOSAL + wire.body)
    proposal = decode(Proposal, wire.body, PROPOSAL_LIMIT)
    if proposal.question not in (OBSERVE, *IN_ROUND):
        raise Malformed("proposal.question", " or ".join((OBSERVE, *IN_ROUND)), ascii(proposal.question))
    pinned.require_own(proposal.federation, proposal.policy)
    head = check_own(parse_note(proposal.note), pinned.policy.log_key, pinned.policy.origin)
    _check_bundles(proposal, head.size)
    return proposal


def bundled_entries(proposal: Proposal, read: Callable[[bytes, int], bytes]) -> Iterator[bytes]:
    """The entries that a proposal names: those from `start` up to its checkpoint, one file in memory at a time.

    read: gives the file of a SHA-256, at most so many bytes of it. Each step raises Malformed, or Rejected("bundles")
    for a file that is another, and as `read` does.
    """
    left = parse_note(proposal.note).checkpoint.size - proposal.start
    for name in proposal.bundles:
        data, width = read(name, BUNDLE_LIMIT), min(left, TILE_WIDTH)
        if blob_hash(data) != name:
            raise Rejected("bundles", f"the file {name.hex()}", blob_hash(data).hex())
        yield from decode_bundle(data, Bundle(0, width))
        left -= width


def _named(question: Question) -> tuple[str, int]:
    """Its name and round, as a proposal has them."""
    if isinstance(question, Observe):
        return OBSERVE, 0
    return next(name for name, kind in IN_ROUND.items() if isinstance(question, kind)), question.round


def _check_bundles(proposal: Proposal, size: int) -> None:
    count = size - proposal.start
    if count < 0 or -(-count // TILE_WIDTH) != len(proposal.bundles):
        expected = f"those of the entries {proposal.start} .. {size - 1}"
        raise Rejected("bundles", expected, f"{len(proposal.bundles)} bundles")
    observes = proposal.question == OBSERVE
    if count and not observes:
        raise Rejected("bundles", f"a published checkpoint for {proposal.question}", f"{count} entries beside it")
    if (proposal.round == 0) != observes:
        raise Rejected("round", "0 for observe, else from 1 on", f"{proposal.round} for {proposal.question}")
