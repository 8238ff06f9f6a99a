"""Core dumps, debuggers and swap, seen from outside of processes that hold secrets."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what /proc says")

PROTECTED = """
import ctypes, resource, sys
{before}
from verifl.commands.process_protection import protect_process
protect_process()
print(resource.getrlimit(resource.RLIMIT_CORE)[0], ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
locked = [line.split()[1] for line in open("/proc/self/status") if line.startswith("VmLck")]
print("locked" if int(locked[0]) else "not locked")
"""


def run(code: str) -> list[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout.splitlines()


def test_no_core_dumps_and_no_debugger() -> None:
    """`prctl(PR_GET_DUMPABLE)` is 0: the kernel neither dumps it nor lets others of the same user read its memory."""
    assert run(PROTECTED.format(before=""))[0] == "0 0"


def test_memory_is_locked_where_the_limit_is_unlimited_only() -> None:
    limits = "real = resource.getrlimit; resource.getrlimit = lambda which: {limit} if which == 8 else real(which)"
    assert run(PROTECTED.format(before=limits.format(limit="(2**40, 2**40)")))[1] == "not locked"
    unlimited = f"assert resource.RLIMIT_MEMLOCK == 8; {limits.format(limit='(resource.RLIM_INFINITY,) * 2')}"
    permitted = run("import ctypes; print(ctypes.CDLL(None).mlockall(1 | 4))") == ["0"]
    assert run(PROTECTED.format(before=unlimited))[1] == ("locked" if permitted else "not locked")


AS_ANOTHER_USER = """
import ctypes, os, signal
from verifl.commands.process_protection import protect_process
os.setresgid(4242, 4242, 4242)
os.setresuid(4242, 4242, 4242)
ctypes.CDLL(None).prctl(4, 1, 0, 0, 0)  # dumpable, as after a start: to change the user had ended that
if {protected}:
    protect_process()
child = os.fork()
if child == 0:
    signal.pause()
try:
    open(f"/proc/{{child}}/mem", "rb").close()
    print("readable")
except PermissionError:
    print("not readable")
os.kill(child, signal.SIGKILL)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user")
def test_another_process_of_the_same_user_cannot_read_its_memory() -> None:
    assert run(AS_ANOTHER_USER.format(protected=False)) == ["readable"]
    assert run(AS_ANOTHER_USER.format(protected=True)) == ["not readable"]


WITH_SECRETS = [
    ["keys", "new", "a.pem"],
    ["run", "none.toml", "--out", "out"],
    ["roster"],
    ["demo", "--inject", "list"],
]
WITHOUT = [["plan", "none.toml"], ["bench", "--help"], ["policy", "show", "none"]]

EACH_IN_A_PROCESS = """
import ctypes, os, sys
from verifl.commands import root as cli
for arguments in {commands!r}:
    if os.fork() == 0:
        sys.stderr = sys.stdout = open(os.devnull, "w")
        cli.invoke(arguments)
        os._exit(ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
    print(arguments[0], os.waitstatus_to_exitcode(os.wait()[1]))
"""


def test_the_commands_that_hold_secrets_are_protected(tmp_path: Path) -> None:
    code = f"import os; os.chdir({str(tmp_path)!r})\n" + EACH_IN_A_PROCESS.format(commands=[*WITH_SECRETS, *WITHOUT])
    assert run(code) == [f"{each[0]} 0" for each in WITH_SECRETS] + [f"{each[0]} 1" for each in WITHOUT]
