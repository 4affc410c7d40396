"""Random generators, one for each purpose: streams of different purposes never coincide."""

from zlib import crc32

import numpy as np

__all__ = ["generator"]


def generator(seed: int, purpose: str, *indices: int) -> np.random.Generator:
    """Give the generator of a purpose, such as "bars, test", and of indices within it, such as an epoch."""
    return np.random.default_rng([seed, crc32(purpose.encode()), *indices])
