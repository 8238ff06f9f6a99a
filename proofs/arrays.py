"""Numpy arrays by what they hold; a room that means more by one says so with a name of its own."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Integers: TypeAlias = NDArray[np.int64]
Words: TypeAlias = NDArray[np.uint64]  # 64 bits each, without a sign
Indices: TypeAlias = NDArray[np.int64]
