"""Tables of what there is of a kind: whoever asks for a name that is not there is refused, and gets nothing else."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Generic, TypeVar

from proofs.errors import Misuse, Rejected

Entry = TypeVar("Entry")


class Registry(Generic[Entry]):
    """The entries of one kind, each under one name, in the order in which they are given.

    kind: what they are, for messages. check: the name under which `find` rejects. name_of: the name of an entry.
    Raises Misuse for a name that two entries have.
    """

    def __init__(self, kind: str, check: str, entries: Iterable[Entry], name_of: Callable[[Entry], str]) -> None:
        self.kind, self.check, self._name_of = kind, check, name_of
        self._entries: dict[str, Entry] = {}
        for entry in entries:
            name = name_of(entry)
            if name in self._entries:
                raise Misuse(f"{kind} {name!r} is registered twice")
            self._entries[name] = entry

    def find(self, name: str) -> Entry:
        """The entry of that name; raises Rejected, saying which there are, for a name that is not registered."""
        if name not in self._entries:
            raise Rejected(self.check, f"the {self.kind} {one_of(self.names)}", repr(name))
        return self._entries[name]

    def extended(self, *entries: Entry) -> Registry[Entry]:
        """A registry with these, too."""
        return Registry(self.kind, self.check, (*self, *entries), self._name_of)

    @property
    def names(self) -> tuple[str, ...]:
        """Every name, in order."""
        return tuple(self._entries)

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def __len__(self) -> int:
        return len(self._entries)


def one_of(names: Iterable[str]) -> str:
    """Names as a choice: `a`, `a or b`, `a, b or c`."""
    *others, last = names
    return f"{', '.join(others)} or {last}" if others else last
