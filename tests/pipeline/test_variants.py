"""Fits that change single choices: each change reaches the fit, and one that changes nothing changes no bit."""

from dataclasses import fields, replace

import numpy as np
import pandas as pd
import pytest

from convrfm.datasets.local_signal import noisy_bars
from convrfm.errors import InputError
from convrfm.numerics.patches import normalise
from convrfm.replication.cluster import fits as fit_costs
from convrfm.replication.figures.beyond import UNCHANGED, Change, variant_name
from convrfm.replication.jobs.fits import fit_task, task_choices
from convrfm.replication.record.record import Recorder, read_record
from convrfm.replication.record.session import Job
from convrfm.replication.runs.fits import fit_settings
from convrfm.rfm import rounds as rfm
from convrfm.rfm.deep import DeepSettings
from convrfm.rfm.rounds import RFMSettings
from convrfm.system.machine import FreeMemory
from convrfm.system.storage import load_arrays, sha256, write_arrays

# So little noise that round 0 is right everywhere, and no later round can win.
SETTINGS = {
    "task": "bars", "sigma": 0.01, "n_train": 40, "n_test": 16, "depth": 2, "patch_size": 3, "protocol": "published",
    "seed": 3, "backend": "cpu", "memory_mb": 100, "changes": {},
    "rfm": {"rounds": 2, "stages": 2, "filters": 3, "ridges": [1e-8, 1e-3]},
}  # fmt: skip


@pytest.fixture(scope="module")
def draw(tmp_path_factory):
    path = tmp_path_factory.mktemp("draw") / "arrays.safetensors"
    write_arrays(path, noisy_bars(60, 20, seed=3).arrays())
    return path


@pytest.fixture
def fit(draw, tmp_path):
    """Gives arrays, record and hashes of a fit with these changes."""

    def run(changes, **settings):
        given = {**SETTINGS, "changes": changes, **settings}
        outputs = {
            name: tmp_path / file for name, file in (("metrics", "m.parquet"), ("arrays", "a.safetensors"), ("record", "r"))
        }
        fit_task(Job({"draw": [draw]}, outputs, given, 1, Recorder("x", "c", given)))
        bits = [sha256(outputs[name]) for name in ("metrics", "arrays")]
        return load_arrays(outputs["arrays"]), read_record(outputs["record"]), bits

    return run


def test_a_variant_that_changes_nothing_gives_the_same_bits(fit):
    _, _, unchanged = fit({})
    same = {"metric_power": 1.0, "agop_ridge": "last", "agop_samples": 20, "nonlinearity": "relu", "selection": "test"}
    assert fit(same)[2] == unchanged
    assert fit({"agop_samples": 19})[2] != unchanged


def test_each_change_reaches_the_fit(fit):
    plain, record, _ = fit({})
    agop = plain["metric/0/1"]
    assert record["images_fitted"] == 40

    squared, record, _ = fit({"metric_power": 2.0})
    assert record["rfm"]["metric_power"] == 2
    assert np.allclose(squared["metric/0/1"], normalise(agop @ agop), rtol=1e-9)

    quarter, _, _ = fit({"eigenvalue_fraction": 0.25})
    assert np.linalg.matrix_rank(quarter["metric/0/1"]) == 3 < np.linalg.matrix_rank(agop)

    for change in ({"agop_ridge": "selected"}, {"agop_draw": "random"}, {"agop_samples": "all"}, {"solver_dtype": "float32"}):
        arrays, record, _ = fit(change)
        assert record["rfm"].items() >= change.items()
        assert not np.array_equal(arrays["metric/0/1"], agop), change

    validated, record, _ = fit({"selection": "validation"})
    assert record["images_fitted"] == 32
    assert not np.array_equal(validated["metric/0/1"], agop)

    linear, _, _ = fit({"nonlinearity": "none"})
    assert np.array_equal(linear["metric/0/1"], agop)
    assert np.array_equal(linear["filters/0"], plain["filters/0"])
    assert not np.allclose(linear["metric/1/1"], plain["metric/1/1"])

    assert plain["best_round/0"] == 0
    assert np.abs(plain["filters/0"]).max() > 1 / 3
    uniform, _, _ = fit({"plain_filters": "torch"})
    assert np.abs(uniform["filters/0"]).max() <= 1 / 3


def test_corrected_is_all_of_its_choices_together(fit):
    _, _, whole = fit({}, protocol="corrected")
    _, _, spelled = fit({"selection": "validation", "agop_samples": "all", "agop_draw": "random", "agop_ridge": "selected"})
    assert whole == spelled


@pytest.mark.parametrize("protocol", ["published", "corrected"])
def test_the_accuracy_of_each_round_is_the_mean_of_what_is_correct(fit, tmp_path, protocol):
    arrays, _, _ = fit({}, protocol=protocol, sigma=2.0)
    history = pd.read_parquet(tmp_path / "m.parquet")
    chosen = history[history["selected"]]
    assert len(chosen) == 4
    for row in chosen.itertuples():
        correct = arrays[f"correct/{row.stage}/{row.round}"]
        assert correct.dtype == bool
        assert correct.shape == (16,)
        assert correct.mean() == row.test_accuracy
    assert not [name for name in arrays if name.startswith("witness")]


def test_a_larger_draw_gives_its_first_images(fit, tmp_path):
    arrays, _, _ = fit({})
    small = noisy_bars(60, 20, seed=3)
    small = replace(small, **{part: type(split)(**{k: v[:n] for k, v in vars(split).items()})
                              for part, split, n in (("train", small.train, 40), ("test", small.test, 16))})  # fmt: skip
    path = tmp_path / "cut.safetensors"
    write_arrays(path, small.arrays())
    outputs = {name: tmp_path / f"cut-{name}" for name in ("metrics", "arrays", "record")}
    fit_task(Job({"draw": [path]}, outputs, SETTINGS, 1, Recorder("x", "c", SETTINGS)))
    found = load_arrays(outputs["arrays"])
    assert all(np.array_equal(found[name], array) for name, array in arrays.items())


def test_a_fit_that_is_interrupted_goes_on_after_its_last_round(fit, tmp_path, monkeypatch):
    _, _, whole = fit({"agop_draw": "random", "agop_samples": 5})
    assert not list(tmp_path.glob("checkpoint*"))
    fit_round, passed = rfm._fit_round, []

    def until_the_power_goes(*arguments):
        if len(passed) == 3:
            raise OSError(5, "power cut")
        passed.append(arguments)
        return fit_round(*arguments)

    monkeypatch.setattr(rfm, "_fit_round", until_the_power_goes)
    with pytest.raises(OSError, match="power cut"):
        fit({"agop_draw": "random", "agop_samples": 5})
    assert len(list(tmp_path.glob("checkpoint*"))) == 3
    passed.clear()
    assert fit({"agop_draw": "random", "agop_samples": 5})[2] == whole
    assert len(passed) == 1
    assert not list(tmp_path.glob("checkpoint*"))


def test_what_can_be_changed_is_what_the_fits_know():
    of_stack = {field.name for field in fields(DeepSettings)}
    of_rounds = {field.name for field in fields(RFMSettings)}
    assert set(Change.model_fields) == (of_rounds - {"rounds", "ridges"}) | (of_stack - {"stages", "filters"})
    for name, info in Change.model_fields.items():
        for value in {"metric_power": [0.5], "eigenvalue_fraction": [0.25, 1.0]}.get(name, _allowed(info.annotation)):
            rfm, deep = task_choices(fit_settings({**SETTINGS, "changes": Change(**{name: value}).values}))
            assert {**vars(rfm), **vars(deep)}[name] == value
    with pytest.raises(InputError, match="metric_power must be positive, but it is -1"):
        task_choices(fit_settings({**SETTINGS, "changes": {"metric_power": -1}}))


def _allowed(annotation):
    """The texts that a Literal names, anywhere in an annotation."""
    found = [value for value in getattr(annotation, "__args__", ()) if isinstance(value, str)]
    return found + [value for part in getattr(annotation, "__args__", ()) for value in _allowed(part)]


def test_names_of_variants():
    assert variant_name({}) == UNCHANGED == "unchanged"
    assert variant_name({"metric_power": 2.0, "agop_samples": 100}) == "metric_power-2+agop_samples-100"


def test_a_fit_that_does_not_find_its_memory_stops_before_it_starts(fit, monkeypatch):
    monkeypatch.setattr(fit_costs, "free_memory", lambda: FreeMemory(2**20, "on this machine"))
    with pytest.raises(
        InputError, match=r"40 training and 16 test images needs .* GiB are free on this machine. Lower n_train"
    ):
        fit({})
