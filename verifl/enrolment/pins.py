"""What a policy pins beside the training itself: the task file, the initial model's file, the federation before it, and
what was spent there."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from proofs.errors import Misuse
from protocols.pinned import PinnedPolicy
from protocols.policy import FormerBudget, FormerFederation, Policy
from verifl.config import Config, read_config

_PIECE = 1 << 20  # bytes that are read at a time
_COMPILED = "__pycache__"


@dataclass(frozen=True)
class Pins:
    """As the fields of `Policy`, each of which may be missing."""

    task: bytes | None = None
    initial_file: bytes | None = None
    previous: FormerFederation | None = None
    former_budgets: tuple[FormerBudget, ...] = ()

    @classmethod
    def of(cls, policy: Policy) -> Pins:
        """Those that a policy has."""
        former = () if policy.privacy_budget is None else policy.privacy_budget.former
        return cls(policy.task, policy.initial_file, policy.previous, former)


NOTHING_PINNED = Pins()


def task_hash(config: Config, folder: Path) -> bytes:
    """The hash of the task's files, as `[task] file` and `also` name them from `folder`.

    SHA-256 of the file, where it is one alone; of several, SHA-256 of what `sha256sum` prints of them, by their paths
    from `folder` in the order of code points: a line `HASH  PATH` for each. Of these files alone: what else they
    import, read or download is not hashed. Raises Misuse where one is missing or is none, or the task is none of a
    file.
    """
    if config.task is None or config.task.file is None:
        raise Misuse("task: only a task file can be pinned, by [task] file; a built-in task is verifl's own")
    first = folder / config.task.file
    if not first.is_file():
        raise Misuse(f"task.file: no file {first}; correct the path")
    if not config.task.also:
        return file_hash(first)
    files = {_below(folder, config.task.file), *(each for path in config.task.also for each in _files(folder, path))}
    lines = [f"{file_hash(folder / path).hex()}  {path}\n" for path in sorted(files)]
    return hashlib.sha256("".join(lines).encode()).digest()


def _files(folder: Path, path: str) -> Iterator[str]:
    """The files that one item of `also` names, itself or all below it, but what Python compiles there."""
    place = folder / _below(folder, path)
    if place.is_symlink() or not (place.is_file() or place.is_dir()):
        raise Misuse(f"task.also: {place}: expected a file or directory, and no link")
    if place.is_file():
        yield _below(folder, path)
        return
    for each in sorted(place.iterdir()):
        if each.name != _COMPILED:
            yield from _files(folder, str(each.relative_to(folder)))


def _below(folder: Path, path: str) -> str:
    """A path in one spelling; raises Misuse for one that leads out of `folder`, or that a line cannot hold."""
    parts = Path(path).parts
    if Path(path).is_absolute() or ".." in parts or not parts or not path.isprintable() or "\\" in path:
        raise Misuse(f"task: {str(folder / path)!r}: expected a path below the configuration's directory")
    return "/".join(parts)


def check_task(policy: Policy, config: Config, folder: Path) -> None:
    """Raise Misuse where the policy pins another task file than the configuration has; nothing of it has run then."""
    if policy.task is None:
        return
    found = task_hash(config, folder)
    if found != policy.task:
        raise Misuse(
            f"task: the policy pins task files of SHA-256 {policy.task.hex()}, {_named(config)} has "
            f"{found.hex()}; use the files that the issuer gave out"
        )


def _named(config: Config) -> str:
    task = config.task
    return "no file" if task is None else " with ".join(filter(None, (task.file, ", ".join(task.also))))


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
