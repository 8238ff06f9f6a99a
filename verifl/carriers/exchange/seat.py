"""What a party takes with it to the exchange: its policy, its keys, its directory, and where all meet."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from proofs.errors import Misuse
from protocols.envelopes import Entry
from protocols.identities import SigningKey
from protocols.key_files import Passphrase, read_key
from protocols.locks import locked
from protocols.messages import COORDINATOR, KeyRotation
from protocols.pinned import PinnedPolicy
from protocols.rounds.follower import Follower
from verifl.agents.party import Party
from verifl.agents.published import follow, newest, steadily
from verifl.carriers.exchange.access import NO_ACCESS, WebAccess, check_place, exchange_at
from verifl.carriers.exchange.public import PublicDirectory, PublicView
from verifl.enrolment.policies import read_policy_file
from verifl.storage.party_directory import PartyDirectory
from verifl.storage.stores import make_private_directory


@dataclass(frozen=True)
class Seat:
    """One party of one federation."""

    pinned: PinnedPolicy
    party: Party
    public: PublicView

    @property
    def published(self) -> PublicDirectory:
        """Where a coordinator publishes; raises Misuse for any other place."""
        if not isinstance(self.public, PublicDirectory):
            raise Misuse("--public: a coordinator writes a directory; a web server only publishes it")
        return self.public


@contextmanager
def taken_seat(
    role: str,
    public: Path | str,
    state: Path,
    policy_file: Path,
    key_files: Sequence[Path],
    passphrase: Passphrase | None,
    access: WebAccess = NO_ACCESS,
) -> Iterator[Seat]:
    """The seat of a "coordinator", "trustee" or "client", which no other process has during the block.

    public: a directory; for others than the coordinator also the address of a web server, with `access` to it.
    key_files: with the one in force, and those that it was rotated from or will be rotated to; identity.pem for none.
    Raises Misuse where its files are not as they have to be, Malformed or Rejected for what is no policy.
    """
    check_place(str(public), access, writes=role == COORDINATOR)
    pinned, directory = PinnedPolicy.open(read_policy_file(policy_file)), PartyDirectory(state)
    keys = [read_key(file, passphrase) for file in key_files or [directory.identity]]
    make_private_directory(state)
    with locked(state / "lock", f"{state}: another process of this {role} has it open; wait for it to end, or stop it"):
        place = PublicDirectory(Path(public)) if role == COORDINATOR else exchange_at(str(public), access, state)
        name = _name(role, pinned, keys, place)
        yield Seat(pinned, Party(name, tuple(keys), directory), place)


def _name(role: str, pinned: PinnedPolicy, keys: Sequence[SigningKey], public: PublicView) -> str:
    policy = pinned.policy
    if role == COORDINATOR:
        if [key.public_key for key in keys] != [policy.log_key]:
            found = " and ".join(key.public_key.hex() for key in keys)
            raise Misuse(f"key: the policy's log has the key {policy.log_key.hex()}, found {found}")
        return COORDINATOR
    owners = {member.public_key: member.id for member in (policy.trustees if role == "trustee" else policy.roster)}
    held = [key.public_key for key in keys]
    if owners.keys().isdisjoint(held):
        parties = set(owners.values())
        owners |= steadily(lambda: _rotated(pinned, public, parties), lambda: newest(public.reader()))
    names = sorted({owners[key] for key in held if key in owners})
    if not names:
        raise Misuse(f"key: policy and log have no {role} with the public key {' or '.join(key.hex() for key in held)}")
    if len(names) > 1:
        raise Misuse(f"key: expected the keys of one {role}, found those of {' and '.join(names)}")
    return names[0]


def _rotated(pinned: PinnedPolicy, public: PublicView, parties: set[str]) -> dict[bytes, str]:
    """Keys that rotations of the published log gave to some parties, by key."""
    reader, found = public.reader(), dict[bytes, str]()

    def hear(entry: Entry) -> None:
        message = entry.message
        if isinstance(message, KeyRotation) and message.party in parties:
            found[message.public_key] = message.party

    if reader is not None:
        follow(pinned, reader, Follower.start(), hear)
    return found
