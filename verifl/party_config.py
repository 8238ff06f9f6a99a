"""The file of one party in a process of its own: what its command is told, written down once.

    role = "trustee"
    public = "https://fl.example.org/cardio"
    state = "state"

Every key is an option of the party's command, which a command line overrides; paths are relative to the file. All of it
is checked before any work starts.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from proofs.errors import Misuse
from protocols.log.connection import SCHEMES
from verifl.formatting import DEVICE, DEVICES
from verifl.tables import Finite, TomlTable, parse_table, read_toml

ROLES = ("coordinator", "trustee", "client")


def _one_line(text: str) -> str:
    if not text.isprintable():
        raise ValueError("expected printable characters on one line")
    return text


def _device(text: str) -> str:
    if re.fullmatch(DEVICE, text) is None:
        raise ValueError(f"expected {DEVICES}, found {text!r}")
    return text


Device = Annotated[str, AfterValidator(_device)]
Place = Annotated[str, Field(min_length=1), AfterValidator(_one_line)]  # of a file or directory


class LogsTable(TomlTable):
    """What goes to stderr: in which form, and from which level on."""

    format: Literal["txt", "json"] | None = None
    level: Literal["debug", "info", "warning", "error"] | None = None


class MetricsTable(TomlTable):
    """Where metrics can be asked for; nowhere without a port."""

    port: int = Field(ge=1, le=65_535)
    address: Place | None = None


class PartyConfig(TomlTable):
    """See the options of the party's command, which have the same names."""

    role: Literal["coordinator", "trustee", "client"]
    public: Place | None = None
    state: Place | None = None
    policy: Place | None = None
    keys: Annotated[tuple[Place, ...], Field(strict=False, min_length=1)] | None = None
    passphrase_file: Place | None = None
    ca_file: Place | None = None
    client_certificate: Place | None = None
    client_key: Place | None = None
    token_file: Place | None = None
    plain_http: bool | None = None
    training: Place | None = None
    approvals: Place | None = None
    initial: Place | None = None
    device: Device | None = None
    poll: Finite | None = Field(default=None, ge=0.01, le=3600)
    keep_secrets: int | None = Field(default=None, ge=60)
    quorum_wait: int | None = Field(default=None, ge=0)
    logs: LogsTable = LogsTable()
    metrics: MetricsTable | None = None


_PARAMETERS = {  # of a command, where they have another name than the key
    "policy": "policy_file",
    "training": "config",
    "logs.format": "log_format",
    "logs.level": "log_level",
    "metrics.port": "metrics_port",
    "metrics.address": "metrics_address",
}
_PATHS = (
    "state",
    "policy",
    "keys",
    "passphrase_file",
    "ca_file",
    "client_certificate",
    "client_key",
    "token_file",
    "training",
    "approvals",
    "initial",
)


def read_party_config(path: Path, role: str | None, parameters: Collection[str]) -> dict[str, object]:
    """What a party's file says, by the parameters of its command, which are these; raises Misuse in one line.

    role: whose file it has to be; None for anybody's, and then what is no parameter is passed over.
    """
    usual = role or "ROLE"
    document = read_toml(path, f"`verifl init DIR --role {usual}` writes an example", f"{usual}.toml")
    if "task" in document or "federation" in document:
        hint = f'as training = "{path.name}" in {usual}.toml'
        raise Misuse(f"{path}: is a training configuration, expected a party's own file; give it as CONFIG, or {hint}")
    config = parse_table(PartyConfig, document, str(path))
    if role is not None and config.role != role:
        raise Misuse(f"{path}: role: expected {role!r} for this command, found {config.role!r}")
    told = {}
    for key, value in _flat(config):
        parameter = _PARAMETERS.get(key, key)
        if parameter not in parameters and role is None:
            continue
        if parameter not in parameters:
            raise Misuse(f"{path}: {key}: a {role} has no such thing; remove it")
        try:
            told[parameter] = _placed(path.parent, key, value)
        except RuntimeError as error:  # of `Path.expanduser`
            raise Misuse(f"{path}: {key}: {value}: {str(error).rstrip('.').lower()}") from None
    return told


def _flat(config: PartyConfig) -> Iterator[tuple[str, object]]:
    """Key and value of all that is said, those of tables behind the table's name and a dot."""
    for name, value in config:
        if isinstance(value, TomlTable):
            yield from ((f"{name}.{key}", each) for key, each in value if each is not None)
        elif value is not None and name != "role":
            yield name, value


def _placed(folder: Path, key: str, value: object) -> object:
    """Paths are relative to the file; an address stays what it is."""
    if isinstance(value, tuple):
        return [_placed(folder, key, each) for each in value]
    if key in _PATHS or (key == "public" and not str(value).lower().startswith(SCHEMES)):
        return str(folder / Path(str(value)).expanduser())
    return value
