"""Speed of the ansatz engine, as ratios measured in one sitting; writes docs/benchmarks_ansatz.md.

    python benchmarks/ansatz.py --machine "two cores of ..."     everything, about five minutes
    python benchmarks/ansatz.py --small                          a first look at small networks; writes nothing

Exact mode is compared with the authors' procedure: one layer at a time, the network behind it re-expressed on unfolded
patches, and the Jacobian of ten outputs at a time. Probe mode is compared with exact mode on a network with a thousand
outputs: its time, the error of each layer's corrected correlation, and how often the stated interval holds the exact one.
"""

import argparse
from pathlib import Path

import numpy as np
import torch
from measuring import photographs, timed
from torch import nn
from torch.func import jacrev
from torchvision.models import vgg11
from torchvision.models.vgg import VGG, make_layers

from convrfm.ansatz.agop import measure
from convrfm.ansatz.summaries import LayerAgop

CHUNK = 10
"""Outputs of one Jacobian of the authors' procedure."""

CONFIGURATION = (64, "M", 128, "M", 256, 256, "M", 512, 512, "M", 512, 512, "M")
PAGE = Path(__file__).parents[1] / "docs" / "benchmarks_ansatz.md"


def narrow_vgg11(divisor: int, outputs: int) -> nn.Module:
    """VGG11 with fewer filters and one readout, at its initialisation."""
    torch.manual_seed(0)
    layers = [size if size == "M" else size // divisor for size in CONFIGURATION]
    model = VGG(make_layers(layers), num_classes=outputs)
    model.classifier = nn.Linear(512 // divisor * 49, outputs)
    return model.eval()


def authors_agop(model: nn.Module, place: int, image: torch.Tensor, outputs: int) -> torch.Tensor:
    """AGOP of one convolution of a VGG on one image, `(d, d)`."""
    convolution = model.features[place]
    with torch.no_grad():
        maps = model.features[:place](image)
        patches = nn.functional.unfold(maps, 3, padding=1)[0].T
    filters, rows = convolution.weight.detach().flatten(1), maps.shape[2]

    def behind(patches: torch.Tensor, first: int) -> torch.Tensor:
        out = (patches @ filters.T + convolution.bias.detach()).T.reshape(1, -1, rows, rows)
        for layer in model.features[place + 1 :]:
            out = torch.relu(out) if isinstance(layer, nn.ReLU) else layer(out)
        return model.classifier(model.avgpool(out).flatten(1))[0, first : first + CHUNK]

    total = torch.zeros(patches.shape[1], patches.shape[1])
    for first in range(0, outputs, CHUNK):
        gradients = jacrev(behind)(patches, first).flatten(0, 1)
        total += gradients.T @ gradients
    return total


def exact_against_authors(side: int, outputs: int, divisor: int) -> list[str]:
    """Rows of a table: every layer, one image."""
    model = vgg11(weights=None, num_classes=outputs).eval() if divisor == 1 else narrow_vgg11(divisor, outputs)
    model.requires_grad_(requires_grad=False)
    image = torch.from_numpy(photographs(1, side))
    with torch.no_grad():
        model(image)
    measure(model, image, layers=["features.18"])
    ours, found = timed(lambda: measure(model, image))
    theirs, worst = 0.0, 0.0
    for name, layer in found.items():
        taken, matrix = timed(lambda name=name: authors_agop(model, int(name.split(".")[1]), image, outputs))
        theirs += taken
        expected = matrix.numpy()
        worst = max(worst, float(np.abs(layer.agop.dense()[0] - expected).max() / np.abs(expected).max()))
    return [
        "| work | ours, s | theirs, s | ratio | largest difference |",
        "|---|---|---|---|---|",
        (
            f"| VGG11, 8 layers, one image of {side} pixels, {outputs} outputs "
            f"| {ours:.1f} | {theirs:.1f} | {theirs / ours:.1f} | {worst:.1e} |"
        ),
    ]


def probes_against_exact(side: int, outputs: int, divisor: int, images: int, probes: int) -> list[str]:
    """Rows of a table, a row for each layer, and sentences."""
    model, batch = narrow_vgg11(divisor, outputs), torch.from_numpy(photographs(images, side))

    def measured(mode: str, seed: int = 0) -> dict[str, LayerAgop]:
        return measure(model, batch, mode, batch_size=images, probes=probes, seed=seed)

    measured("probe")
    slow, exact = timed(lambda: measured("exact"))
    times, found = zip(*(timed(lambda seed=seed: measured("probe", seed)) for seed in range(10)), strict=True)
    lines = [
        "| layer | exact | largest error of 10 seeds | mean standard error | intervals that contain the exact value |",
        "|---|---|---|---|---|",
    ]
    held, worst = 0, 0.0
    for name, layer in exact.items():
        truth = layer.correlation().value
        estimates = [probed[name].correlation() for probed in found]
        errors = [abs(estimate.value - truth) for estimate in estimates]
        inside = sum(estimate.low <= truth <= estimate.high for estimate in estimates)
        held, worst = held + inside, max(worst, max(errors))
        mean = np.mean([estimate.standard_error for estimate in estimates])
        lines.append(f"| {name} | {truth:.4f} | {max(errors):.4f} | {mean:.4f} | {inside} of 10 |")
    quick = float(np.median(times))
    return [
        (
            f"Exact mode took {slow:.1f} s, probe mode with {probes} probes {quick:.2f} s ({min(times):.2f}-{max(times):.2f}): "
            f"**{slow / quick:.0f} times faster**. Largest error of a corrected correlation: **{worst:.4f}**; the 95 % "
            f"intervals contain the exact value in **{held} of {10 * len(exact)}** cases."
        ),
        "",
        *lines,
    ]


def main() -> None:
    """Measure, print, and write the page if a machine is named."""
    parser = argparse.ArgumentParser(description="Speed of the ansatz engine.")
    parser.add_argument("--small", action="store_true", help="small networks; nothing is written")
    parser.add_argument("--machine", help="the machine in words; the page is written if it is given")
    parser.add_argument("--images", type=int, default=22)
    parser.add_argument("--probes", type=int, default=36)
    arguments = parser.parse_args()
    small = arguments.small
    first = exact_against_authors(*((32, 20, 8) if small else (112, 100, 1)))
    side, outputs, divisor = (32, 100, 8) if small else (64, 1000, 2)
    second = probes_against_exact(side, outputs, divisor, arguments.images, arguments.probes)
    text = "\n".join(
        [
            "# Benchmarks of the ansatz engine",
            "",
            f"Measured on {arguments.machine} by `python benchmarks/ansatz.py`, in float32.",
            "",
            "## Exact mode against the authors' procedure",
            "Theirs handles one layer at a time on unfolded patches, with ten outputs in one Jacobian; its time is the",
            "sum over the layers.",
            "",
            *first,
            "",
            "## Probes against exact mode",
            (
                f"A VGG11 with its filters divided by {divisor} and {outputs} outputs, at its initialisation, on "
                f"{arguments.images} photographs of {side} pixels. The cost of both modes is proportional to images and "
                "backward passes, so the ratio holds for 22 images of 224 pixels as well."
            ),
            "",
            *second,
            "",
        ]
    )
    print(text)
    if arguments.machine and not small:
        PAGE.write_text(text)


if __name__ == "__main__":
    main()
