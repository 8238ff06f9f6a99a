"""The log's hash tree (RFC 6962 section 2.1; proofs as RFC 9162 section 2.1 verifies them; spec 3.1).

Trees are over leaf hashes: 32-byte values of `leaf_hash`, oldest first. `hashes` below is always a sequence of these.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Sequence

from proofs.errors import Malformed, Misuse, Rejected
from protocols.hashes import sha256

HASH_BYTES = 32
EMPTY_ROOT = sha256(b"")
SIZE_LIMIT = 1 << 63


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256(0x00 || entry)."""
    return sha256(b"\x00" + entry)


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right)


class Frontier:
    """A tree that only grows, kept as the roots of its complete subtrees: 32 bytes for each set bit of the size."""

    __slots__ = ("_nodes", "_size")

    def __init__(self) -> None:
        self._size = 0
        self._nodes: list[bytes] = []  # largest subtree first

    @property
    def size(self) -> int:
        """Number of leaves."""
        return self._size

    def append(self, hashed: bytes) -> None:
        """Add one leaf hash."""
        if len(hashed) != HASH_BYTES:
            raise Misuse(f"hashed: expected a leaf hash of {HASH_BYTES} bytes, found {len(hashed)}")
        node, size = hashed, self._size
        while size & 1:
            node = node_hash(self._nodes.pop(), node)
            size >>= 1
        self._nodes.append(node)
        self._size += 1

    def root(self) -> bytes:
        """The Merkle tree hash; SHA-256 of nothing for the empty tree."""
        if not self._nodes:
            return EMPTY_ROOT
        node = self._nodes[-1]
        for left in reversed(self._nodes[:-1]):
            node = node_hash(left, node)
        return node

    def copy(self) -> Frontier:
        """An independent frontier of the same tree."""
        twin = Frontier()
        twin._size, twin._nodes = self._size, list(self._nodes)
        return twin

    def encode(self) -> bytes:
        """Size (8 bytes, big-endian), then the subtree roots, for a party's durable state."""
        return self._size.to_bytes(8, "big") + b"".join(self._nodes)

    @classmethod
    def decode(cls, data: bytes) -> Frontier:
        """The frontier that `encode` wrote. Raises Malformed on any other length."""
        size = int.from_bytes(data[:8], "big")
        if len(data) < 8 or size >= SIZE_LIMIT or len(data) != 8 + HASH_BYTES * size.bit_count():
            raise Malformed("frontier", "8 bytes of size and a hash for each of its bits", f"{len(data)} bytes")
        frontier = cls()
        frontier._size = size
        frontier._nodes = [data[start : start + HASH_BYTES] for start in range(8, len(data), HASH_BYTES)]
        return frontier


def root(hashes: Sequence[bytes]) -> bytes:
    """The Merkle tree hash of a sequence of leaf hashes."""
    frontier = Frontier()
    for hashed in hashes:
        frontier.append(hashed)
    return frontier.root()


def inclusion_proof(hashes: Sequence[bytes], index: int) -> list[bytes]:
    """The audit path of leaf `index` in the tree over `hashes`, leaf side first. Raises Misuse if out of range."""
    return [root(hashes[low:high]) for low, high in inclusion_ranges(len(hashes), index)]


def inclusion_ranges(size: int, index: int) -> list[tuple[int, int]]:
    """The subtrees whose roots are the audit path of leaf `index` in a tree of `size` leaves: (first leaf, behind the
    last), leaf side first. Raises Misuse if out of range."""
    if not 0 <= index < size:
        raise Misuse(f"index: expected 0 .. {size - 1}, found {index}")
    low, high, path = 0, size, []
    while high - low > 1:
        middle = low + _split(high - low)
        if index < middle:
            path.append((middle, high))
            high = middle
        else:
            path.append((low, middle))
            low = middle
    return path[::-1]


def consistency_proof(hashes: Sequence[bytes], old: int) -> list[bytes]:
    """The proof that the tree over hashes[:old] is a prefix of the tree over `hashes`.

    Empty for old = 0 and old = len(hashes). Raises Misuse where `old` is out of range.
    """
    return [root(hashes[low:high]) for low, high in consistency_ranges(len(hashes), old)]


def consistency_ranges(size: int, old: int) -> list[tuple[int, int]]:
    """The subtrees whose roots are that proof for trees of `old` and `size` leaves, as `inclusion_ranges`."""
    if not 0 <= old <= size:
        raise Misuse(f"old: expected 0 .. {size}, found {old}")
    if old in (0, size):
        return []
    low, high, path = 0, size, []
    while high != old:
        middle = low + _split(high - low)
        if old <= middle:
            path.append((middle, high))
            high = middle
        else:
            path.append((low, middle))
            low = middle
    if low != 0:
        path.append((low, high))
    return path[::-1]


def verify_inclusion(hashed: bytes, index: int, size: int, proof: Sequence[bytes], expected_root: bytes) -> None:
    """Accept if leaf hash `hashed` is leaf `index` of the tree of `size` leaves (RFC 9162 section 2.1.3.2).

    Raises Rejected("inclusion-proof"). Total on any values.
    """
    if not 0 <= index < size < SIZE_LIMIT:
        raise Rejected("inclusion-proof", f"an index below the size {size}", str(index))
    _check_hashes("inclusion-proof", (hashed, *proof))
    position, last, node = index, size - 1, hashed
    for sibling in proof:
        if last == 0:
            raise Rejected("inclusion-proof", "a shorter path", f"{len(proof)} hashes")
        if position & 1 or position == last:
            node = node_hash(sibling, node)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            node = node_hash(node, sibling)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise Rejected("inclusion-proof", "a longer path", f"{len(proof)} hashes")
    if node != expected_root:
        raise Rejected("inclusion-proof", f"root {expected_root.hex()}", node.hex())


def verify_consistency(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    """Accept if the tree of `new` leaves extends the tree of `old` leaves (RFC 9162 section 2.1.4.2).

    A smaller new tree (a rollback) is refused. The empty tree is a prefix of everything: its root must be EMPTY_ROOT
    and the proof empty, as it must be for equal sizes. Raises Rejected("consistency-proof"). Total on any values.
    """
    if not 0 <= old <= new < SIZE_LIMIT:
        raise Rejected("consistency-proof", f"a tree of at least {old} leaves", str(new))
    _check_hashes("consistency-proof", (old_root, new_root, *proof))
    if old in (0, new):
        _check_trivial(old, old_root, new, new_root, proof)
        return
    path = list(proof) if old & (old - 1) else [old_root, *proof]
    if not path:
        raise Rejected("consistency-proof", "a longer proof", "no hashes")
    position, last = old - 1, new - 1
    while position & 1:
        position, last = position >> 1, last >> 1
    old_node = new_node = path[0]
    for sibling in path[1:]:
        if last == 0:
            raise Rejected("consistency-proof", "a shorter proof", f"{len(proof)} hashes")
        if position & 1 or position == last:
            old_node, new_node = node_hash(sibling, old_node), node_hash(sibling, new_node)
            while not position & 1 and position:
                position, last = position >> 1, last >> 1
        else:
            new_node = node_hash(new_node, sibling)
        position, last = position >> 1, last >> 1
    if last != 0:
        raise Rejected("consistency-proof", "a longer proof", f"{len(proof)} hashes")
    if old_node != old_root or new_node != new_root:
        expected = f"roots {old_root.hex()} and {new_root.hex()}"
        raise Rejected("consistency-proof", expected, f"{old_node.hex()} and {new_node.hex()}")


def _check_trivial(old: int, old_root: bytes, new: int, new_root: bytes, proof: Sequence[bytes]) -> None:
    if proof:
        raise Rejected("consistency-proof", "an empty proof", f"{len(proof)} hashes")
    if old == new and old_root != new_root:
        raise Rejected("consistency-proof", f"root {old_root.hex()}", new_root.hex())
    if old == 0 and old_root != EMPTY_ROOT:
        raise Rejected("consistency-proof", "the root of the empty tree", old_root.hex())
    if new == 0 and new_root != EMPTY_ROOT:
        raise Rejected("consistency-proof", "the root of the empty tree", new_root.hex())


def _check_hashes(check: str, hashes: Sequence[bytes]) -> None:
    for hashed in hashes:
        if len(hashed) != HASH_BYTES:
            raise Rejected(check, f"hashes of {HASH_BYTES} bytes", f"{len(hashed)} bytes")


def _split(size: int) -> int:
    """The largest power of two below `size` (RFC 6962's k); size >= 2."""
    return 1 << ((size - 1).bit_length() - 1)


def inclusion_proofs(hashes: Sequence[bytes], indices: Iterable[int]) -> dict[int, list[bytes]]:
    """`inclusion_proof` of several leaves of one tree, by index, in one pass over it."""
    wanted = set(indices)
    if not all(0 <= index < len(hashes) for index in wanted):
        raise Misuse(f"indices: expected leaves of a tree of {len(hashes)}, found {sorted(wanted)}")
    return _proofs(hashes, 0, len(hashes), sorted(wanted))[1] if wanted else {}


def _proofs(
    hashes: Sequence[bytes], low: int, high: int, wanted: Sequence[int]
) -> tuple[bytes, dict[int, list[bytes]]]:
    """The root over hashes[low:high], and the paths to it of the wanted leaves, all of which are in there."""
    if not wanted:
        return root(hashes[low:high]), {}
    if high - low == 1:
        return hashes[low], {low: []}
    middle = low + _split(high - low)
    cut = bisect.bisect_left(wanted, middle)
    left, left_paths = _proofs(hashes, low, middle, wanted[:cut])
    right, right_paths = _proofs(hashes, middle, high, wanted[cut:])
    paths = {index: [*path, right] for index, path in left_paths.items()}
    paths |= {index: [*path, left] for index, path in right_paths.items()}
    return node_hash(left, right), paths
