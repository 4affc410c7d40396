"""Figure 2, images through the CNFM and through the patch-AGOP of each layer."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from pydantic import Field

from convrfm.replication.claims import evidence
from convrfm.replication.claims.evidence import Evidence, Judges, Number, Reading, Rule, with_interval
from convrfm.replication.config.models import Model, Positive, check_among
from convrfm.replication.figures.figure import Drawn, FigureSpec, run_inputs
from convrfm.replication.figures.style import figure_style, markdown_table, show_picture
from convrfm.replication.figures.zoo import caption_of_networks, is_stand_in, measurements, note_of, title, zoo_needs, zoo_runs
from convrfm.replication.record.session import Job
from convrfm.system.storage import load_arrays

__all__ = ["FIGURE", "Fig02", "caption", "draw", "draw_figure", "summary", "tidy"]


class Fig02(Model):
    """Figure 2, images through the matrices of each layer."""

    network: str = Field(description="network of the section zoo, such as vgg11-v1 or vgg11-standin")
    images: Positive = Field(description="images of each source that are compared; the first ones are shown")
    control_draws: Positive = Field(5, description="draws of the random matrices that each pair is compared with")

    def check(self, preset: Any) -> None:
        """Check against other sections; ValueError for a network that the section zoo does not have."""
        check_among("network", [self.network], "zoo", preset.zoo.networks)


judges = Judges("fig02", ("network", "layer"), ("index", "pearson", "control", "excess"), ("stand_in",))


@judges("A7")
def pretrained_pictures(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """By how much pictures through CNFM and AGOP agree beyond random matrices, for each layer, over the images."""
    for (network, layer), rows in evidence.spoken_of(claim, found.rows, "network").groupby(["network", "layer"], sort=False):
        number = Number(float("nan"))
        # Pictures of a single pixel have no correlation, and are left out as in the figure.
        if evidence.none_missing(rows["excess"].dropna()):
            row = summary(rows).iloc[0]
            number = Number(float(row["excess"]), evidence.bounds(row))
        what = f"{layer}, pixel correlation beyond that with random matrices"
        yield found.reading(rows, evidence.with_room(claim, rows["control"]), title(str(network)), what, number)


Pictures = Mapping[str, np.ndarray]
"""`input/<i>` `(3, h, w)`, `cnfm/<i>/<layer index>` and `agop/<i>/<layer index>` `(h, w)`, for shown images i."""


def tidy(network: str, protocol: str, metrics: pd.DataFrame) -> pd.DataFrame:
    """Say what each row of the comparison is about.

    Returns:
        columns `network` (such as "vgg11-standin"), `stand_in`, `protocol`, those of the metrics, `layer`, `index`, `source`,
        `image`, `pearson` (of the pixels of both pictures) and `control` (with random matrices), and their difference `excess`.
    """
    shared = {"network": network, "stand_in": is_stand_in(network), "protocol": protocol}
    return pd.DataFrame(shared, index=metrics.index).join(metrics).assign(excess=metrics["pearson"] - metrics["control"])


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Means over images by layer: columns `layer`, `pearson`, `control`, `excess`, `low`, `high` (95 %, of the excess)."""
    rows = []
    for _, part in table.groupby("index"):
        # Pictures of a single pixel, or constant ones, have no correlation.
        mean, low, high = evidence.interval(part["excess"].dropna().to_numpy())
        means = part[["pearson", "control"]].mean().to_dict()
        rows.append({"layer": part["layer"].iloc[0], **means, "excess": mean, "low": low, "high": high})
    return pd.DataFrame(rows)


def draw(table: pd.DataFrame, pictures: Pictures) -> Figure:
    """Draw the figure from a table of `tidy` and the pictures of the images that are shown."""
    network = table["network"].iloc[0]
    shown = sum(name.startswith("input/") for name in pictures)
    layers = list(dict.fromkeys(table["layer"]))
    # The first image of each source is shown, or the first ones of a single source.
    images = table[table["image"] == 0].groupby("source") if table["source"].nunique() > 1 else table.groupby("image")
    with figure_style():
        tight = ConstrainedLayoutEngine(w_pad=0.01, h_pad=0.02, wspace=0.01, hspace=0.01)
        many = len(layers) > MANY
        figure = Figure(figsize=(7.2, (1.1 if many else 2.05) * shown + 0.4), layout=tight)
        cells = figure.subplots(2 * shown, 1 + len(layers), squeeze=False)
        for i, (_, rows) in zip(range(shown), images, strict=False):
            show_picture(cells[2 * i, 0], pictures[f"input/{i}"].transpose(1, 2, 0))
            cells[2 * i, 0].set_title("image", fontsize=5 if many else 7)
            cells[2 * i + 1, 0].set_axis_off()
            for place, (_, row) in enumerate(rows.iterrows()):
                top, bottom = cells[2 * i : 2 * i + 2, 1 + place]
                show_picture(top, pictures[f"cnfm/{i}/{row['index']}"])
                show_picture(bottom, pictures[f"agop/{i}/{row['index']}"])
                # Beside many others there is room for the numbers alone; the caption says what they are.
                top.set_title(f"{place + 1}" if many else f"layer {place + 1}", fontsize=7)
                words = "{:.2f}\n{:.2f}" if many else "r = {:.2f}\nrand. {:.2f}"
                bottom.set_xlabel(words.format(row["pearson"], row["control"]), fontsize=6 if many else 6.5, labelpad=1.5)
            cells[2 * i, 1].set_ylabel("CNFM", fontsize=7)
            cells[2 * i + 1, 1].set_ylabel("AGOP", fontsize=7)
        note = note_of([network])
        figure.suptitle(f"{title(network)}, features entering each convolution" + f" ({note})" * bool(note), fontsize=8)
    return figure


MANY = 12
"""Layers beside which there is no room for words."""


def caption(table: pd.DataFrame) -> str:
    """Write the caption in Markdown; every number in it is computed from the table, which is from `tidy`."""
    network, means = table["network"].iloc[0], summary(table)
    images = len(table[["source", "image"]].drop_duplicates())
    opening = (
        f"**Figure 2, images through the matrices of each layer** (protocol: {table['protocol'].iloc[0]}), {title(network)}. "
        "Features entering each convolution, with every pixel replaced by the norm of the patch around it times the square "
        "root of the layer's filter covariance (CNFM, above) and of its patch-AGOP (below); patches wrap around the border, "
        "the norm is over all channels. Under each pair: the Pearson correlation of their pixels, and below it that of the "
        "upper picture with random matrices, the covariance of Gaussian filters of the same shape."
    )
    cells = (
        [r.layer, f"{r.pearson:.3f}", f"{r.control:.3f}", with_interval(r.excess, r.low, r.high, "+.3f")]
        for r in means.itertuples()
    )
    rows = markdown_table(["layer", "correlation", "random", "excess"], cells)
    said = f"Means over {images} images, with 95 % intervals of the excess:"
    return "\n".join([opening, "", said, "", *rows, *caption_of_networks([network], {})]) + "\n"


FIGURE = FigureSpec(
    title="Figure 2",
    subject="images through the matrices of each layer",
    about="Images as they enter each convolution, transformed by the square root of that layer's filter covariance (CNFM) and "
    "of its patch-AGOP, with the correlation of the two pictures and that with a random matrix.",
    section=Fig02,
    needs=lambda plan: zoo_needs(plan, [plan.section(Fig02).network]),
    inputs=run_inputs(
        lambda plan, protocol, file: zoo_runs(plan, protocol, file, kind="transformed", networks=[plan.section(Fig02).network]),
        "metrics",
        "records",
        "arrays",
    ),
    judges=judges,
)


@FIGURE.drawn
def draw_figure(job: Job, _: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption of the one network, without whose data the whole figure is SKIPPED."""
    (run,) = measurements(job)
    table = tidy(*run)
    return table, draw(table, load_arrays(job.input("arrays"))), caption(table)
