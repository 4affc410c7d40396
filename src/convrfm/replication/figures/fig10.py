"""Figure 10, images through ConvRFM's metric and through the first layer of a network."""

from collections.abc import Mapping

import pandas as pd
from matplotlib.figure import Figure, SubFigure

from convrfm.replication.figures import features
from convrfm.replication.figures.feature_measurements import NETWORK, FeatureRun, measure_data_sets, operators_on
from convrfm.replication.figures.figure import Drawn, FigureSpec
from convrfm.replication.figures.style import short_title, with_stand_ins
from convrfm.replication.record.session import Job

__all__ = ["FIGURE", "Fig10", "caption", "draw", "draw_figure"]

SHOWN = 8


class Fig10(features.FeatureFigure):
    """Figure 10."""


RFM, CNN, RANDOM = "ConvRFM", "CNN", "random"
"""Names of the rows of pictures."""


def pair_labels(rows: pd.DataFrame, shown: int) -> dict[str, list[str]]:
    """What stands under the pictures of the network and of the random matrix: their correlation with ConvRFM's."""
    alike = rows[rows["quantity"] == "alike"].set_index("image")
    return {
        CNN: [f"r = {alike.loc[i, 'value']:.2f}" for i in range(shown)],
        RANDOM: [f"r = {alike.loc[i, 'control']:.2f}" for i in range(shown)],
    }


def draw(table: pd.DataFrame, strips: Mapping[str, features.Strip], skipped: Mapping[str, str]) -> Figure:
    """Draw the figure from the strips of the first seed, by data set, with the rows `RFM`, `CNN` and `RANDOM`."""
    return features.draw_data_sets(table, strips, skipped, height=lambda _: 4.1, draw=_draw_strip)


def _draw_strip(part: SubFigure, strip: features.Strip, rows: pd.DataFrame) -> None:
    dataset = rows["dataset"].iloc[0]
    features.draw_strip(part, strip, pair_labels(rows, len(strip.images)))
    part.suptitle(with_stand_ins(short_title(dataset), [dataset]), fontsize=8)


def caption(table: pd.DataFrame, skipped: Mapping[str, str]) -> str:
    """Write the caption in Markdown; every number in it is computed from the table. Arguments as for `draw`."""
    rest = (
        "Test images, with every pixel replaced by the norm of the patch around it times the metric of CNTK-ConvRFM, times "
        "(W - W_0)^T (W - W_0) of the first layer of the finite network, and times a random matrix. Under the pictures: the "
        "Pearson correlation of their pixels with those of ConvRFM's picture."
    )
    name = "Figure 10, first layers of ConvRFM and of networks"
    return features.caption_of(name, rest, table, skipped, features.by_data_set(table, pair_sentences))


def pair_sentences(rows: pd.DataFrame) -> str:
    """How alike the pictures are, and how much each looks like the Sobel magnitude."""
    alike, balanced = (features.excess(rows[rows["quantity"] == name]) for name in ("alike", "alike_without_means"))
    edges = [
        f"{name} {rows.loc[rows['quantity'] == f'sobel_{quantity}', 'value'].mean():.3f}"
        for name, quantity in (("ConvRFM's", "cntk"), ("the network's", "network"))
    ]
    random = rows.loc[rows["quantity"] == "sobel_cntk", "control"].mean()
    return (
        f"ConvRFM's picture and the network's correlate with {features.against_random(alike)}. Where brightness, the mean of "
        f"each patch, is left out, they correlate with {features.against_random(balanced)}. With the Sobel magnitude, "
        f"{edges[0]}, {edges[1]}, random matrices' {random:.3f}."
    )


judges = features.feature_judges("fig10")
judges("A9")(features.kernels_and_networks)


FIGURE = FigureSpec(
    title="Figure 10",
    subject="first layers of ConvRFM and of networks",
    about="Images through the metric that ConvRFM learns and through the filter covariance of the first layer of a network, "
    "with the correlation of the two pictures and that with random matrices.",
    judges=judges,
    **features.feature_figure(Fig10, ["cntk"], networks=True, natural=False),
)


@FIGURE.drawn
def draw_figure(job: Job, skipped: Mapping[str, str]) -> Drawn:
    """Give table, picture and caption; data sets that are not there are SKIPPED with the reason."""
    table, strips = measure_data_sets(job, first_layers_of)
    return table, draw(table, strips, skipped), caption(table, skipped)


def first_layers_of(job: Job, run: FeatureRun) -> tuple[pd.DataFrame, features.Strip]:
    """Transform test images by the metric of the CNTK, by the filters of the network, and at random; the first are shown."""
    rows, comparison = operators_on(job, run, "cntk", run.images, source=run.dataset)
    names = {RFM: "cntk", CNN: NETWORK, RANDOM: "random"}
    pictures = {name: comparison.pictures[matrix][:SHOWN] for name, matrix in names.items()}
    return rows, features.Strip(run.images[:SHOWN], pictures)
