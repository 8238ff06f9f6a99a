"""The section of docs/mutation.md on survivors, from justified.json: `python -m tests.mutation.table`."""

from __future__ import annotations

from itertools import groupby

from tests.mutation.run import justified

Key = tuple[str, str, str, str]


def section() -> str:
    """Module by module, reason by reason: the lines it concerns, each with its changes."""
    listed = justified()
    parts: list[str] = []
    for module, keys in groupby(listed, key=lambda key: key[0]):
        reasons: dict[str, dict[str, list[Key]]] = {}
        for key in keys:
            reasons.setdefault(listed[key], {}).setdefault(key[1], []).append(key)
        parts.append(f"### {module}\n")
        for reason, lines in reasons.items():
            parts.append(f"- {reason}")
            parts += [f"  - {_code(line)}: {', '.join(map(_change, changes))}" for line, changes in lines.items()]
        parts.append("")
    return "\n".join(parts)


def _change(key: Key) -> str:
    _, _, before, after = key
    if before[0] in "'\"" and after == f"{before[:-1]}X{before[-1]}":
        return f"{_code(before)} to another text"
    return f"{_code(before)} to {_code(after)}" if after else f"{_code(before)} dropped"


def _code(text: str) -> str:
    return f"`` {text} ``" if "`" in text else f"`{text}`"


if __name__ == "__main__":
    print(section(), end="")
