"""Python imports this when it starts, in processes whose path begins here: what they open is noted, whoever starts and
ends them. In VERIFL_OPENED, the file."""

import os

from tests.verifl.agents.alone import watch


def _noted(file: str) -> None:
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    seen: set[str] = set()

    def note(path: str) -> None:
        if path not in seen:
            seen.add(path)
            absolute = path if ": " in path else os.path.abspath(path)  # noqa: PTH100  as it was opened, links and all
            os.write(descriptor, (absolute.replace("\n", " ") + "\n").encode(errors="replace"))

    watch(note)


_noted(os.environ["VERIFL_OPENED"])
