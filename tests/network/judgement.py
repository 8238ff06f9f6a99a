"""What must hold of a history, whatever went wrong in it. Each judgement gives what it finds wrong, in words."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np

from auditor import audit
from proofs.errors import VeriflError
from protocols.envelopes import open_envelope
from protocols.log.checkpoint import parse_note
from protocols.log.merkle import leaf_hash, root
from protocols.log.reader import TranscriptReader
from protocols.messages import Aggregate, CohortClosed, Message, Submission
from protocols.opening import decode_plaintext
from protocols.rounds.proposals import open_proposal
from tests.network.scenario import HOST, TAIL
from verifl.carriers.exchange.public import PROPOSAL

if TYPE_CHECKING:
    from pathlib import Path

    from tests.network.history import World

UNFINISHED = ("I1", "I12", "P7")  # what an audit finds where a coordinator was stopped in the middle of something
OFFENCES = "2rmid"  # among the verdicts of a CohortClosed (spec 8.5)


def judge(world: World) -> list[str]:
    """Everything that is wrong with a history that is over; nothing for one in which all was as it has to be."""
    return [f"{name}: {found}" for name, judgement in JUDGEMENTS.items() for found in _found(judgement, world)]


def _found(judgement: Callable[[World], Iterator[str]], world: World) -> Iterator[str]:
    try:
        yield from judgement(world)
    except VeriflError as error:
        yield f"cannot be judged: {error}"


def _progress(world: World) -> Iterator[str]:
    """As many rounds as wanted have closed, a while after nothing goes wrong any more."""
    host = world.host
    if world.may_stop:
        return
    if not host.done:
        yield f"{TAIL:.0f} s after all was calm the coordinator is still {host.stage or 'not up'}"
    elif host.ended is not None and not _may_end(world):
        yield host.ended


def _may_end(world: World) -> bool:
    """Whether parties that repetitions need may be missing for good."""
    gone = world.scenario.unreliable | world.scenario.deceived
    return any(name in world.scenario.clients for name in gone)


def _audit(world: World) -> Iterator[str]:
    """What was published is accepted: the coordinator is honest, and who lies has no part in what is summed."""
    if not (world.transcript / "checkpoint").exists():
        if not world.may_stop:
            yield "nothing was published"
        return
    for transcript in _transcripts(world):
        yield from _audited(world, transcript)


def _audited(world: World, transcript: Path) -> Iterator[str]:
    report, finished = audit(transcript, world.policy_file), transcript == world.transcript and world.host.done
    for check in report.checks:
        for finding in check.findings:
            if not finished and check.id in UNFINISHED:
                return
            yield f"{check.id} at {finding.where}: expected {finding.expected}, found {finding.found}"
    if not report.accepted and not any(check.findings for check in report.checks):
        yield "not accepted"


def _words(world: World) -> Iterator[str]:
    """Nobody said two different things of one kind in one round; what lies, and what was set back unnoticed, may."""
    for entry in _entries(world):
        world.statements.said(entry)
    for (signer, kind, number), different in sorted(world.statements.entries.items()):
        kept = len(world.keys.get(signer, "1")) if kind == "round-key" else 1  # offered anew by a new key
        if len(different) > kept and signer not in world.set_back | world.scenario.liars.keys() | {HOST}:
            yield f"{signer} said {len(different)} different things as its {kind} of round {number}"


def _one_log(world: World) -> Iterator[str]:
    """Every checkpoint that anybody ever signed is of the log that there is, or of one that it can still become."""
    if world.is_split:
        yield from _one_log_in_force(world)
        return
    for _, data in world.server.versions.get(PROPOSAL, []):
        if data is not None:
            world.statements.signed(HOST, parse_note(open_proposal(world.pinned, data).note).checkpoint)
    hashes, sizes = [leaf_hash(entry) for entry in _entries(world)], dict[int, bytes]()
    for party, heads in sorted(world.statements.heads.items()):
        for size, roots in sorted(heads.items()):
            expected = root(hashes[:size]) if size <= len(hashes) else sizes.setdefault(size, min(roots))
            if roots != {expected}:
                yield f"{party} signed another log of {size} entries"


def _one_log_in_force(world: World) -> Iterator[str]:
    """Where the coordinator signs more than one: no honest trustee cosigns two, and what t of them cosigned, whether it
    was published or not, is one."""
    needed, cosigned = world.pinned.policy.threshold, Counter[tuple[int, bytes]]()
    for party, heads in sorted(world.statements.heads.items()):
        signed = {(size, root_hash) for size, roots in heads.items() for root_hash in roots}
        cosigned.update(signed)
        if party not in world.set_back | world.scenario.liars.keys() and not world.logs.one(signed):
            yield f"{party} cosigned two logs"
    if not world.logs.one(head for head, count in cosigned.items() if count >= needed):
        yield "two logs have enough cosignatures"


def _sums(world: World) -> Iterator[str]:
    """Each published sum is that of what the accepted clients trained, and of as many as the policy wants at least."""
    for transcript in _transcripts(world):
        yield from _sums_in(world, transcript)


def _sums_in(world: World, transcript: Path) -> Iterator[str]:
    submissions, accepted = dict[int, bytes](), list[int]()
    reader = TranscriptReader(transcript)
    for index, (entry, message) in enumerate(_messages(transcript)):
        if isinstance(message, Submission):
            submissions[index] = entry
        elif isinstance(message, CohortClosed):
            accepted = [index for index, at in enumerate(message.verdicts, message.first) if at == "a"]
        elif isinstance(message, Aggregate):
            blob = reader.blob(message.plaintext, world.pinned.plaintext_size)
            turns = [world.trained.answers.get(submissions[index]) for index in accepted]
            if len(accepted) < world.pinned.policy.min_cohort or None in turns:
                yield f"round {message.round} sums what no client trained"
            elif not np.array_equal(decode_plaintext(world.pinned, blob), sum(turn.units for turn in turns if turn)):
                yield f"round {message.round} has another sum than that of its {len(accepted)} accepted updates"


def _blame(world: World) -> Iterator[str]:
    """Nobody who is honest is excluded for an offence: what only a client that lies, or lost its store, can do."""
    for transcript in _transcripts(world):
        yield from _blame_in(world, transcript)


def _blame_in(world: World, transcript: Path) -> Iterator[str]:
    submissions, excused = dict[int, str](), world.set_back | world.scenario.liars.keys()
    for index, (_, message) in enumerate(_messages(transcript)):
        if isinstance(message, Submission):
            submissions[index] = message.client
        elif isinstance(message, CohortClosed):
            for at, verdict in enumerate(message.verdicts, message.first):
                if verdict in OFFENCES and submissions[at] not in excused:
                    yield f"round {message.round}: {submissions[at]} is excluded ({verdict}), and did nothing wrong"


def _kept(world: World) -> Iterator[str]:
    """No answer that had arrived was lost by a kill of the coordinator."""
    yield from world.lost


def _secrecy(world: World) -> Iterator[str]:
    """No key, share or update is on the disk of another party, or was ever sent."""
    places = {name: _contents(machine.root.rglob("*")) for name, machine in world.disks.machines.items()}
    sent = b"".join(world.statements.wire)
    for secret in world.secrets.known:
        if secret.data in sent:
            yield f"{secret.what} of {secret.owner} was sent"
        for name, data in places.items():
            if name != secret.owner and secret.data in data:
                yield f"{secret.what} of {secret.owner} is on the disk of {name}"


def _forgetting(world: World) -> Iterator[str]:
    """Of rounds that are over no trustee keeps a private key or a share, once it has seen that they are."""
    if world.may_stop:
        return  # and the last round may go on for ever
    for name in set(world.scenario.trustees) - world.scenario.deceived:
        member = world.members[name]
        if member.process is None or name in world.scenario.liars or member.seen() < len(_entries(world)):
            continue
        data = _contents(member.machine.root.rglob("*"))
        kept = {secret.what for secret in world.secrets.known if secret.owner == name and secret.data in data}
        for what in sorted(kept - {"a signing key"}):
            yield f"{name} still has {what}"


def _own_state(world: World) -> Iterator[str]:
    """A client trains from what its last answered turn left."""
    others = world.set_back | world.scenario.liars.keys()
    yield from (each for each in world.trained.wrong if each.split()[0] not in others)


def _endings(world: World) -> Iterator[str]:
    """No process ended with an error that it should not have."""
    for name, error in world.complaints:
        if name in world.revoked:
            continue
        yield f"{name} ended with {error}"


JUDGEMENTS: dict[str, Callable[[World], Iterator[str]]] = {
    "progress": _progress,
    "audit": _audit,
    "words": _words,
    "one log": _one_log,
    "sums": _sums,
    "blame": _blame,
    "kept": _kept,
    "secrecy": _secrecy,
    "forgetting": _forgetting,
    "own state": _own_state,
    "endings": _endings,
}


def _transcripts(world: World) -> list[Path]:
    """What was published, by the one coordinator or by both."""
    found = [world.transcript] if world.twin is None else [world.transcript, world.twin.transcript]
    return [each for each in found if (each / "checkpoint").exists()]


def _entries(world: World) -> Sequence[bytes]:
    return _entries_in(world.transcript)


def _entries_in(transcript: Path) -> Sequence[bytes]:
    if not (transcript / "checkpoint").exists():
        return []
    reader = TranscriptReader(transcript)
    return reader.entries(0, reader.size)


def _messages(transcript: Path) -> Iterator[tuple[bytes, Message]]:
    return ((entry, open_envelope(entry).message) for entry in _entries_in(transcript))


def _contents(paths: Iterator[Path]) -> bytes:
    return b"\0".join(path.read_bytes() for path in sorted(paths) if path.is_file())
