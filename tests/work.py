"""How much work a function does, counted and not timed: the same on every machine."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any


def lines_run(function: Callable[[], object], *modules: Any) -> int:
    """Lines of these modules that run while the function does; every turn of a Python loop in them counts anew.

    Loops inside of C functions do not count.
    """
    files = {str(Path(module.__file__)) for module in modules}
    count = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Any:
        nonlocal count
        if frame.f_code.co_filename not in files:
            return None
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function()
    finally:
        sys.settrace(before)
    return count
