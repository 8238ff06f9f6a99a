"""The enrolment document: who takes part and under which thresholds, in TOML that people write and read.

It becomes the signed policy once the training configuration adds the model (`verifl.enrolment.policies`). Comments
survive `add_member`, which only ever appends.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, field_validator

from proofs.errors import Misuse, Rejected
from protocols.cohorts import MOST_TRUSTEES
from protocols.key_files import parse_public_key, write_new
from protocols.noise_trustees import noise_trustees, training_clients
from protocols.policy import APPROVING, Member, Policy
from protocols.roster import check_identities
from verifl.config import LimitsConfig
from verifl.storage.stores import replacing
from verifl.tables import PARTY_ID, TomlTable, parse_table, read_toml

NAME = "roster.toml"
RosterRole = Literal["client", "trustee", "log"]
_ORIGIN = r"^[!-*,-~]{1,256}$"  # printable ASCII but space and plus (spec 3.3)


class FederationTable(TomlTable):
    """name: of the federation; every message repeats it."""

    name: str = Field(pattern=PARTY_ID)


class ThresholdsTable(TomlTable):
    """threshold: t trustees open a sum and make a checkpoint. corrupt: f, how many may collude with the server."""

    threshold: int = Field(ge=1, le=MOST_TRUSTEES)
    corrupt: int = Field(ge=0, le=MOST_TRUSTEES)


class _KeyTable(TomlTable):
    public_key: str

    @field_validator("public_key")
    @classmethod
    def _hexadecimal(cls, text: str) -> str:
        try:
            parse_public_key(text)
        except Misuse as error:
            raise ValueError(str(error)) from None
        return text

    @property
    def key(self) -> bytes:
        """The 32 bytes."""
        return bytes.fromhex(self.public_key)


class LogTable(_KeyTable):
    """The coordinator: origin is the first line of the log's checkpoints, conventionally a host and a path."""

    origin: str = Field(pattern=_ORIGIN)


class MemberTable(_KeyTable):
    """A client or a trustee."""

    id: str = Field(pattern=PARTY_ID)


class ApprovalsTable(TomlTable):
    """required: the roles of which everybody has to approve the policy before the first round."""

    required: Annotated[tuple[Literal["client", "trustee"], ...], Field(strict=False)] = ()

    @property
    def demanded(self) -> tuple[str, ...]:
        """As the policy has them: each once, in its order."""
        return tuple(role for role in APPROVING if role in self.required)


MemberTables = Annotated[tuple[MemberTable, ...], Field(strict=False)]


class Roster(TomlTable):
    """The whole document. Trustees are numbered in the order of the file; the order of the clients does not matter."""

    federation: FederationTable
    thresholds: ThresholdsTable
    limits: LimitsConfig = LimitsConfig()
    approvals: ApprovalsTable = ApprovalsTable()
    log: LogTable | None = None
    trustees: MemberTables = ()
    clients: MemberTables = ()

    def trustee_members(self) -> tuple[Member, ...]:
        """As the policy has them."""
        return tuple(Member(each.id, each.key) for each in self.trustees)

    def client_members(self) -> tuple[Member, ...]:
        """As the policy has them: ascending by id."""
        return tuple(Member(each.id, each.key) for each in sorted(self.clients, key=lambda each: each.id))

    def check(self) -> None:
        """Accept names and keys, complete or not, or raise Rejected("roster-..."), Rejected("public-key")."""
        named = [] if self.log is None else [Member("log", self.log.key)]
        check_identities(named, self.trustee_members(), self.client_members())


def roster_of(policy: Policy) -> Roster:
    """The document that a policy was made from, but for its comments; raises Misuse for what no document can say."""
    document: dict[str, object] = {
        "federation": {"name": policy.federation},
        "thresholds": {"threshold": policy.threshold, "corrupt": policy.corrupt},
        "limits": {name: getattr(policy, name) for name in LimitsConfig.model_fields}
        | {"max_cohort": policy.max_cohort - len(noise_trustees(policy))},
        "approvals": {"required": policy.approvals},
        "log": {"origin": policy.origin, "public_key": policy.log_key.hex()},
        "trustees": [_member(each) for each in policy.trustees],
        "clients": [_member(each) for each in training_clients(policy)],
    }
    return parse_table(Roster, document, "policy")


def make_roster(
    name: str,
    thresholds: ThresholdsTable,
    limits: LimitsConfig,
    log: LogTable,
    trustees: Sequence[Member],
    clients: Sequence[Member],
) -> Roster:
    """A document that no file holds."""
    return Roster(
        federation=FederationTable(name=name),
        thresholds=thresholds,
        limits=limits,
        log=log,
        trustees=tuple(MemberTable.model_validate(_member(each)) for each in trustees),
        clients=tuple(MemberTable.model_validate(_member(each)) for each in clients),
    )


def _member(member: Member) -> dict[str, str]:
    return {"id": member.id, "public_key": member.public_key.hex()}


def write_roster(directory: Path) -> Path:
    """Write the commented example into `directory`, made if needed; raises Misuse if there is one already."""
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / NAME
    write_new(path, files("verifl").joinpath("templates", NAME).read_bytes(), 0o644, "an enrolment is not overwritten")
    return path


def read_roster(path: Path) -> Roster:
    """The document in a file, names and keys checked; raises Misuse naming file and field, or Rejected."""
    document = read_toml(path, "`verifl roster init DIR` writes a commented one", NAME)
    return _checked(document, path)


@dataclass(frozen=True)
class NewMember:
    """Who is to be added. role: client, trustee or log. name: the party's id, of the log its origin."""

    role: str
    name: str
    public_key: str

    def lines(self) -> list[str]:
        """As the document has it; raises Misuse for what cannot be written there."""
        parse_public_key(self.public_key)
        if '"' in self.name or "\\" in self.name or not self.name.isprintable():
            raise Misuse(f"name: expected no quotes, backslashes or control characters, found {self.name!r}")
        table, name = ("[log]", "origin") if self.role == "log" else (f"[[{self.role}s]]", "id")
        return ["", table, f'{name} = "{self.name}"', f'public_key = "{self.public_key}"', ""]


def add_member(path: Path, role: RosterRole, name: str, public_key: str) -> None:
    """Append a party to the document, if the document then still holds together; raises as `read_roster`."""
    add_members(path, [NewMember(role, name, public_key)])


def add_members(path: Path, members: Sequence[NewMember]) -> None:
    """Append all of them, or none; raises as `read_roster`."""
    logs = [each for each in members if each.role == "log"]
    if len(logs) > 1 or (logs and read_roster(path).log is not None):
        raise Misuse(f"{path}: log: the document has one; correct it there")
    text = path.read_text(encoding="utf-8")
    text += ("" if text.endswith("\n") else "\n") + "".join("\n".join(each.lines()) for each in members)
    _checked(tomllib.loads(text), path)
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def missing(roster: Roster) -> list[str]:
    """What has to come before `verifl roster sign` can succeed; empty for a complete roster."""
    m, t, f = len(roster.trustees), roster.thresholds.threshold, roster.thresholds.corrupt
    lacking = []
    if roster.log is None:
        lacking.append("the log: `verifl roster add log ORIGIN PUBLICKEY --roster FILE`")
    if m < t:
        lacking.append(f"trustees: {m} of at least {t}")
    elif 2 * t <= m + f or f >= t:
        lacking.append(f"other thresholds: 2t > m + f and f < t, with t = {t}, m = {m}, f = {f}")
    if len(roster.clients) < roster.limits.min_cohort:
        lacking.append(f"clients: {len(roster.clients)} of at least {roster.limits.min_cohort}")
    return lacking


def _checked(document: dict[str, object], path: Path) -> Roster:
    roster = parse_table(Roster, document, str(path))
    try:
        roster.check()
    except Rejected as error:
        raise Misuse(f"{path}: {error}") from None
    return roster
