"""How a federation stands, and what a party remembers: for people, and for programs."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from protocols.reasons import ENDINGS
from verifl.agents.memory import Memory
from verifl.carriers.exchange.standing import RECENT, Asking, Standing
from verifl.formatting import counted, format_bytes

_SHOWN = 20  # names in a text


@dataclass(frozen=True)
class Disk:
    """Of a directory: bytes of its files, and bytes that are free on its file system."""

    used: int
    free: int


def disk_of(path: Path) -> Disk:
    """Counts as many files as there are; what disappears meanwhile counts nothing. Raises OSError."""
    used = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                used += os.lstat(os.path.join(folder, name)).st_size  # noqa: PTH118 - one call a file
            except FileNotFoundError:
                continue
    system = os.statvfs(path)
    return Disk(used, system.f_bavail * system.f_frsize)


def status_dict(standing: Standing, disk: Disk | None, pinned: bool, now: float) -> dict[str, Any]:
    """As JSON has it. now: POSIX seconds by the clock of whoever looks."""
    asking, head, abort = standing.asking, standing.head, standing.last_abort
    return {
        "federation": standing.federation,
        "policy_hash": standing.policy_hash,
        "policy_pinned": pinned,
        "rounds": {
            "current": standing.round,
            "opened": standing.opened,
            "closed": standing.closed,
            "aborted": standing.aborted,
            "most": standing.max_rounds,
        },
        "drawn": None if standing.drawn is None else list(standing.drawn),
        "asking": None if asking is None else _asking_dict(asking, now),
        "checkpoint": None
        if head is None
        else {"size": head.size, "cosigners": list(head.cosigners), "cosigned_at": _iso(head.cosigned_at)},
        "last_abort": None if abort is None else {"round": abort.round, "reason": abort.reason},
        "ended": standing.ended,
        "cohorts_left": None if standing.left is None else dict(standing.left),
        "finished": standing.is_finished,
        "log_bytes": standing.log_bytes,
        "round_bytes": standing.round_bytes,
        "disk": None
        if disk is None
        else {"used": disk.used, "free": disk.free, "rounds_that_fit": rounds_that_fit(standing, disk)},
    }


def _asking_dict(asking: Asking, now: float) -> dict[str, Any]:
    return {
        "stage": asking.stage,
        "awaited": list(asking.awaited),
        "answered": list(asking.answered),
        "needed": asking.needed,
        "since": _iso(asking.since),
        "until": _iso(asking.until),
        "waited_seconds": max(0, int(now) - asking.since),
        "overdue": is_overdue(asking, now),
        "clock": "coordinator",
    }


def is_overdue(asking: Asking, now: float) -> bool:
    """Whether the coordinator said that it would have gone on by now."""
    return now > asking.until


def rounds_that_fit(standing: Standing, disk: Disk) -> int | None:
    """How many more rounds, such as the last ones, the free space holds; None where no round has ended."""
    return None if not standing.round_bytes else disk.free // standing.round_bytes


def describe_status(standing: Standing, disk: Disk | None, pinned: bool, now: float) -> str:
    """As text, a line for each thing."""
    how = "pinned" if pinned else "as published: pin yours by --policy"
    rounds = f"{standing.closed} closed, {standing.aborted} aborted; at most {standing.max_rounds}"
    rows = [
        ("federation", standing.federation),
        ("policy", f"{standing.policy_hash} ({how})"),
        ("rounds", rounds),
        ("stage", _stage(standing)),
        *([("drawn", _names(standing.drawn))] if standing.drawn is not None else []),
        *(_asking_rows(standing.asking, now) if standing.asking else []),
        ("log", _log(standing)),
        ("growth", _growth(standing)),
    ]
    if disk is not None:
        rows.append(("disk", _disk(standing, disk)))
    if standing.left is not None:
        rows.append(("budget", _budget(standing.left)))
    if standing.last_abort is not None:
        rows.append(("last abort", f"round {standing.last_abort.round}: {standing.last_abort.reason}"))
    return _table(rows)


def memory_dict(memory: Memory) -> dict[str, Any]:
    """As JSON has it."""
    return {
        "role": memory.role,
        "said": memory.said,
        "waits_for": memory.waits_for,
        "keeps": list(memory.keeps),
        "log_size": memory.log_size,
        "receipts": memory.receipts,
    }


def describe_memory(memory: Memory) -> str:
    """As text, a line for each thing."""
    rows = [
        ("party", memory.role or "has said nothing yet"),
        ("said last", memory.said),
        ("waits for", memory.waits_for),
        ("knows", f"{memory.log_size} log entries"),
        *(("keeps", each) for each in memory.keeps),
    ]
    if memory.receipts:
        rows.append(("receipts", str(memory.receipts)))
    return _table(rows)


def _stage(standing: Standing) -> str:
    if standing.ended is not None:
        return f"over: {ENDINGS.find(standing.ended).words} ({standing.ended})"
    if standing.asking is not None:
        return f"round {standing.round}: {standing.asking.stage}"
    if standing.is_open:
        return f"in round {standing.round}; nobody is asked anything: is the coordinator running?"
    if standing.is_finished:
        return f"finished: round {standing.opened} was the last that the policy allows"
    if not standing.opened:
        return "before round 1; nobody is asked anything"
    return (
        f"between two rounds: round {standing.opened} has ended, and nobody is asked for another; its coordinator has "
        "finished, or does not run"
    )


def _budget(left: Mapping[str, int]) -> str:
    spent = [name for name, cohorts in left.items() if not cohorts]
    able = f"{len(left) - len(spent)} of {len(left)} clients may be in another cohort"
    most = f", in {max(left.values())} at most" if len(spent) < len(left) else ""
    return f"{able}{most}; spent: {_names(spent) if spent else 'nobody'}; `verifl-audit` says what that means (P5)"


def _asking_rows(asking: Asking, now: float) -> list[tuple[str, str]]:
    waited = _duration(max(0, int(now) - asking.since))
    awaited = _names(asking.awaited) if asking.awaited else "nobody: the coordinator goes on"
    due = f"{_time(asking.until)}, by the coordinator's clock, with {asking.needed} answers or more"
    if is_overdue(asking, now):
        late = "more answers are needed" if len(asking.answered) < asking.needed else "is the coordinator running?"
        due += f"; that was {_duration(int(now) - asking.until)} ago: {late}"
    return [
        ("awaited", f"{awaited}; since {_time(asking.since)}, {waited}, by the coordinator's clock"),
        ("answered", _names(asking.answered) if asking.answered else "nobody"),
        ("due", due),
    ]


def _log(standing: Standing) -> str:
    head = standing.head
    if head is None:
        return "no checkpoint is published yet"
    return (
        f"{head.size} entries, cosigned by {_names(head.cosigners)}; the last at {_time(head.cosigned_at)}, by that "
        "trustee's clock"
    )


def _growth(standing: Standing) -> str:
    total = f"{format_bytes(standing.log_bytes)} of entries and blobs"
    if standing.round_bytes is None:
        return f"{total}; no round has ended"
    return f"{total}; {format_bytes(standing.round_bytes)} a round, the mean of the last {RECENT} at most"


def _disk(standing: Standing, disk: Disk) -> str:
    text = f"{format_bytes(disk.used)} used, {format_bytes(disk.free)} free"
    fit = rounds_that_fit(standing, disk)
    if fit is None:
        return text
    left = min([standing.max_rounds - standing.opened, *_largest(standing.left)])
    if standing.is_finished or not left:
        return text
    return f"{text}: room for {counted(min(fit, left), 'round')} more, of the {left} that the policy allows"


def _largest(left: Mapping[str, int] | None) -> list[int]:
    """Of what clients have left of a privacy budget, the most; nothing without one."""
    return [] if left is None else [max(left.values(), default=0)]


def _names(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"


def _table(rows: Sequence[tuple[str, str]]) -> str:
    return "\n".join(f"{name:<11} {text}" for name, text in rows)


def _time(seconds: int) -> str:
    return _iso(seconds).replace("T", " ").replace("Z", " UTC")


def _iso(seconds: int) -> str:
    """POSIX seconds, as the signer of some file wrote them: any number."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (ValueError, OverflowError, OSError):
        return f"POSIX time {seconds}"


def _duration(seconds: int) -> str:
    if seconds < 120:
        return f"{seconds} s"
    if seconds < 7200:
        return f"{seconds // 60} min"
    return f"{seconds // 3600} h {seconds % 3600 // 60} min"
