"""What a misbehaviour leads to, and the words in which the documentation's table says so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from protocols.messages import COORDINATOR


@dataclass(frozen=True)
class Consequence:
    """What one injection leads to, in round 2 of an otherwise honest federation with (m, f, t) = (5, 2, 4), whose
    policy bounds coordinates and asks for the proof of encryption; and has private weights, where the kind needs them.

    aborted: the logged reason where the round ends without a sum (it is then repeated). verdict: the logged reason for
    which the liar's submission is excluded; detail: the check that its proof failed, as the log and the audit name it,
    where it is always the same. refuser and refusal: the honest party that refuses, and the name of the
    check. stops: the run ends there, with exit status 1 and the transcript of what was cosigned; after: only when the
    round is over. status: of the audit of this transcript. checks: with status 1 exactly the checks that fail, and then
    `convicts` are the parties that the audit finds to have broken a rule; with status 0 the check whose notes name the
    liar. alone: where honest parties refuse, exactly the checks that fail in the transcript that the server publishes
    without them, under its own signature and those of corrupt trustees; convicts_alone: as `convicts`, for that one.
    """

    status: int = 0
    checks: tuple[str, ...] = ()
    aborted: str | None = None
    verdict: str | None = None
    detail: str | None = None
    refuser: str | None = None
    refusal: str | None = None
    stops: bool = False
    after: bool = False
    alone: tuple[str, ...] = ()
    remark: str = ""
    convicts: tuple[str, ...] = (COORDINATOR,)
    convicts_alone: tuple[str, ...] = (COORDINATOR,)

    @property
    def completes(self) -> str:
        """The second column of the table."""
        stopped = "the run stops, exit status 1"
        if self.aborted is not None:
            then = f"in the repetition {stopped}" if self.stops else "then repeated"
            return f"no: aborted, `{self.aborted}`; {then}"
        if self.stops:
            return f"yes; then {stopped}" if self.after else f"no: {stopped}"
        return "yes"

    @property
    def noticed(self) -> str:
        """The third column of the table."""
        found = []
        if self.verdict is not None:
            detail = f" (`{self.detail}`)" if self.detail else ""
            found.append(f"the coordinator excludes the submission, `{self.verdict}`{detail}")
        if self.refusal is not None:
            found.append(f"{self.refuser} refuses, `{self.refusal}`")
        if self.status:
            found.append("the audit")
        found += [self.remark] if self.remark else []
        return "; ".join(found) or "nobody: nothing is wrong with it"

    @property
    def audited(self) -> str:
        """The fourth column of the table."""
        return f"1: {kind_of_no(self.convicts)}" if self.status else "0: accepted"

    @property
    def audited_alone(self) -> str:
        """The sixth column of the table."""
        return f"1: {kind_of_no(self.convicts_alone)}; {', '.join(self.alone)}" if self.alone else "-"

    @property
    def named_by(self) -> str:
        """The fifth column of the table."""
        if not self.checks:
            return "-"
        return ", ".join(self.checks) if self.status else f"{', '.join(self.checks)} (note)"


def kind_of_no(convicts: Sequence[str]) -> str:
    """Which of the three kinds of no an audit answers that convicts these parties."""
    return f"rule-broken by {', '.join(convicts)}" if convicts else "damaged"


INVALID = Consequence(checks=("I7",), verdict="invalid-proof", detail="linear-relation")
