"""I2: genesis and parameters equal the policy, and every inequality on them holds."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from auditor.blobs import Blobs, Roles
from auditor.case import IDENTITY, Case
from auditor.checks.numbered import numbered
from auditor.findings import Findings, Result
from auditor.index import label
from auditor.reports.results import Kind, Place
from auditor.signed_log import SignedLog
from proofs.errors import Malformed, Rejected
from protocols.cohorts import MOST_TRUSTEES
from protocols.hashes import sha256
from protocols.log.tiles import POLICY
from protocols.messages import ISSUER
from protocols.steps.step import decode_model


@dataclass(frozen=True)
class Needs:
    """What I2 is handed."""

    case: Case
    log: SignedLog
    blobs: Annotated[Blobs, Roles("model")]


@dataclass(frozen=True)
class Parameters(Result):
    """What I2 leaves."""


@numbered("I2")
def check_parameters(given: Needs, findings: Findings) -> Parameters:
    """I2. 1. The policy opens and its issuer signed it. 2. Every condition of spec 4 holds. 3. The transcript's policy
    file is this policy. 4. Entry 0, and no other, is Genesis, of this federation, policy and initial model. 5. The
    initial model decodes. The log of another policy is not judged any further.
    """
    findings.sure = True  # but for what comes in the place of a missing Genesis
    if given.case.policy_fault is not None:
        findings.reject(Place("policy"), given.case.policy_fault, Kind.DAMAGED)
        return Parameters("the policy, which does not open")
    policy = given.case.policy
    conditions = [each for each in given.case.conditions if each.name not in IDENTITY]
    for each in conditions:
        if not each.holds:
            expected = f"{each.explanation} ({each.relation} {each.right})"
            findings.add(Place("policy").at(each.name), expected, str(each.left), by=ISSUER)
    if len(policy.trustees) > MOST_TRUSTEES:
        findings.add(Place("policy").at("trustees"), f"at most {MOST_TRUSTEES}", str(len(policy.trustees)), by=ISSUER)
    if given.case.foreign is not None:
        findings.add(Place("the federation"), *_others(given, *given.case.foreign), Kind.OTHER)
        return Parameters(f"{len(conditions)} conditions")
    _check_file(given, findings)
    _check_model(given, findings)
    _check_genesis(given, findings)
    checked = f"{len(conditions)} conditions, genesis, initial model of {policy.dimension} coordinates"
    return Parameters(checked)


def _others(given: Needs, federation: str, policy: bytes) -> tuple[str, str]:
    """Whose log was asked for, and whose it is."""
    return f"{given.case.federation} under policy {given.case.policy_hash}", f"{federation} under policy {policy.hex()}"


def _check_file(given: Needs, findings: Findings) -> None:
    try:
        data = given.case.reader.policy()
    except (Malformed, Rejected) as error:
        findings.reject(Place(file=POLICY), error, Kind.DAMAGED)
        return
    findings.expect(Place(file=POLICY).at("SHA-256"), given.case.policy_hash, sha256(data).hex(), Kind.DAMAGED)


def _check_genesis(given: Needs, findings: Findings) -> None:
    index = given.log.index
    index.report(findings)
    if not index.genesis or index.genesis[0].index != 0:
        found = index.headings[0].type or "bytes that do not decode" if index.headings else "nothing"
        findings.add(Place(entry=0), "genesis", found, Kind.UNJUDGED if 0 in given.log.gaps else Kind.BROKEN)
    own = Kind.DAMAGED if given.case.unpinned else Kind.BROKEN  # policy.cbor may not be the one that was there
    for entry in index.genesis:
        name = label(entry.index, entry.message)
        if entry.index != 0:
            findings.add(name, "genesis at entry 0 only", f"genesis at entry {entry.index}")
        findings.expect(name.at("policy"), given.case.policy_hash, entry.message.policy.hex(), own)
        findings.expect(name.at("model"), given.case.policy.initial_model, entry.message.model)


def _check_model(given: Needs, findings: Findings) -> None:
    name = given.case.policy.initial_model
    try:
        decode_model(given.blobs.read("model", name), given.case.policy.dimension)
    except (Malformed, Rejected) as error:
        findings.reject(Place("initial model").at(f"blob {name.hex()}"), error, by=ISSUER)
