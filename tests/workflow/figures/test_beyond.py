"""The studies beyond the paper and the printed numbers through Snakemake, on small draws and small official archives."""

import pandas as pd
import pytest
from datasets.official import MAKERS
from datasets.packing import md5

from convrfm.replication.figures.printed import PRINTED
from convrfm.replication.record.record import read_record
from convrfm.system.storage import sha256
from workflow.conftest import DIGITS, PANEL
from workflow.test_data import put_mnist

KERNELS = {"rounds": 2, "stages": 2, "filters": 3, "ridges": [1e-5, 1e-3]}
BEYOND = {
    "seeds": [0],
    "tasks": [{"task": "bars", "n_train": [24], "n_test": 16, "depth": 2, "rfm": KERNELS}],
    "choices": {"n_train": 24, "stages": 2, "agop_samples": [20], "changes": [{"metric_power": 2.0}]},
}


def test_what_single_choices_are_worth(project):
    project.configure(overrides={"beyond": BEYOND})
    # Not built unasked.
    assert not {"fit_variant", "draw_beyond"} & set(project.planned())
    project.snakemake("-c2", "--", "beyond")
    assert project.planned("beyond") == {}
    table = pd.read_parquet(project.results / "figures/published/beyond.parquet")
    # 20 images in the AGOP are what `published` takes anyway: that fit is not done twice.
    found = set(table[["protocol", "variant", "agop_images"]].itertuples(index=False, name=None))
    assert found == {
        ("published", "unchanged", 20), ("published", "agop_samples-all", 24), ("published", "metric_power-2", 20),
        ("corrected", "unchanged", 19),
    }  # fmt: skip
    runs = project.results / "runs/variant/published"
    history = pd.read_parquet(runs / "variant=metric_power-2,task=bars,sigma=1,n_train=24,seed=0/metrics.parquet")
    row = table[(table["variant"] == "metric_power-2") & (table["method"] == "ConvRFM")].iloc[0]
    assert row["accuracy"] == history.query("stage == 0 and round == 1")["test_accuracy"].max()
    assert "| metric = AGOP squared |" in (project.results / "figures/published/beyond.md").read_text()
    for form in ("png", "pdf", "csv"):
        assert (project.results / f"figures/published/beyond.{form}").stat().st_size > 0

    # Words of the figure draw it again, and fit nothing again; choices fit what they name.
    assert project.planned_after_change("src/convrfm/replication/figures/beyond.py", "beyond") == {"draw_beyond": 1}
    choices = {**BEYOND["choices"], "changes": [{"metric_power": 2.0}, {"nonlinearity": "none"}]}
    project.configure(overrides={"beyond": {**BEYOND, "choices": choices}})
    assert project.planned("beyond") == {"fit_variant": 1, "draw_beyond": 1}


def miniature(project):
    """Official archives of a few images, and printed runs of so many, in a copy of the project."""
    folder = project.root / "data/svhn"
    folder.mkdir(parents=True)
    registry = project.root / "src/convrfm/datasets/registry.py"
    text = registry.read_text()
    published = {"train": "e26dedcc434d2e4c54c9b2d4a06d8373", "test": "eb5a983be6a315427106f1b164d9cef3"}
    for name, content in MAKERS["svhn"]().files.items():
        (folder / name).write_bytes(content)
        text = text.replace(published[name.partition("_")[0]], md5(content))
    registry.write_text(text)
    put_mnist(project.root / "data/mnist")
    path = project.root / "src/convrfm/replication/figures/printed.py"
    text = path.read_text().replace("_train=1000", "_train=20").replace("_test=1000", "_test=10")
    text = text.replace("_train=4000", "_train=16").replace("_test=4000", "_test=10")
    path.write_text(text.replace("_train=200", "_train=12").replace("_test=200", "_test=8"))


@pytest.fixture
def anchored(project):
    miniature(project)
    ridges = {"ridges": [1e-5]}
    svhn = {**DIGITS, "dataset": "svhn", "n_train": 20, "n_test": 10, "size": 32, "depth": 3,
            "rfm": {"rounds": 5, "stages": 1, "filters": 2, **ridges}}  # fmt: skip
    mnist = {**PANEL, "task": "noisy-mnist", "sigmas": [1.0], "n_train": 16, "n_test": 10, "depth": 3,
             "rfm": {"rounds": 4, "stages": 1, "filters": 2, **ridges}}  # fmt: skip
    overrides = {
        "fig05": {"panels": [mnist]},
        "fig06": {"datasets": [svhn], "layers": [], "pairs": []},
        "fig04": {"sigma": 1.0},
    }
    return project, overrides


def test_printed_numbers_beside_ours(anchored):
    project, overrides = anchored
    project.configure(overrides={**overrides, "printed": {"runs": ["svhn-1000", "noisy-mnist-200"]}})
    project.snakemake("-c2", "--", "printed")
    table = pd.read_parquet(project.results / "figures/published/printed.parquet")
    assert table.groupby("run")["round"].nunique().to_dict() == {"svhn-1000": 5, "noisy-mnist-200": 2}
    runs = project.results / "runs"
    for name, run in (
        ("svhn-1000", "image-rfm/published/dataset=svhn,classes=all,seed=0"),
        ("noisy-mnist-200", "printed-rfm/published/task=noisy-mnist,sigma=1,n_train=12,n_test=8,seed=0"),
    ):
        history = pd.read_parquet(runs / run / "metrics.parquet").set_index("round")
        rows = table[(table["run"] == name) & (table["quantity"] == "accuracy")].set_index("round")
        assert rows["printed"].to_list() == list(PRINTED[name].accuracy)
        assert rows["ours"].to_list() == (100 * history["test_accuracy"]).to_list()
        record = read_record(runs / run / "record.json")
        assert (record["rfm"]["agop_samples"], record["rfm"]["ridges"]) == (20, [1e-5])
        assert sha256(runs / run / "metrics.parquet") == record["outputs"]["metrics"]["sha256"]
    errors = table[table["quantity"] == "squared error"]
    assert set(errors["run"]) == {"svhn-1000"}
    caption = (project.results / "figures/published/printed.md").read_text()
    assert "| 0 | squared error |" in caption
    assert "SKIPPED" not in caption

    # The larger printed run of noisy MNIST is that of Figure 5.
    project.configure(overrides={**overrides, "printed": {"runs": list(PRINTED)}})
    assert project.planned("printed") == {"prepare": 1, "draw": 1, "fit_rfm": 1, "draw_printed": 1}


def test_a_preset_without_printed_numbers_says_where_they_are(project):
    output = project.snakemake("-c1", "printed", succeeds=False)
    assert (
        "The preset quick has none of the sizes at which the authors printed numbers: use --config preset=workstation."
        in output
    )
