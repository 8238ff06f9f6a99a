"""Ed25519 as spec 2.4 demands it, and the members of a federation over time (spec 2.5)."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from tests.independent.encoding import Body, Envelope, encode, signing_bytes
from tests.independent.tree import leaf_hash, tree_root

PRIME = 2**255 - 19
EDWARDS_D = -121665 * pow(121666, -1, PRIME) % PRIME
MOST_ROTATIONS = 16
REVOCATION_REASONS = ("key-compromised", "left", "expelled")


def verifies(public_key: bytes, signature: bytes, data: bytes) -> bool:
    """The equation without the cofactor; OpenSSL computes it as spec 2.4 says."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


def enrollable(public_key: bytes) -> bool:
    """Whether a key is canonical, a point, and not of small order."""
    number = int.from_bytes(public_key, "little")
    sign, y = number >> 255, number & (1 << 255) - 1
    if y >= PRIME:
        return False
    x_squared = (y * y - 1) * pow(EDWARDS_D * y * y + 1, -1, PRIME) % PRIME
    if x_squared and pow(x_squared, (PRIME - 1) // 2, PRIME) != 1:
        return False
    if x_squared == 0:
        return False  # y is 1 or -1: of order 1 or 2, whatever the sign bit
    # Doubling needs y and x^2 only: y' = (y^2 + x^2) / (1 - d x^2 y^2); three times, then y' = 1 is neutral.
    for _ in range(3):
        product = EDWARDS_D * x_squared * y * y % PRIME
        doubled = (y * y + x_squared) * pow(1 - product, -1, PRIME) % PRIME
        x_squared = 4 * x_squared * y * y * pow(1 + product, -2, PRIME) % PRIME
        y = doubled
    return not (y == 1 and x_squared == 0) and sign in (0, 1)


@dataclass
class Membership:
    """Who is in force with which key; changed by admitted rotations and revocations only."""

    policy: Body
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
        claim = {name: body[name] for name in ("federation", "party", "previous", "public_key")}
        if not verifies(
            body["public_key"], body["possession"], signing_bytes("key-possession", body["party"], encode(claim))
        ):
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
        return Membership(
            self.policy, dict(self.keys), set(self.revoked), replaced, list(self.changes), set(self.rotated)
        )
