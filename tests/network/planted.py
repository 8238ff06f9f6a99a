"""Faults that are planted into the product, to see that histories find them. Each is what somebody could write."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from types import SimpleNamespace
from typing import Any
from unittest import mock

import numpy as np

from proofs.errors import Rejected
from protocols.hashes import sha256
from protocols.log.checkpoint import cosign
from protocols.log.writer import TranscriptWriter
from protocols.rounds.client import Client, OpenRound
from protocols.rounds.client_holdings import ANSWER
from protocols.rounds.exchange import SubmissionPackage
from protocols.rounds.record import LogRecord
from protocols.rounds.submitting import Update
from protocols.rounds.trustee import Trustee
from protocols.rounds.trustee_holdings import ACK
from verifl.agents import client as agents_client
from verifl.agents import server
from verifl.agents import trustee as agents_trustee
from verifl.carriers.exchange.inbox import Inbox
from verifl.carriers.exchange.participant import ProposedLog
from verifl.storage import private_files, stores
from verifl.training.own_tensors import LocalState

Plant = Callable[[], AbstractContextManager[None]]


def _nothing(*_: object) -> None:
    """In the place of what would be done."""


@contextmanager
def acknowledgements_stored_after_they_are_sent() -> Iterator[None]:
    """The store comes last, when what is sent is sent: nothing depends on it, or so it looks."""
    put, expire = ACK.put, Trustee.expire
    later: dict[int, list[Callable[[], None]]] = {}

    def put_later(_: Any, store: Any, number: int, entry: bytes) -> None:
        later.setdefault(id(store), []).append(lambda: put(store, number, entry))

    def expire_then_put(trustee: Trustee) -> None:
        for each in later.pop(id(trustee._store), []):
            each()
        expire(trustee)

    with (
        mock.patch.object(type(ACK), "put", _only(ACK, put_later)),
        mock.patch.object(Trustee, "expire", expire_then_put),
    ):
        yield


def _only(holding: Any, instead: Callable[..., None]) -> Callable[..., None]:
    """A method that is another one for this holding alone."""
    put = type(holding).put

    def chosen(self: Any, *arguments: Any) -> None:
        (instead if self is holding else put)(self, *arguments)

    return chosen


@contextmanager
def a_submission_made_anew_when_asked_again() -> Iterator[None]:
    """A client that is asked again answers again, with fresh randomness."""

    def submit(client: Client, opened: OpenRound, update: Update, weight: int | None = None) -> SubmissionPackage:
        answer = client._make_answer(
            opened.verified, update, sha256(np.ascontiguousarray(update, dtype="<i8").tobytes()), weight
        )
        ANSWER.put(client._store, answer)
        return answer.package()

    with mock.patch.object(Client, "answered", _nothing), mock.patch.object(Client, "submit", submit):
        yield


@contextmanager
def answers_removed_when_they_are_taken() -> Iterator[None]:
    """The host tidies the inbox as soon as it has read a file."""
    with mock.patch.object(Inbox, "take", lambda inbox, letter: inbox._remove(letter)):
        yield


@contextmanager
def a_file_counted_whenever_it_is_seen() -> Iterator[None]:
    """The host reads the inboxes anew at every look, and does not recognise what its log has."""
    with mock.patch.object(Inbox, "take", _nothing), mock.patch.object(LogRecord, "position", _nothing):
        yield


@contextmanager
def a_checkpoint_read_once() -> Iterator[None]:
    """A process takes the first checkpoint that it has seen for the newest as long as it runs."""
    published, known = ProposedLog._published, dict[int, Any]()

    def first(log: ProposedLog) -> Any:
        return known.setdefault(id(log._glance.public), published(log))

    with mock.patch.object(ProposedLog, "_published", first):
        yield


@contextmanager
def state_files_not_synced() -> Iterator[None]:
    """A party's state is written and renamed, and left to the system."""
    with mock.patch.object(private_files, "os", _without_sync()):
        yield


@contextmanager
def directories_not_synced() -> Iterator[None]:
    """New directories are left to the system: of the public one, and of a party's store."""
    with mock.patch.object(stores, "_sync_directory", _nothing):
        yield


@contextmanager
def a_log_whose_names_are_not_synced() -> Iterator[None]:
    """The transcript's files are synced, and their names are not."""
    with mock.patch.object(TranscriptWriter, "_sync", _nothing):
        yield


@contextmanager
def names_believed_at_a_start() -> Iterator[None]:
    """What is found at a start is durable, or so it looks: whoever renamed it was killed before it synced the name."""

    class Believing(stores.DirectoryStore):
        def __init__(self, *arguments: Any) -> None:
            with mock.patch.object(stores, "_sync_directory", _nothing):
                super().__init__(*arguments)

    patches = [
        mock.patch.object(module, "DirectoryStore", Believing) for module in (agents_client, agents_trustee, server)
    ]
    with ExitStack() as stack:
        for patch in (*patches, mock.patch.object(TranscriptWriter, "_distrust_renames", _nothing)):
            stack.enter_context(patch)
        yield


@contextmanager
def training_never_forgotten() -> Iterator[None]:
    """What a turn left that was killed before it had an answer is taken up in the next round."""
    with mock.patch.object(LocalState, "discard_after", _nothing):
        yield


@contextmanager
def secrets_kept() -> Iterator[None]:
    """A trustee that is killed while it erases has done so, by its own account."""
    with mock.patch("protocols.rounds.round_secrets.RoundSecrets.forget", _nothing):
        yield


@contextmanager
def any_log_cosigned() -> Iterator[None]:
    """A trustee believes what the log's key has signed, whatever it cosigned before."""
    observe = Trustee.observe

    def believing(trustee: Trustee, note: bytes, entries: Iterable[bytes], timestamp: int, *more: Any) -> bytes:
        try:
            return observe(trustee, note, entries, timestamp, *more)
        except Rejected as error:
            if error.check not in ("fork", "rollback"):
                raise
            return cosign(trustee.head(note), trustee._name, trustee._identity, timestamp)

    with mock.patch.object(Trustee, "observe", believing):
        yield


def _without_sync() -> SimpleNamespace:
    return SimpleNamespace(**{**vars(os), "fsync": _nothing})


PLANTS: dict[str, Plant] = {
    "acknowledgements stored after they are sent": acknowledgements_stored_after_they_are_sent,
    "a submission made anew when asked again": a_submission_made_anew_when_asked_again,
    "answers removed when they are taken": answers_removed_when_they_are_taken,
    "a file counted whenever it is seen": a_file_counted_whenever_it_is_seen,
    "a checkpoint read once": a_checkpoint_read_once,
    "state files not synced": state_files_not_synced,
    "directories not synced": directories_not_synced,
    "a log whose names are not synced": a_log_whose_names_are_not_synced,
    "names believed at a start": names_believed_at_a_start,
    "training never forgotten": training_never_forgotten,
    "secrets kept": secrets_kept,
    "any log cosigned": any_log_cosigned,
}
