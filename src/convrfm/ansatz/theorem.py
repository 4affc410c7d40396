"""Theorem 1 of arXiv 2309.00570 as an executable check, in float64.

A convolutional network is a function of the patches of the input of one of its convolutions (Eq. 1),

    f(x) = g(W x_1, ..., W x_S),    W of shape (filters, d), x_s patch number s, of length d.

The theorem: let g(0) = 0, and let the gradient of g with respect to W x_s at 0 be the same b != 0 for every s. One step
of full-batch gradient descent on the squared error from W = 0 then gives (Eq. 3)

    W^T W  proportional to  sum_s grad_{u_s} f(u) grad_{u_s} f(u)^T,

exactly, as both are multiples of a a^T with a = sum_p y_p sum_s x_{p,s}; at every point u, and on average over points. The
paper's example has tanh as activation, constant weights in all remaining layers and one output. A later layer is the first
one of the sub-network behind it, and the layers in front of it may be anything.

The proof is not used: networks are built, and PyTorch's autograd differentiates the loss for the step, of all weights, and
the outputs with respect to every patch as a variable of its own for the right side.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import nn

from convrfm.errors import InputError, NonFiniteError
from convrfm.numerics.inputs import generator
from convrfm.numerics.patches import check_fits

__all__ = ["CASES", "Case", "TheoremCheck", "check_theorem", "correlation_gap"]

BEHIND_PATCH_SIZE = 3
"""Patch size of the convolutions behind the one under test, and of those in front of it."""


@dataclass(frozen=True)
class Case:
    """One kind of network and of initialisation.

    Attributes:
        name: in tables.
        title: in figures.
        kind: "theorem": as in the paper's theorem and its remarks. "weaker": b has one direction but not one length, which
            the theorem does not cover; the sum in a then has weights, and Eq. 3 still holds. "control": W does not start
            from 0, or b differs at all positions, and Eq. 3 must fail. "border": b differs near the border only, and Eq. 3
            must fail by as much as the border counts.
        start: how W begins.
        in_front: random convolutions with tanh before W; the images are then their input.
        behind: convolutions with tanh behind W.
        filters: of the convolutions behind W: one constant each, or random and the same at every position.
        padding: of the convolutions behind W.
        readout: weights of the linear output: "constant"; "mean", random for each filter and the same at every position;
            "random", for each filter and position.
    """

    name: str
    title: str
    kind: Literal["theorem", "weaker", "control", "border"]
    start: Literal["zero", "random"] = "zero"
    in_front: int = 0
    behind: int = 0
    filters: Literal["constant", "random"] = "constant"
    padding: Literal["circular", "zeros"] = "circular"
    readout: Literal["constant", "mean", "random"] = "constant"


CASES: tuple[Case, ...] = (
    Case("first", "one convolution", "theorem"),
    Case("first-of-three", "first of three", "theorem", behind=2),
    Case("third-of-five", "third of five", "theorem", in_front=2, behind=2),
    Case("random-behind", "first of three, random behind", "theorem", behind=2, filters="random", readout="mean"),
    Case("zero-padding", "first of three, zero padding", "weaker", behind=2, padding="zeros"),
    Case("random-start", "random start", "control", start="random"),
    Case("random-readout", "random readout", "control", readout="random"),
    Case(
        "random-zero-padding", "random behind, zero padding", "border",
        behind=2, filters="random", padding="zeros", readout="mean",
    ),
)  # fmt: skip
"""The cases. "third-of-five" is the argument for deeper layers; "random-behind" satisfies the theorem's assumption
without constant weights; "random-zero-padding" is the same network with a padding that makes b differ near the border."""


@dataclass(frozen=True)
class TheoremCheck:
    """Both sides of Eq. 3 for one network after one step.

    Attributes:
        case: name of the case.
        cnfm: W^T W `(d, d)` float64.
        agop: right side `(d, d)` float64, by the point where it is evaluated: "zero", all patches zero; "image", the first
            image; "mean", the mean over all images.
        gap: 1 - Pearson correlation of all entries of the two, by the name of the point; see `correlation_gap`.
        others_moved: largest change of any weight outside W in the step.
    """

    case: str
    cnfm: np.ndarray
    agop: Mapping[str, np.ndarray]
    gap: Mapping[str, float]
    others_moved: float


def correlation_gap(a: np.ndarray, b: np.ndarray) -> float:
    """1 - Pearson correlation of all entries of two arrays of one shape.

    Computed as half the squared distance of the two centred arrays of unit norm, which is equal and keeps its digits for
    correlations of 1 up to rounding.

    Raises:
        NonFiniteError: an entry is not finite, or an array is constant, for which no correlation is defined.
    """
    units = []
    for array in (a, b):
        centred = array - array.mean()
        norm = float(np.linalg.norm(centred))
        if not np.isfinite(norm) or norm <= 1e-12 * float(np.linalg.norm(array)):
            msg = (
                "A matrix of Eq. 3 is constant or not finite, and has no Pearson correlation: the step was zero or diverged, "
                "or all patches sum to a constant. Use other images, targets or another learning rate."
            )
            raise NonFiniteError(msg)
        units.append(centred / norm)
    return 0.5 * float(np.sum((units[0] - units[1]) ** 2))


def check_theorem(
    case: Case, images: np.ndarray, targets: np.ndarray, *, filters: int, patch_size: int, learning_rate: float, seed: int
) -> TheoremCheck:  # fmt: skip
    """Build the network of a case, take one full-batch step of gradient descent, and give both sides of Eq. 3.

    Args:
        case: the network and its initialisation.
        images: `(n, channels, height, width)`.
        targets: `(n,)`, one number for each image.
        filters: rows of W, and filters of every other convolution.
        patch_size: q of the convolution with W, which has stride 1 and no padding.
        learning_rate: step size; the loss is half the squared error, averaged over the images.
        seed: of the random weights.

    Raises:
        InputError: shapes or ranges that do not fit, or images smaller than a patch (`ImageSizeError`).
        NonFiniteError: numbers that are not finite, or a step after which a side of Eq. 3 is constant, such as zero.
    """
    _check(images, targets, filters, learning_rate)
    check_fits(images.shape[2], images.shape[3], patch_size, 1)
    network = _Network(case, images.shape[1:], filters, patch_size, seed)
    before = [weight.detach().clone() for weight in network.parameters()]
    inputs = torch.from_numpy(np.asarray(images, np.float64))
    loss = 0.5 * ((network(inputs) - torch.from_numpy(np.asarray(targets, np.float64))) ** 2).mean()
    loss.backward()
    torch.optim.SGD(network.parameters(), lr=learning_rate).step()
    others = max(
        float((weight.detach() - old).abs().max())
        for (name, weight), old in zip(network.named_parameters(), before, strict=True)
        if name != "weight"
    )
    patches = network.patches(inputs).detach()
    points = {"zero": torch.zeros_like(patches[:1]), "image": patches[:1], "mean": patches}
    weight = network.weight.detach().numpy()
    cnfm = weight.T @ weight
    agop = {name: network.patch_agop(point) for name, point in points.items()}
    gap = {name: correlation_gap(cnfm, matrix) for name, matrix in agop.items()}
    return TheoremCheck(case.name, cnfm, agop, gap, others)


def _check(images: np.ndarray, targets: np.ndarray, filters: int, learning_rate: float) -> None:
    if images.ndim != 4 or len(images) < 1 or targets.shape != (len(images),):
        msg = (
            "Images must have shape (n, channels, height, width) and targets (n,), but their shapes are "
            f"{images.shape} and {targets.shape}."
        )
        raise InputError(msg)
    if not (np.isfinite(images).all() and np.isfinite(targets).all()):
        msg = "Images or targets hold NaN or infinity."
        raise NonFiniteError(msg)
    if filters < 1 or not learning_rate > 0:
        msg = f"filters must be at least 1 and learning_rate positive, but they are {filters} and {learning_rate}."
        raise InputError(msg)


class _Network(nn.Module):
    """A network as a function of the patches that W sees; every weight is a parameter, in float64."""

    def __init__(self, case: Case, image_shape: tuple[int, ...], filters: int, patch_size: int, seed: int) -> None:
        super().__init__()
        rng = generator(seed, f"weights of the theorem, {case.name}")
        channels, height, width = image_shape
        self.padding = case.padding
        self.patch_size = patch_size
        # Random weights have variance 1 / (fan in); constant filters are means, so that nothing grows with the depth.
        widths = [channels] + [filters] * case.in_front
        self.in_front = nn.ParameterList(
            _random(rng, (filters, channels_in, BEHIND_PATCH_SIZE, BEHIND_PATCH_SIZE)) for channels_in in widths[:-1]
        )
        looked_at = (filters, widths[-1] * patch_size**2)
        self.weight = _random(rng, looked_at) if case.start == "random" else _constant(0.0, looked_at)
        between = (filters, filters, BEHIND_PATCH_SIZE, BEHIND_PATCH_SIZE)
        self.behind = nn.ParameterList(
            _random(rng, between) if case.filters == "random" else _constant(1 / _fan_in(between), between)
            for _ in range(case.behind)
        )
        self.map_shape = (height - patch_size + 1, width - patch_size + 1)
        shape = (1, filters, *self.map_shape)
        if case.readout == "constant":
            readout = np.full(shape, _fan_in(shape) ** -0.5)
        else:
            drawn = rng.standard_normal(shape if case.readout == "random" else (1, filters, 1, 1))
            readout = np.broadcast_to(drawn * _fan_in(shape) ** -0.5, shape).copy()
        self.readout = nn.Parameter(torch.from_numpy(readout))

    def patches(self, images: torch.Tensor) -> torch.Tensor:
        """The patches that W sees, `(n, d, positions)`."""
        for filters in self.in_front:
            images = torch.tanh(_convolve(images, filters, "circular"))
        return nn.functional.unfold(images, self.patch_size)

    def of_patches(self, patches: torch.Tensor) -> torch.Tensor:
        """Outputs `(n,)` for patches `(n, d, positions)`."""
        maps = torch.tanh((self.weight @ patches).unflatten(2, self.map_shape))
        for filters in self.behind:
            maps = torch.tanh(_convolve(maps, filters, self.padding))
        return (maps * self.readout).sum(dim=(1, 2, 3))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Outputs `(n,)` for images `(n, channels, height, width)`."""
        return self.of_patches(self.patches(images))

    def patch_agop(self, patches: torch.Tensor) -> np.ndarray:
        """Mean over points of the sum over patches of the outer product of the gradient, `(d, d)`."""
        variables = patches.clone().requires_grad_()
        # Each output depends on its own patches alone: one backward pass serves all.
        (gradients,) = torch.autograd.grad(self.of_patches(variables).sum(), variables)
        return torch.einsum("nds,nes->de", gradients, gradients).numpy() / len(patches)


def _fan_in(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape[1:]))


def _random(rng: np.random.Generator, shape: tuple[int, ...]) -> nn.Parameter:
    return nn.Parameter(torch.from_numpy(rng.standard_normal(shape) / _fan_in(shape) ** 0.5))


def _constant(value: float, shape: tuple[int, ...]) -> nn.Parameter:
    return nn.Parameter(torch.full(shape, value, dtype=torch.float64))


def _convolve(maps: torch.Tensor, filters: torch.Tensor, padding: str) -> torch.Tensor:
    """A convolution that keeps the size of its input."""
    margin = filters.shape[-1] // 2
    mode = "circular" if padding == "circular" else "constant"
    return nn.functional.conv2d(nn.functional.pad(maps, (margin,) * 4, mode), filters)
