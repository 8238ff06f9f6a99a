"""Envelopes around signed documents: DSSE 1.0 (secure-systems-lab/dsse), with Ed25519.

What is signed is PAE(type, body) = "DSSEv1" SP LEN(type) SP type SP LEN(body) SP body, lengths in bytes and in decimal.
So a signature on a document of one type is none on the same bytes as another.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from proofs.errors import Malformed, Rejected
from protocols.identities import SigningKey, verify

ENVELOPE_LIMIT = 1 << 20  # bytes
MAX_SIGNATURES = 64
_FIELDS = {"payload", "payloadType", "signatures"}


def pae(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed."""
    name = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(name), name, len(payload), payload)


def seal(payload_type: str, payload: bytes, key: SigningKey) -> bytes:
    """The envelope of a document under one signature, as JSON. Its key id, a hint, is the public key in hexadecimal."""
    signature = {"keyid": key.public_key.hex(), "sig": _encoded(key.sign(pae(payload_type, payload)))}
    envelope = {"payloadType": payload_type, "payload": _encoded(payload), "signatures": [signature]}
    return json.dumps(envelope, indent=1).encode() + b"\n"


def open_sealed(data: bytes, payload_type: str, public_key: bytes) -> bytes:
    """The document in an envelope that this key signed as one of this type; other signatures are not looked at.

    Raises Malformed for bytes that are no envelope, Rejected("payload-type") for another type, Rejected("signature")
    where this key has not signed it. Total on any bytes.
    """
    envelope = read_json(data, ENVELOPE_LIMIT, "envelope")
    if set(envelope) != _FIELDS:
        raise Malformed("envelope", ", ".join(sorted(_FIELDS)), ", ".join(sorted(envelope)) or "nothing")
    found = envelope["payloadType"]
    if found != payload_type:
        raise Rejected("payload-type", payload_type, str(found))
    payload = _decoded(envelope["payload"], "payload")
    signed = pae(payload_type, payload)
    if not any(_holds(public_key, signature, signed) for signature in _signatures(envelope["signatures"])):
        raise Rejected("signature", f"one by {public_key.hex()}", "none that holds")
    return payload


def read_json(data: bytes, limit: int, what: str) -> dict[str, Any]:
    """An object in UTF-8 of at most `limit` bytes, in which no name stands twice. Raises Malformed; total."""
    if len(data) > limit:
        raise Malformed(what, f"at most {limit} bytes", "more")
    try:
        value = json.loads(data.decode(), object_pairs_hook=_object, parse_constant=_constant)
    except (ValueError, RecursionError):
        raise Malformed(what, "an object in JSON, no name twice", "something else") from None
    if not isinstance(value, dict):
        raise Malformed(what, "an object", type(value).__name__)
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) != len(pairs):
        raise ValueError("a name twice")
    return values


def _constant(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")


def _signatures(value: Any) -> list[bytes]:
    if not isinstance(value, list) or not 1 <= len(value) <= MAX_SIGNATURES:
        raise Malformed("signatures", f"a list of 1 to {MAX_SIGNATURES}", "something else")
    if not all(isinstance(each, dict) and set(each) in ({"keyid", "sig"}, {"sig"}) for each in value):
        raise Malformed("signatures", "objects of sig, and of keyid at most", "something else")
    return [_decoded(each["sig"], "sig") for each in value]


def _holds(public_key: bytes, signature: bytes, signed: bytes) -> bool:
    try:
        verify(public_key, signature, signed)
    except Rejected:
        return False
    return True


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _decoded(text: Any, name: str) -> bytes:
    """From base64 with padding, in either alphabet, as the standard demands of who verifies."""
    if not isinstance(text, str):
        raise Malformed(name, "text in base64", type(text).__name__)
    try:
        return base64.b64decode(text.replace("-", "+").replace("_", "/").encode("ascii"), validate=True)
    except (UnicodeEncodeError, binascii.Error):
        raise Malformed(name, "base64 with padding", "something else") from None
