"""An exception of somebody else's code in one line: what was raised, its last cause, and the user's own line.

Errors that come from other processes (workers of a data loader, of a pool) carry their traceback as text only; it is
read as the exceptions of this process are.
"""

from __future__ import annotations

import linecache
import re
import sysconfig
import traceback
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

_LONGEST = 400  # characters of one exception's text
_MOST = 50  # links of a chain
_BEGIN = "Traceback (most recent call last):"
_FRAME = re.compile(r'^ *File "(?P<file>[^"\n]+)", line (?P<line>\d+)', re.MULTILINE)
_WORKER = re.compile(r"\ACaught \S+ (?P<where>in [^\n]{1,100}?)\.\n")  # torch.utils.data
_LIBRARY = [Path(sysconfig.get_path(name)) for name in ("stdlib", "platstdlib")]
_INSTALLED = {"site-packages", "dist-packages"}
_OURS = [Path(__file__).parents[2] / name for name in ("verifl", "protocols", "proofs", "auditor")]

CodeLine = tuple[str, int]


@dataclass(frozen=True)
class _Link:
    """One exception of a chain: its type and text, and the places it came through, innermost last."""

    text: str
    places: tuple[CodeLine, ...]
    syntax: bool = False


def explain(error: BaseException) -> str:
    """`KeyError: 'age' (at /home/me/task.py:12)`; of a chain also its last cause, whose place it is if it has one."""
    links = [link for each in causes(error) for link in _links(each)]
    told = list(dict.fromkeys(link.text for link in links if link.text))
    text = told[0] if len(told) == 1 else f"{told[0]}; caused by {told[-1]}"
    return f"{text}{_place(links)}"


def causes(error: BaseException) -> list[BaseException]:
    """The exception and what caused it, step by step; of a group the first member."""
    chain: list[BaseException] = []
    following: BaseException | None = error
    while following is not None and following not in chain and len(chain) < _MOST:
        chain.append(following)
        following = _cause(following)
    return chain


def let_go(error: BaseException) -> None:
    """Of what the calls that an exception came through hold: models, data, processes of a loader. Its places stay."""
    for each in causes(error):
        traceback.clear_frames(each.__traceback__)


def _cause(error: BaseException) -> BaseException | None:
    if isinstance(error, BaseExceptionGroup):
        return error.exceptions[0]
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _links(error: BaseException) -> list[_Link]:
    """The exception itself, and those in a traceback that is its text; outermost first."""
    text = _text(error)
    places = tuple((frame.filename, frame.lineno or 0) for frame in traceback.extract_tb(error.__traceback__))
    if _BEGIN not in text:
        return [_Link(_one_line(type(error).__name__, text), places, isinstance(error, SyntaxError))]
    worker = _WORKER.search(text)
    where = f" {worker['where']}" if worker else ""
    blocks = text.split(_BEGIN)[1:]
    return [_Link("", places), *(_Link(*_block(block, where)) for block in reversed(blocks))]


def _text(error: BaseException) -> str:
    try:
        return str(error)
    except Exception:  # noqa: BLE001 - it is not our code that says what its text is
        return "its text cannot be made"


def _block(block: str, where: str) -> tuple[str, tuple[CodeLine, ...]]:
    """(text, places) of one traceback that was printed."""
    lines = block.strip('\n"').splitlines()
    frames = [number for number, line in enumerate(lines) if _FRAME.match(line)]
    rest = lines[frames[-1] + 1 :] if frames else lines
    said = " ".join(line for line in rest if line and not line.startswith("    "))
    said = re.split(r" (?:The above exception was|During handling of the above)", said)[0]
    places = tuple((found["file"], int(found["line"])) for found in _FRAME.finditer(block))
    return _shortened(said) + where, places


def _one_line(kind: str, text: str) -> str:
    text = _shortened(text)
    return f"{kind}: {text}" if text else kind


def _shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _place(links: Sequence[_Link]) -> str:
    """The innermost line of the user's own code, of the last cause that went through any; a SyntaxError names its own
    line."""
    for link in reversed(links):
        if link.syntax:
            return ""
        for file, line in _own(link.places):
            return f" (at {file}:{line})"
    return ""


def _own(places: Sequence[CodeLine]) -> Iterator[CodeLine]:
    """Those in neither Python, nor an installed package, nor this project; the innermost first."""
    for file, line in reversed(places):
        path = Path(file)
        foreign = any(folder in path.parents for folder in (*_LIBRARY, *_OURS)) or _INSTALLED & set(path.parts)
        if not foreign and not file.startswith("<frozen") and (path.is_file() or linecache.getlines(file)):
            yield file, line
