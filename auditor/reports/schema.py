"""What the JSON of an audit looks like, as a JSON Schema (draft 2020-12): for programs that read reports.

Fields may be added, so a reader has to allow for others; none goes, or comes to mean something else.
"""

from __future__ import annotations

from typing import Any

from auditor.reports.results import Kind, Outcome, Status
from protocols.audit_checks import AUDIT_CHECKS

DIALECT = "https://json-schema.org/draft/2020-12/schema"
_TEXT: dict[str, Any] = {"type": "string"}
_FLAG: dict[str, Any] = {"type": "boolean"}
_NUMBER: dict[str, Any] = {"type": "number", "minimum": 0}
_COUNT: dict[str, Any] = {"type": "integer", "minimum": 0}
_HASH: dict[str, Any] = {"type": "string", "pattern": "^[0-9a-f]{64}$"}
_CHECK: dict[str, Any] = {"enum": list(AUDIT_CHECKS.names)}


def _object(description: str, /, **fields: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "description": description, "properties": fields, "required": list(fields)}


def _list(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": of}


def _or_null(of: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [of, {"type": "null"}]}


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/$defs/{name}"}


_FINDING_FIELDS: dict[str, dict[str, Any]] = {
    "where": {**_TEXT, "description": "what it is about, in words"},
    "expected": {**_TEXT, "description": "what the rules demand there"},
    "found": {**_TEXT, "description": "what is there"},
    "kind": {"enum": [kind.value for kind in Kind]},
    "by": {**_or_null(_TEXT), "description": "of a broken rule, who answers for it"},
    "entry": {**_or_null(_COUNT), "description": "log index"},
    "round": _or_null(_COUNT),
    "type": {**_or_null(_TEXT), "description": "of the entry"},
    "party": {**_or_null(_TEXT), "description": "who must have signed the entry; of a revocation, who is revoked"},
    "file": {**_or_null(_TEXT), "description": "path in the transcript"},
    "field": {**_or_null(_TEXT), "description": "of the entry, file, round or policy"},
}
_DEFINITIONS: dict[str, dict[str, Any]] = {
    "finding": _object("One thing that is wrong.", **_FINDING_FIELDS),
    "check": _object(
        "How one check ended.",
        id=_CHECK,
        title=_TEXT,
        status={"enum": [status.value for status in Status]},
        checked={**_TEXT, "description": "what was looked at, and how much of it"},
        reason={**_TEXT, "description": "why it was skipped or does not apply, else empty"},
        findings=_list(_ref("finding")),
        omitted={**_COUNT, "description": "findings beyond those that are listed"},
        notes=_list(_TEXT),
        warnings=_list(_TEXT),
    ),
    "checkpoint": _object(
        "The checkpoint that was audited; hash: SHA-256 of its file.",
        size=_COUNT,
        root=_TEXT,
        hash=_HASH,
        cosigners=_list(_TEXT),
    ),
    "model": _object(
        "The last model in the log: of the last round that closed, 0 for the initial one; hash: SHA-256 of its file.",
        round=_COUNT,
        hash=_HASH,
    ),
    "event": _object(
        "One thing that the log says of a party.",
        round={**_COUNT, "description": "0 for what belongs to none"},
        entry=_or_null(_COUNT),
        text=_TEXT,
        holds={**_or_null(_FLAG), "description": "whether the audit re-derived it; null where nobody can"},
    ),
    "story": _object(
        "What the log has by one party and about it, with --explain.",
        party=_TEXT,
        roles=_list(_TEXT),
        events=_list(_ref("event")),
        findings=_list(_object("A finding that mentions the party, with its check.", check=_CHECK, **_FINDING_FIELDS)),
    ),
    "spent": _object(
        "What one client has spent of its privacy budget.",
        client=_TEXT,
        cohorts=_COUNT,
        former_cohorts=_COUNT,
        cohorts_allowed=_COUNT,
        submissions=_COUNT,
        submissions_sent_at_most=_COUNT,
        epsilon={**_or_null(_NUMBER), "description": "of its cohorts; null where none is proved"},
        epsilon_alone={**_or_null(_NUMBER), "description": "if more trustees are corrupt than the policy says"},
    ),
    "account": _object(
        "What the log has spent of the clients' privacy, where the policy has a budget.",
        unit={**_TEXT, "description": "whose privacy"},
        adjacency={**_TEXT, "description": "compared with what"},
        budget=_object("What the policy allows to each client.", epsilon=_NUMBER, delta=_NUMBER),
        sensitivity={**_COUNT, "description": "in units"},
        variance={**_NUMBER, "description": "of one adder's noise, in squared units"},
        honest_adders=_COUNT,
        epsilon={**_or_null(_NUMBER), "description": "of the client that spent most"},
        replaced={
            **_or_null(_object("The whole budget, compared with any other updates.", epsilon=_NUMBER, delta=_NUMBER)),
        },
        meaning={**_list(_TEXT), "description": "what the epsilons are of"},
        assumptions={
            **_list(_TEXT),
            "description": "that every epsilon here rests on, and no audit checks",
        },
        clients=_list(_ref("spent")),
    ),
}
_SUMMARY: dict[str, dict[str, Any]] = {
    "accepted": _FLAG,
    "outcome": {"enum": [outcome.value for outcome in Outcome]},
    "broken": _list(_object("A rule that was broken.", check=_CHECK, where=_TEXT, by=_or_null(_TEXT))),
    "unjudged": {**_list(_TEXT), "description": "what could not be judged, by check"},
    "transcript": _TEXT,
    "version": {**_TEXT, "description": "of the auditor"},
    "engine": {"enum": ["native", "reference"]},
    "pinned": {**_FLAG, "description": "false: the policy was taken from the transcript"},
    "federation": _or_null(_TEXT),
    "policy_hash": _or_null(_HASH),
    "checkpoint": _or_null(_ref("checkpoint")),
    "model": _or_null(_ref("model")),
    "trusted": {**_list(_TEXT), "description": "what was taken on the transcript's word"},
    "seconds": _NUMBER,
}


def report_schema() -> dict[str, Any]:
    """Of `verifl-audit --format json`."""
    whole = _object("The report of an audit.", **_SUMMARY, checks=_list(_ref("check")))
    whole["properties"].update(account=_ref("account"), story=_ref("story"))  # where there is one
    return {"$schema": DIALECT, "title": "verifl-audit --format json", **whole, "$defs": _DEFINITIONS}


def events_schema() -> dict[str, Any]:
    """Of each line of `verifl-audit --format jsonl`."""
    fields = {
        "check": _DEFINITIONS["check"],
        "account": _DEFINITIONS["account"],
        "story": _DEFINITIONS["story"],
        "audit": _object("Everything else, in the last line.", **_SUMMARY),
    }
    lines = [_line(name, whole) for name, whole in fields.items()]
    return {"$schema": DIALECT, "title": "a line of verifl-audit --format jsonl", "oneOf": lines, "$defs": _DEFINITIONS}


def _line(name: str, whole: dict[str, Any]) -> dict[str, Any]:
    named = {"event": {"const": name}, **whole["properties"]}
    return {**whole, "properties": named, "required": ["event", *whole["required"]]}
