"""Figures 4 and 6 through Snakemake: their runs and tables, what they share with Figure 5, absent data."""

import json

import pandas as pd
import pytest
from datasets.mirror import mirror

from convrfm.system.storage import load_arrays
from workflow.conftest import CONFIG, DIGITS

FIG06, FIG04 = (CONFIG["overrides"][name] for name in ("fig06", "fig04"))


@pytest.fixture(autouse=True)
def no_proxy(monkeypatch):
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


def table(project, figure, protocol="published"):
    return pd.read_parquet(project.results / f"figures/{protocol}/{figure}.parquet")


@pytest.mark.parametrize("protocol", ["published", "corrected"])
def test_figures_are_drawn_and_declare_their_stand_ins(built, protocol):
    for figure, task in (("fig06", "digits"), ("fig04", "bars")):
        folder = built.results / "figures" / protocol
        assert all((folder / f"{figure}.{form}").stat().st_size > 0 for form in ("png", "pdf", "csv"))
        rows = table(built, figure, protocol)
        assert set(rows["protocol"]) == {protocol}
        assert rows.set_index("task").loc[task, "stand_in"].all() == (task == "digits")
        assert json.loads((folder / f"{figure}.json").read_text())["skipped"] == {}
    assert "not comparable with the paper" in (folder / "fig06.md").read_text()


def test_the_table_holds_the_numbers_of_the_runs(built):
    rows = table(built, "fig06").query("task == 'digits' and quantity == 'run'").set_index("method")
    runs = built.results / "runs"
    history = pd.read_parquet(runs / "image-rfm/published/dataset=digits,classes=all,seed=0/metrics.parquet")
    assert rows.loc["CNTK", "value"] == history.query("stage == 0 and round == 0")["test_accuracy"].max()
    assert rows.loc["ConvRFM", "value"] == history.query("stage == 0 and round == 1")["test_accuracy"].max()
    assert rows.loc["Deep ConvRFM", "value"] == history.query("stage == 1")["test_accuracy"].max()
    epochs = pd.read_parquet(runs / "image-cnn/published/dataset=digits,classes=all,seed=0/metrics.parquet")
    assert rows.loc["CNN", "value"] == epochs.query("epoch > 0")["test_accuracy"].max()
    assert len(epochs) == 3
    # Under `corrected` the network of all training images is reported, and one without the validation part chooses.
    corrected = pd.read_parquet(runs / "image-cnn/corrected/dataset=digits,classes=all,seed=0/metrics.parquet")
    chosen = corrected.query("epoch > 0")
    chosen = chosen.loc[chosen["selection_accuracy"].idxmax()]
    reported = (
        table(built, "fig06", "corrected").query("task == 'digits' and method == 'CNN' and quantity == 'run'")["value"].item()
    )
    assert reported == chosen["test_accuracy"]


def test_local_signal_tasks_are_those_of_figure_5(built):
    fifth = table(built, "fig05").query("task == 'noisy-digits' and quantity == 'run'").set_index("method")["value"]
    sixth = table(built, "fig06").query("task == 'noisy-digits' and quantity == 'run'").set_index("method")["value"]
    assert sixth["ConvRFM"] == fifth["ConvRFM"]
    assert sixth["CNN"] == fifth["CNN (Adam)"]
    assert {path.name for path in (built.results / "runs/rfm/published").iterdir()} == {
        "task=bars,sigma=0.5,seed=0", "task=bars,sigma=2,seed=0", "task=noisy-digits,sigma=1,seed=0",
    }  # fmt: skip


def test_layers_of_figure_4(built):
    rows = table(built, "fig04")
    assert rows[["task", "layer", "image"]].drop_duplicates().shape[0] == len(rows) == 2 * 3
    arrays = load_arrays(built.results / "runs/layers/published/dataset=bars,seed=0/arrays.safetensors")
    # No padding: the second layer sees two pixels less each way.
    assert [arrays[f"kernel/{layer}"].shape for layer in (1, 2)] == [(16, 32), (14, 30)]


@pytest.mark.parametrize(
    ("change", "jobs"),
    [
        ("src/convrfm/replication/figures/fig04.py", {"draw_fig04": 2}),
        ("src/convrfm/replication/figures/fig06.py", {"draw_fig06": 2}),
        ("src/convrfm/replication/figures/style.py", {"draw_fig04": 2, "draw_fig06": 2}),
        ("src/convrfm/replication/plan/presets.py", {}),
    ],
)
def test_a_change_rebuilds_what_depends_on_it_and_nothing_else(built, change, jobs):
    assert built.planned_after_change(change, "fig04", "fig06") == jobs


def test_pairs_of_classes_are_runs_of_their_own(finished):
    pairs = [{**DIGITS, "first_classes": 3, "n_train": 12, "n_test": 8}]
    finished.configure(overrides={"fig06": {**FIG06, "pairs": pairs}})
    assert finished.planned("fig06") == {"prepare": 3, "fit_images": 3, "train_images": 3, "draw_fig06_pairs": 1}


def test_absent_data_are_skipped_and_the_rest_is_drawn(finished):
    with mirror({}) as server:
        fig06 = {**FIG06, "datasets": [DIGITS, {**DIGITS, "dataset": "svhn", "size": 32}]}
        finished.configure(overrides={"fig06": fig06, "fig04": {**FIG04, "datasets": ["svhn"]}}, data_mirror=server.address)
        output = finished.snakemake("-c2", "--", "fig04", "fig06")
    for figure in ("fig04", "fig06"):
        assert f"{figure} (published), svhn: SKIPPED (SVHN" in output
        caption = (finished.results / f"figures/published/{figure}.md").read_text()
        assert "**SVHN, cropped digits**: SKIPPED (SVHN" in caption
        assert "svhn" not in set(table(finished, figure)["task"])
    assert not list(finished.results.glob("runs/*/*/*svhn*"))
