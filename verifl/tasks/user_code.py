"""The border to code that is not ours: whatever a user's task raises becomes one line that says where."""

from __future__ import annotations

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proofs.errors import Misuse, VeriflError


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
    """The last frame that lies outside installed packages; a SyntaxError names its own line."""
    if isinstance(error, SyntaxError):
        return ""
    here = Path(__file__).parent.parent
    for frame in reversed(traceback.extract_tb(error.__traceback__)):
        path = Path(frame.filename)
        if "site-packages" not in path.parts and here not in path.parents and path.is_file():
            return f" (at {path}:{frame.lineno})"
    return ""
