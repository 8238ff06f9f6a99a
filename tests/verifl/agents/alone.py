"""One agent in a process of its own, with nothing but its directory, the policy, and what it is sent.

    python -P -m tests.verifl.agents.alone FOLDER < tape > heard

In FOLDER are `own`, its directory, and `policy.cbor`; a coordinator writes its transcript in `public` there. The tape,
a pickled `Tape`, says whose agent it is and what it is asked; what is heard, a pickled `Heard`, has its answers, and
every path that was opened in the process from its first line on.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[3]
PATHS: list[str] = []
_OPENING = frozenset(
    {
        "open", "os.chdir", "os.chmod", "os.chown", "os.link", "os.listdir", "os.mkdir", "os.remove", "os.rename",
        "os.rmdir", "os.scandir", "os.setxattr", "os.symlink", "os.truncate", "os.utime", "shutil.rmtree",
    }
)  # fmt: skip
_REACHING = ("socket.connect", "socket.bind", "subprocess.Popen", "os.exec", "os.fork", "os.posix_spawn")


def watch(note: Callable[[str], object] = PATHS.append) -> None:
    """From now on `note` is told every path that this process opens, and whom it reaches."""

    def record(event: str, arguments: tuple[Any, ...]) -> None:
        if event in _OPENING:
            for each in arguments[:2]:
                if isinstance(each, str | bytes | os.PathLike):
                    note(os.fsdecode(each))
        elif event in _REACHING:
            note(f"{event}: {arguments}")

    sys.addaudithook(record)


if __name__ == "__main__":
    watch()


LIBRARIES = (sys.prefix, sys.base_prefix, sys.exec_prefix, "/usr", "/lib", "/etc", "/proc", "/sys", "/dev")
IN_A_DIRECTORY = re.compile(r"(?!\.\.?$)[^/]+")  # of a name without a slash: below a directory that was opened before


def strangers(paths: list[str], allowed: list[Path]) -> list[str]:
    """Those that are neither below an allowed path nor a library's. A name alone is one in a directory that was opened
    before, or in the current one, which is empty."""
    code = [ROOT / name for name in ("auditor", "proofs", "protocols", "tests", "verifl")]
    cache = [Path(os.environ[name]) for name in ("VERIFL_CACHE_DIR", "NUMBA_CACHE_DIR") if name in os.environ]
    roots = [*map(Path, LIBRARIES), *code, *cache, *allowed, *(Path(each) for each in sys.path if each)]

    def known(path: str) -> bool:
        return bool(IN_A_DIRECTORY.fullmatch(path)) or any(Path(path).is_relative_to(root) for root in roots)

    return [path for path in paths if not known(path)]


@dataclass(frozen=True)
class Asked:
    """One question, and what the agent read of the log to answer it: (method, arguments, what it was given)."""

    question: Any
    reads: list[tuple[str, tuple[Any, ...], Any]]
    answer: Any


@dataclass
class Tape:
    """What an agent was asked in a federation, and the settings that it began with."""

    kind: str
    name: str
    asked: list[Asked] = field(default_factory=list)


@dataclass
class Heard:
    """What an agent said when it was asked all this alone."""

    answers: list[Any]
    paths: list[str]
    modules: list[str]


class Sent:
    """A log that gives what was given before, and nothing else."""

    def __init__(self, reads: Sequence[tuple[str, tuple[Any, ...], Any]]) -> None:
        self._reads = {(method, arguments): result for method, arguments, result in reads}

    def entries(self, *arguments: Any) -> Any:
        return self._reads["entries", arguments]

    def invitation(self, *arguments: Any) -> Any:
        return self._reads["invitation", arguments]

    def blob(self, *arguments: Any) -> Any:
        return self._reads["blob", arguments]


def local_training() -> Any:
    """Of the task and configuration that the federation has."""
    from tests.verifl.recovery import CONFIG, Remembering
    from verifl.training.local_training import LocalTraining
    from verifl.training.tensors import tensor_filter

    return LocalTraining(Remembering(), tensor_filter(CONFIG), "cpu", CONFIG.federation.seed)


def draws(name: str) -> Callable[[int], bytes]:
    """Randomness of one party, the same in every process."""
    from tests.seeded import seeded

    return seeded(f"agent {name}")


def answers(tape: Tape, folder: Path) -> list[Any]:
    """What the agent of the tape answers, from the state in its directory on."""
    from protocols.key_files import read_key
    from protocols.pinned import PinnedPolicy
    from verifl.agents.party import Party
    from verifl.storage.party_directory import PartyDirectory

    pinned, directory = PinnedPolicy.open((folder / "policy.cbor").read_bytes()), PartyDirectory(folder / "own")
    party = Party(tape.name, (read_key(directory.identity),), directory)
    if tape.kind == "coordinator":
        return _conducted(tape, pinned, party, folder / "public" / "transcript")
    agent: Any
    if tape.kind == "trustee":
        from verifl.agents.clock import ONE_PROCESS, CosignatureClock
        from verifl.agents.trustee import TrusteeAgent

        clock = CosignatureClock(lambda: 1_700_000_000)
        agent = TrusteeAgent.open(pinned, party, ONE_PROCESS, clock, rand=draws(tape.name))
    else:
        from verifl.agents.client import ClientAgent

        agent = ClientAgent.open(pinned, party, local_training(), rand=draws(tape.name))
    return [agent.answer(each.question, Sent(each.reads)) for each in tape.asked]


def _conducted(tape: Tape, pinned: Any, party: Any, transcript: Path) -> list[Any]:
    """The server takes what it took; its answer is the log that it writes."""
    from verifl.agents.clock import ONE_PROCESS
    from verifl.agents.server import open_server

    initial = local_training().initial()
    with open_server(pinned, party, transcript, initial, "cpu", ONE_PROCESS) as server:
        server.begin()
        for each in tape.asked:
            step, arguments = each.question
            getattr(server, step)(*arguments)
        return server.log.entries(0, server.size)


def main() -> None:
    import pickle

    tape = pickle.load(sys.stdin.buffer)  # noqa: S301 - the test's own
    said = answers(tape, Path(sys.argv[1]))
    sys.stdout.buffer.write(pickle.dumps(Heard(said, list(PATHS), sorted(sys.modules))))


if __name__ == "__main__":
    from tests.verifl.agents import alone

    alone.PATHS = PATHS  # of this module's name, which pickle knows
    alone.main()
