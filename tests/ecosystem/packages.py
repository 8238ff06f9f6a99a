"""Which of other people's packages a test needs; an environment made for them may not go without one."""

from __future__ import annotations

import importlib.util
import os

import pytest

REQUIRED = "VERIFL_ECOSYSTEM"


def needs(*packages: str) -> None:
    """Skip, saying why, where a package is missing; fail where the environment lists it as one that it has."""
    missing = [package for package in packages if importlib.util.find_spec(package) is None]
    required = set(os.environ.get(REQUIRED, "").split())
    if required & set(missing):
        pytest.fail(f"{', '.join(missing)}: not installed, although {REQUIRED} lists it", pytrace=False)
    if missing:
        pytest.skip(f"needs {', '.join(missing)}; see the ecosystem environments in tox.ini", allow_module_level=True)
