"""Ed25519 as spec 2.4 demands it, and the members of a federation over time (spec 2.5)."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.independent import encoding
from tests.independent.edwards import NEUTRAL, add, decode, encode, verifies
from tests.independent.encoding import Body, Envelope, signing_bytes
from tests.independent.tree import leaf_hash, tree_root

MOST_ROTATIONS = 16
REVOCATION_REASONS = ("key-compromised", "left", "expelled")


def enrollable(public_key: bytes) -> bool:
    """Whether a key is canonical, a point, and not of small order."""
    point = decode(public_key)
    if point is None or encode(point) != public_key:
        return False
    for _ in range(3):
        point = add(point, point)
    return encode(point) != encode(NEUTRAL)


@dataclass
class Membership:
    """Who is in force with which key; changed by admitted rotations and revocations only."""

    policy: Body
    policy_hash: bytes
    keys: dict[str, bytes] = field(default_factory=dict)
    revoked: set[str] = field(default_factory=set)
    replaced: dict[str, list[bytes]] = field(default_factory=dict)
    changes: list[bytes] = field(default_factory=list)
    rotated: set[str] = field(default_factory=set)  # since the last entry that ends a round

    def __post_init__(self) -> None:
        for member in [*self.policy["trustees"], *self.policy["roster"]]:
            self.keys.setdefault(member["id"], member["public_key"])

    @property
    def root(self) -> bytes:
        """The root of the change tree."""
        return tree_root(self.changes)

    def trustees(self) -> dict[str, bytes]:
        """Names and keys of the trustees in force."""
        names = [member["id"] for member in self.policy["trustees"]]
        return {name: self.keys[name] for name in names if name not in self.revoked}

    def apply(self, entry: Envelope) -> str | None:
        """Take a change in, or say by which rule it is not admitted (its place in the log is not judged here)."""
        fault = self._fault(entry)
        if fault is None:
            self.changes.append(leaf_hash(entry.data))
            party = entry.body["party"]
            if entry.type == "revocation":
                self.revoked.add(party)
            else:
                self.replaced.setdefault(party, []).append(self.keys[party])
                self.keys[party] = entry.body["public_key"]
                self.rotated.add(party)
        return fault

    def _fault(self, entry: Envelope) -> str | None:
        body = entry.body
        if body["federation"] != self.policy["federation"]:
            return "federation"
        if body["policy"] != self.policy_hash:
            return "policy-hash"
        if body["party"] not in self.keys:
            return "unknown-party"
        if body["party"] in self.revoked:
            return "revoked"
        return self._revocation_fault(entry) if entry.type == "revocation" else self._rotation_fault(entry)

    def _revocation_fault(self, entry: Envelope) -> str | None:
        if not verifies(self.policy["issuer_key"], entry.signature, entry.signed):
            return "signature"
        if entry.body["reason"] not in REVOCATION_REASONS:
            return "revocation-reason"
        trustees = self.trustees()
        if entry.body["party"] in trustees and len(trustees) - 1 < self.policy["threshold"]:
            return "revocation-quorum"
        return None

    def _rotation_fault(self, entry: Envelope) -> str | None:
        body = entry.body
        if body["previous"] != self.keys[body["party"]]:
            return "rotation-previous"
        if not verifies(body["previous"], entry.signature, entry.signed):
            return "signature"
        if not enrollable(body["public_key"]):
            return "public-key"
        if body["public_key"] in self._taken():
            return "rotation-key"
        claim = {name: body[name] for name in ("federation", "policy", "party", "previous", "public_key")}
        signed = signing_bytes("key-possession", body["party"], encoding.encode(claim))
        if not verifies(body["public_key"], body["possession"], signed):
            return "possession"
        if body["party"] in self.rotated:
            return "rotation-pace"
        if len(self.replaced.get(body["party"], [])) >= MOST_ROTATIONS:
            return "rotation-cap"
        return None

    def _taken(self) -> set[bytes]:
        """Every key of the policy, in force, or out of force, of anybody."""
        taken = {self.policy["log_key"], self.policy["issuer_key"], *self.keys.values()}
        return taken.union(*self.replaced.values())

    def copy(self) -> Membership:
        replaced = {party: list(keys) for party, keys in self.replaced.items()}
        sets = set(self.revoked), replaced, list(self.changes), set(self.rotated)
        return Membership(self.policy, self.policy_hash, dict(self.keys), *sets)
