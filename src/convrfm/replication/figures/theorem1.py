"""Theorem 1: both sides of Eq. 3 after one step, and how far they are from proportional."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Self

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from pydantic import Field, model_validator

from convrfm.numerics.inputs import generator
from convrfm.replication.claims.evidence import Evidence, Judges, Number, Reading, Rule
from convrfm.replication.config.models import Model, Positive
from convrfm.replication.figures.figure import Drawn, FigureSpec
from convrfm.replication.figures.style import bare, figure_style, letter, markdown_table, palette
from convrfm.replication.record.session import Job

if TYPE_CHECKING:
    from convrfm.ansatz.theorem import TheoremCheck

__all__ = ["FIGURE", "SHOWN", "Theorem1", "caption", "check_draw", "draw", "draw_figure", "tidy"]


class TheoremSize(Model):
    """One size of images and network."""

    images: Positive = Field(description="standard normal images, with standard normal targets")
    channels: Positive = Field(description="their channels")
    height: Positive = Field(description="their height")
    width: Positive = Field(description="their width")
    patch_size: Positive = Field(description="patch size q of the convolution that is looked at")
    filters: Positive = Field(description="its filters, and those of every other convolution")

    @model_validator(mode="after")
    def _a_patch_fits(self) -> Self:
        if self.patch_size >= min(self.height, self.width):
            msg = f"patch_size must be below height and width, but these are {self.height} and {self.width}"
            raise ValueError(msg)
        return self


class Theorem1(Model):
    """Theorem 1, checked in float64."""

    draws: Positive = Field(description="draws of images, targets and weights, with the seeds 0, 1, ...")
    learning_rate: float = Field(0.5, gt=0, description="size of the one step of gradient descent")
    sizes: list[TheoremSize] = Field(min_length=1, description="the first one is shown as matrices")


judges = Judges("theorem1", ("case", "title", "kind"), ("one_minus_rho",))

JUDGED = {"theorem": "largest", "control": "smallest"}
"""Kinds of a case, called as their conditions, and which of its numbers has to meet the condition."""


@judges("A6")
def theorem_1(claim: Rule, found: Evidence) -> Iterator[Reading]:
    """The worst 1 - rho of each network that the theorem covers, and the best one of each control."""
    for kind, which in JUDGED.items():
        cases = found.rows[found.rows["kind"] == kind]
        if cases.empty:
            found.problems.append(f"{found.path} has no case of the kind {kind}")
        for title, rows in cases.groupby("title", sort=False):
            gaps = rows["one_minus_rho"].to_numpy()
            # Of NumPy: one number that is missing makes the result missing.
            number = Number(float(gaps.max() if which == "largest" else gaps.min()))
            what = f"{which} 1 - rho of {len(gaps)} ({'the theorem' if kind == 'theorem' else 'control'})"
            yield found.reading(rows, kind, str(title), what, number)


def check_draw(size: Mapping[str, int], learning_rate: float, seed: int) -> "list[TheoremCheck]":
    """Check all cases on one draw of images and targets, of a size: `images`, `channels`, `height`, `width` and so on."""
    # Imports PyTorch, which plans do not need; also below.
    from convrfm.ansatz.theorem import CASES, check_theorem

    rng = generator(seed, "images and targets of the theorem")
    images = rng.standard_normal([size[axis] for axis in ("images", "channels", "height", "width")])
    targets = rng.standard_normal(size["images"])
    network = {name: size[name] for name in ("filters", "patch_size")}
    return [check_theorem(case, images, targets, **network, learning_rate=learning_rate, seed=seed) for case in CASES]


def tidy(checks: "Sequence[tuple[Mapping[str, int], int, TheoremCheck]]", protocol: str) -> pd.DataFrame:
    """Bring checks, each with its size and seed, into one table, a row for each case, size, draw and point of evaluation.

    The protocol changes nothing here, and stands in every table.

    Returns:
        columns `case`, `title`, `kind`, `images`, `channels`, `height`, `width`, `patch_size`, `filters`, `seed`, `point`,
        `one_minus_rho`, `rho`, `others_moved`, `protocol`, `stand_in` (never).
    """
    from convrfm.ansatz.theorem import CASES

    cases = {case.name: {"case": case.name, "title": case.title, "kind": case.kind} for case in CASES}
    rows = []
    for size, seed, check in checks:
        shared = {**cases[check.case], **size, "seed": seed}
        for point, gap in check.gap.items():
            rows.append({**shared, "point": point, "one_minus_rho": gap, "rho": 1 - gap, "others_moved": check.others_moved})
    return pd.DataFrame(rows).assign(protocol=protocol, stand_in=False)


SHOWN = ("first", "random-start")
"""The cases that are shown as matrices."""

SIZE = ["images", "channels", "height", "width", "patch_size", "filters"]
"""Columns of the table that tell sizes apart."""

POINT_TITLES = {"zero": "u = 0", "image": "an image", "mean": "mean over images"}

KIND_TITLES = {
    "theorem": "the theorem",
    "weaker": "b of one direction, not of one length",
    "border": "b differs near the border",
    "control": "control",
}


def draw(table: pd.DataFrame, shown: "Sequence[TheoremCheck]") -> Figure:
    """Draw the figure from the table, and from the checks of the cases in `SHOWN`."""
    with figure_style():
        figure = Figure(figsize=(7.2, 3.5), layout="constrained")
        left, right = figure.subfigures(1, 2, width_ratios=(1, 1.75))  # type: ignore[misc]
        maps = left.subplots(len(shown), 2)
        cases = cases_of(table).set_index("case")
        for row, check in zip(maps, shown, strict=True):
            case = cases.loc[check.case]
            _draw_sides(row, check, f"{case['title']}\n({KIND_TITLES[case['kind']]})")
        letter(maps[0, 0], "A", offset=-0.3)
        axes = right.subplots()
        _draw_gaps(axes, table)
        letter(axes, "B", offset=-0.38)
    return figure


def _draw_sides(row: np.ndarray, check: "TheoremCheck", label: str) -> None:
    """W^T W and the right side, each divided by its largest entry in size."""
    for axes, matrix, title in zip(row, (check.cnfm, check.agop["mean"]), ("$W^T W$", "patch-AGOP"), strict=True):
        axes.imshow(matrix / np.abs(matrix).max(), cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest")
        axes.set_title(title)
        bare(axes)
    row[0].set_ylabel(label)
    row[1].set_xlabel(rf"1 - $\rho$ = {check.gap['mean']:.2g}")


def _draw_gaps(axes: Axes, table: pd.DataFrame) -> None:
    """1 - rho of every check, a row for each case, on a logarithmic scale."""
    colours = dict(zip(KIND_TITLES, palette("colorblind", len(KIND_TITLES)), strict=True))
    markers = dict(zip(POINT_TITLES, "osD", strict=True))
    present = list(cases_of(table).itertuples())
    for height, case in enumerate(present):
        rows = table[table["case"] == case.case]
        for offset, point in zip((-0.22, 0, 0.22), POINT_TITLES, strict=True):
            gaps = rows.loc[rows["point"] == point, "one_minus_rho"]
            axes.plot(
                gaps, np.full(len(gaps), height + offset), markers[point], color=colours[case.kind],
                markersize=3, markeredgewidth=0.4, markerfacecolor="none", alpha=0.8,
            )  # fmt: skip
    draws = table["seed"].nunique() * len(table.drop_duplicates(SIZE))
    axes.set_yticks(range(len(present)), [case.title for case in present])
    axes.set(
        xscale="log", xlim=(1e-34, 10), xlabel=r"1 - $\rho$, Pearson correlation of all entries",
        xticks=[1e-30, 1e-20, 1e-10, 1], ylim=(len(present) - 0.4, -0.95), title=f"{draws} draws for each, float64",
    )  # fmt: skip
    for kind in dict.fromkeys(case.kind for case in present):
        axes.plot([], [], "o", color=colours[kind], label=KIND_TITLES[kind], markersize=4)
    for point, title in POINT_TITLES.items():
        axes.plot([], [], markers[point], color="0.3", markerfacecolor="none", label=title, markersize=4)
    axes.legend(
        loc="upper center", bbox_to_anchor=(0.3, -0.18), ncols=2, title="colour: kind of case; marker: where Eq. 3 is evaluated"
    )  # fmt: skip
    axes.grid(axis="x", alpha=0.5)


def cases_of(table: pd.DataFrame) -> pd.DataFrame:
    """The cases of a table, in their order: columns `case`, `title`, `kind`."""
    return table[["case", "title", "kind"]].drop_duplicates()


def caption(table: pd.DataFrame) -> str:
    """Write the caption in Markdown; every number in it is computed from the table."""
    worst = table.groupby("kind")["one_minus_rho"].agg(["min", "max"])
    sizes = table.drop_duplicates(SIZE)
    described = "; ".join(
        f"{r.images} images of {r.channels}x{r.height}x{r.width}, q = {r.patch_size}, {r.filters} filters"
        for r in sizes.itertuples()
    )
    opening = (
        f"**Theorem 1** (protocol: {table['protocol'].iloc[0]}, which changes nothing here). One step of full-batch gradient "
        "descent of all weights on the squared error, in float64, then W^T W against the patch-AGOP of the same convolution "
        "(Eq. 3); gradients by autograd on unfolded patches. Images, targets and random weights are standard normal: "
        f"{described}; {table['seed'].nunique()} draws of each size."
    )
    panels = (
        "**A**: both sides, each over its largest entry, first draw, mean over the images. **B**: 1 - rho of every draw; "
        "points at 1e-30 are equal up to rounding."
    )
    found = (
        f"The theorem's networks: 1 - rho is at most {worst.loc['theorem', 'max']:.1e}, for the first convolution and for a "
        "later one through the sub-network behind it, at u = 0, at an image and on average. Controls, which break an "
        f"assumption: 1 - rho is at least {worst.loc['control', 'min']:.2g}."
    )
    beyond = (
        "Zero padding behind W breaks the assumption that b is the same everywhere. With constant filters only its length "
        f"changes, and 1 - rho is at most {worst.loc['weaker', 'max']:.1e}: one direction of b is enough. With random filters "
        "its direction changes near the border, and 1 - rho lies between "
        f"{worst.loc['border', 'min']:.1e} and {worst.loc['border', 'max']:.2g}."
    )
    gaps = table.groupby(["case", "title", "kind"], sort=False)["one_minus_rho"].agg(["min", "max"])
    rows = ([title, KIND_TITLES[kind], f"{low:.1e}", f"{high:.1e}"] for (_, title, kind), (low, high) in gaps.iterrows())
    cases = markdown_table(["case", "kind", "smallest 1 - rho", "largest 1 - rho"], rows)
    return "\n".join([opening, "", panels, "", found, "", beyond, "", *cases]) + "\n"


FIGURE = FigureSpec(
    title="Theorem 1",
    subject="",
    about="Both sides of Eq. 3 after one step of gradient descent, for the networks of Theorem 1 and for controls that violate "
    "its assumptions.",
    section=Theorem1,
    needs=lambda _: {},
    seen=lambda plan, _: plan.section(Theorem1).model_dump(),
    judges=judges,
)


@FIGURE.drawn
def draw_figure(job: Job, _: Mapping[str, str]) -> Drawn:
    """Check every case at every size for every draw, and give table, picture and caption."""
    import torch

    torch.set_num_threads(job.threads)
    given = job.settings
    checks = [
        (size, seed, check)
        for size in given["sizes"]
        for seed in range(given["draws"])
        for check in check_draw(size, given["learning_rate"], seed)
    ]
    table = tidy(checks, given["protocol"])
    # The first draw of the first size comes first.
    shown = [next(check for _, _, check in checks if check.case == name) for name in SHOWN]
    return table, draw(table, shown), caption(table)
