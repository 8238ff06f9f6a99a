"""I10: what was published opens the sum of what the cohort committed to. It needs no ciphertext."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from auditor.blobs import Blobs, Roles
from auditor.checks.derived import Sources, blindings_of, plaintext_of, released, used_releases
from auditor.checks.numbered import numbered
from auditor.findings import Findings, Result, counted
from auditor.index import Record, Round, label
from auditor.memory import Memory
from auditor.reports.results import Kind
from proofs.errors import Malformed, Rejected
from protocols.hashes import sha256
from protocols.messages import Aggregate
from protocols.opening import check_opening, encode_blindings, encode_key
from protocols.parameters import sum_bound
from protocols.weights import WeighedSum


@dataclass(frozen=True)
class Needs(Sources):
    """What I10 is handed."""

    blobs: Annotated[Blobs, Roles("commitments", "ciphertext", "share", "key", "plaintext", "blindings")]
    memory: Memory


@dataclass(frozen=True)
class OpenedSums(Result):
    """What I10 leaves."""


@numbered("I10")
def check_openings(given: Needs, findings: Findings) -> OpenedSums:
    """I10. For each Aggregate: 1. `key` and `blindings` are what its releases reconstruct. 2. Every |U_x| is at most
    the sum of the weights times max|m|; the sum of hidden weights, U's last value, is |A| to |A| W. 3. U and the summed
    blindings open, row by row, the sum of the accepted clients' commitments. U and blindings that are missing are
    derived, if they can be.
    """
    rows = clients = rounds = 0
    for found in given.log.rounds(findings):
        if found.aggregate is None:
            continue
        findings.sure = given.log.has_summed(found)
        inputs = _inputs(given, found, found.aggregate)
        if not given.memory.knows("I10", *inputs):
            _check_reconstruction(given, findings, found, found.aggregate)
            _check_plaintext(given, findings, found, found.aggregate)
            if findings.empty:
                given.memory.learn("I10", *inputs)
        rounds += 1
        clients += len(found.accepted())
        rows += given.case.pinned.argument.shape.data_rows
    over = f"{counted(rows, 'row')} over the commitments of {counted(clients, 'submission')}"
    return OpenedSums(f"{counted(rounds, 'aggregate')}: {over}")


def _inputs(given: Needs, found: Round, entry: Record[Aggregate]) -> tuple[bytes, ...]:
    """What an opening depends on: the policy, the aggregate, the valid releases that it uses, the cohort. That blobs
    are the ones that the entries name, I1 says."""
    pinned = given.case.pinned
    used = [each.hash for each in used_releases(given, found, entry.message.releases)]
    accepted = [record.entry_hash for record in found.accepted()]
    return (pinned.hash, entry.hash, len(used).to_bytes(8, "big"), *used, *accepted)


def _check_reconstruction(given: Needs, findings: Findings, found: Round, entry: Record[Aggregate]) -> None:
    """Rule 1."""
    name, message = label(entry.index, entry.message), entry.message
    try:
        opened = released(given, found, entry)
    except (Malformed, Rejected) as error:
        doubted = given.cohorts.doubted.intersection(message.releases)
        findings.reject(name.at("releases"), error, Kind.UNJUDGED if doubted else None)
        return
    findings.expect(name.at("key"), sha256(encode_key(opened.key)), message.key)
    blindings = sha256(encode_blindings(opened.blindings))
    findings.expect(name.at("blindings"), blindings, message.blindings)


def _check_plaintext(given: Needs, findings: Findings, found: Round, entry: Record[Aggregate]) -> None:
    """Rules 2 and 3."""
    name, pinned, records = label(entry.index, entry.message), given.case.pinned, found.accepted()
    try:
        plaintext, blindings = plaintext_of(given, found, entry), blindings_of(given, found, entry)
        commitments = [given.blobs.read("commitments", record.commitments) for record in records]
        total = WeighedSum.of(pinned.policy, plaintext, found.summands)
        bound = sum_bound(pinned.policy, found.summands.count, total.weight)
        values = total.update if pinned.policy.noise is None else plaintext
        largest = max(int(values.max()), -int(values.min()))
        if largest > bound:
            expected = f"values of at most (sum of weights) max|m|, with noise |A| E_n more: {bound}"
            findings.add(name.at("plaintext"), expected, str(largest))
        check_opening(given.case.engine, pinned, plaintext, blindings, commitments)
    except (Malformed, Rejected) as error:
        findings.reject(name.at("plaintext and blindings"), error)
