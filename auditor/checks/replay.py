"""I9: the summation and the decryption, done again.

Where I6 read the whole cohort it has made the sum (`sums`): then it is only compared here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from auditor.blobs import Blobs, Roles
from auditor.checks.derived import Sources, opened_by, published_sum, reconstruct, summed
from auditor.checks.numbered import numbered
from auditor.checks.proofs import Proofs
from auditor.checks.sums import ReplayedSum, digest_of, is_known, is_pruned, sum_inputs, sum_of
from auditor.findings import Findings, Result, Unavailable, counted
from auditor.index import Record, Round, label
from auditor.memory import Memory
from proofs.errors import Malformed, Rejected
from protocols.log.files import Damaged, Missized
from protocols.messages import Aggregate
from protocols.opening import check_opening, decrypt
from protocols.reasons import OPENING_FAILED
from protocols.weights import WeighedSum


@dataclass(frozen=True)
class Needs(Sources):
    """What I9 is handed."""

    blobs: Annotated[Blobs, Roles("commitments", "ciphertext", "key", "share")]
    proofs: Proofs
    memory: Memory


@dataclass(frozen=True)
class Replay(Result):
    """What I9 leaves."""


@numbered("I9")
def check_replay(given: Needs, findings: Findings) -> Replay:
    """I9. For each Aggregate: 1. the cohort's ciphertexts sum to `ciphertext`; 2. `ciphertext` decrypts under `key` to
    `plaintext`, with every error and every value within the bound for so many clients, and zeros beyond the
    coordinates. 3. Where a round was aborted because its opening failed, it does fail: that needs its ciphertexts.

    Skipped for an aggregate whose summands were pruned; 2 is still done if the sum is there.
    """
    given.log.index.report(findings)
    replays = decrypted = 0
    pruned: list[str] = []
    for found in given.log.rounds(findings):
        findings.sure = given.log.has_summed(found)
        if is_known(given, given.memory, found):
            replays, decrypted = replays + 1, decrypted + 1
            continue
        if found.aggregate is not None and found.open is not None:
            replayed = given.proofs.sums.get(found.number) or _replay(given, findings, found, found.aggregate)
            if replayed is not None:
                _check_sum(findings, found.aggregate, replayed.ciphertext)
                plaintext: bytes | Malformed | Rejected | None = replayed.plaintext
            else:
                plaintext = _published(given, findings, found, found.aggregate)
            if plaintext is not None:
                _check_plaintext(findings, found.aggregate, plaintext)
            replays, decrypted = replays + (replayed is not None), decrypted + (plaintext is not None)
        elif found.aborted is not None and found.aborted.message.reason == OPENING_FAILED:
            _check_failure(given, findings, found)
        if is_pruned(given, found):
            pruned.append(f"{found.number} ({_missing(given, found)})")
        elif found.aggregate is not None and found.open is not None and findings.empty:
            given.memory.learn("I9", *sum_inputs(given, found))
    checked = Replay(f"{counted(replays, 'sum')} and {counted(decrypted, 'decryption')} replayed")
    if pruned:
        raise Unavailable(f"ciphertexts are pruned in rounds {', '.join(pruned)}", checked)
    return checked


def _missing(given: Needs, found: Round) -> str:
    """The first submission whose ciphertext is not there, and how many more."""
    first, *others = [record.index for record in found.accepted() if record.ciphertext in given.log.pruned]
    return f"entry {first} and {len(others)} more" if others else f"entry {first}"


def _replay(given: Needs, findings: Findings, found: Round, entry: Record[Aggregate]) -> ReplayedSum | None:
    """Rules 1 and 2 where I6 did not read the whole cohort; None where the sum cannot be made."""
    name = label(entry.index, entry.message)
    if not found.accepted():
        findings.add(name, "a cohort to sum", "nobody")
        return None
    try:
        total = summed(given, found)
    except (Malformed, Rejected) as error:
        findings.reject(name.at("ciphertext"), error)
        return None
    return None if total is None else sum_of(given, found, entry, total)


def _published(
    given: Needs, findings: Findings, found: Round, entry: Record[Aggregate]
) -> bytes | Malformed | Rejected | None:
    """What the sum decrypts to that was published, if it is there."""
    if entry.message.ciphertext in given.log.pruned:
        return None
    try:
        total = published_sum(given, entry)
    except (Malformed, Rejected) as error:
        findings.reject(label(entry.index, entry.message).at("ciphertext"), error)
        return None
    return digest_of(given, found, entry, total)


def _check_sum(findings: Findings, entry: Record[Aggregate], digest: bytes) -> None:
    """Rule 1."""
    findings.expect(label(entry.index, entry.message).at("ciphertext"), digest, entry.message.ciphertext)


def _check_plaintext(findings: Findings, entry: Record[Aggregate], found: bytes | Malformed | Rejected) -> None:
    """Rule 2."""
    name = label(entry.index, entry.message)
    if isinstance(found, bytes):
        findings.expect(name.at("plaintext"), found, entry.message.plaintext)
    else:
        findings.reject(name.at("decryption"), found)


def _check_failure(given: Needs, findings: Findings, found: Round) -> None:
    """Rule 3: with t valid releases in the log, a round may end without an aggregate only if it cannot be opened."""
    if found.aborted is None or found.open is None:
        return
    name, pinned = label(found.aborted.index, found.aborted.message), given.case.pinned
    valid = sorted(given.cohorts.releases.get(found.number, {}).values())[: given.case.policy.threshold]
    if len(valid) < given.case.policy.threshold:
        return  # I8's: there is nothing to open with
    try:
        total = summed(given, found)
        if total is None:
            return
        opened = reconstruct(given, opened_by(given, found, valid), len(found.accepted()))
        plaintext = decrypt(pinned, found.open.message.seed, opened.key, total, found.summands)
        commitments = [given.blobs.read("commitments", each.commitments) for each in found.accepted()]
        check_opening(given.case.engine, pinned, plaintext, opened.blindings, commitments)
        WeighedSum.of(pinned.policy, plaintext, found.summands)
    except (Damaged, Missized) as error:
        findings.reject(name.at("reason"), error)
        return
    except (Malformed, Rejected) as error:
        findings.note(f"round {found.number} could not be opened: {error}")
        return
    findings.add(name.at("reason"), "a round that does not open", "one that opens with the releases in the log")
