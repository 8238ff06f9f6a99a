"""Which installed programs and packages a test needs. An environment that is made for them may not go without one."""

from __future__ import annotations

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

REQUIRED = "VERIFL_REQUIRED"  # what is there for certain: names with spaces between, or ALL of them
ALL = "all"
PLACES = os.pathsep.join(("/usr/sbin", "/sbin", "/usr/local/sbin"))  # of servers, often not in PATH


def program(name: str) -> str | None:
    """The path of an installed program."""
    return shutil.which(name) or shutil.which(name, path=PLACES)


def needs(*names: str) -> None:
    """Skip, saying why, unless VERIFL_REQUIRED lists all of these programs and packages; if it does and one is missing,
    fail. To be called in a test or a fixture, or at the top of a module."""
    required = set(os.environ.get(REQUIRED, "").split())
    unasked = [] if ALL in required else [name for name in names if name not in required]
    if unasked:
        wanted = " ".join(names)
        pytest.skip(f'needs {wanted}: {REQUIRED}="{wanted}" runs it', allow_module_level=True)
    missing = [name for name in names if program(name) is None and importlib.util.find_spec(name) is None]
    if missing:
        pytest.fail(f"{', '.join(missing)}: not installed, although {REQUIRED} lists it", pytrace=False)


def needs_root() -> None:
    """Skip where tests do not run as root, who alone can be two users."""
    if os.geteuid() != 0 or not Path("/proc/self").exists():
        pytest.skip("needs root, to run parties and web server as different users")
