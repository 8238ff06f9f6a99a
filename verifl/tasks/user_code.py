"""The border to code that is not ours: whatever a user's task raises becomes one line that says where."""

from __future__ import annotations

import linecache
import sysconfig
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proofs.errors import Misuse, VeriflError

_PYTHON = tuple(Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib"))


@contextmanager
def user_code(what: str) -> Iterator[None]:
    """Turn an exception of the enclosed call into Misuse: `what`, the exception, and the innermost line of the user's
    own code. Errors of this project pass unchanged; the original stays as the cause, for `--debug`."""
    try:
        yield
    except VeriflError:
        raise
    except (Exception, SystemExit) as error:  # a user's code may raise anything; it is chained, not lost
        raise Misuse(f"{what}: {_one_line(error)}{_place(error)}") from error


def _one_line(error: BaseException) -> str:
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def _place(error: BaseException) -> str:
    """The last frame in code that is neither Python's, nor installed, nor ours; a SyntaxError names its own line."""
    if isinstance(error, SyntaxError):
        return ""
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        if _is_users(Path(frame.filename)) and linecache.getlines(frame.filename):  # a notebook's cells are no files
            return f" (at {frame.filename}:{frame.lineno})"
    return ""


def _is_users(path: Path) -> bool:
    if {"site-packages", "dist-packages"} & set(path.parts):
        return False
    return not any(folder in path.parents for folder in (Path(__file__).parent.parent, *_PYTHON))
