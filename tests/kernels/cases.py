"""Images and metrics that the tests of the kernels run on, and the oracles they are compared with."""

import numpy as np
import torch
from sklearn.datasets import load_digits, load_sample_images


def random_metric(rng: np.random.Generator, dimension: int) -> np.ndarray:
    root = rng.standard_normal((dimension, dimension))
    return root @ root.T / dimension


def random_images(rng: np.random.Generator, n: int, channels: int, height: int, width: int) -> np.ndarray:
    return rng.standard_normal((n, channels, height, width))


def singular_images(rng: np.random.Generator, n: int, channels: int, height: int, width: int) -> np.ndarray:
    """Images with zero patches, flat images, multiples and duplicates of each other; n >= 5."""
    images = random_images(rng, n, channels, height, width)
    images[0, :, : height // 2] = 0
    images[1] = 0.5
    images[2] = 2 * images[0]
    images[3] = images[4]
    return images


def photographs(n: int, size: int) -> np.ndarray:
    """Crops of scikit-learn's photographs, colour, in [0, 1]."""
    crops = []
    for index in range(n):
        picture = load_sample_images().images[index % 2] / 255
        row, column = 37 * index + 11, 61 * index + 23
        crops.append(picture[row : row + size, column : column + size].transpose(2, 0, 1))
    return np.stack(crops)


def framed_digits(n: int, margin: int) -> np.ndarray:
    """Scikit-learn's digits in a black frame: many zero patches, as in MNIST."""
    digits = load_digits().images[:n, None] / 16
    return np.pad(digits, [(0, 0), (0, 0), (margin, margin), (margin, margin)])


def autograd_kernel(
    patches_x: torch.Tensor, patches_z: torch.Tensor, metric: torch.Tensor, channels: int, depth: int, q: int, tangent: bool
) -> torch.Tensor:
    """The kernel of two images from their patches `(P, Q, d)`, in plain differentiable PyTorch; for regular points."""

    def box(maps: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(maps[None, None], torch.ones(1, 1, q, q, dtype=maps.dtype))[0, 0]

    def product(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
        return torch.einsum("pqd,de,pqe->pq", a, metric, b) / channels

    k, k_x, k_z = product(patches_x, patches_z), product(patches_x, patches_x), product(patches_z, patches_z)
    theta = torch.zeros_like(k)
    for layer in range(depth):
        if layer > 0:
            k, k_x, k_z, theta = box(k), box(k_x), box(k_z), box(theta)
        pre = k + theta
        norm = (k_x * k_z).sqrt()
        angle = torch.arccos(k / norm)
        k = norm * (torch.sin(angle) + (torch.pi - angle) * torch.cos(angle)) / torch.pi
        theta = (torch.pi - angle) / torch.pi * pre
    return k.mean() + (theta.mean() if tangent else 0)


def autograd_agop(
    x: np.ndarray, z: np.ndarray, alpha: np.ndarray, metric: np.ndarray, depth: int, q: int, tangent: bool
) -> np.ndarray:
    """Patch-AGOP by brute force: automatic differentiation of each output with respect to unfolded patches."""

    def patches(image: np.ndarray) -> torch.Tensor:
        channels, height, width = image.shape
        columns = torch.nn.functional.unfold(torch.from_numpy(image)[None], q)[0]  # (d, P Q) in (channel, row, column)
        return columns.T.reshape(height - q + 1, width - q + 1, channels * q * q)

    channels = x.shape[1]
    m = torch.from_numpy(metric)
    total = torch.zeros_like(m)
    for image in z:
        for o in range(alpha.shape[1]):
            point = patches(image).requires_grad_()
            f = sum(
                weight * autograd_kernel(patches(other), point, m, channels, depth, q, tangent)
                for weight, other in zip(alpha[:, o].tolist(), x, strict=True)
            )
            gradient = torch.autograd.grad(f, point)[0].reshape(-1, len(m))
            total += gradient.T @ gradient
    return (total / len(z)).numpy()
