"""What belongs to one party alone, and what it does before it says anything."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from proofs.errors import Malformed, Misuse, Rejected
from protocols.holdings import Holdings
from protocols.identities import SigningKey
from protocols.invitation import Invitation
from protocols.rounds.evidence import OUTDATED
from verifl.storage.party_directory import PartyDirectory
from verifl.storage.stores import StoredValues


@dataclass(frozen=True)
class Party:
    """One party's name in the policy, its own keys, and its own directory. keys: the one that the policy enrols, then
    those that it rotated to, or will; secret."""

    name: str
    keys: tuple[SigningKey, ...] = field(repr=False)
    directory: PartyDirectory


class PublicLog(Protocol):
    """The log as an agent reads it when it is asked: from a disk, over a network, or from whoever carries questions. An
    agent checks everything that it is given."""

    def entries(self, start: int, stop: int) -> Iterable[bytes]:
        """Entries start .. stop - 1: those that are published, and up to a checkpoint that is to be cosigned. They
        are read as they are asked for, once."""
        ...

    def invitation(self, since: int, known: int) -> Invitation:
        """To the open round, for a client that has verified the checkpoint of `since` entries, and the first `known`
        changes of the membership."""
        ...

    def blob(self, name: bytes, limit: int) -> bytes:
        """The bytes of this SHA-256, at most `limit`: a `protocols.submissions.BlobSource`."""
        ...


def check_store(path: Path, holdings: Holdings) -> None:
    """Read a party's store, before anything is changed in it; raises Misuse naming the first file that its party did
    not write, or not so."""
    values = StoredValues(path)
    for key in values.keys():  # noqa: SIM118 - a method of stores
        value = values.get(key)
        if value is None:
            continue
        try:
            holdings.check(key, value)
        except Malformed as error:
            raise Misuse(f"{values.file(key)}: {error}; was it written by this version of verifl?") from None


@contextmanager
def newest_state(directory: PartyDirectory) -> Iterator[None]:
    """A party that remembers less than it said, or what it said in another federation, does not start: Misuse, naming
    its directory, for the block's Rejected("outdated-state") and ("store-policy")."""
    try:
        yield
    except Rejected as error:
        if error.check == "store-policy":
            raise Misuse(
                f"{directory.path}: {error}; each federation has a state of its own: give another directory, or the "
                "policy that this one is of"
            ) from None
        if error.check != OUTDATED:
            raise
        raise outdated_state(directory, error.expected, error.found) from None


def outdated_state(directory: PartyDirectory, said: str, known: str) -> Misuse:
    """The refusal to go on from an old copy of a party's state."""
    return Misuse(
        f"{directory.path}: this state is older than what its party said: expected {said}, found {known}; never put "
        "back an old copy of a state: put back the newest, or start a new federation"
    )
