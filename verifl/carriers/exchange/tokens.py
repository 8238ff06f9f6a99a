"""Tokens by which a web server knows a party: secret at the party, and a hash of it at the web server."""

from __future__ import annotations

import base64
import hashlib
import secrets

TOKEN_BYTES = 32
_SALT_BYTES = 8


def new_token() -> str:
    """256 bits from the operating system, as text."""
    return secrets.token_urlsafe(TOKEN_BYTES)


def token_line(party: str, token: str) -> str:
    """The line of a web server's file of users (`auth_basic_user_file`), without its newline: a salted SHA-1 in the
    form of RFC 2307.

    It is no secret: a token is as long as a key, so that who has its hash can do no better than to find a preimage of
    SHA-1, for which nothing better than trying is known (its collisions do not help); slower hashes are for passwords.
    """
    salt = secrets.token_bytes(_SALT_BYTES)
    digest = hashlib.sha1(token.encode() + salt, usedforsecurity=False).digest()
    return f"{party}:{{SSHA}}{base64.b64encode(digest + salt).decode()}"
