"""RFC 6962 hashing against known roots; proofs against brute force; a frontier against the whole tree."""

from __future__ import annotations

import hashlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from proofs.errors import Malformed, Misuse, Rejected
from protocols.log.merkle import (
    EMPTY_ROOT,
    Frontier,
    consistency_proof,
    inclusion_proof,
    leaf_hash,
    node_hash,
    root,
    verify_consistency,
    verify_inclusion,
)

# The leaves of the Certificate Transparency reference tests, and the roots of their trees.
CT_LEAVES = ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
CT_ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
HASHES = [leaf_hash(bytes([number])) for number in range(66)]
ROOTS = [root(HASHES[:size]) for size in range(67)]


def tree_hash(hashes: list[bytes]) -> bytes:
    """MTH of RFC 6962 section 2.1, as it is written there."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = 1
    while k * 2 < len(hashes):
        k *= 2
    return node_hash(tree_hash(hashes[:k]), tree_hash(hashes[k:]))


def rejected(check: str, proof: list[bytes], call: str, *values: object) -> None:
    verifier = {"inclusion-proof": verify_inclusion, "consistency-proof": verify_consistency}[check]
    with pytest.raises(Rejected) as caught:
        verifier(*values, proof) if check == "consistency-proof" else verifier(*values[:3], proof, values[3])
    assert caught.value.check == check, call


@pytest.mark.parametrize("size", range(9))
def test_certificate_transparency_roots(size: int) -> None:
    hashes = [leaf_hash(bytes.fromhex(leaf)) for leaf in CT_LEAVES[:size]]
    assert root(hashes).hex() == CT_ROOTS[size]


def test_certificate_transparency_proofs() -> None:
    hashes = [leaf_hash(bytes.fromhex(leaf)) for leaf in CT_LEAVES]
    path = [item.hex() for item in inclusion_proof(hashes, 5)]
    assert path == [
        "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]
    steps = [item.hex() for item in consistency_proof(hashes, 6)]
    assert steps == [
        "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
        "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    ]


@pytest.mark.parametrize("size", range(67))
def test_frontier_and_root_equal_the_definition(size: int) -> None:
    frontier = Frontier()
    for hashed in HASHES[:size]:
        frontier.append(hashed)
    assert frontier.root() == ROOTS[size] == tree_hash(HASHES[:size])
    again = Frontier.decode(frontier.encode())
    assert (again.size, again.root(), again.encode()) == (size, frontier.root(), frontier.encode())
    twin = frontier.copy()
    twin.append(HASHES[0])
    assert frontier.size == size
    assert frontier.root() == ROOTS[size]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65])
def test_every_inclusion_proof(size: int) -> None:
    for index in range(size):
        proof = inclusion_proof(HASHES[:size], index)
        verify_inclusion(HASHES[index], index, size, proof, ROOTS[size])


@pytest.mark.parametrize("new", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 15, 16, 17, 31, 33, 64, 65])
def test_every_consistency_proof(new: int) -> None:
    for old in range(new + 1):
        verify_consistency(old, ROOTS[old], new, ROOTS[new], consistency_proof(HASHES[:new], old))


@given(st.data(), st.integers(2, 40))
@settings(max_examples=150, deadline=None)
def test_changed_inclusion_proofs_are_rejected(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = inclusion_proof(HASHES[:size], index)
    place = data.draw(st.integers(0, len(proof) - 1))
    flipped = bytes([proof[place][0] ^ 1]) + proof[place][1:]
    good = (HASHES[index], index, size, ROOTS[size])
    rejected("inclusion-proof", [*proof[:place], flipped, *proof[place + 1 :]], "flipped", *good)
    rejected("inclusion-proof", proof[:-1], "short", *good)
    rejected("inclusion-proof", [*proof, proof[-1]], "long", *good)
    rejected("inclusion-proof", [*proof[:-1], proof[-1][:-1]], "hash of 31 bytes", *good)
    rejected("inclusion-proof", proof, "another leaf", HASHES[-1], index, size, ROOTS[size])
    rejected("inclusion-proof", proof, "another root", HASHES[index], index, size, ROOTS[size - 1])
    for other in {data.draw(st.integers(-2, size + 2)), size} - {index}:
        rejected("inclusion-proof", proof, "another index", HASHES[index], other, size, ROOTS[size])


@given(st.data(), st.integers(3, 40))
@settings(max_examples=150, deadline=None)
def test_changed_consistency_proofs_are_rejected(data: st.DataObject, new: int) -> None:
    old = data.draw(st.integers(1, new - 1))
    proof = consistency_proof(HASHES[:new], old)
    place = data.draw(st.integers(0, len(proof) - 1))
    flipped = bytes([proof[place][0] ^ 1]) + proof[place][1:]
    good = (old, ROOTS[old], new, ROOTS[new])
    rejected("consistency-proof", [*proof[:place], flipped, *proof[place + 1 :]], "flipped", *good)
    rejected("consistency-proof", proof[:-1], "short", *good)
    rejected("consistency-proof", [*proof, proof[-1]], "long", *good)
    rejected("consistency-proof", proof, "another old root", old, ROOTS[old - 1], new, ROOTS[new])
    rejected("consistency-proof", proof, "another new root", old, ROOTS[old], new, ROOTS[new - 1])
    rejected("consistency-proof", proof, "rollback", new, ROOTS[new], old, ROOTS[old])


def test_edges_of_consistency() -> None:
    rejected("consistency-proof", [], "fork at one size", 5, ROOTS[5], 5, ROOTS[6])
    rejected("consistency-proof", [ROOTS[1]], "proof between equals", 5, ROOTS[5], 5, ROOTS[5])
    rejected("consistency-proof", [], "empty tree with a root", 0, ROOTS[1], 5, ROOTS[5])
    rejected("consistency-proof", [ROOTS[5]], "proof from the empty tree", 0, EMPTY_ROOT, 5, ROOTS[5])
    rejected("consistency-proof", [], "two empty trees", 0, ROOTS[1], 0, ROOTS[1])
    rejected("consistency-proof", [], "truncated", 4, ROOTS[4], 8, ROOTS[8])
    rejected("consistency-proof", [], "negative", -1, ROOTS[4], 8, ROOTS[8])
    rejected("consistency-proof", [], "size beyond 63 bits", 4, ROOTS[4], 1 << 63, ROOTS[8])
    rejected("inclusion-proof", [], "empty tree", HASHES[0], 0, 0, EMPTY_ROOT)
    rejected("inclusion-proof", [], "size beyond 63 bits", HASHES[0], 0, 1 << 63, ROOTS[1])


@given(st.lists(st.binary(max_size=33), max_size=70), st.integers(-1, 2**64), st.integers(-1, 2**64))
@settings(max_examples=100, deadline=None)
def test_verifiers_are_total(proof: list[bytes], small: int, large: int) -> None:
    rejected("inclusion-proof", [*proof, b""], "any", HASHES[0], small, large, ROOTS[1])
    rejected("consistency-proof", [*proof, b""], "any", small, ROOTS[1], large, ROOTS[2])


@given(st.binary(max_size=80))
@settings(max_examples=100, deadline=None)
def test_frontier_decoding_is_strict(data: bytes) -> None:
    try:
        frontier = Frontier.decode(data)
    except Malformed as error:
        assert error.where == "frontier"  # noqa: PT017 - most, but not all, of these bytes are malformed
    else:
        assert frontier.encode() == data


def test_misuse() -> None:
    for index in (-1, 3):
        with pytest.raises(Misuse, match="index"):
            inclusion_proof(HASHES[:3], index)
    for old in (-1, 4):
        with pytest.raises(Misuse, match="old"):
            consistency_proof(HASHES[:3], old)
    with pytest.raises(Misuse, match="leaf hash"):
        Frontier().append(b"short")
