"""How much memory a fit of Deep ConvRFM takes, for its rule to ask for and for its job to check."""

from convrfm.errors import InputError
from convrfm.memory import free_bytes

__all__ = ["check_memory", "fit_bytes"]

KERNELS = 3 * 2**29
"""The program itself, and what kernel computations take beside their result."""

GRAM_COPIES, TEST_COPIES, FEATURE_COPIES = 48, 8, 12
"""Bytes for each entry: of the kernel matrix of the training images (three in float32 with one in passing, four of the
solver in float64), of that of the test images, and of the features (three in float32)."""


def fit_bytes(n_train: int, n_test: int, filters: int, pixels: int) -> int:
    """Memory of one fit.

    Args:
        n_train: training images.
        n_test: test images.
        filters: of each stage.
        pixels: of each image.
    """
    gram = GRAM_COPIES * n_train**2 + TEST_COPIES * n_train * n_test
    return KERNELS + gram + FEATURE_COPIES * (n_train + n_test) * filters * pixels


def check_memory(n_train: int, n_test: int, filters: int, pixels: int) -> None:
    """Check before a fit that its memory is free; arguments as of `fit_bytes`.

    Raises:
        InputError: it is not.
    """
    needed, free = fit_bytes(n_train, n_test, filters, pixels), free_bytes()
    if needed > free:
        msg = (
            f"A fit to {n_train} training and {n_test} test images takes {needed / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB "
            "are free: lower n_train, n_test or filters, or run fewer jobs at a time."
        )
        raise InputError(msg)
