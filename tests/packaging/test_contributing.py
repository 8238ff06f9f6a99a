"""CONTRIBUTING.md names files that there are, and its recipes as many of them as they say, within their allowances."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "CONTRIBUTING.md").read_text(encoding="utf-8")
PATH = re.compile(r"(?<!`)`((?:auditor|docs|proofs|protocols|tests|verifl)/[^` ]+)`")
ALLOWED = {
    "A rule of the server step": 2,
    "A check of the audit": 2,
    "A field of a message": 4,
    "A relation of the proof": 8,
    "A hash": 5,
    "A carrier": 3,
    "A dataset": 2,
    "A strategy": 3,
    "A report": 3,
    "A command": 2,
}


def recipes() -> dict[str, str]:
    """By heading."""
    parts = re.split(r"^### (.*)$", TEXT, flags=re.MULTILINE)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


def test_every_file_that_it_names_is_there() -> None:
    named = {path for path in PATH.findall(TEXT) if "NAME" not in path and "..." not in path}
    assert len(named) > 40
    assert sorted(path for path in named if not (REPOSITORY / path).exists()) == []


def test_new_files_are_in_rooms_that_are_there() -> None:
    new = [path for path in PATH.findall(TEXT) if "NAME" in path]
    assert len(new) == 8
    assert all((REPOSITORY / path).parent.is_dir() for path in new)


def test_every_name_in_a_recipe_is_one_of_the_code() -> None:
    """What it calls classes, functions and constants; a name that is renamed has to be renamed here."""
    spans = [span for text in recipes().values() for span in re.findall(r"`([^`\n]+)`", text) if "/" not in span]
    names = {name for span in spans for name in re.findall(r"[A-Za-z_][A-Za-z_]+", span)} - {"NAME", "dataset", "demo"}
    rooms = ("proofs", "protocols", "verifl", "auditor", "tests")
    files = [file for room in rooms for file in (REPOSITORY / room).rglob("*.py") if file != Path(__file__)]
    words = {word for file in files for word in re.findall(r"\w+", file.read_text(encoding="utf-8"))}
    assert len(names) > 40
    assert sorted(names - words) == []


def test_there_are_ten_recipes() -> None:
    assert [heading.partition(":")[0] for heading in recipes()] == list(ALLOWED)


@pytest.mark.parametrize("kind", ALLOWED)
def test_a_recipe_lists_as_many_files_as_it_says_and_no_more_than_allowed(kind: str) -> None:
    heading, text = next((each, found) for each, found in recipes().items() if each.startswith(f"{kind}:"))
    said = max(map(int, re.findall(r"\d+", heading)))
    assert said == len(re.findall(r"^\d\. ", text, re.MULTILINE))
    assert said <= ALLOWED[kind]


def test_the_readme_leads_to_it() -> None:
    assert "(CONTRIBUTING.md)" in (REPOSITORY / "README.md").read_text(encoding="utf-8")
