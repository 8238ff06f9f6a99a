"""Ctrl-C and SIGTERM in a process that is a command, also while modules are imported or compiled.

Imports nothing that takes time: until it runs, Ctrl-C is Python's to report.
"""

from __future__ import annotations

import _thread
import os
import signal
import sys
import time
from importlib import import_module
from typing import TYPE_CHECKING, NoReturn

from proofs.machine.streams import guard_streams

if TYPE_CHECKING:
    from sys import UnraisableHookArgs

CRASHED = 2
_AGAIN = 0.05  # seconds


def run_command(module: str, name: str, interrupted: int) -> None:
    """Import `module` and call its `main`. Where Ctrl-C ends that, say so after `name` on standard error, and exit with
    status `interrupted`. Where anything else ends it that it does not handle itself, exit with CRASHED: no fault of the
    machine, and none of ours, is an answer to what was asked."""
    guard_streams()
    ctrl_c = _CtrlC()
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, ctrl_c.handle)
    sys.unraisablehook = ctrl_c.unraisable
    try:
        import_module(module).main()
    except SystemExit:
        raise
    except BaseException as error:  # noqa: BLE001  whatever ended it, a command says so and has a status
        if not ctrl_c.seen and not isinstance(error, KeyboardInterrupt):
            _report(name, error)
            sys.exit(CRASHED)
        sys.stderr.write("; ".join([f"{name}: interrupted", *getattr(error, "__notes__", [])]) + "\n")
        sys.exit(interrupted)
    finally:
        if signal.getsignal(signal.SIGINT) == ctrl_c.handle:
            signal.signal(signal.SIGINT, signal.SIG_DFL)  # who cannot wait for threads to end ends the process
        exec("")  # noqa: S102 - CPython forgets an interrupt within exec(), and exits with our status, at the next one


def nothing_done(*_: object) -> NoReturn:
    """The handler of SIGTERM in a process that has only imported and read: it ends with status 0, and may go on later
    as if it had never been started."""
    os._exit(0)


def stop_before_anything() -> None:
    """Have SIGTERM handled so until this process has a handler of its own; where it is ignored or handled, it stays
    so."""
    if signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
        signal.signal(signal.SIGTERM, nothing_done)


def _report(name: str, error: BaseException) -> None:
    """One line for a fault of the machine; what Python says for any other, which is a mistake of ours."""
    if isinstance(error, MemoryError):
        sys.stderr.write(f"{name}: out of memory\n")
    elif isinstance(error, OSError):
        where = "" if error.filename is None else f"{error.filename}: "
        sys.stderr.write(f"{name}: {where}{error.strerror or error}\n")
    else:
        sys.excepthook(type(error), error, error.__traceback__)
        sys.stderr.write(f"{name}: this is a mistake in {name} itself\n")


class _CtrlC:
    """Raises KeyboardInterrupt, and remembers: what is interrupted in a callback of C code may end with another error
    (a compiler without its object code), which is then that of the interrupt."""

    def __init__(self) -> None:
        self.seen = False
        self._main = _thread.get_ident()

    def handle(self, *_: object) -> NoReturn:
        self.seen = True
        raise KeyboardInterrupt

    def unraisable(self, what: UnraisableHookArgs) -> None:
        """Where nothing can be raised, in a callback of imports or of C code, Ctrl-C is not lost: it comes again."""
        if issubclass(what.exc_type, KeyboardInterrupt):
            _thread.start_new_thread(self._again, ())
        else:
            sys.__unraisablehook__(what)

    def _again(self) -> None:
        time.sleep(_AGAIN)  # until the callback is over
        signal.pthread_kill(self._main, signal.SIGINT)  # a signal, as it has to end a system call, too
