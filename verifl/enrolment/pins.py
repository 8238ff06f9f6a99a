"""What a policy pins beside the training itself: the task file, the initial model's file, the federation before it."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

from proofs.errors import Misuse
from protocols.pinned import PinnedPolicy
from protocols.policy import FormerFederation, Policy
from verifl.config import Config, read_config

_PIECE = 1 << 20  # bytes that are read at a time


@dataclass(frozen=True)
class Pins:
    """As the fields of `Policy`, each of which may be missing."""

    task: bytes | None = None
    initial_file: bytes | None = None
    previous: FormerFederation | None = None

    @classmethod
    def of(cls, policy: Policy) -> Pins:
        """Those that a policy has."""
        return cls(policy.task, policy.initial_file, policy.previous)


NOTHING_PINNED = Pins()


def task_hash(config: Config, folder: Path) -> bytes:
    """SHA-256 of the bytes of the task's file, as `[task] file` names it from `folder`.

    Of that file alone: what it imports, reads or downloads is not hashed. Raises Misuse where there is no such file, or
    the task is none of a file.
    """
    if config.task is None or config.task.file is None:
        raise Misuse("task: only a task file can be pinned, by [task] file; a built-in task is verifl's own")
    path = folder / config.task.file
    if not path.is_file():
        raise Misuse(f"task.file: no file {path}; correct the path")
    return file_hash(path)


def check_task(policy: Policy, config: Config, folder: Path) -> None:
    """Raise Misuse where the policy pins another task file than the configuration has; nothing of it has run then."""
    if policy.task is None:
        return
    found = task_hash(config, folder)
    if found != policy.task:
        raise Misuse(
            f"task: the policy pins a task file of SHA-256 {policy.task.hex()}, {config.task and config.task.file} has "
            f"{found.hex()}; use the file that the issuer gave out"
        )


def check_initial(policy: Policy, path: Path) -> None:
    """Raise Misuse where the policy pins another file of the initial model; one that pins none allows any, as far as
    its values are the policy's."""
    if policy.initial_file is None:
        return
    if not path.is_file():
        raise Misuse(f"{path}: no such file, expected the initial model that came with the policy")
    found = file_hash(path)
    if found != policy.initial_file:
        raise Misuse(
            f"{path}: is not the initial model that came with the policy: expected SHA-256 "
            f"{policy.initial_file.hex()}, found {found.hex()}"
        )


def check_pins(policy: Policy, config: Config, folder: Path, initial_file: Path | None) -> None:
    """As `check_task`, and `check_initial` where a file was given."""
    check_task(policy, config, folder)
    if initial_file is not None:
        check_initial(policy, initial_file)


def check_known(pinned: PinnedPolicy, sha256: str | None, config_file: Path | None, initial_file: Path | None) -> None:
    """What a party can check of a policy before it approves: that it is the one of this hash, and pins its own files.

    Raises Misuse where it is, or does, not.
    """
    if sha256 is not None and pinned.hash.hex() != sha256.strip().lower():
        raise Misuse(f"--sha256: expected a policy of {sha256}, found {pinned.hash.hex()}; do not approve it")
    if config_file is not None:
        check_task(pinned.policy, read_config(config_file), config_file.parent)
    if initial_file is not None:
        check_initial(pinned.policy, initial_file)


def file_hash(path: Path) -> bytes:
    """SHA-256 of a file, read in pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
    return digest.digest()
