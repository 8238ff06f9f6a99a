"""What a condition on a policy is (spec 4.2): two integers and a relation between them."""

from __future__ import annotations

import operator
from dataclasses import dataclass

_RELATIONS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "=": operator.eq}


@dataclass(frozen=True)
class Inequality:
    """One condition on a policy: left `relation` right, in integers; `explanation` says what it protects."""

    name: str
    left: int
    relation: str
    right: int
    explanation: str

    @property
    def holds(self) -> bool:
        """Whether the condition is true."""
        return bool(_RELATIONS[self.relation](self.left, self.right))
