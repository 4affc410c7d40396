"""Random positive semi-definite matrices, which every likeness of two pictures is held against."""

import numpy as np

from convrfm.errors import InputError

__all__ = ["check_draws", "random_metrics"]


def check_draws(draws: int) -> None:
    """Check that there is something to compare with.

    Raises:
        InputError: no draws.
    """
    if draws < 1:
        msg = f"There must be at least one random draw to compare with, but draws is {draws}."
        raise InputError(msg)


def random_metrics(dimension: int, draws: int, rng: np.random.Generator) -> np.ndarray:
    """Draw Wishart matrices A^T A / d, A Gaussian `(d, d)`: `(draws, d, d)`, with eigenvectors of no preference.

    Raises:
        InputError: no draws.
    """
    check_draws(draws)
    factors = rng.standard_normal((draws, dimension, dimension))
    return factors.transpose(0, 2, 1) @ factors / dimension
