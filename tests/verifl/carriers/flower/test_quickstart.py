"""The application before and after stand in examples/: what lies between them is five lines."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path

APPS = Path(__file__).parents[4] / "examples" / "flower-quickstart"


def test_five_lines_make_the_application_verified() -> None:
    plain, verified = _files(APPS / "plain"), _files(APPS / "verified")
    assert plain.keys() == verified.keys()
    added, removed = [], []
    for name, before in plain.items():
        for line in difflib.ndiff(before, verified[name]):
            (added if line.startswith("+ ") else removed if line.startswith("- ") else []).append(line[2:].strip())
    assert len(added) <= 5
    assert len(removed) == 2  # each is there again, with more in it
    assert all(any(was.removesuffix("()").split("= ")[-1] in line for line in added) for was in removed)
    assert "from verifl.flower import verified" in added
    assert "from verifl.flower import Verified" in added


def test_the_plain_application_knows_nothing_of_verifl() -> None:
    for name, lines in _files(APPS / "plain").items():
        assert not [line for line in lines if "verifl" in line.replace('publisher = "verifl"', "")], name


def test_both_are_applications_of_flower() -> None:
    for folder in ("plain", "verified"):
        document = tomllib.loads((APPS / folder / "pyproject.toml").read_text())
        components = document["tool"]["flwr"]["app"]["components"]
        for each in components.values():
            module, _, attribute = each.partition(":")
            assert f"\n{attribute} = " in (APPS / folder / f"{module.replace('.', '/')}.py").read_text()


def _files(folder: Path) -> dict[str, list[str]]:
    found = sorted(path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {str(path.relative_to(folder)): path.read_text().splitlines() for path in found}
