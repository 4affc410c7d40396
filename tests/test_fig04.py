"""Figure 4: pictures against direct computation, tables and captions with known answers, what is admitted."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from matplotlib.text import Text

from convrfm.pictures.filtering import patch_magnitude, pixel_pearson
from convrfm.replication.figures import fig04
from convrfm.replication.jobs.transformed import transform_layers
from convrfm.replication.record.record import Recorder
from convrfm.replication.record.session import Job
from convrfm.rfm.deep import apply_filters
from convrfm.system.storage import load_arrays, write_arrays, write_table

Q = 3


def psd(rng, dimension):
    factor = rng.standard_normal((2, dimension))
    return factor.T @ factor


@pytest.fixture
def job(tmp_path, rng):
    """A job whose kernel and network have two layers of 4 filters, on 3 images in 2 channels."""
    images = rng.random((3, 2, 9, 8)).astype(np.float32)
    labels = np.array([0, 1, 0])
    parts = {"images": images, "labels": labels, "targets": np.eye(2, dtype=np.float32)[labels]}
    write_arrays(tmp_path / "images", {f"{part}/{name}": a for part in ("train", "test") for name, a in parts.items()})
    fit = {
        "best_round/0": np.array(1), "metric/0/0": np.eye(18), "metric/0/1": psd(rng, 18), "metric/0/2": np.eye(18),
        "filters/0": rng.standard_normal((4, 18)),
        "best_round/1": np.array(0), "metric/1/0": np.eye(36), "metric/1/1": psd(rng, 36),
    }  # fmt: skip
    write_arrays(tmp_path / "fit", fit)
    weights = {
        f"{when}/convolutions.{layer}.weight": rng.standard_normal((4, c, Q, Q)).astype(np.float32)
        for when in ("initial", "final") for layer, c in enumerate((2, 4))
    }  # fmt: skip
    write_arrays(tmp_path / "network", weights | {"final/readout.weight": np.ones((2, 3), np.float32)})
    scores = [(0, 0, 0.5), (0, 1, 0.7), (0, 2, 0.6), (1, 0, 0.9), (1, 1, 0.4)]
    history = pd.DataFrame(scores, columns=["stage", "round", "test_accuracy"]).assign(ridge=1e-5)
    write_table(tmp_path / "history.parquet", history)
    settings = {"dataset": "digits", "classes": "all", "n_train": 5, "n_test": 5, "patch_size": Q, "images": 2, "control_draws": 2, "seed": 0,
                "protocol": "published"}  # fmt: skip
    inputs = {"draw": [], **{name: [tmp_path / name] for name in ("images", "fit", "network")}}
    inputs["history"] = [tmp_path / "history.parquet"]
    outputs = {"metrics": tmp_path / "metrics.parquet", **{n: tmp_path / f"out-{n}" for n in ("arrays", "record")}}
    job = Job(inputs, outputs, settings, 1, Recorder("test", "", settings))
    return SimpleNamespace(job=job, images=images[:2], fit=fit, weights=weights)


def test_pictures_are_those_of_the_metrics_and_of_what_training_added(job):
    transform_layers(job.job)
    metrics = pd.read_parquet(job.job.outputs["metrics"])
    arrays = load_arrays(job.job.outputs["arrays"])
    # In the second stage round 0 is the best, and the best of those that have learned is shown.
    shown = metrics[["layer", "round", "followed", "image"]].to_numpy().tolist()
    assert shown == [[1, 1, True, 0], [1, 1, True, 1], [2, 1, False, 0], [2, 1, False, 1]]
    features, entering = job.images, torch.from_numpy(job.images)
    for layer, metric in ((1, job.fit["metric/0/1"]), (2, job.fit["metric/1/1"])):
        initial, final = (
            torch.from_numpy(job.weights[f"{when}/convolutions.{layer - 1}.weight"]) for when in ("initial", "final")
        )
        change = (final - initial).flatten(1).double().numpy()
        kernel = patch_magnitude(features, metric, Q, 1.0)
        network = patch_magnitude(entering.numpy(), change.T @ change, Q, 1.0)
        assert np.allclose(arrays[f"kernel/{layer}"], kernel[0], rtol=1e-5)
        assert np.allclose(arrays[f"network/{layer}"], network[0], rtol=1e-5)
        assert arrays[f"random/{layer}"].shape == kernel[0].shape
        expected = [np.corrcoef(a.ravel(), b.ravel())[0, 1] for a, b in zip(kernel, network, strict=True)]
        assert np.allclose(metrics.query(f"layer == {layer}")["pearson"], expected, atol=1e-6)
        if layer == 1:
            features = apply_filters(features, job.fit["filters/0"], Q, "relu")
            entering = torch.relu(torch.nn.functional.conv2d(entering, final))
    assert json.loads(job.job.outputs["record"].read_text())["seed"] == 0


def test_a_network_that_has_the_metric_agrees_and_a_random_matrix_does_not(job, tmp_path, rng):
    """Negative control of the comparison: the same matrix on both sides gives 1, another one less."""
    change = rng.standard_normal((4, 2, Q, Q)).astype(np.float32)
    name = "convolutions.0.weight"
    weights = {**job.weights, f"final/{name}": job.weights[f"initial/{name}"] + change}
    write_arrays(tmp_path / "network", weights)
    added = (weights[f"final/{name}"] - weights[f"initial/{name}"]).reshape(4, -1).astype(np.float64)
    write_arrays(tmp_path / "fit", {**job.fit, "metric/0/1": added.T @ added})
    transform_layers(job.job)
    first = pd.read_parquet(job.job.outputs["metrics"]).query("layer == 1")
    assert np.allclose(first["pearson"], 1, atol=1e-5)
    assert (first["control"] < 0.99).all()


def test_pixel_pearson(rng):
    a, b = rng.random((2, 3, 5, 4))
    assert np.allclose(pixel_pearson(a, 7 - 3 * a), -1)
    assert np.allclose(pixel_pearson(a, b), [np.corrcoef(x.ravel(), y.ravel())[0, 1] for x, y in zip(a, b, strict=True)])
    assert np.isnan(pixel_pearson(a, np.ones_like(a))).all()


def run(pearson, *, dataset="svhn", seed=0, layers=2, followed=True, images=3, draw=None):
    rows = [
        {"layer": layer, "round": 1, "followed": followed, "image": i, "pearson": pearson + 0.01 * i, "control": 0.2 + 0.01 * i}
        for layer in range(1, layers + 1) for i in range(images)
    ]  # fmt: skip
    keys = {"protocol": "published", "dataset": dataset, "seed": str(seed)}
    settings = {"n_train": 50, "n_test": 40, **({"sigma": 2.0} if dataset == "bars" else {})}
    images = {"images/0": {"sha256": f"{seed if draw is None else draw:064x}"[::-1]}}
    return keys, {"settings": settings, "inputs": images}, pd.DataFrame(rows)


def pictures(layers=2, channels=3):
    square = np.arange(20.0).reshape(4, 5)
    named = {f"{row}/{layer}": square for row in ("kernel", "network", "random") for layer in range(1, layers + 1)}
    return {"image": np.zeros((channels, 4, 5)), **named}


def texts(figure):
    return " ".join(text.get_text() for text in figure.findobj(Text))


def test_intervals_are_over_draws_or_over_the_images_of_one():
    table = fig04.tidy([run(0.5, seed=0), run(0.7, seed=1), run(0.25, dataset="bars")])
    means = fig04.summary(table).set_index(["task", "layer"])
    assert means.loc[("svhn", 1), "excess"] == pytest.approx(0.4)
    assert means.loc[("svhn", 1), "high"] == pytest.approx(0.4 + 12.706 * 0.1, rel=1e-3)
    # Two seeds with the same images are one draw, whose interval is over its images.
    one, other = (run(0.5, seed=seed, draw=0) for seed in (0, 1))
    for _, _, metrics in (one, other):
        metrics["pearson"] += 0.1 * metrics["image"]
    same, alone = (fig04.summary(fig04.tidy(runs)) for runs in ([one, other], [one]))
    assert same["high"].to_list() == pytest.approx(alone["high"].to_list())
    assert (alone["high"] > alone["excess"] + 0.1).all()
    assert means.loc[("bars", 2), "excess"] == pytest.approx(0.05)
    assert means.loc[("bars", 2), "low"] == pytest.approx(0.05)


def test_figure_caption_and_what_they_admit():
    table = fig04.tidy([run(0.5), run(0.25, dataset="digits", followed=False, layers=1)])
    skipped = {"cifar10": "CIFAR-10 is absent."}
    caption = fig04.caption(table, skipped)
    assert "| SVHN, cropped digits | 1 | 0.510 | 0.210 | +0.300" in caption
    assert "not comparable with the paper" in caption
    assert "In Scikit-learn's digits, layer 1 (seed 0), the plain kernel of the stage is at least as good" in caption
    assert "**CIFAR-10**: SKIPPED (CIFAR-10 is absent.)" in caption
    drawn = texts(fig04.draw(table, {"svhn": pictures(), "digits": pictures(1, 1)}, skipped))
    for text in ("stand-in: scikit-learn digits", "CIFAR-10: SKIPPED", "r = 0.50, random 0.20", "layer 2"):
        assert text in drawn
    assert "not comparable" not in fig04.caption(table[table["task"] == "svhn"], {})
