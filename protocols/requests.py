"""A party's request to be enrolled: its role, its name, its key, and that it has the key (spec 2.6).

An envelope that is never an entry, signed with the key that it is about. It says nothing of who sent it: that is for
the issuer to find out, by comparing the key in another way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from proofs.errors import Malformed, Rejected
from protocols.envelopes import check_statement, open_statement, seal_statement
from protocols.identities import SigningKey, check_public_key
from protocols.messages import COORDINATOR, AtMost, PartyId, PublicKey, Text

REQUEST = "key-request"  # the envelope's type; never an entry's
LOG = "log"
ROLES = ("client", "trustee", LOG)


@dataclass(frozen=True)
class KeyRequest:
    """name: the party's id, or of the log its origin. contact: for people, empty for none."""

    federation: PartyId
    role: Annotated[str, AtMost(16)]
    name: Text
    public_key: PublicKey
    contact: Text


def seal_request(federation: str, role: str, name: str, contact: str, key: SigningKey) -> bytes:
    """The request of whoever holds `key`, as a file; raises Misuse for what is no name, or too long."""
    request = KeyRequest(federation, role, name, key.public_key, contact)
    return seal_statement(REQUEST, _signer(request), request, key)


def open_request(data: bytes) -> KeyRequest:
    """Decode a request.

    Raises Malformed; Rejected("role") for one that there is not, ("public-key") for a key that no policy may have,
    ("possession") where that key did not sign it.
    """
    request, statement = open_statement(REQUEST, KeyRequest, data)
    if request.role not in ROLES:
        raise Rejected("role", " or ".join(ROLES), ascii(request.role))
    if statement.signer != _signer(request):
        raise Malformed("envelope.signer", _signer(request), statement.signer)
    check_public_key(request.public_key)
    try:
        check_statement(statement, request.public_key)
    except Rejected as error:
        raise Rejected("possession", error.expected, error.found) from None
    return request


def _signer(request: KeyRequest) -> str:
    return COORDINATOR if request.role == LOG else request.name
