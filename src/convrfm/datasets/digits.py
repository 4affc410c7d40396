"""Handwritten digits of 28x28 pixels: MNIST through torchvision, and scikit-learn's embedded ones as a stand-in."""

from pathlib import Path

import numpy as np
from scipy import ndimage

from convrfm.errors import DataError

__all__ = ["download_mnist", "embedded_digits", "load_mnist"]

MNIST_FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")

Digits = tuple[np.ndarray, np.ndarray]


def embedded_digits() -> Digits:
    """Scikit-learn's 1797 digits (UCI optical recognition, 8x8), brought to 28x28 by linear interpolation.

    Returns:
        images `(1797, 28, 28)` float32 in [0, 1] and labels `(1797,)`.
    """
    from sklearn.datasets import load_digits

    bunch = load_digits()
    scale = 28 / bunch.images.shape[1]
    images = ndimage.zoom(bunch.images / 16, (1, scale, scale), order=1, mode="nearest", grid_mode=True)
    return images.astype(np.float32), bunch.target


def load_mnist(data_dir: Path) -> tuple[Digits, Digits]:
    """Read MNIST, training and test part, from the idx files that torchvision keeps under `data_dir/MNIST/raw`.

    Returns:
        for each part images `(n, 28, 28)` float32 in [0, 1] and labels `(n,)`.

    Raises:
        DataError: the files are absent or corrupt.
    """
    from torchvision.datasets import MNIST

    missing = [name for name in MNIST_FILES if not (data_dir / "MNIST" / "raw" / name).is_file()]
    if missing:
        msg = (
            f"MNIST is absent: {', '.join(missing)} not found in {data_dir / 'MNIST' / 'raw'}. Fetch it with "
            "`snakemake -c1 download_mnist`, or put the unpacked files there."
        )
        raise DataError(msg)
    parts = []
    for train in (True, False):
        try:
            dataset = MNIST(data_dir, train=train, download=False)
        except (OSError, RuntimeError, ValueError, AssertionError) as error:
            msg = f"The files of MNIST in {data_dir / 'MNIST' / 'raw'} are corrupt ({error}): delete and fetch them again."
            raise DataError(msg) from error
        images, labels = dataset.data.numpy(), dataset.targets.numpy()
        if len(images) != len(labels) or images.shape[1:] != (28, 28):
            msg = f"MNIST in {data_dir} is corrupt: {images.shape} images and {len(labels)} labels do not fit together."
            raise DataError(msg)
        parts.append((images.astype(np.float32) / 255, labels))
    return parts[0], parts[1]


def download_mnist(data_dir: Path) -> None:
    """Fetch MNIST with torchvision, which checks its checksums.

    Raises:
        DataError: no network, or a mirror that answers with something else.
    """
    from torchvision.datasets import MNIST

    try:
        MNIST(data_dir, train=True, download=True)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        msg = (
            f"MNIST cannot be downloaded ({reason}). On a machine without network, put the unpacked files "
            f"{', '.join(MNIST_FILES)} into {data_dir / 'MNIST' / 'raw'}."
        )
        raise DataError(msg) from error
