"""What a client believes of an open round. It needs no training, and so no torch: a rehearsal's client has neither."""

from __future__ import annotations

from proofs.errors import Malformed
from protocols.envelopes import open_envelope
from protocols.invitation import Invitation
from protocols.messages import RoundOpen
from protocols.pinned import PinnedPolicy
from protocols.rounds.client import Client, OpenRound
from verifl.agents.party import PublicLog


def accept_round(pinned: PinnedPolicy, client: Client, log: PublicLog) -> OpenRound:
    """What a client believes of the open round, with the model; raises as `Client.accept`."""
    invitation = log.invitation(client.last_seen, client.known_changes)
    return client.accept(invitation, log.blob(_model(invitation), pinned.model_size))


def _model(invitation: Invitation) -> bytes:
    """The hash of the model that an invitation is about; the client verifies both before it believes them."""
    message = open_envelope(invitation.round_open.entry).message
    if not isinstance(message, RoundOpen):
        raise Malformed("invitation.round_open", "a round-open", type(message).__name__)
    return message.model
