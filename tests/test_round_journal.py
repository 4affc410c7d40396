"""A fit that is interrupted goes on after its last round, to the same bits."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest

from convrfm.errors import ConvRFMWarning
from convrfm.kernels import CNTK
from convrfm.rfm import rounds as rfm
from convrfm.rfm import rounds as round_journal
from convrfm.rfm.deep import DeepSettings, fit_stages, history_of
from convrfm.rfm.rounds import RFMSettings, Round, RoundJournal, StageData, fit_rounds

# The generator is used in each round, and between stages.
SETTINGS = RFMSettings(rounds=3, agop_samples=4, agop_draw="random")
DEEP = DeepSettings(stages=2, filters=3)


class PowerCutError(Exception):
    pass


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    images = rng.random((24, 1, 6, 6)).astype(np.float32)
    return StageData(images[:16], np.arange(16) % 2, 2, np.arange(12), images[16:], np.arange(8) % 2)


def fit(data, journal, settings=SETTINGS):
    return fit_stages(CNTK(depth=2), data, settings, DEEP, np.random.default_rng(5), journal=journal)


def assert_same(left, right):
    pd.testing.assert_frame_equal(history_of(left), history_of(right), check_exact=True)
    for one, other in zip(left, right, strict=True):
        assert one.result.best_ridge == other.result.best_ridge
        assert one.result.scale == other.result.scale
        np.testing.assert_array_equal(one.result.alpha, other.result.alpha)
        np.testing.assert_array_equal(one.result.validation_outputs, other.result.validation_outputs)
        np.testing.assert_array_equal(one.features, other.features)
        for metric, expected in zip(one.result.metrics[1:], other.result.metrics[1:], strict=True):
            np.testing.assert_array_equal(metric, expected)


def interrupt(monkeypatch, after):
    """Let so many rounds pass, then fail; gives what has been counted."""
    whole, passed = rfm._fit_round, []

    def failing(*arguments):
        if len(passed) == after:
            raise PowerCutError
        passed.append(arguments[3])
        return whole(*arguments)

    monkeypatch.setattr(rfm, "_fit_round", failing)
    return passed


@pytest.mark.parametrize("after", [0, 1, 3, 5])
def test_it_goes_on_where_it_was_interrupted(data, tmp_path, monkeypatch, after):
    journal = RoundJournal(tmp_path / "checkpoint-x")
    with monkeypatch.context() as patch:
        interrupt(patch, after)
        with pytest.raises(PowerCutError):
            fit(data, journal)
    assert len(list(tmp_path.iterdir())) == after
    passed = interrupt(monkeypatch, after=6)
    resumed = fit(data, journal)
    assert len(passed) == 6 - after
    monkeypatch.undo()
    assert_same(resumed, fit(data, None))


def test_the_state_of_the_generator_is_part_of_it(data, tmp_path, monkeypatch):
    """Negative control: with the generator left as it was, the next stage draws other filters."""
    journal = RoundJournal(tmp_path / "checkpoint-x")
    whole = fit(data, journal)
    for path in tmp_path.glob("checkpoint-x-1-*"):
        path.unlink()
    recall = RoundJournal.recall
    monkeypatch.setattr(RoundJournal, "recall", lambda self, t, rng: recall(self, t, np.random.default_rng(0)))
    forgetful = fit(data, journal)
    np.testing.assert_array_equal(forgetful[0].result.alpha, whole[0].result.alpha)
    assert not np.array_equal(forgetful[1].features, whole[1].features)


def test_a_damaged_round_is_fitted_again(data, tmp_path, monkeypatch):
    journal = RoundJournal(tmp_path / "checkpoint-x")
    whole = fit(data, journal)
    files = sorted(tmp_path.iterdir())
    assert [path.name for path in files] == [f"checkpoint-x-{stage}-{t}.safetensors" for stage in (0, 1) for t in range(3)]
    content = bytearray(files[1].read_bytes())
    content[-3] ^= 1
    files[1].write_bytes(content)
    files[3].write_bytes(files[3].read_bytes()[:50])
    passed = interrupt(monkeypatch, after=6)
    with pytest.warns(ConvRFMWarning, match="damaged: round") as warned:
        resumed = fit(data, journal)
    assert len(warned) == 2
    assert passed == [1, 0]
    monkeypatch.undo()
    assert_same(resumed, whole)


def test_large_matrices_are_filled_in_files(data, tmp_path, monkeypatch):
    expected = fit_rounds(CNTK(depth=2), data, SETTINGS, np.random.default_rng(5))
    monkeypatch.setattr(round_journal, "LARGE", 1)
    journal = RoundJournal(tmp_path / "checkpoint-x")
    solve, seen = rfm.solve_ridge, []

    def failing(*arguments):
        seen.append(sorted(path.name for path in tmp_path.iterdir()))
        raise PowerCutError

    monkeypatch.setattr(rfm, "solve_ridge", failing)
    with pytest.raises(PowerCutError):
        fit_rounds(CNTK(depth=2), data, SETTINGS, np.random.default_rng(5), journal=journal)
    assert seen == [["checkpoint-x-0-test.npy", "checkpoint-x-0-train.npy"]]
    monkeypatch.setattr(rfm, "solve_ridge", solve)
    again = []
    gram = CNTK.gram

    def watched(*arguments, out=None):
        again.extend([] if out is None else [out.name])  # the certificate's are in memory
        return gram(*arguments, out=out)

    monkeypatch.setattr(CNTK, "gram", watched)
    resumed = fit_rounds(CNTK(depth=2), data, SETTINGS, np.random.default_rng(5), journal=journal)
    assert again == [f"checkpoint-x-{t}-{part}.npy" for t in (1, 2) for part in ("train", "test")]
    pd.testing.assert_frame_equal(resumed.history, expected.history, check_exact=True)
    assert not list(tmp_path.glob("*.npy*"))


def test_rounds_without_validation_outputs_are_read(data, tmp_path, monkeypatch):
    """As older versions wrote them."""
    journal = RoundJournal(tmp_path / "checkpoint-x")
    arrays = Round.arrays
    with monkeypatch.context() as patch:
        patch.setattr(Round, "arrays", lambda self: {k: v for k, v in arrays(self).items() if k != "validation_outputs"})
        whole = fit_rounds(CNTK(depth=2), data, SETTINGS, np.random.default_rng(5), journal=journal)
    passed = interrupt(monkeypatch, after=0)
    resumed = fit_rounds(CNTK(depth=2), data, SETTINGS, np.random.default_rng(5), journal=journal)
    assert not passed
    assert resumed.validation_outputs is None
    pd.testing.assert_frame_equal(resumed.history, whole.history, check_exact=True)


def test_regression_goes_on_too(data, tmp_path, monkeypatch):
    rng = np.random.default_rng(1)
    real = replace(data, labels=rng.random((16, 2)), classes=None, test_labels=rng.random((8, 2)))
    journal = RoundJournal(tmp_path / "checkpoint-x")
    whole = fit(real, journal)
    interrupt(monkeypatch, after=0)
    assert_same(fit(real, journal), whole)


def test_accuracies_that_are_not_there(data, tmp_path):
    without = replace(data, test=None, test_labels=None)
    journal = RoundJournal(tmp_path / "checkpoint-x")
    first = fit_rounds(CNTK(depth=2), without, SETTINGS, np.random.default_rng(5), journal=journal)
    again = fit_rounds(CNTK(depth=2), without, SETTINGS, np.random.default_rng(5), journal=journal)
    assert first.history["test_accuracy"].isna().all()
    pd.testing.assert_frame_equal(again.history, first.history, check_exact=True)
