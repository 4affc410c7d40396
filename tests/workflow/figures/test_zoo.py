"""Figures 1, 2 and 7 through Snakemake: their runs and tables, what makes them stale, absent weights."""

import json

import pandas as pd
import pytest
from datasets.mirror import mirror

from convrfm.system.storage import load_arrays
from workflow.conftest import CONFIG, ZOO

FIGURES = ("fig01", "fig02", "fig07")
RUN = "network=vgg11-standin,seed=0"


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.mark.parametrize("protocol", ["published", "corrected"])
def test_figures_are_drawn_and_declare_their_stand_ins(built, protocol):
    for figure in FIGURES:
        folder = built.results / "figures" / protocol
        for form in ("png", "pdf", "csv"):
            assert (folder / f"{figure}.{form}").stat().st_size > 0
        table = pd.read_parquet(folder / f"{figure}.parquet")
        assert set(table["protocol"]) == {protocol}
        assert table["stand_in"].all()
        assert "not comparable with the paper" in (folder / f"{figure}.md").read_text()
        assert json.loads((folder / f"{figure}.json").read_text())["skipped"] == {}


def test_tables_hold_the_numbers_of_the_runs(built):
    measured = pd.read_parquet(built.results / f"runs/ansatz/published/{RUN}/metrics.parquet")
    means = measured[(measured["layer"] == "mean") & (measured["quantity"] == "pearson")].set_index("when")["value"]
    first = pd.read_parquet(built.results / "figures/published/fig01.parquet").set_index("quantity")
    assert first.loc["pearson", "value"] == means["trained"]
    assert first.loc["initial_pearson", "value"] == means["initial"]
    assert (first["layers"] == 8).all()
    seventh = pd.read_parquet(built.results / "figures/published/fig07.parquet").query("panel == 'B'")
    assert seventh["epoch"].tolist() == [0, 1, 2]
    assert seventh["value"].tolist() == [means["initial"], means["epoch"], means["trained"]]
    second = pd.read_parquet(built.results / "figures/published/fig02.parquet")
    # Two photographs, and as many digits, through eight layers.
    assert len(second) == 8 * (2 + 2)
    arrays = load_arrays(built.results / f"runs/ansatz/published/{RUN}/arrays.safetensors")
    assert arrays["trained/features.0/weight"].shape == (1, 4, 27)


@pytest.mark.parametrize(
    ("change", "rules"),
    [
        ("src/convrfm/replication/figures/fig01.py", ["draw_fig01"]),
        ("src/convrfm/replication/figures/fig02.py", ["draw_fig02"]),
        ("src/convrfm/replication/figures/fig07.py", ["draw_fig07"]),
        ("src/convrfm/ansatz/summaries.py", ["measure_ansatz", "transform_images", *(f"draw_{name}" for name in FIGURES)]),
        ("src/convrfm/networks/plain_cnn.py", []),
    ],
)
def test_a_change_rebuilds_what_depends_on_it_and_nothing_else(built, change, rules):
    assert built.planned_after_change(change, *FIGURES) == dict.fromkeys(rules, 2)


def test_networks_without_weights_are_skipped_and_the_rest_is_drawn(finished):
    with mirror({}) as server:
        zoo = {**CONFIG["overrides"]["zoo"], "weights": ["alexnet-v1"], "dataset": "imagenette"}
        finished.configure(overrides={"zoo": zoo}, data_mirror=server.address)
        output = finished.snakemake("-c2", "--", "fig01", "fig07")
        assert "fig01 (published), alexnet-v1: SKIPPED (weights of torchvision's alexnet, IMAGENET1K_V1 is absent" in output
        assert "Imagenette, 320 px is absent" in output
        for figure in ("fig01", "fig07"):
            caption = (finished.results / f"figures/published/{figure}.md").read_text()
            assert "**AlexNet**: SKIPPED (weights of torchvision's alexnet" in caption
            assert "| VGG11 | " in caption
        # Without any network there is no figure, and all of its files say why.
        zoo = {"weights": ["alexnet-v1"], "dataset": "imagenette", "standins": [], "measurement": ZOO["measurement"]}
        names = {"fig01": {"heat_maps": ["alexnet-v1"]}, "fig02": {"network": "alexnet-v1", "images": 2}}
        finished.configure(overrides={"zoo": zoo, **names}, data_mirror=server.address)
        finished.snakemake("-c2", "--", *FIGURES)
        for figure in FIGURES:
            assert "SKIPPED" in (finished.results / f"figures/published/{figure}.md").read_text()
        assert not list(finished.results.glob("runs/*/*/*alexnet*"))
