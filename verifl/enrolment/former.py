"""The federation that another one continues: its transcript audited, and where it ended (spec 4.8)."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from proofs.errors import Malformed, Misuse, Rejected
from protocols.continuation import Ancestor, LogEnd, ancestors, check_budgets, check_layout, check_line, end_of, link_to
from protocols.hashes import sha256
from protocols.log.connection import SCHEMES, Remote
from protocols.log.reader import TranscriptReader
from protocols.pinned import PinnedPolicy
from protocols.policy import FormerFederation, Policy
from protocols.steps.doubles import Doubles
from protocols.steps.step import decode_model
from verifl.enrolment.policies import read_policy_file

_ACCEPTED, _REJECTED = 0, 1  # exit status of an audit


@dataclass(frozen=True)
class FormerEnd:
    """A federation at its lawful end. model: its final one, float64 (d,). earlier: the federations before it, the last
    of them first."""

    pinned: PinnedPolicy
    end: LogEnd
    link: FormerFederation
    model: Doubles
    earlier: tuple[Ancestor, ...] = ()

    def check(self, policy: Policy) -> None:
        """Raise Misuse unless `policy` lays out the model alike, goes on with the budget, if there is one, and is told
        from all federations before it, with the same clients by the same ids."""
        try:
            check_layout(policy, self.pinned.policy)
            check_budgets(policy, self.pinned.policy, self.end)
            check_line(policy, (Ancestor(self.pinned.policy, self.end.rotated), *self.earlier))
        except Rejected as error:
            raise Misuse(f"--continues: {error}") from None


def audited_end(
    place: str,
    policy_file: Path,
    ca_file: Path | None = None,
    plain_http: bool = False,
    previous: Sequence[str] = (),
) -> FormerEnd:
    """Audit a transcript under its policy, and say where it ended. A program of its own audits it.

    place: a directory, or the address at which a web server publishes one; ca_file, plain_http: as of `Remote`.
    previous: the same of the federations before it, the last of them first; of all, where it continues one.

    Raises Misuse where the audit does not accept, or the end is none that may be taken up, by the names of
    `protocols.continuation.require_lawful`.
    """
    transcript, *before = (_located(each, ca_file, plain_http) for each in (place, *previous))
    checkpoint = _require_accepted(transcript, policy_file, before)
    try:
        reader = TranscriptReader(transcript)
        if sha256(reader.latest()).hex() != checkpoint:
            raise Misuse(
                f"{transcript}: its log went on while it was audited; do it again, once the federation has ended"
            )
        pinned = PinnedPolicy.open(read_policy_file(policy_file))
        end = end_of((entry for bundle in reader.replay() for entry in bundle), reader.size)
        link = link_to(pinned.policy, pinned.hash, end)
        model = decode_model(reader.blob(end.model, pinned.model_size), pinned.policy.dimension)
        earlier = tuple(ancestors(pinned.policy.previous, map(TranscriptReader, before)))
    except (Malformed, Rejected) as error:
        raise Misuse(f"{transcript}: cannot be continued: {error}") from None
    return FormerEnd(pinned, end, link, model, earlier)


def _located(place: str, ca_file: Path | None, plain_http: bool) -> Path | Remote:
    return Remote(place, ca_file, plain_http) if place.lower().startswith(SCHEMES) else Path(place)


def _require_accepted(transcript: Path | Remote, policy_file: Path, before: Sequence[Path | Remote]) -> str:
    """The SHA-256 of the checkpoint that was audited, in hexadecimal. Where that federation continues one, the whole
    line is audited: what was spent in it counts in the next."""
    words = [str(transcript), "--policy", str(policy_file), "--require", "I14"]
    words += [word for each in before for word in ("--previous", str(each))]
    for remote in [each for each in (transcript, *before) if isinstance(each, Remote)][:1]:
        words += [] if remote.ca_file is None else ["--ca-file", str(remote.ca_file)]
        words += ["--plain-http"] if remote.plain else []
    command = [sys.executable, "-P", "-m", "auditor", *words, "--format", "json"]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode not in (_ACCEPTED, _REJECTED):
        said = done.stderr.decode(errors="replace").strip().splitlines() or ["nothing"]
        raise Misuse(f"{transcript}: could not be audited: {said[-1]}")
    report = json.loads(done.stdout)
    if done.returncode != _ACCEPTED or report["accepted"] is not True:
        failed = ", ".join(each["id"] for each in report["checks"] if each["status"] == "fail")
        line = "; if it continues another itself, give that one and all before it by --previous, the last one first"
        raise Misuse(
            f"{transcript}: the audit does not accept it ({report['outcome']}: {failed}), so it cannot be continued; "
            f"`verifl-audit {shlex.join(words)}` says why{line if 'I14' in failed else ''}"
        )
    return str(report["checkpoint"]["hash"])
