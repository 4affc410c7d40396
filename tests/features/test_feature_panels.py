"""A panel for each data set: what is measured and shown of several data sets and seeds, and where it stands."""

import numpy as np
import pandas as pd
import pytest

from convrfm.replication.figures.feature_measurements import measure_data_sets
from convrfm.replication.figures.features import draw_data_sets, first_seed, show
from convrfm.replication.record.record import Recorder
from convrfm.replication.record.session import Job
from convrfm.system.storage import write_arrays

DATASETS = ("svhn", "street-digits")


@pytest.fixture
def job(tmp_path, rng):
    """The job of a figure of two data sets with two seeds each, without a network; the later seed comes first."""
    images, fits, sizes = [], [], "n_train=4,n_test=3"
    for dataset in DATASETS:
        for seed in (7, 3):
            images.append(tmp_path / "prepare" / "corrected" / f"dataset={dataset},{sizes},seed={seed}" / "arrays")
            fits.append(tmp_path / "features" / "corrected" / f"dataset={dataset},kernel=cntk,seed={seed}" / "arrays")
            write_arrays(images[-1], {"test/images": rng.random((3, 1, 5, 5))})
            write_arrays(fits[-1], {"best": np.full((9, 9), float(seed))})
    settings = {"protocol": "corrected", "images": 2}
    return Job({"images": images, "fits": fits, "networks": []}, {}, settings, 1, Recorder("test", "", settings))


def measure(job, run):
    keys = {
        "dataset": run.dataset,
        "source": run.dataset,
        "seed": run.seed,
        "draw": run.draw,
        **run.sizes,
        "kernel": "cntk",
        "patch_size": 3,
    }
    rows = pd.DataFrame({"quantity": ["trace"], "value": [run.metrics["cntk"].trace()], "control": [0.0]})
    assert run.images.shape == (2, 1, 5, 5)
    return rows.assign(**keys), run.seed


def test_each_data_set_has_its_panel_and_shows_its_first_seed(job):
    table, shown = measure_data_sets(job, measure)
    assert shown == dict.fromkeys(DATASETS, 7)
    found = table[["panel", "dataset", "seed", "value"]].to_numpy().tolist()
    assert found == [
        ["A", "svhn", 7, 63.0], ["A", "svhn", 3, 27.0],
        ["B", "street-digits", 7, 63.0], ["B", "street-digits", 3, 27.0],
    ]  # fmt: skip
    assert first_seed(table[table["dataset"] == "svhn"])["seed"].tolist() == [7]


def test_parts_have_their_letters_and_what_is_missing_stands_below(job):
    table, shown = measure_data_sets(job, measure)
    drawn = []

    def draw(part, seed, rows):
        drawn.append((rows["dataset"].tolist(), rows["seed"].tolist(), seed))
        show(part.subplots(), np.eye(3))

    figure = draw_data_sets(table, shown, {"gtsrb": "gone"}, height=lambda seed: seed / 7, draw=draw)
    figure.draw_without_rendering()
    assert drawn == [(["svhn"], [7], 7), (["street-digits"], [7], 7)]
    assert [[text.get_text() for text in part.texts] for part in figure.subfigs] == [["A"], ["B"], []]
    assert figure.get_figheight() == pytest.approx(1 + 1 + 0.9)
    (missing,) = figure.subfigs[2].axes
    assert [text.get_text() for text in missing.texts] == ["SKIPPED: gone"]
