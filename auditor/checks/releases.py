"""Which releases are valid: what I8 leaves for all that follows from them (spec 9.5)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from auditor.findings import Result
from auditor.index import Round


@dataclass(frozen=True)
class Cohorts(Result):
    """What I8 leaves. releases: log index of the valid release of each trustee, by round. wrong: log indices of those
    that prove their trustee at fault. doubted: of those that cannot be judged for that."""

    releases: Mapping[int, Mapping[str, int]] = field(default_factory=dict)
    wrong: frozenset[int] = frozenset()
    doubted: frozenset[int] = frozenset()


@dataclass
class Releases:
    """What `Cohorts` says, of the rounds so far: for I8 to fill in."""

    valid: dict[int, Mapping[str, int]] = field(default_factory=dict)
    wrong: set[int] = field(default_factory=set)
    doubted: set[int] = field(default_factory=set)

    def of(self, found: Round) -> Mapping[str, int]:
        """The valid ones of a round."""
        return self.valid.get(found.number, {})

    def are_doubted(self, found: Round) -> bool:
        """Whether one of a round cannot be judged."""
        return not self.doubted.isdisjoint(release.index for release in found.releases)

    def left(self, checked: str) -> Cohorts:
        """All of it, once I8 has seen all rounds."""
        return Cohorts(checked, MappingProxyType(self.valid), frozenset(self.wrong), frozenset(self.doubted))
