"""TOML documents read into frozen values: every error is one line, with file, field, what was expected and found."""

from __future__ import annotations

import math
import tomllib
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from pathlib import Path
from reprlib import Repr
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from proofs.errors import Misuse

PARTY_ID = r"^[a-z0-9][a-z0-9._-]{0,63}$"
Patterns = Annotated[tuple[str, ...], Field(strict=False)]
Finite = Annotated[float, Field(allow_inf_nan=False)]
Parsed = TypeVar("Parsed", bound=BaseModel)

TOML_LIMIT = 1 << 20  # bytes of a file

SHOWN = Repr()  # what a file holds, cut where it is long
SHOWN.maxstring = SHOWN.maxother = SHOWN.maxlong = 80


class TomlTable(BaseModel):
    """A table of a TOML document: no unknown keys, no conversions."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def read_toml(path: Path, hint: str, usual: str) -> dict[str, object]:
    """A TOML file, parsed; raises Misuse in one line. hint: what makes such a file; usual: its name in a directory."""
    try:
        text = _read(path).decode("utf-8-sig")  # some editors put a byte order mark first
    except FileNotFoundError:
        raise Misuse(f"{path}: no such file; {hint}") from None
    except IsADirectoryError:
        raise Misuse(f"{path}: is a directory, expected a TOML file; did you mean {path / usual}?") from None
    except UnicodeDecodeError as error:
        raise Misuse(f"{path}: expected UTF-8 text, found byte 0x{error.object[error.start]:02x}") from None
    except OSError as error:
        raise Misuse(f"{path}: cannot be read: {error.strerror}") from None
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise Misuse(f"{path}: not valid TOML: {error}") from None
    except RecursionError:
        raise Misuse(f"{path}: not valid TOML: arrays or tables in one another too deep") from None


def _read(path: Path) -> bytes:
    """All of a file that is not too long, also where it says nothing of its size."""
    with path.open("rb") as file:
        data = file.read(TOML_LIMIT + 1)
    if len(data) > TOML_LIMIT:
        raise Misuse(f"{path}: expected a TOML file of at most {TOML_LIMIT} bytes")
    return data


_MISSING = {  # what to write where the right value needs a thought
    "privacy.delta": "; write delta = 1e-5, say: the chance that epsilon may be exceeded, well below 1 / clients",
}


def parse_table(model: type[Parsed], document: Mapping[str, object], where: str) -> Parsed:
    """A parsed document as a value of `model`; raises Misuse, naming `where` and the first field that is wrong."""
    try:
        return model.model_validate(document)
    except ValidationError as error:
        details = error.errors(include_url=False)
        first = min(details, key=lambda detail: detail["type"] != "extra_forbidden")
        more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
        raise Misuse(f"{where}: {_explain(first, model)}{more}") from None


def _explain(detail: Any, model: type[BaseModel]) -> str:
    location = tuple(str(part) for part in detail["loc"])
    field = ".".join(location)
    kind = detail["type"]
    if kind == "extra_forbidden":
        return _unknown(location, model)
    if kind == "value_error":
        return f"{field + ': ' if field else ''}{detail['ctx']['error']}"
    found = detail["input"]
    shown = SHOWN.repr(found)
    if kind == "missing":
        return f"{field}: missing{_MISSING.get(field, '')}"
    if kind in ("too_short", "string_too_short"):
        return f"{field}: expected at least one{'' if kind == 'too_short' else ' character'}, found none"
    if kind == "tuple_type":
        *parents, key = location
        tables = _tables(_table_at(parents, model).model_fields[key].annotation)
        return f"{field}: expected {f'tables [[{field}]]' if tables else 'an array'}, found {shown}"
    if kind == "finite_number" or (isinstance(found, float) and not math.isfinite(found)):
        return f"{field}: expected a finite number, found {found}"
    if kind in ("model_type", "model_attributes_type"):
        return f"{field}: expected a table [{field}], found {shown}"
    if kind == "string_pattern_mismatch":
        return f"{field}: expected 1 to 64 of a-z, 0-9, '.', '_', '-', starting with a letter or digit, found {shown}"
    expected = detail["msg"].replace("Input should be", "expected")
    return f"{field}: {expected}, found {shown}"


def _unknown(location: tuple[str, ...], model: type[BaseModel]) -> str:
    *parents, key = location
    known = list(_table_at(parents, model).model_fields)
    close = get_close_matches(key, known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else f"known here: {', '.join(known)}"
    return f"unknown key {'.'.join(location)!r}; {hint}"


def _table_at(location: Sequence[str], model: type[BaseModel]) -> type[BaseModel]:
    """The table at `location`, through optional tables and arrays of tables."""
    table = model
    for part in location:
        if not part.isdigit():
            table = _tables(table.model_fields[part].annotation)[0]
    return table


def _tables(annotation: Any) -> list[type[BaseModel]]:
    """The tables that a field may be, or hold in an array."""
    kinds = (annotation, *get_args(annotation))
    return [each for each in kinds if isinstance(each, type) and issubclass(each, BaseModel)]
