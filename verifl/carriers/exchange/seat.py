"""What a party takes with it to the exchange: its policy, its key, its directory, and where all meet."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from proofs.errors import Misuse
from protocols.identities import SigningKey
from protocols.locks import locked
from protocols.messages import COORDINATOR
from protocols.pinned import PinnedPolicy
from protocols.policy import Policy
from verifl.agents.party import Party
from verifl.carriers.exchange.participant import enrolled_as
from verifl.carriers.exchange.public import PublicDirectory
from verifl.enrolment.keys import Passphrase, read_key
from verifl.enrolment.policies import read_policy_file
from verifl.storage.party_directory import PartyDirectory
from verifl.storage.stores import make_private_directory


@dataclass(frozen=True)
class Seat:
    """One party of one federation."""

    pinned: PinnedPolicy
    party: Party
    public: PublicDirectory


@contextmanager
def taken_seat(
    role: str, public: Path, state: Path, policy_file: Path, key_file: Path | None, passphrase: Passphrase | None
) -> Iterator[Seat]:
    """The seat of a "coordinator", "trustee" or "client", which no other process has during the block.

    Raises Misuse where its files are not as they have to be, Malformed or Rejected for what is no policy.
    """
    if role != COORDINATOR and not public.is_dir():
        raise Misuse(
            f"{public}: no such directory; give the one that the coordinator writes, or a copy of it by --public"
        )
    pinned = PinnedPolicy.open(read_policy_file(policy_file))
    directory = PartyDirectory(state)
    key = read_key(key_file or directory.identity, passphrase)
    name = _name(role, pinned.policy, key)
    make_private_directory(state)
    with locked(state / "lock", f"{state}: another process of {name} has it open; wait for it to end, or stop it"):
        yield Seat(pinned, Party(name, (key,), directory), PublicDirectory(public))


def _name(role: str, policy: Policy, key: SigningKey) -> str:
    if role == COORDINATOR:
        if key.public_key != policy.log_key:
            raise Misuse(f"key: the policy's log has the key {policy.log_key.hex()}, found {key.public_key.hex()}")
        return COORDINATOR
    return enrolled_as(policy.trustees if role == "trustee" else policy.roster, key, role)
