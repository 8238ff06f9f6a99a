"""HPKE in a history: of the same sizes, and the same bytes whenever the seed is the same.

The library draws an encapsulation's randomness from the system, so a submission's blobs would have other names in each
play, and a directory of the transcript be there or not. What HPKE itself does is tested where it stands.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

from proofs.errors import Rejected
from protocols import hpke
from protocols.hashes import shake_256
from protocols.reasons import SHARE_DECRYPTION


@contextmanager
def repeatable() -> Iterator[None]:
    """`hpke.seal` and `hpke.open_sealed` without randomness. A round key is still judged by the library."""
    real, known = hpke.seal, set[bytes]()

    def seal(public: bytes, info: bytes, plaintext: bytes) -> bytes:
        if public not in known:
            real(public, b"", b"")
            known.add(public)
        encapsulation = shake_256(b"encapsulation" + public + info + plaintext).digest(hpke.ENCAPSULATION_SIZE)
        text = _masked(public, info, encapsulation, plaintext)
        return encapsulation + text + _tag(public, info, encapsulation, plaintext)

    def open_sealed(private: bytes, info: bytes, sealed: bytes) -> bytes:
        public, size = hpke.public_key(private), hpke.ENCAPSULATION_SIZE
        encapsulation, text, tag = sealed[:size], sealed[size : -hpke.TAG_SIZE], sealed[-hpke.TAG_SIZE :]
        plaintext = _masked(public, info, encapsulation, text)
        if len(sealed) < hpke.OVERHEAD or not hmac.compare_digest(tag, _tag(public, info, encapsulation, plaintext)):
            raise Rejected(SHARE_DECRYPTION, "a ciphertext that opens", "one that does not")
        return plaintext

    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(hpke, "seal", seal))
        stack.enter_context(mock.patch.object(hpke, "open_sealed", open_sealed))
        yield


def _masked(public: bytes, info: bytes, encapsulation: bytes, text: bytes) -> bytes:
    mask = shake_256(b"mask" + public + info + encapsulation).digest(len(text))
    return bytes(one ^ other for one, other in zip(text, mask, strict=True))


def _tag(public: bytes, info: bytes, encapsulation: bytes, plaintext: bytes) -> bytes:
    return shake_256(b"tag" + public + info + encapsulation + plaintext).digest(hpke.TAG_SIZE)
