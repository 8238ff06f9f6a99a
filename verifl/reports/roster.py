"""`verifl roster show`: who is enrolled, in the words of the document or of the policy."""

from __future__ import annotations

import shlex
from pathlib import Path

from protocols.envelopes import open_envelope
from protocols.log.reader import TranscriptReader
from protocols.messages import KeyRotation, Revocation
from verifl.enrolment.changes import log_in
from verifl.enrolment.roster import NAME, Roster, missing, read_roster, roster_of
from verifl.planning.plan import read_policy


def describe_file(path: Path) -> str:
    """The enrolment in a document (*.toml) or a policy; in a directory with a log, with its changes."""
    log = log_in(path)
    if path.is_dir():
        path = path / NAME if (path / NAME).is_file() else path / "policy.cbor"
    if path.suffix == ".toml":
        roster = read_roster(path)
        return "\n".join([f"Enrolment {path}, not signed", *_lines(roster), *_lacking(roster, path)])
    judged = read_policy(path)
    head = [f"Policy {judged.pinned.hash.hex()}", f"  signed by   {judged.policy.issuer_key.hex()}  issuer"]
    changes = [] if log is None else _changes(log)
    return "\n".join([*head, *_lines(roster_of(judged.policy)), *changes])


def _changes(log: Path) -> list[str]:
    """What the log has changed; the log is read as it stands, `verifl-audit` judges it."""
    reader = TranscriptReader(log)
    lines = []
    for index, entry in enumerate(reader.entries(0, reader.size)):
        message = open_envelope(entry).message
        if isinstance(message, KeyRotation):
            lines.append(f"  entry {index:<6}{message.public_key.hex()}  {message.party}, from here on")
        elif isinstance(message, Revocation):
            lines.append(f"  entry {index:<6}revoked ({message.reason})  {message.party}")
    return lines or [f"  log         no change since the policy, in {reader.size} entries"]


def _lines(roster: Roster) -> list[str]:
    limits, thresholds = roster.limits, roster.thresholds
    parties = f"m = {len(roster.trustees)} trustees"
    cohorts = f"cohorts of {limits.min_cohort} to {limits.largest_cohort(len(roster.clients))}"
    log = [] if roster.log is None else [f"  log         {roster.log.public_key}  {roster.log.origin}"]
    return [
        f"  federation  {roster.federation.name}",
        f"  thresholds  {parties}, t = {thresholds.threshold} to open, f = {thresholds.corrupt} corrupt",
        f"  limits      {cohorts}, {limits.max_rounds} rounds, {limits.max_aborts} aborted",
        *log,
        *(f"  trustee     {each.public_key}  {each.id}" for each in roster.trustees),
        *(f"  client      {each.public_key}  {each.id}" for each in roster.clients),
    ]


def _lacking(roster: Roster, path: Path) -> list[str]:
    sign = f"verifl roster sign {shlex.quote(str(path))} --config CONFIG --key KEY"
    return [f"  missing     {each}" for each in missing(roster)] or [f"  complete: sign it with `{sign}`"]
