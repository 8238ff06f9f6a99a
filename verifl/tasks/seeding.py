"""Random numbers in the user's code: seeded for each call, and afterwards as they were."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np


@contextmanager
def seeded(seed: int, purpose: str) -> Iterator[None]:
    """Seed the global generators of `random`, numpy and torch for the block, from the seed and what it is for.

    The same calls give the same numbers whatever ran before them. What the caller's generators would have drawn next
    they draw after the block.
    """
    import torch

    digest = hashlib.sha256(f"{seed} {purpose}".encode()).digest()
    python, legacy, own = random.getstate(), np.random.get_state(), torch.get_rng_state()
    devices = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    try:
        random.seed(digest)
        np.random.seed(np.frombuffer(digest, dtype=np.uint32))
        torch.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
        yield
    finally:
        random.setstate(python)
        np.random.set_state(legacy)
        torch.set_rng_state(own)
        if devices:
            torch.cuda.set_rng_state_all(devices)
