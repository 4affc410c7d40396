"""Figure 9 and Theorem 1 through Snakemake: what they leave, and what makes them stale."""

import json

import pandas as pd
import pytest

from convrfm.system.storage import load_arrays

FIGURES = ("fig09", "theorem1")


@pytest.mark.parametrize("protocol", ["published", "corrected"])
def test_everything_is_built(built, protocol):
    for figure in FIGURES:
        for form in ("png", "pdf", "parquet", "csv", "md", "json"):
            assert (built.results / "figures" / protocol / f"{figure}.{form}").stat().st_size > 0
    assert len(list((built.results / "runs/shallow" / protocol).glob("*/record.json"))) == 2
    assert len(list((built.results / "runs/resample" / protocol).glob("*/record.json"))) == 1


@pytest.mark.parametrize(("protocol", "chosen_by"), [("published", "test"), ("corrected", "validation")])
def test_shallow_networks_are_measured_before_and_after(built, protocol, chosen_by):
    table = pd.read_parquet(built.results / "figures" / protocol / "fig09.parquet")
    assert set(table["protocol"]) == {protocol}
    assert set(table["architecture"]) == {"vanilla", "MyrtleMax"}
    assert set(table["when"]) == {"initial", "trained"}
    assert table["stand_in"].all()
    (images,) = built.results.glob(f"runs/resample/{protocol}/dataset=digits,*/arrays.safetensors")
    assert len(load_arrays(images)["train/indices"]) == 24
    record = json.loads(images.with_name("record.json").read_text())
    assert record["drawn_with_replacement"] == (protocol == "published")
    (path,) = built.results.glob(f"runs/shallow/{protocol}/*architecture=vanilla,*/record.json")
    assert json.loads(path.read_text())["chosen_by"] == chosen_by
    metrics = pd.read_parquet(path.with_name("metrics.parquet"))
    row = table.query("architecture == 'vanilla' and when == 'trained' and index == 2 and quantity == 'cosine'")
    expected = metrics.query("when == 'trained' and index == 2 and quantity == 'cosine' and power == 1")
    assert row["value"].item() == expected["value"].item()
    caption = (built.results / "figures" / protocol / "fig09.md").read_text()
    assert f"protocol: {protocol}" in caption
    assert "not comparable with the paper" in caption


def test_the_theorem_holds(built):
    table = pd.read_csv(built.results / "figures/published/theorem1.csv")
    assert table.loc[table["kind"] == "theorem", "one_minus_rho"].max() < 1e-9
    assert table.loc[table["kind"] == "control", "one_minus_rho"].min() > 1e-2


@pytest.mark.parametrize(
    ("change", "jobs"),
    [
        ("replication/figures/fig09.py", {"draw_fig09": 2}),
        ("replication/figures/theorem1.py", {"draw_theorem1": 2}),
        ("ansatz/theorem.py", {"draw_theorem1": 2}),
        ("networks/shallow.py", {"train_shallow": 4, "draw_fig09": 2}),
        ("networks/plain_cnn.py", {}),
        ("replication/jobs/shallow.py", {"train_shallow": 4, "draw_fig09": 2}),
    ],
)
def test_a_change_rebuilds_what_depends_on_it_and_nothing_else(built, change, jobs):
    assert built.planned_after_change(f"src/convrfm/{change}", *FIGURES) == jobs


def test_an_edited_threshold_redraws_the_figures_that_quote_it_and_no_other(built):
    file = built.root / "src/convrfm/replication/claims/claims.yaml"
    before = file.read_text()
    try:
        file.write_text(before.replace("bound: 1.0e-9", "bound: 2.0e-9"))
        assert built.planned() == {"draw_theorem1": 2}
    finally:
        file.write_text(before)


def test_configuration_reaches_the_jobs_that_see_it(built):
    one = ("--config", "protocol=published")
    assert built.planned(*FIGURES, *one) == {}
    assert built.planned(*FIGURES, *one, "seeds=[0,1]") == {}  # the tiny section trains with the first seed only
    assert built.planned(*FIGURES, *one, "device=cpu") == {"train_shallow": 2, "draw_fig09": 1}


def test_absent_data_are_skipped_and_the_rest_is_drawn(finished):
    digits = {"dataset": "digits", "size": 8, "colour": "grey", "scaling": "unit", "n_train": 24, "n_test": 16}
    usps = {**digits, "dataset": "usps"}
    section = {
        "datasets": [digits, usps], "architectures": ["vanilla", "MyrtleMax"], "patch_sizes": [3], "width": 4, "epochs": 2,
        "seeds": 1,
    }  # fmt: skip
    finished.configure(overrides={"fig09": section}, data_mirror="http://127.0.0.1:9")
    output = finished.snakemake("-c2", "--", "fig09")
    assert "fig09 (published), usps: SKIPPED" in output
    assert set(pd.read_csv(finished.results / "figures/published/fig09.csv")["dataset"]) == {"digits"}
    assert "SKIPPED (" in (finished.results / "figures/published/fig09.md").read_text()
