"""What `verifl` and `verifl-audit` have in common: wrong usage and Ctrl-C are one line each, whatever was going on."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shutil import which

import click

_QUOTED = re.compile("(?<=argument )'([A-Z]+)'|'(-[^' ]*)'")  # names of ours, not what somebody typed


def usage_line(error: click.UsageError, command: str) -> str:
    """The error without the command's name, e.g.: no such option --polcy; did you mean --policy? (verifl-audit --help)

    What is close to what was typed comes from click. The help that is named is that of the subcommand that refused, as
    far as click says which, else that of `command`.
    """
    text = " ".join(_what(error).split()).rstrip(".").replace(". Choose from", "; choose from")
    text = _QUOTED.sub(r"\1\2", text[:1].lower() + text[1:])
    close = getattr(error, "possibilities", None)
    hint = f"; did you mean {' or '.join(close)}?" if close else ""
    path = command if error.ctx is None else error.ctx.command_path
    return f"{text}{hint} ({path} --help)"


def command_name(name: str) -> str:
    """A command of ours as it can be typed here: by its path where the environment that it is in is not active."""
    beside = Path(sys.executable).with_name(name)
    if which(name) is not None or not beside.exists():
        return name
    return str(beside.relative_to(Path.cwd()) if beside.is_relative_to(Path.cwd()) else beside)


@contextmanager
def interruptible() -> Iterator[None]:
    """KeyboardInterrupt as click.Abort, whose cause it is: click itself would print an empty line for it, which is
    right only behind the ^C of a terminal."""
    try:
        yield
    except KeyboardInterrupt as error:
        if sys.stderr.isatty():
            click.echo(err=True)
        raise click.Abort from error


def _what(error: click.UsageError) -> str:
    """The message without suggestions, which click words in several ways."""
    if isinstance(error, click.NoSuchOption):
        return f"no such option {error.option_name}"
    return error.message if getattr(error, "possibilities", None) else error.format_message()
