"""Which applications a hospital lets Flower run: those whose hash the node's configuration names, and no other.

Flower's SuperExec starts `flwr-clientapp` for every message, which unpacks the shipped application (a FAB) and calls
it. `verifl-clientapp` is the same program, but that it compares the hash of what was shipped before anything is
unpacked. It takes effect where it stands under Flower's name in the PATH of the node.
"""

from __future__ import annotations

import hashlib
import importlib
import re
import sys
from collections.abc import Mapping
from typing import Any

from proofs.errors import Misuse, Rejected
from proofs.machine.installing import install_hint

APPS = "verifl-apps"
_HASH, _NAME = re.compile(r"[0-9a-f]{64}"), re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]*")
_RUNTIME, _PULLING, _UNPACKING = "flwr.supernode.runtime.run_clientapp", "pull_task_input", "install_from_fab"
_compared: set[str] = set()  # of applications that this process was to run


def pinned_apps(node: Mapping[str, object]) -> frozenset[str] | None:
    """The hashes of a node's configuration, SHA-256 in hexadecimal with colons between; None where it has none.

    Raises Misuse for anything else.
    """
    value = node.get(APPS)
    if value is None:
        return None
    hashes = value.split(":") if isinstance(value, str) else []
    if not hashes or not all(map(_HASH.fullmatch, hashes)):
        raise Misuse(f"{APPS}: expected SHA-256 of applications, 64 hexadecimal digits each, with colons between")
    return frozenset(hashes)


def check_app(node: Mapping[str, object], run: Any, app: Any) -> None:
    """Raises Rejected("app") for a shipped application whose hash the node's configuration does not name.

    run, app: Flower's, as the SuperLink says them; a name or hash of its own would have another directory called.
    """
    allowed = pinned_apps(node)
    if allowed is None:
        return
    found = hashlib.sha256(app.content).hexdigest()
    if found not in allowed:
        raise Rejected("app", f"one of {APPS} in the node's configuration", found)
    if app.hash_str != found or not all(map(_NAME.fullmatch, [*run.fab_id.split("/"), run.fab_version])):
        raise Rejected("app", f"the name and hash of {found}", ascii((run.fab_id, run.fab_version, app.hash_str))[:200])
    _compared.add(found)


def check_pinned(node: Mapping[str, object]) -> None:
    """Raises Misuse where a configuration names applications, and nobody compared this one: against a forgotten PATH.
    An application that means harm has no use for this; it is stopped before it runs."""
    allowed = pinned_apps(node)
    if allowed is not None and allowed.isdisjoint(_compared):
        raise Misuse(f"{APPS}: the node has started Flower's own flwr-clientapp; put verifl-clientapp in its place")


def guard(runtime: Any) -> None:
    """Have Flower's module that runs an application compare it first. Raises Misuse where it is another one than ours
    was made for."""
    pull, unpack = getattr(runtime, _PULLING, None), getattr(runtime, _UNPACKING, None)
    if pull is None or unpack is None:
        raise Misuse(f"verifl-clientapp: {_RUNTIME} of this version of Flower is another; use one that verifl names")
    pulled: list[Any] = []

    def remember(*arguments: Any, **named: Any) -> Any:
        pulled[:] = pull(*arguments, **named)
        return tuple(pulled)

    def compare(content: bytes, *arguments: Any, **named: Any) -> Any:
        _, context, run, app = pulled
        check_app(context.node_config, run, app)
        return unpack(content, *arguments, **named)

    setattr(runtime, _PULLING, remember)
    setattr(runtime, _UNPACKING, compare)


def main() -> None:
    """The program `verifl-clientapp`."""
    try:
        started = importlib.import_module("flwr.supernode.cli").flwr_clientapp
        guard(importlib.import_module(_RUNTIME))
    except ImportError:
        sys.exit(f"verifl-clientapp: Flower is not installed; {install_hint('federation,flower')}")
    except Misuse as error:
        sys.exit(str(error))
    started()
