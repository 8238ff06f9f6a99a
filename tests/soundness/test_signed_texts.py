"""Keys sign five kinds of text, and no text is of two kinds (spec 2.4): a signature never passes for another's.

The names that a federation chooses stand in these texts: here they are chosen by somebody who wants a collision.
"""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from proofs.domains import ENVELOPE, PROPOSAL, REHEARSAL
from protocols.envelopes import POSSESSION_TYPE, seal, seal_rotation
from protocols.identities import SigningKey
from protocols.log.checkpoint import Checkpoint, cosign, sign_checkpoint
from protocols.messages import MESSAGE_TYPES, RESERVED_TYPES, Genesis
from protocols.rehearsals import StandIn, seal_stand_in
from protocols.rounds.proposals import Proposal, seal_proposal

HOSTILE = (
    "cosignature/v1",
    "verifl/v1/envelope",
    "verifl/v1/proposal",
    "verifl/v1/rehearsal",
    ENVELOPE.decode() + "!",
    "time",
    "0",
    "-",
    "a" * 256,
)
ORIGINS = st.one_of(st.sampled_from(HOSTILE), st.from_regex(r"[!-*,-~]{1,40}", fullmatch=True))
KEY = SigningKey.from_seed(bytes(range(32)))


class Listening(SigningKey):
    """A key that tells what it signs."""

    __slots__ = ("text",)

    def sign(self, data: bytes) -> bytes:
        self.text = data
        return super().sign(data)


def texts(checkpoint: Checkpoint, timestamp: int) -> dict[str, bytes]:
    """What one key would sign: of each kind one."""
    key, found = Listening(KEY.seed), dict[str, bytes]()
    sign_checkpoint(checkpoint, checkpoint.origin, key)
    found["checkpoint"] = key.text
    cosign(checkpoint, "trustee", key, timestamp)
    found["cosignature"] = key.text
    seal(Genesis("f", bytes(32), checkpoint.root, None, None), "coordinator", key)
    found["envelope"] = key.text
    seal_rotation("f", bytes(32), "somebody", KEY, key)
    found["possession"] = key.text
    seal_proposal(Proposal("f", bytes(32), "observe", 0, b"", 0, (), (), timestamp, timestamp), key)
    found["proposal"] = key.text
    seal_stand_in(StandIn("f", bytes(32), "somebody", checkpoint.root, checkpoint.root, None, ""), key)
    found["stand-in"] = key.text
    return found


@given(ORIGINS, st.integers(0, 2**63 - 1), st.binary(min_size=32, max_size=32), st.integers(0, 2**63 - 1))
def test_every_text_shows_its_kind(origin: str, size: int, root: bytes, timestamp: int) -> None:
    found = texts(Checkpoint(origin, size, root), timestamp)
    for kind in ("envelope", "possession"):
        assert found[kind].startswith(ENVELOPE)
        assert found[kind][len(ENVELOPE)] > 0x7F
    assert found["proposal"].startswith(PROPOSAL)
    assert found["proposal"][len(PROPOSAL)] > 0x7F
    assert found["stand-in"].startswith(REHEARSAL)
    assert found["stand-in"][len(REHEARSAL)] > 0x7F
    lines = {kind: found[kind].split(b"\n") for kind in ("checkpoint", "cosignature")}
    assert all(0x20 < byte < 0x7F for byte in lines["checkpoint"][0])
    assert lines["checkpoint"][1].isdigit()
    assert lines["cosignature"][0] == b"cosignature/v1"
    assert not lines["cosignature"][1].isdigit()
    assert not found["cosignature"].startswith(ENVELOPE)


def test_a_possession_is_never_an_entry() -> None:
    """It is framed like one: only its type keeps the two apart."""
    assert POSSESSION_TYPE not in {*MESSAGE_TYPES.names, *RESERVED_TYPES, "policy"}
