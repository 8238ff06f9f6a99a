"""Splitting one public data set among clients, unevenly: the usual stand-in for real sites."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from proofs.arrays import Indices
from proofs.errors import Misuse

_DRAWS = 100


def dirichlet_split(
    labels: NDArray[np.int64], clients: int, concentration: float, minimum: int, generator: np.random.Generator
) -> list[Indices]:
    """Indices per client with label proportions drawn from Dirichlet(concentration) (Hsu, Qi, Brown 2019).

    The smaller the concentration, the more the clients differ. Drawn again until every client has `minimum` samples;
    where a hundred draws have no such split, who has most of the last one gives to who has least. Raises Misuse when
    there are too few samples for that.
    """
    if clients < 1 or minimum * clients > len(labels):
        raise Misuse(
            f"clients: {clients} clients of at least {minimum} samples do not fit {len(labels)} samples; use fewer, "
            f"{len(labels) // minimum} at the very most"
        )
    for _ in range(_DRAWS):
        parts = _draw(labels, clients, concentration, generator)
        if min(len(part) for part in parts) >= minimum:
            return parts
    return _levelled(parts, minimum, generator)


def _levelled(parts: list[Indices], minimum: int, generator: np.random.Generator) -> list[Indices]:
    """With samples moved, one by one and at random, from the largest part to the smallest until that has enough."""
    pools = [generator.permutation(part).tolist() for part in parts]
    while len(smallest := min(pools, key=len)) < minimum:
        smallest.append(max(pools, key=len).pop())
    return [np.sort(np.array(pool, dtype=np.int64)) for pool in pools]


def _draw(
    labels: NDArray[np.int64], clients: int, concentration: float, generator: np.random.Generator
) -> list[Indices]:
    parts: list[list[Indices]] = [[] for _ in range(clients)]
    for label in np.unique(labels):
        members = generator.permutation(np.flatnonzero(labels == label))
        shares = generator.dirichlet(np.full(clients, concentration))
        cuts = np.rint(np.cumsum(shares)[:-1] * len(members)).astype(np.int64)
        for part, piece in zip(parts, np.split(members, cuts), strict=True):
            part.append(piece)
    return [np.sort(np.concatenate(part)) for part in parts]
