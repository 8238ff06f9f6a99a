"""Units of systemd for a party that runs for months: as nobody in particular, who can write to its own directory alone.

What a unit takes away is what the process does not need. Three things stay, each with its reason beside it: memory that
is written and then executed (the compiled kernels), a client's devices (GPUs), and a coordinator's right to hand the
inboxes' group on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from proofs.errors import Misuse

ROLES = ("coordinator", "trustee", "client", "auditor")
_ROOTS = Path("/root")  # whose home nobody else enters
_WORD = re.compile("[A-Za-z0-9_@%:=+,./-]+")  # of a command line, without quotes
_PLAIN = (
    "CapabilityBoundingSet=",
    "LockPersonality=yes",
    "NoNewPrivileges=yes",
    "PrivateTmp=yes",
    "ProtectClock=yes",
    "ProtectControlGroups=yes",
    "ProtectHostname=yes",
    "ProtectKernelLogs=yes",
    "ProtectKernelModules=yes",
    "ProtectKernelTunables=yes",
    "ProtectProc=invisible",
    "ProtectSystem=strict",
    "RemoveIPC=yes",
    "RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX",
    "RestrictNamespaces=yes",
    "RestrictRealtime=yes",
    "SystemCallArchitectures=native",
    "SystemCallErrorNumber=EPERM",
    "SystemCallFilter=@system-service",
    "LimitCORE=0",
    "# No MemoryDenyWriteExecute: the arithmetic is compiled on this machine.",
)


@dataclass(frozen=True)
class Unit:
    """What a unit is made for. program: the command that it starts, by its whole path. config: the party's own file.
    user: who runs it; key: the party's key file, which root hands over; public: what a coordinator writes, and group:
    of the web server that writes into its inboxes. token, certificate: what a trustee or client shows the web server,
    the second with its key in the same file; root hands them over, too. For an auditor place is an address or a
    directory, and policy the one that it pinned."""

    role: str
    program: Path
    config: Path
    user: str
    key: Path | None = None
    public: Path | None = None
    group: str | None = None
    place: str = ""
    policy: Path | None = None
    token: Path | None = None
    certificate: Path | None = None


def systemd_unit(unit: Unit) -> str:
    """The text of the unit's file; raises Misuse where something is missing, or cannot be written there."""
    name = f"verifl-{unit.role}"
    service = [*_command(unit, name), *_identity(unit, name), *_restarts(unit), *_hardening(unit)]
    head = [
        f"# /etc/systemd/system/{name}.service",
        *_preparation(unit, name),
        "[Unit]",
        f"Description=verifl {unit.role}",
        "Wants=network-online.target",
        "After=network-online.target",
        "",
        "[Service]",
    ]
    return "\n".join([*head, *service, "", "[Install]", "WantedBy=multi-user.target"]) + "\n"


def hidden_from(unit: Unit, places: Iterable[Path]) -> list[Path]:
    """Which of the places that the program is in, by itself or by its interpreter, the unit's user does not see."""
    homes = (_ROOTS,) if unit.role == "client" else (_ROOTS, Path("/home"), Path("/run/user"))
    return [place for place in places if any(place.is_relative_to(home) for home in homes)]


def _preparation(unit: Unit, name: str) -> list[str]:
    lines = [] if unit.role == "auditor" else [f"#   useradd --system --no-create-home {_word(unit.user)}"]
    for _, _, path in _handed(unit):
        lines.append(f"#   install -o root -g root -m 0600 {path.name} {_word(path)}")
    return [*lines, f"#   systemctl daemon-reload && systemctl enable --now {name}", ""]


def _handed(unit: Unit) -> list[tuple[str, str, Path]]:
    """What root reads and hands over: the option that it is for, its name there, its path."""
    given = (("--key", "key.pem", unit.key), ("--token-file", "token", unit.token),
             ("--client-certificate", "certificate.pem", unit.certificate))  # fmt: skip
    return [(option, name, path) for option, name, path in given if path is not None]


def _command(unit: Unit, name: str) -> list[str]:
    state, handed = f"%S/{name}", _handed(unit)
    if unit.role == "auditor":
        if not unit.place or unit.policy is None:
            raise Misuse(
                "auditor: give the place that it follows, and the policy that it pinned, by --place and --policy"
            )
        words = ["follow", unit.place, "--policy", str(unit.policy), "--state", f"{state}/state", "--format", "jsonl"]
    else:
        words = [unit.role, "run", "--config", str(unit.config), "--state", state]
        words += [word for option, called, _ in handed for word in (option, f"%d/{called}")]
    if unit.role in ("coordinator", "auditor") and (unit.token or unit.certificate):
        raise Misuse(f"{unit.role}: shows the web server neither a token nor a certificate")
    started = " ".join(map(_word, [str(unit.program), *words]))
    lines = ["Type=exec", f"ExecStart={started}"]
    if handed:
        lines.append("# Root reads these, and hands them to this process alone.")
    return [*lines, *(f"LoadCredential={called}:{_word(path)}" for _, called, path in handed)]


def _identity(unit: Unit, name: str) -> list[str]:
    who = ["DynamicUser=yes"] if unit.role == "auditor" else [f"User={_word(unit.user)}"]
    if unit.group is not None:
        who.append(f"SupplementaryGroups={_word(unit.group)}")
    lines = [*who, f"StateDirectory={name}", "StateDirectoryMode=0700", f"CacheDirectory={name}"]
    lines += ["CacheDirectoryMode=0700", f"Environment=VERIFL_CACHE_DIR=%C/{name}"]
    if unit.role == "coordinator":
        if unit.public is None:
            raise Misuse("coordinator: give the directory that it writes, by --public")
        lines += [f"ReadWritePaths={_word(unit.public)}", "UMask=0022"]
    else:
        lines.append("UMask=0077")
    return lines


def _restarts(unit: Unit) -> list[str]:
    """SIGTERM ends each of them where everything is on disk; a client finishes its turn first."""
    seconds = 3600 if unit.role == "client" else 120
    return ["Restart=on-failure", "RestartSec=10", f"TimeoutStopSec={seconds}"]


def _hardening(unit: Unit) -> list[str]:
    lines = list(_PLAIN)
    if unit.role == "client":
        lines += ["# Training: the data may be in a home, and a GPU is a device.", "ProtectHome=read-only"]
    else:
        lines += ["ProtectHome=yes", "PrivateDevices=yes"]
    if unit.role == "coordinator":
        lines.append("# No RestrictSUIDSGID: an inbox has the group of the directory that holds it.")
    else:
        lines.append("RestrictSUIDSGID=yes")
    return lines


def _word(text: str | Path) -> str:
    """A word of the unit, as it is."""
    if _WORD.fullmatch(str(text)) is None:
        raise Misuse(f"{str(text)!a}: expected a name without spaces, quotes and the like, for a unit")
    return str(text)
