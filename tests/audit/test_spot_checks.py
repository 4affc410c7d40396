"""Numbers computed anew agree with honest results, and not with altered ones, however well these are hashed."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tolerance import TOLERANCE

from audit.tiny import rehash
from convrfm.audit import fit_checks, network_checks
from convrfm.audit.spot import deviation_of, judged, largest
from convrfm.audit.spot_checks import spot_check
from convrfm.deep_rfm import DeepSettings
from convrfm.kernels import CNTK
from convrfm.pipeline.fit_witnesses import part_of
from convrfm.rfm import RFMSettings, StageData, fit_rounds
from convrfm.storage import load_arrays, write_arrays, write_table
from convrfm.witness import ENTRIES, IMAGES

RESULTS = Path("results/quick")


def failed(project, seed=0):
    return {(Path(check.file).parts[3], check.what) for check in spot_check(project / RESULTS, seed) if not check.holds}


def change(project, experiment, alter, file="arrays.safetensors"):
    """Alter the arrays or the table of every run of an experiment, and hash and seal everything anew."""
    for run in sorted((project / RESULTS / "runs" / experiment / "published").iterdir()):
        if file == "metrics.parquet":
            table = pd.read_parquet(run / file)
            alter(table)
            write_table(run / file, table)
        else:
            arrays = {name: array.copy() for name, array in load_arrays(run / file).items()}
            alter(arrays)
            write_arrays(run / file, arrays)
        rehash(project, run / "record.json")


def test_honest_results(pristine):
    checks = spot_check(pristine / RESULTS, 0)
    assert [check for check in checks if not check.holds] == []
    words = " ".join(check.what for check in checks)
    for part in (
        "kernel matrix of stage 1",
        "metric of round 1",
        "predictions of round",
        "test accuracies of the best",
    ):
        assert part in words
    for part in ("after the last epoch", "correlations of", "cases, draw"):
        assert part in words
    kinds = {Path(check.file).parts[3] for check in checks if "runs" in check.file}
    assert {"rfm", "features", "cnn", "standin", "simplenet", "ansatz", "simplenet-ansatz"} <= kinds
    json.dumps([check.deviation for check in checks], allow_nan=False)


def test_the_seed_decides_what_is_looked_at(pristine):
    first, again, other = (spot_check(pristine / RESULTS, seed) for seed in (1, 1, 2))
    assert first == again
    assert first != other
    assert all(check.holds for check in other)


def scaled(name_part, factor):
    def alter(arrays):
        for name, array in arrays.items():
            if name_part in name:
                array *= np.asarray(factor, array.dtype)

    return alter


@pytest.mark.parametrize(
    ("part", "what"),
    [
        ("gram/0/1/entries", "kernel matrix of stage 0"),
        ("gram/1/0/entries", "kernel matrix of stage 1"),
        ("metric/0/1", "kernel matrix of stage 0"),
        ("metric/1/1", "kernel matrix of stage 1"),
        ("filters/0", "kernel matrix of stage 1"),
        ("best/0/outputs", "predictions of round"),
        ("best/1/outputs", "test accuracies of the best"),
        ("best/0/alpha", "predictions of round"),
    ],
)
def test_an_altered_fit(project, part, what):
    change(project, "rfm", scaled(part, -1 if part == "best/1/outputs" else 1.001))
    found = failed(project)
    assert {kind for kind, _ in found} == {"rfm"}
    assert any(sentence.startswith(what) for _, sentence in found)


def test_a_single_altered_entry_of_a_metric(project):
    """One entry and its mirror image, by a hundredth of the largest: the AGOP computed anew is another."""

    def alter(arrays):
        metric = arrays["metric/0/1"]
        metric[0, 1] += 0.01 * np.abs(metric).max()
        metric[1, 0] = metric[0, 1]

    change(project, "rfm", alter)
    assert any("metric of round 1" in sentence for _, sentence in failed(project))


def test_an_altered_block_of_an_agop(project, monkeypatch):
    monkeypatch.setattr(fit_checks, "PAIRS", 60)  # too many for the whole
    assert failed(project) == set()
    change(project, "rfm", scaled("agop/0/0/block", 1.01))
    ((_, sentence),) = failed(project)
    assert sentence.startswith("AGOP of round 0 at 1 of its points, relative to its largest entry")


def nearly_collinear(rng):
    """A fit to images that are almost constant, and the kernel matrix of one round in float32."""
    images = (1 + 3e-4 * rng.standard_normal((12, 1, 5, 5))).astype(np.float32)
    gram = CNTK(depth=2, backend="cpu").gram(images[:6], images[6:])
    everywhere = {"rows": np.arange(6), "columns": np.arange(6)}
    arrays = {f"witness/gram/0/0/{name}": array for name, array in {**everywhere, "entries": gram}.items()}
    data = StageData(images[6:], np.arange(6) % 2, 2, np.arange(6), images[:6], np.arange(6) % 2)
    settings = RFMSettings(rounds=1, selection="test", agop_ridge="last", agop_samples=4, agop_draw="first")
    kernel = CNTK(depth=2, backend="reference")
    return fit_checks._Fit("file", kernel, settings, DeepSettings(stages=1), data, arrays, pd.DataFrame())


def test_rounding_of_nearly_collinear_patches_is_no_finding(rng):
    fit = nearly_collinear(rng)
    (check,) = fit_checks._grams(fit, rng)
    # The tolerance follows float32 on the machine at hand.
    assert fit_checks.GRAM_TOLERANCE < check.tolerance < 1e-3
    assert check.holds
    fit.arrays["witness/gram/0/0/entries"][:] *= 1.002
    (check,) = fit_checks._grams(fit, rng)
    assert not check.holds


def test_an_agop_of_too_many_images_is_left_out(pristine, monkeypatch):
    monkeypatch.setattr(fit_checks, "MOST_FITTED", 10)
    assert not any("AGOP" in check.what for check in spot_check(pristine / RESULTS, 0))


def test_a_class_that_no_training_image_has(project):
    """Its coefficients and predictions are zero; other numbers in their place are found."""

    def alter(value):
        def put(arrays):
            for name in ("alpha", "outputs"):
                array = arrays[f"witness/best/0/{name}"]
                more = np.full((len(array), 1), value if name == "outputs" else 0.0)
                arrays[f"witness/best/0/{name}"] = np.hstack([array, more])

        return put

    change(project, "rfm", alter(0.0))
    assert not any("predictions of round" in what for _, what in failed(project))
    change(project, "rfm", alter(0.1))
    assert any("predictions of round" in what for _, what in failed(project))


@pytest.mark.parametrize("experiment", ["rfm", "features", "cnn"])
def test_an_altered_accuracy(project, experiment):
    def alter(table):
        table["test_accuracy"] = 1 - table["test_accuracy"] + 0.25

    change(project, experiment, alter, "metrics.parquet")
    assert {kind for kind, _ in failed(project)} == {experiment}


def test_altered_weights(project):
    change(project, "cnn", scaled("final/readout", -1))
    assert {kind for kind, _ in failed(project)} == {"cnn"}


@pytest.mark.parametrize("experiment", ["ansatz", "simplenet-ansatz"])
def test_an_altered_correlation(project, experiment):
    def alter(table):
        table["value"] -= 0.01

    change(project, experiment, alter, "metrics.parquet")
    assert {kind for kind, _ in failed(project)} == {experiment}


def test_an_altered_core(project):
    def alter(arrays):
        for name, core in arrays.items():
            if name.endswith("/core"):
                core[:, 0] *= 3

    change(project, "ansatz", alter)
    assert {kind for kind, _ in failed(project)} == {"ansatz"}


def test_an_altered_table_of_the_theorem(project):
    table = pd.read_parquet(project / RESULTS / "figures/published/theorem1.parquet")
    table["one_minus_rho"] += 1e-6
    write_table(project / RESULTS / "figures/published/theorem1.parquet", table)
    assert len([c for c in spot_check(project / RESULTS, 0) if not c.holds]) == 1


def test_what_cannot_be_computed_anew_does_not_hold(project):
    change(project, "rfm", lambda arrays: [arrays.pop(name) for name in list(arrays) if name.startswith("witness")])
    for path in (project / RESULTS / "runs" / "cnn").rglob("arrays.safetensors"):
        path.write_bytes(b"none")
    found = failed(project)
    assert {kind for kind, _ in found} == {"rfm", "cnn"}
    assert all(sentence.startswith("cannot be computed anew") for _, sentence in found)


def test_nan_does_not_hold():
    assert deviation_of(np.array([1.0, np.nan]), np.array([1.0, 1.0])) != 0
    assert not judged("file", "what", 1, float("nan"), 1.0).holds
    assert not judged("file", "what", 1, deviation_of(np.ones(2), np.ones(3)), 1.0).holds
    assert judged("file", "what", 1, deviation_of(np.zeros(2), np.zeros(2)), 0.0).holds
    assert not judged("file", "what", 1, largest(0.0, float("nan")), 1.0).holds
    assert (largest(), largest(1.0, -2.0)) == (0.0, 2.0)


@pytest.mark.parametrize(
    ("experiment", "column"), [("rfm", "test_accuracy"), ("cnn", "test_accuracy"), ("ansatz", "value")]
)
def test_a_cell_without_a_number(project, experiment, column):
    def alter(table):
        table[column] = float("nan")

    change(project, experiment, alter, "metrics.parquet")
    assert {kind for kind, _ in failed(project)} == {experiment}


def test_tolerances_are_those_of_the_tests():
    assert TOLERANCE["gram", "float32"] == fit_checks.GRAM_TOLERANCE
    assert TOLERANCE["agop", "float32"] == fit_checks.AGOP_TOLERANCE
    assert TOLERANCE["ansatz", "float32"] == network_checks.CORRELATION_TOLERANCE


def test_what_a_fit_keeps(rng):
    """Entries are those of the kernel matrix, coefficients those of the solution; a fit is the same with and without a test part."""
    images, labels = rng.random((20, 1, 8, 8)).astype(np.float32), np.arange(20) % 2
    test = rng.random((15, 1, 8, 8)).astype(np.float32)
    data = StageData(images, labels, 2, np.arange(20), test, np.arange(15) % 2)
    kernel = CNTK(depth=2, backend="cpu")
    settings = RFMSettings(rounds=2, selection="test", agop_ridge="last", agop_samples=4, agop_draw="first")
    result = fit_rounds(kernel, data, settings, rng)
    for t, kept in enumerate(result.grams):
        expected = kernel.gram(test, images, result.metrics[t])
        assert kept.entries.shape == (IMAGES, IMAGES)
        np.testing.assert_array_equal(kept.entries, expected[np.ix_(kept.rows, kept.columns)])
    (kept,) = result.agops
    agop = kernel.patch_agop(images, images[kept.points], kept.alpha)
    assert kept.alpha.dtype == np.float32
    assert len(kept.entries) == min(ENTRIES, len(agop))
    np.testing.assert_allclose(kept.block, agop[np.ix_(kept.entries, kept.entries)], rtol=1e-6)
    gram = kernel.gram(test, images, result.best_metric)
    np.testing.assert_allclose(result.outputs, gram / result.scale @ result.alpha, rtol=1e-5)


def test_parts_are_found_by_their_path():
    arrays = {"witness/gram/0/1/rows": np.arange(2), "witness/gram/0/10/rows": np.arange(3), "metric/0/1": np.eye(2)}
    assert list(part_of(arrays, "gram", 0, 1)) == ["rows"]
    assert part_of(arrays, "agop", 0, 1) == {}
