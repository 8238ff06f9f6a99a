"""What a hospital says of its client, where Flower's node runs: its state, its key, its policy.

All of it is in the node's configuration (`flower-supernode --node-config`), which the hospital writes. Whoever starts a
run writes the run's configuration and ships the application, and says nothing of this.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from flwr.app import Context

from proofs.errors import Misuse
from verifl.carriers.exchange.access import NO_ACCESS, WebAccess
from verifl.carriers.flower.apps import APPS, check_pinned
from verifl.training.initial_files import SUFFIX

STATE, KEY, PASSPHRASE = "verifl-state", "verifl-key", "verifl-passphrase-file"
POLICY, INITIAL = "verifl-policy", "verifl-initial"
PUBLIC, SEED, EVALUATE, AUTHORITY = "verifl-public", "verifl-seed", "verifl-evaluate", "verifl-ca-file"
PUBLIC_DATA = "verifl-public-data"
CERTIFICATE, CERTIFICATE_KEY = "verifl-client-certificate", "verifl-client-key"
OF_THE_NODE = (
    STATE, KEY, PASSPHRASE, POLICY, INITIAL, EVALUATE, PUBLIC_DATA, AUTHORITY, CERTIFICATE, CERTIFICATE_KEY, APPS
)  # fmt: skip
_KNOWN = (*OF_THE_NODE, PUBLIC, SEED)
_REMOTE = "https://"
DEFAULT_SEED = 1  # as of a federation whose configuration has none


@dataclass(frozen=True)
class Node:
    """state: the client's own directory. public: where the log is published, a directory or an https address. keys:
    the one in force, and those before and after it; none for the one in the state. initial: the model that came with
    the policy, which may be missing. seed: of training. evaluates: whether it answers what is not verified, with
    metrics of its data in the clear. public_data: whether everybody may know what is measured of its data, without
    which none of it leaves in the clear under a policy with noise. access: to an address."""

    state: Path
    policy: Path
    public: str
    keys: tuple[Path, ...]
    initial: Path
    passphrase: Path | None
    seed: int
    evaluates: bool
    public_data: bool
    access: WebAccess = NO_ACCESS


def node_of(context: Context) -> Node:
    """What the configurations say; raises Misuse naming the entry that is missing, unknown, or set by the wrong one."""
    node, run = context.node_config, context.run_config
    for name in OF_THE_NODE:
        if name in run:
            raise Misuse(
                f"{name}: set in the configuration of the run; a client's state, key and policy are of its node alone: "
                "remove it there, and set it by flower-supernode --node-config"
            )
    for name in node:
        if name.startswith("verifl-") and name not in _KNOWN:
            raise Misuse(f"{name}: not known in a node's configuration, expected {', '.join(_KNOWN)}")
    check_pinned(node)
    state = _path(node, STATE)
    if state is None:
        raise Misuse(f"{STATE}: missing in the node's configuration; give the client's own directory")
    policy = _path(node, POLICY) or state / "policy.cbor"
    return Node(
        state,
        policy,
        _public(node, run),
        _paths(node, KEY),
        _path(node, INITIAL) or policy.with_suffix(SUFFIX),
        _path(node, PASSPHRASE),
        _seed(node, run),
        _flag(node, EVALUATE),
        _flag(node, PUBLIC_DATA),
        WebAccess(
            ca_file=_path(node, AUTHORITY),
            client_certificate=_path(node, CERTIFICATE),
            client_key=_path(node, CERTIFICATE_KEY),
        ),
    )


def _path(values: Mapping[str, object], name: str) -> Path | None:
    value = values.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not Path(value).is_absolute():
        raise Misuse(f"{name}: expected an absolute path, found {value!r}")
    return Path(value)


def _paths(values: Mapping[str, object], name: str) -> tuple[Path, ...]:
    """Several with colons between, as in PATH."""
    value = values.get(name)
    if value is None:
        return ()
    if not isinstance(value, str) or not all(Path(each).is_absolute() for each in value.split(":")):
        raise Misuse(f"{name}: expected absolute paths with colons between, found {value!r}")
    return tuple(map(Path, value.split(":")))


def _public(node: Mapping[str, object], run: Mapping[str, object]) -> str:
    """A path is of this machine, and only the node may name one; an address may be the run's."""
    if PUBLIC in node:
        value = node[PUBLIC]
        if isinstance(value, str) and (value.startswith(_REMOTE) or Path(value).is_absolute()):
            return value
        raise Misuse(f"{PUBLIC}: expected an absolute path or an https address, found {value!r}")
    value = run.get(PUBLIC)
    if isinstance(value, str) and value.startswith(_REMOTE):
        return value
    if value:
        raise Misuse(f"{PUBLIC}: in the configuration of a run expected an https address, found {value!r}")
    raise Misuse(
        f"{PUBLIC}: missing; give the address of the public directory, in the node's or the run's configuration"
    )


def _seed(node: Mapping[str, object], run: Mapping[str, object]) -> int:
    value = node.get(SEED, run.get(SEED, DEFAULT_SEED))
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value < 1 << 32:
        raise Misuse(f"{SEED}: expected a number from 0 to 2^32 - 1, found {value!r}")
    return value


def _flag(node: Mapping[str, object], name: str) -> bool:
    value = node.get(name, False)
    if not isinstance(value, bool):
        raise Misuse(f"{name}: expected true or false, found {value!r}")
    return value
