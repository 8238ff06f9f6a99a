"""What an auditor signs of an audit: an in-toto Statement (v1) with a verification summary (SLSA, v1) as its predicate.

Its subjects are the final model and the checkpoint, each by the SHA-256 of its file in the transcript; the verifier is
the auditor's key, as a did:key. `verifiedLevels` has a check that passed as VERIFL_I1, and is ["FAILED"] where the
audit did not accept. What a summary has no field for is under `verifl`. Who reads a statement trusts the auditor whose
key it pins, for what an audit of its own would show it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from auditor.dsse import ENVELOPE_LIMIT, open_sealed, read_json, seal
from auditor.reports.results import Results, Status, printable
from proofs.errors import Malformed, Misuse, Rejected
from protocols.hashes import sha256_of_file
from protocols.identities import SigningKey

PAYLOAD_TYPE = "application/vnd.in-toto+json"
STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "https://slsa.dev/verification_summary/v1"
PASSED, FAILED = "PASSED", "FAILED"
LEVEL = "VERIFL_"
MODEL, CHECKPOINT, POLICY = "model", "checkpoint", "policy"
_ED25519 = b"\xed\x01"  # the multicodec of a public key
_BASE58 = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"


@dataclass(frozen=True)
class AuditStatement:
    """What a statement says. result: PASSED or FAILED. outcome: the audit's, in its words. checks: the status of each,
    by number. subjects: SHA-256 in hexadecimal, by name. time: when the audit ended, as it is written."""

    federation: str
    result: str
    outcome: str
    checks: Mapping[str, str]
    subjects: Mapping[str, str]
    policy: str
    round: int | None
    version: str
    time: str

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "federation": self.federation,
            "result": self.result,
            "outcome": self.outcome,
            "checks": dict(self.checks),
            "subjects": dict(self.subjects),
            "policy": self.policy,
            "round": self.round,
            "version": self.version,
            "time": self.time,
        }


def statement_of(report: Results, key: SigningKey, at: datetime) -> bytes:
    """The signed statement of an audit that ended at this time, an envelope of at most `ENVELOPE_LIMIT` bytes.

    Raises Misuse for an audit without a pinned policy: it says only that a transcript is consistent with itself.
    """
    if not report.pinned or report.policy_hash is None:
        raise Misuse("statement: an audit under a policy that was pinned, and opens, expected")
    subjects = _subjects(report)
    predicate = {
        "verifier": {"id": did_key(key.public_key), "version": {"verifl": report.version}},
        "timeVerified": at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "resourceUri": f"verifl:{quote(report.federation or '', safe='')}",
        "policy": {"digest": {"sha256": report.policy_hash}},
        "verificationResult": PASSED if report.accepted else FAILED,
        "verifiedLevels": _levels(report),
        "verifl": {
            "federation": report.federation or "",
            "outcome": report.outcome.value,
            "checks": {result.id: result.status.value for result in report.checks},
            "round": None if report.model is None else report.model.round,
        },
    }
    statement = {
        "_type": STATEMENT_TYPE,
        "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in subjects.items()],
        "predicateType": PREDICATE_TYPE,
        "predicate": predicate,
    }
    return seal(PAYLOAD_TYPE, json.dumps(statement, separators=(",", ":"), sort_keys=True).encode(), key)


def _subjects(report: Results) -> dict[str, str]:
    """The policy alone where nothing of the log could be read: a statement has to be about something."""
    subjects = {} if report.model is None else {MODEL: report.model.hash}
    if report.checkpoint is not None:
        subjects[CHECKPOINT] = report.checkpoint.hash
    return subjects or {POLICY: report.policy_hash or ""}


def _levels(report: Results) -> list[str]:
    if not report.accepted:
        return [FAILED]
    return [LEVEL + result.id for result in report.checks if result.status is Status.PASS]


def did_key(public_key: bytes) -> str:
    """An Ed25519 public key as an identifier: did:key, multibase of base58 (W3C, did:key method 0.7)."""
    number, digits = int.from_bytes(_ED25519 + public_key), ""
    while number:
        number, digit = divmod(number, 58)
        digits = _BASE58[digit] + digits
    return f"did:key:z{digits}"


def open_statement(data: bytes, public_key: bytes) -> AuditStatement:
    """What this auditor's key signed.

    Raises Malformed, Rejected("payload-type"), Rejected("signature") as `open_sealed` does; Rejected("statement-type"),
    Rejected("predicate-type") for another document of this key's, Rejected("verifier") for one of another's, and
    Rejected("levels") for one that contradicts itself. Total on any bytes.
    """
    statement = read_json(open_sealed(data, PAYLOAD_TYPE, public_key), ENVELOPE_LIMIT, "statement")
    _require("statement-type", STATEMENT_TYPE, statement.get("_type"))
    _require("predicate-type", PREDICATE_TYPE, statement.get("predicateType"))
    predicate = _Fields(statement, "statement").object("predicate")
    _require("verifier", did_key(public_key), predicate.object("verifier").text("id"))
    ours, policy = predicate.object("verifl"), predicate.object("policy").object("digest")
    found = AuditStatement(
        ours.text("federation"),
        predicate.text("verificationResult"),
        ours.text("outcome"),
        ours.object("checks").texts(),
        _read_subjects(statement.get("subject")),
        policy.text("sha256"),
        ours.number("round"),
        predicate.object("verifier").object("version").text("verifl"),
        predicate.text("timeVerified"),
    )
    passed = [LEVEL + number for number, status in found.checks.items() if status == Status.PASS.value]
    levels = {PASSED: sorted(passed), FAILED: [FAILED]}.get(found.result)
    said = predicate.list("verifiedLevels")
    if levels is None or said != levels:
        raise Rejected("levels", f"those of {found.result}: the checks that passed, or {FAILED}", printable(str(said)))
    if found.result == PASSED and Status.FAIL.value in found.checks.values():
        raise Rejected("levels", "no check that failed, under PASSED", "one that did")
    return found


@dataclass(frozen=True)
class _Fields:
    """An object of JSON whose fields have types; `where` names it."""

    values: dict[str, Any]
    where: str

    def text(self, name: str) -> str:
        """A text."""
        return str(self._of(name, str, "text"))

    def list(self, name: str) -> list[str]:
        """A list of texts, in ascending order."""
        values: list[str] = self._of(name, list, "a list")
        if not all(isinstance(each, str) for each in values):
            raise Malformed(f"{self.where}, {name}", "texts", "something else")
        return sorted(values)

    def object(self, name: str) -> _Fields:
        """An object."""
        return _Fields(self._of(name, dict, "an object"), f"{self.where}, {name}")

    def number(self, name: str) -> int | None:
        """An integer, or null."""
        value = self.values.get(name)
        if value is not None and type(value) is not int:
            raise Malformed(f"{self.where}, {name}", "an integer or null", type(value).__name__)
        return value

    def texts(self) -> dict[str, str]:
        """All of its fields, which are texts."""
        return {name: self.text(name) for name in self.values}

    def _of(self, name: str, kind: type[Any], what: str) -> Any:
        value = self.values.get(name)
        if not isinstance(value, kind):
            found = "nothing" if value is None else type(value).__name__
            raise Malformed(f"{self.where}, {printable(name)}", what, found)
        return value


def _read_subjects(value: Any) -> dict[str, str]:
    if not isinstance(value, list) or not value or not all(isinstance(each, dict) for each in value):
        raise Malformed("statement, subject", "a list of objects, one or more", "something else")
    fields = [_Fields(each, "statement, subject") for each in value]
    subjects = {each.text("name"): each.object("digest").text("sha256") for each in fields}
    if len(subjects) != len(fields):
        raise Malformed("statement, subject", "names that differ", "one twice")
    return subjects


def _require(check: str, expected: str, found: Any) -> None:
    if found != expected:
        raise Rejected(check, expected, printable(str(found)))


def require_subject(said: AuditStatement, name: str, file: Path) -> None:
    """Raise Rejected(name) unless a statement is of this file; OSError where it cannot be read."""
    expected = said.policy if name == POLICY else said.subjects.get(name, "nothing")
    _require(name, expected, sha256_of_file(file).hex())
