"""The compiled loop of the sampler of noise (spec 10.6): one home, driven by the module next to it."""

from __future__ import annotations

import numpy as np

from proofs.arrays import Integers, Words
from proofs.machine.jit import kernel


@kernel
def add_samples(words: Words, thresholds: Words, factor: np.int64, out: Integers) -> None:
    """out[i] += factor times the sample of word i; its magnitude is how many thresholds are <= the word's low 191 bits,
    its sign the top bit.

    words (n, 3) and thresholds (2^steps - 1, 3) are of 192 bits, low 64 first; thresholds ascend, padded with such as
    no word reaches, and are below 2^191. The search takes the same steps for every word, and selects by arithmetic.
    """
    size = thresholds.shape[0] + 1
    mask = np.uint64(2**63 - 1)
    for i in range(words.shape[0]):
        low, middle, high = words[i, 0], words[i, 1], words[i, 2] & mask
        position = 0
        half = size // 2
        while half > 0:
            probe = position + half - 1
            t_low, t_middle, t_high = thresholds[probe, 0], thresholds[probe, 1], thresholds[probe, 2]
            same = (middle < t_middle) | ((middle == t_middle) & (low < t_low))
            below = (high < t_high) | ((high == t_high) & same)
            position += half * (1 - int(below))
            half //= 2
        sign = 1 - 2 * np.int64(words[i, 2] >> np.uint64(63))
        out[i] += factor * sign * np.int64(position)
