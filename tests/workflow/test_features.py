"""Figures 3, 10, 11 and 12 through Snakemake, on a tiny preset."""

import json

import numpy as np
import pandas as pd
import pytest

from convrfm.storage import load_arrays
from workflow.conftest import Project

FIGURES = ("fig03", "fig10", "fig11", "fig12")

TASK = {
    "dataset": "street-digits",
    "size": 12,
    "colour": "grey",
    "n_train": 20,
    "n_test": 20,
    "rounds": 2,
    "ridges": [0.001],
    "depth": 1,
    "laplace_patch_size": 3,
    "network": {"width": 4, "epochs": 1},
}


@pytest.mark.parametrize("protocol", ["published", "corrected"])
@pytest.mark.parametrize("figure", FIGURES)
def test_each_is_built(built, protocol, figure):
    folder = built.results / "figures" / protocol
    for form in ("png", "pdf", "csv", "md", "json"):
        assert (folder / f"{figure}.{form}").stat().st_size > 0
    table = pd.read_parquet(folder / f"{figure}.parquet")
    assert set(table["protocol"]) == {protocol}
    assert table["stand_in"].all()
    assert table["value"].notna().all()
    assert "not comparable with the paper" in (folder / f"{figure}.md").read_text()


def test_the_metric_is_that_of_the_best_round_after_the_first(built):
    (path,) = built.results.glob("runs/features/published/*kernel=cntk*/arrays.safetensors")
    arrays, record = load_arrays(path), json.loads(path.with_name("record.json").read_text())
    assert record["best_round"] >= 1
    assert np.array_equal(arrays["best"], arrays[f"metric/{record['best_round']}"])
    assert arrays["best"].shape == (9, 9)


def test_without_natural_images_what_needs_them_is_skipped(project: Project):
    """Natural images that are not there leave out a panel of Figure 3, and all of Figure 11."""
    features = {"tasks": [TASK], "natural": "imagenette", "control_draws": 2}
    project.configure(overrides={"features": features}, data_mirror="http://127.0.0.1:9/")
    output = project.snakemake("-c2", "--", "fig03", "fig11")
    assert "fig03 (published), imagenette: SKIPPED" in output
    assert "Figure 11: SKIPPED" in (project.results / "figures/published/fig11.md").read_text()
    table = pd.read_parquet(project.results / "figures/published/fig03.parquet")
    assert set(table["panel"]) == {"A", "B"}
