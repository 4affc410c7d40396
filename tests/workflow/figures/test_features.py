"""Figures 3, 10, 11 and 12 through Snakemake, on a tiny preset."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from convrfm.system.storage import load_arrays
from workflow.conftest import CONFIG, Project

FIGURES = ("fig03", "fig10", "fig11", "fig12")


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


def test_a_change_of_the_network_trains_it_anew(built):
    assert built.planned_after_change("src/convrfm/networks/plain_cnn.py", *FIGURES) == {
        "train_feature_network": 2, "draw_fig03": 2, "draw_fig10": 2,
    }  # fmt: skip


def test_without_natural_images_there_is_no_figure_11(project: Project):
    features = {**CONFIG["overrides"]["features"], "natural": "imagenette"}
    project.configure(overrides={"features": features}, data_mirror="http://127.0.0.1:9/")
    output = project.snakemake("-c2", "--", "fig11")
    assert re.search(r"fig11 \(published\), street-digits: SKIPPED \(.*Imagenette.* is absent", output)
    assert "Figure 11: SKIPPED" in (project.results / "figures/published/fig11.md").read_text()
    assert not (project.results / "runs").exists()
    # Figure 3 leaves a panel out, and has the rest to do.
    assert project.planned("fig03") == {
        "fetch": 1,
        "prepare": 1,
        "fit_features": 2,
        "train_feature_network": 1,
        "draw_fig03": 1,
    }
