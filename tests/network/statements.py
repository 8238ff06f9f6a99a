"""What was ever said, whether it arrived or not; and what nobody but its owner may ever know."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from unittest import mock

import numpy as np

from protocols import hpke
from protocols.envelopes import open_envelope
from protocols.lattice import encryption
from protocols.log.checkpoint import Checkpoint, parse_note
from protocols.log.merkle import leaf_hash, root
from protocols.pinned import PinnedPolicy
from protocols.rounds.answers import decode_answer
from protocols.rounds.exchange import Answer, Cosignature, Observe, Question
from protocols.rounds.proposals import bundled_entries, open_proposal
from protocols.rounds.round_secrets import RoundSecrets
from tests.network.disks import Disks

_ANY_SIZE = 1 << 40
_SCALAR = 32  # bytes, of a share


@dataclass
class Statements:
    """entries: by (signer, type, round), each different one that a party sent. heads: of the checkpoints that a party
    cosigned and sent, or signed, by size. wire: all that was sent."""

    entries: dict[tuple[str, str, int], list[bytes]] = field(default_factory=dict)
    heads: dict[str, dict[int, set[bytes]]] = field(default_factory=dict)
    wire: list[bytes] = field(default_factory=list)
    _cosigned: dict[bytes, Checkpoint] = field(default_factory=dict)

    def answered(self, question: Question, answer: Answer) -> None:
        """A party has an answer, and did not send it yet."""
        if isinstance(answer, Cosignature) and isinstance(question, Observe):
            self._cosigned[answer.line] = parse_note(question.note).checkpoint

    def heard(self, party: str, data: bytes) -> None:
        """A party sent this."""
        self.wire.append(data)
        answer = decode_answer(data, _ANY_SIZE).answer
        if isinstance(answer, Cosignature):
            self.signed(party, self._cosigned[answer.line])
        else:
            self.said(answer.entry)

    def said(self, entry: bytes) -> None:
        """Somebody signed this entry."""
        envelope = open_envelope(entry)
        known = self.entries.setdefault((envelope.signer, envelope.type, getattr(envelope.message, "round", 0)), [])
        if entry not in known:
            known.append(entry)

    def signed(self, party: str, head: Checkpoint) -> None:
        """Somebody signed a checkpoint."""
        self.heads.setdefault(party, {}).setdefault(head.size, set()).add(head.root)


@dataclass
class Logs:
    """Every log that the coordinator's key ever signed a checkpoint of: the hashes of its entries, by size and root."""

    pinned: PinnedPolicy
    known: dict[tuple[int, bytes], list[bytes]] = field(default_factory=dict)

    def shown(self, data: bytes, bundles: dict[bytes, bytes], published: Callable[[int], Iterable[bytes]]) -> None:
        """A proposal is about to be shown, with these files beside it; the entries before them are published."""
        proposal = open_proposal(self.pinned, data)
        head = parse_note(proposal.note).checkpoint
        if (head.size, head.root) in self.known:
            return
        start = proposal.start if proposal.bundles else head.size
        new = bundled_entries(proposal, lambda name, _: bundles[name]) if proposal.bundles else ()
        hashes = [leaf_hash(entry) for entry in (*published(start), *new)]
        if len(hashes) >= head.size and root(hashes[: head.size]) == head.root:
            self.known[head.size, head.root] = hashes[: head.size]

    def one(self, heads: Iterable[tuple[int, bytes]]) -> bool:
        """Whether checkpoints are all of one log."""
        longest: list[bytes] = []
        for head in sorted(heads):
            hashes = self.known.get(head)
            if hashes is None or hashes[: len(longest)] != longest:
                return False
            longest = hashes
        return True


@dataclass(frozen=True)
class Secret:
    """Bytes that are nowhere but with their owner."""

    owner: str
    what: str
    data: bytes


class Secrets:
    """All secrets of a history, as they are made."""

    def __init__(self, disks: Disks) -> None:
        self._disks = disks
        self.known: list[Secret] = []

    def add(self, owner: str, what: str, data: bytes) -> None:
        self.known.append(Secret(owner, what, data))

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Hear of every private round key, encryption key and verified share that is made in the block."""
        make_key, encrypt_key, hold = hpke.generate_round_key, encryption.generate_key, RoundSecrets.hold

        def round_key(*arguments: Any) -> Any:
            made = make_key(*arguments)
            self.add(self._disks.active, "a private round key", made[0])
            return made

        def client_key(*arguments: Any) -> Any:
            made = encrypt_key(*arguments)
            for kind in (np.int8, np.int32, np.int64):
                self.add(self._disks.active, "an encryption key", made.astype(kind).tobytes()[:64])
            return made

        def held(secrets: RoundSecrets, number: int, shares: bytes) -> None:
            if shares:
                self.add(self._disks.active, "a share", shares[:_SCALAR])
            hold(secrets, number, shares)

        with (
            mock.patch.object(hpke, "generate_round_key", round_key),
            mock.patch.object(encryption, "generate_key", client_key),
            mock.patch.object(RoundSecrets, "hold", held),
        ):
            yield
