"""What an auditor need not verify twice (spec 9.12).

A fact is the SHA-256 of a claim and of everything that the claim's verification depends on: whoever verified it once
and has the same inputs again, by their hashes, would come to the same end. Only that something holds is a fact, never
that it fails.
"""

from __future__ import annotations

from collections.abc import Iterable

from proofs import domains
from proofs.errors import Malformed
from protocols.contexts import tagged_hash

FACT_BYTES = 32


class Memory:
    """The facts that one auditor has verified itself, under one version of itself."""

    def __init__(self, facts: Iterable[bytes] = ()) -> None:
        self._facts = set(facts)

    def __len__(self) -> int:
        return len(self._facts)

    def knows(self, claim: str, *inputs: bytes) -> bool:
        """Whether this was verified before."""
        return _fact(claim, inputs) in self._facts

    def learn(self, claim: str, *inputs: bytes) -> None:
        """This has been verified."""
        self._facts.add(_fact(claim, inputs))

    def encode(self) -> bytes:
        """All facts, ascending, one after the other."""
        return b"".join(sorted(self._facts))

    @classmethod
    def decode(cls, data: bytes) -> Memory:
        """Inverse of `encode`; raises Malformed."""
        facts = [data[start : start + FACT_BYTES] for start in range(0, len(data), FACT_BYTES)]
        if len(data) % FACT_BYTES or facts != sorted(set(facts)):
            raise Malformed("facts", f"hashes of {FACT_BYTES} bytes, ascending", f"{len(data)} other bytes")
        return cls(facts)


def _fact(claim: str, inputs: Iterable[bytes]) -> bytes:
    return tagged_hash(domains.AUDITED, (claim.encode(), *inputs))
