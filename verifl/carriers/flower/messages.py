"""What Flower's messages carry: a proposal down, and an answer up, in arrays small enough for slow links.

Flower moves an ArrayRecord array by array, each within a time of its own: a thin link carries an answer of any length
as many small arrays, where one large array would be given up.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Error, Message, MessageType, RecordDict

from proofs.errors import Malformed, Rejected
from protocols.rounds.proposals import PROPOSAL_LIMIT

VERSION = 1
ASKED, ANSWERED = "verifl", "verifl.answer"
CHUNK = 256 << 10  # bytes of one array
_SHOWN = 200  # characters of what somebody else wrote

# Codes of errors in replies, beside Flower's own.
BUSY, DROPPED_OUT, REFUSED, MISCONFIGURED = 1001, 1002, 1003, 1004


@dataclass(frozen=True)
class Ask:
    """A question to a client. proposal: as the coordinator signed it; empty to have the client take from the log what
    is there for it, its receipts and the newest model. key: where the application expects the model."""

    proposal: bytes
    key: str

    def record(self) -> ConfigRecord:
        """As it travels."""
        return ConfigRecord({"version": VERSION, "proposal": self.proposal, "arrays-key": self.key})

    @classmethod
    def of(cls, message: Message) -> Ask | None:
        """What a message asks; None where it asks nothing of verifl. Raises Malformed."""
        record = message.content.config_records.get(ASKED)
        if record is None:
            return None
        version, proposal, key = (record.get(each) for each in ("version", "proposal", "arrays-key"))
        if version != VERSION:
            raise Malformed(f"{ASKED}.version", f"{VERSION}, of this version of verifl", ascii(version)[:_SHOWN])
        if not isinstance(proposal, bytes) or len(proposal) > PROPOSAL_LIMIT:
            raise Malformed(f"{ASKED}.proposal", f"at most {PROPOSAL_LIMIT} bytes", _kind(proposal))
        if not isinstance(key, str):
            raise Malformed(f"{ASKED}.arrays-key", "a text", _kind(key))
        return cls(proposal, key)


def question(message: Message, proposal: bytes) -> Message:
    """The message of an application's strategy with a proposal in the place of its model.

    Raises Malformed where it has not exactly one ArrayRecord.
    """
    keys = list(message.content.array_records)
    if len(keys) != 1:
        raise Malformed("message", "one ArrayRecord, the model", f"{len(keys)}")
    others = {name: record for name, record in message.content.items() if name != keys[0]}
    content = RecordDict({**others, ASKED: Ask(proposal, keys[0]).record()})
    return Message(content, dst_node_id=message.metadata.dst_node_id, message_type=message.metadata.message_type)


def reply(message: Message, answer: bytes) -> Message:
    """The answer to a message, as `protocols.rounds.answers` encodes it."""
    data = np.frombuffer(answer, dtype=np.uint8)
    chunks = [data[start : start + CHUNK] for start in range(0, len(data), CHUNK)]
    arrays = ArrayRecord({f"{number:06d}": Array(chunk) for number, chunk in enumerate(chunks)})
    head = ConfigRecord({"version": VERSION, "size": len(answer)})
    return Message(RecordDict({ASKED: head, ANSWERED: arrays}), reply_to=message)


def thanks(message: Message) -> Message:
    """The reply of a client that has looked at the log."""
    return Message(RecordDict({ASKED: ConfigRecord({"version": VERSION})}), reply_to=message)


def look(node: int) -> Message:
    """The message to a node that has its client look at the log."""
    return Message(RecordDict({ASKED: Ask(b"", "").record()}), dst_node_id=node, message_type=MessageType.TRAIN)


def refusal(message: Message, code: int, reason: str) -> Message:
    """The reply of a client that says nothing in this round."""
    return Message(Error(code, reason), reply_to=message)


def answered(message: Message, limit: int) -> bytes:
    """The bytes of the answer in a reply, at most `limit`; raises Malformed, or Rejected("oversized").

    Nothing is copied before the sizes are known; of a hostile reply Flower itself holds what it pulled.
    """
    if not isinstance(message.content, RecordDict):
        raise Malformed("reply", "records", type(message.content).__name__)
    head = message.content.config_records.get(ASKED)
    arrays = message.content.array_records.get(ANSWERED)
    if head is None or arrays is None:
        raise Malformed(
            "reply", f"the records {ASKED!r} and {ANSWERED!r}", f"{ascii(sorted(message.content))[:_SHOWN]}"
        )
    if head.get("version") != VERSION:
        raise Malformed(f"{ASKED}.version", str(VERSION), ascii(head.get("version"))[:_SHOWN])
    size = head.get("size")
    if not isinstance(size, int) or size < 1:
        raise Malformed(f"{ASKED}.size", "a number from 1 on", ascii(size)[:_SHOWN])
    if size > limit:
        raise Rejected("oversized", f"at most {limit} bytes", str(size))
    count = math.ceil(size / CHUNK)
    names = [f"{number:06d}" for number in range(count)]
    if len(arrays) != count or set(arrays) != set(names):
        raise Malformed(ANSWERED, f"{count} arrays for {size} bytes", f"{len(arrays)}")
    return b"".join(_chunk(arrays[name], name, min(CHUNK, size - number * CHUNK)) for number, name in enumerate(names))


def _chunk(array: Array, name: str, size: int) -> bytes:
    """The values of an array of so many bytes, as numpy.save writes it. numpy.load is not for what a stranger wrote: it
    evaluates the header, and allocates what that says."""
    where, expected, data = f"{ANSWERED}.{name}", f"{size} bytes in one dimension", array.data
    if tuple(array.shape) != (size,) or array.dtype != "uint8" or len(data) > size + _HEADER:
        raise Malformed(where, expected, f"{ascii(array.dtype)[:_SHOWN]} of shape {array.shape}"[:_SHOWN])
    start = len(data) - size
    head, length = data[: max(start, 0)], int.from_bytes(data[8:10], "little")
    text = b"{'descr': '|u1', 'fortran_order': False, 'shape': (%d,), }" % size
    if head[:8] != _MAGIC or len(head) != 10 + length or head[10:].rstrip(b" \n") != text:
        raise Malformed(where, expected, f"{len(data)} bytes that begin with {data[:_START]!a}")
    return bytes(data[start:])


_MAGIC, _START = b"\x93NUMPY\x01\x00", 16  # of numpy's format 1.0; bytes of another beginning that are shown
_HEADER = 4096  # bytes, at most, before the values


def _kind(value: object) -> str:
    return f"{len(value)} bytes" if isinstance(value, bytes) else type(value).__name__
