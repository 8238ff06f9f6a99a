"""Deterministic CBOR, records and envelopes (spec 2.2, 2.3)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Body = dict[str, Any]

ENTRY_LIMIT = 65_535
POLICY_LIMIT = 4 << 20
INTEGER_LIMIT = 1 << 63
MEMBERS = 64  # trustees that one entry or policy can name
DEPTH_LIMIT = 8
ITEM_LIMIT = 1 << 20

PARTY_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
FORBIDDEN_TEXT = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")


class Unreadable(Exception):
    """Bytes that are not the one spelling of any value (spec 1.5)."""


# --- items (spec 2.2, rules 1 to 6) ---------------------------------------------------------------


def head(major: int, value: int) -> bytes:
    """The shortest head of an item of this major type."""
    if value < 24:
        return bytes([major << 5 | value])
    for code, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if value < 1 << 8 * width:
            return bytes([major << 5 | code]) + value.to_bytes(width, "big")
    raise Unreadable("an integer of more than 64 bits")


def encode(value: object) -> bytes:
    """The one encoding of a value made of integers, bytes, text, lists, maps, booleans and null."""
    if value is None:
        return b"\xf6"
    if isinstance(value, bool):
        return b"\xf5" if value else b"\xf4"
    if isinstance(value, int):
        return head(0, value)
    if isinstance(value, bytes):
        return head(2, len(value)) + value
    if isinstance(value, str):
        text = value.encode()
        return head(3, len(text)) + text
    if isinstance(value, list):
        return head(4, len(value)) + b"".join(encode(item) for item in value)
    if isinstance(value, dict):
        pairs = sorted((encode(key), encode(item)) for key, item in value.items())
        return head(5, len(pairs)) + b"".join(key + item for key, item in pairs)
    raise TypeError(type(value).__name__)


class Decoder:
    """Reads one item; strictness comes from comparing with its encoding afterwards."""

    def __init__(self, data: bytes) -> None:
        self.data = data
        self.position = 0
        self.items = 0

    def take(self, length: int) -> bytes:
        if length > len(self.data) - self.position:
            raise Unreadable("the bytes end early")
        self.position += length
        return self.data[self.position - length : self.position]

    def head(self) -> tuple[int, int]:
        first = self.take(1)[0]
        major, low = first >> 5, first & 31
        if low < 24:
            return major, low
        if low > 27 or major == 7:
            raise Unreadable("an indefinite length or a simple value that does not occur")
        return major, int.from_bytes(self.take(1 << low - 24), "big")

    def item(self, depth: int = 0) -> object:
        self.items += 1
        if self.items > ITEM_LIMIT:
            raise Unreadable("too many items")
        major, value = self.head()
        if major == 0:
            return value
        if major == 2:
            return self.take(value)
        if major == 3:
            try:
                return self.take(value).decode()
            except UnicodeDecodeError:
                raise Unreadable("text that is not UTF-8") from None
        if major == 7 and value in (20, 21, 22):
            return {20: False, 21: True, 22: None}[value]
        if major not in (4, 5) or depth == DEPTH_LIMIT or value > len(self.data):
            raise Unreadable("an item that does not occur")
        if major == 4:
            return [self.item(depth + 1) for _ in range(value)]
        return self.map(value, depth)

    def map(self, count: int, depth: int) -> dict[str, object]:
        found: dict[str, object] = {}
        for _ in range(count):
            key = self.item(depth + 1)
            if not isinstance(key, str) or key in found:
                raise Unreadable("a key that is no text, or occurs twice")
            found[key] = self.item(depth + 1)
        return found


def decode(data: bytes) -> object:
    """The value of one item; `Unreadable` where `data` is not its only encoding."""
    decoder = Decoder(data)
    value = decoder.item()
    if decoder.position != len(data) or encode(value) != data:
        raise Unreadable("not the deterministic encoding")
    return value


# --- records (spec 2.2, 4.1, 8.5) -------------------------------------------------------------------


@dataclass(frozen=True)
class Octets:
    """bytes(n), or bytes(<= n)."""

    limit: int
    exact: bool = True


@dataclass(frozen=True)
class Text:
    limit: int
    pattern: str = ""  # of the whole text, where it has one


@dataclass(frozen=True)
class Many:
    item: object
    limit: int = ITEM_LIMIT


@dataclass(frozen=True)
class Nullable:
    item: object


INTEGER, BOOLEAN, RESERVED, PARTY = "integer", "boolean", "reserved", "party"
HASH, SIGNATURE = Octets(32), Octets(64)

Fields = Mapping[str, object]
MEMBER: Fields = {"id": PARTY, "public_key": HASH}
ROUND: dict[str, object] = {"federation": PARTY, "round": INTEGER}

FORMER_BUDGET: Fields = {
    "federation": PARTY,
    "sensitivity": INTEGER,
    "variance": INTEGER,
    "variance_divisor": INTEGER,
    "honest": INTEGER,
    "deviation_bits": INTEGER,
    "own_variance": INTEGER,
    "charges": Many({"client": PARTY, "cohorts": INTEGER}),
}

POLICY: Fields = {
    "federation": PARTY,
    "origin": Text(256),
    "log_key": HASH,
    "issuer_key": HASH,
    "trustees": Many(MEMBER, MEMBERS),
    "threshold": INTEGER,
    "corrupt": INTEGER,
    "roster": Many(MEMBER),
    "min_cohort": INTEGER,
    "max_cohort": INTEGER,
    "per_round": Nullable(INTEGER),
    "max_rounds": INTEGER,
    "max_aborts": INTEGER,
    "strict_consecutive": BOOLEAN,
    "tensors": Many(
        {
            "name": Text(256),
            "shape": Many(INTEGER, 16),
            "dtype": Text(16),
            "nonnegative": BOOLEAN,
            "role": Text(16),
        }
    ),
    "dimension": INTEGER,
    "initial_model": HASH,
    "update": {
        "norm_bound": INTEGER,
        "fraction_bits": INTEGER,
        "coordinate_bound": Nullable(INTEGER),
        "groups": Many({"start": INTEGER, "stop": INTEGER, "bound": INTEGER}, 4096),
        "scales": Many({"start": INTEGER, "stop": INTEGER, "exponent": INTEGER}, 4096),
    },
    "lattice": {
        "degree": INTEGER,
        "modulus": INTEGER,
        "plaintext_scale": INTEGER,
        "sigma_tenths": INTEGER,
        "tail": INTEGER,
        "encryption_proof": BOOLEAN,
    },
    "step": {
        "rule": Text(16),
        "learning_rates": Many(Text(16), 65536),
        "beta1": Nullable(Text(16)),
        "beta2": Nullable(Text(16)),
        "epsilon": Nullable(Text(16)),
    },
    "projections": INTEGER,
    "required_checks": Many(Text(8), 32),
    "approvals": Many(Text(16), 2),
    "task": Nullable(HASH),
    "initial_file": Nullable(HASH),
    "previous": Nullable({"federation": PARTY, "policy": HASH, "size": INTEGER, "root": HASH}),
    "weights": {"kind": Text(16), "largest": INTEGER, "unit": Nullable(Text(16))},
    "noise": Nullable(
        {
            "rule": Text(32),
            "by": Text(16),
            "variance": INTEGER,
            "variance_divisor": INTEGER,
            "group_bound": INTEGER,
            "floor": INTEGER,
            "ceiling": INTEGER,
            "honest": INTEGER,
            "error": Nullable(
                {
                    "variance": INTEGER,
                    "variance_divisor": INTEGER,
                    "group_bound": INTEGER,
                    "floor": INTEGER,
                    "ceiling": INTEGER,
                }
            ),
        }
    ),
    "privacy_budget": Nullable(
        {
            "epsilon_millionths": INTEGER,
            "delta_trillionths": INTEGER,
            "former": Many(FORMER_BUDGET, 1023),
        }
    ),
}

MESSAGES: Mapping[str, Fields] = {
    "genesis": {
        "federation": PARTY,
        "policy": HASH,
        "model": HASH,
        "approvals": Nullable(HASH),
        "receipts": RESERVED,
    },
    "key-rotation": {
        "federation": PARTY,
        "policy": HASH,
        "party": PARTY,
        "previous": HASH,
        "public_key": HASH,
        "possession": SIGNATURE,
    },
    "revocation": {"federation": PARTY, "policy": HASH, "party": PARTY, "reason": Text(64)},
    "federation-closed": {
        "federation": PARTY,
        "policy": HASH,
        "model": HASH,
        "rounds": INTEGER,
        "reason": Text(64),
    },
    "round-key": ROUND
    | {
        "policy": HASH,
        "trustee": PARTY,
        "public_key": Octets(1216),
        "draw": Nullable(Octets(80)),
        "rotation": RESERVED,
    },
    "round-open": ROUND
    | {
        "policy": HASH,
        "model": HASH,
        "checkpoint_size": INTEGER,
        "checkpoint_root": HASH,
        "seed": HASH,
        "changes": HASH,
        "round_keys": Many(INTEGER, MEMBERS),
        "round_key_hashes": Many(HASH, MEMBERS),
        "retry_of": Nullable(INTEGER),
        "draw": Nullable(HASH),
        "noise": RESERVED,
    },
    "submission": ROUND
    | {
        "round_open": HASH,
        "client": PARTY,
        "commitments": HASH,
        "ciphertext": HASH,
        "share_commitments": HASH,
        "shares": Many({"trustee": PARTY, "blob": HASH}, MEMBERS),
        "proof": HASH,
        "range_commitments": Nullable(HASH),
        "weight_commitments": Nullable(HASH),
        "noise_commitments": Nullable(HASH),
        "privacy_noise_commitments": Nullable(HASH),
        "weight": Nullable(INTEGER),
    },
    "share-ack": ROUND
    | {
        "round_open": HASH,
        "trustee": PARTY,
        "first": INTEGER,
        "answers": Text(65535, "|[-hdeco]*[hdeco]"),
        "digest": HASH,
    },
    "cohort-closed": ROUND
    | {
        "round_open": HASH,
        "first": INTEGER,
        "verdicts": Text(65535, "[-a2rmidfus]*"),
        "details": Many({"index": INTEGER, "text": Text(256)}, 100),
        "trustees": Many(PARTY, MEMBERS),
        "digest": HASH,
    },
    "release": ROUND | {"cohort": HASH, "digest": HASH, "trustee": PARTY, "share": HASH},
    "aggregate": ROUND
    | {
        "cohort": HASH,
        "releases": Many(INTEGER, MEMBERS),
        "ciphertext": HASH,
        "key": HASH,
        "plaintext": HASH,
        "blindings": HASH,
        "weight": RESERVED,
        "noise": RESERVED,
    },
    "round-closed": ROUND | {"aggregate": HASH, "model": HASH, "optimizer": Nullable(HASH)},
    "round-aborted": ROUND
    | {
        "round_open": HASH,
        "cohort": Nullable(HASH),
        "reason": Text(64),
        "missing": Many({"party": PARTY, "reason": Text(64)}, MEMBERS),
    },
}

ENVELOPE: Fields = {
    "type": Text(32),
    "version": INTEGER,
    "signer": PARTY,
    "body": Octets(POLICY_LIMIT, exact=False),
    "signature": SIGNATURE,
}


def conforms(value: object, kind: object) -> bool:
    """Whether a decoded item is a value of this field type."""
    if isinstance(kind, Mapping):
        return (
            isinstance(value, dict)
            and value.keys() == kind.keys()
            and all(conforms(value[name], field) for name, field in kind.items())
        )
    if isinstance(kind, Many):
        return isinstance(value, list) and len(value) <= kind.limit and all(conforms(item, kind.item) for item in value)
    if isinstance(kind, Nullable):
        return value is None or conforms(value, kind.item)
    if isinstance(kind, Octets):
        return isinstance(value, bytes) and (len(value) == kind.limit or (not kind.exact and len(value) < kind.limit))
    if isinstance(kind, Text):
        if not isinstance(value, str) or len(value) > kind.limit or FORBIDDEN_TEXT.search(value):
            return False
        return not kind.pattern or re.fullmatch(kind.pattern, value) is not None
    if kind == INTEGER:
        return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < INTEGER_LIMIT
    if kind == BOOLEAN:
        return isinstance(value, bool)
    if kind == PARTY:
        return isinstance(value, str) and PARTY_ID.fullmatch(value) is not None
    return value is None  # reserved


def record(data: bytes, fields: Fields) -> Body:
    """Decode a record; `Unreadable` unless it has exactly these fields, each of its type."""
    value = decode(data)
    if not isinstance(value, dict) or not conforms(value, fields):
        raise Unreadable("not a record of this type")
    return value


# --- envelopes (spec 2.3) ---------------------------------------------------------------------------


@dataclass(frozen=True)
class Envelope:
    """A signed message; nothing here says that the signature is right."""

    data: bytes
    type: str
    signer: str
    body: Body
    signature: bytes
    signed: bytes

    @property
    def hash(self) -> bytes:
        """The entry hash by which messages name each other."""
        return hashlib.sha256(self.data).digest()


def signing_bytes(kind: str, signer: str, body: bytes) -> bytes:
    """What an Ed25519 signature of an envelope covers."""
    return b"verifl/v1/envelope" + encode({"type": kind, "version": 1, "signer": signer, "body": body})


def rightful_signer(kind: str, body: Body) -> str:
    """The name that the message itself fixes as its signer's."""
    if kind == "submission":
        return str(body["client"])
    if kind in ("round-key", "share-ack", "release"):
        return str(body["trustee"])
    if kind == "key-rotation":
        return str(body["party"])
    return "issuer" if kind in ("revocation", "policy") else "coordinator"


def _open(data: bytes, messages: Mapping[str, Fields], limit: int) -> Envelope:
    if not 0 < len(data) <= limit:
        raise Unreadable("an envelope of this length does not occur")
    envelope = record(data, ENVELOPE)
    if envelope["version"] != 1 or envelope["type"] not in messages:
        raise Unreadable("an unknown type or version")
    body = record(envelope["body"], messages[envelope["type"]])
    if envelope["signer"] != rightful_signer(envelope["type"], body):
        raise Unreadable("another signer than the message has")
    signed = signing_bytes(envelope["type"], envelope["signer"], envelope["body"])
    return Envelope(data, envelope["type"], envelope["signer"], body, envelope["signature"], signed)


def open_entry(data: bytes) -> Envelope:
    return _open(data, MESSAGES, ENTRY_LIMIT)


def open_policy_file(data: bytes) -> Envelope:
    return _open(data, {"policy": POLICY}, POLICY_LIMIT)


def frame(tag: str, *parts: bytes | str | int) -> bytes:
    """spec 8.3: each part with its length; numbers as 8 bytes, names as ASCII."""
    framed = b""
    for part in (tag, *parts):
        data = part.to_bytes(8, "big") if isinstance(part, int) else part.encode() if isinstance(part, str) else part
        framed += len(data).to_bytes(8, "big") + data
    return framed


def framed_hash(tag: str, *parts: bytes | str | int) -> bytes:
    return hashlib.sha256(frame(tag, *parts)).digest()
