"""How many threads there are, and that results are those of any other number."""

import os

import numpy as np
import pytest
from joblib import Parallel, cpu_count, delayed, parallel_config
from sklearn.datasets import load_digits
from sklearn.model_selection import GridSearchCV
from threadpoolctl import threadpool_info

from convrfm import ConvRFMClassifier
from convrfm.errors import InputError
from convrfm.system.machine import limited_threads

BUNCH = load_digits(n_class=3)
X, Y = (BUNCH.images[:90, None] / 16).astype(np.float32), BUNCH.target[:90]
MODEL = ConvRFMClassifier(depth=2, rounds=2, random_state=0)


def threads_now():
    import numba

    blas = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    return numba.get_num_threads(), max(blas)


def all_threads():
    import numba

    return numba.config.NUMBA_NUM_THREADS


def test_limits_hold_inside_and_end_outside():
    before = threads_now()
    with limited_threads(1):
        assert threads_now() == (1, 1)
        with limited_threads(None):
            assert threads_now() == (1, 1)
        with limited_threads(-1):
            assert threads_now() == (all_threads(), all_threads())
        assert threads_now() == (1, 1)
    assert threads_now() == before
    with pytest.raises(ZeroDivisionError), limited_threads(1):
        _ = 1 / 0
    assert threads_now() == before


@pytest.mark.parametrize(("n_jobs", "expected"), [(1, 1), (10**6, 0), (-1, 0), (-2, -1), (-(10**6), 1), (np.int64(1), 1)])
def test_numbers_of_jobs(n_jobs, expected):
    with limited_threads(n_jobs):
        assert threads_now()[0] == max(1, expected if expected > 0 else all_threads() + expected)


def test_all_are_those_that_a_container_may_use(monkeypatch):
    monkeypatch.setattr("joblib.cpu_count", lambda: 1)
    for n_jobs in (-1, -2):
        with limited_threads(n_jobs):
            assert threads_now() == (1, 1)
    with limited_threads(all_threads()):
        assert threads_now()[0] == all_threads()


@pytest.mark.parametrize("n_jobs", [0, 1.5, "all"])
def test_no_number_of_jobs(n_jobs):
    with pytest.raises(InputError, match="n_jobs must be"), limited_threads(n_jobs):
        pass


def test_the_classifier_keeps_to_its_jobs(monkeypatch):
    from convrfm.kernels import cpu

    seen = []
    forward = cpu.sweeps.arccosine_forward
    monkeypatch.setattr(cpu.sweeps, "arccosine_forward", lambda *given: (seen.append(given[-1]), forward(*given))[1])
    one = ConvRFMClassifier(**{**MODEL.get_params(), "n_jobs": 1}).fit(X, Y)
    outputs = one.outputs(X)
    assert set(seen) == {1}
    assert np.abs(MODEL.fit(X, Y).outputs(X) - outputs).max() < 1e-4
    assert max(seen) == all_threads()


def test_a_search_in_processes_shares_the_cores():
    grid = {"depth": [1, 2], "rounds": [1, 2]}
    alone = GridSearchCV(MODEL, grid, cv=2, error_score="raise").fit(X, Y)
    shared = GridSearchCV(MODEL, grid, cv=2, n_jobs=2, error_score="raise").fit(X, Y)
    assert (shared.cv_results_["mean_test_score"] == alone.cv_results_["mean_test_score"]).all()

    def inside(images, labels, model):
        import numba

        model.fit(images, labels)
        return numba.get_num_threads()

    found = Parallel(n_jobs=2)(delayed(inside)(X, Y, model) for model in [MODEL, MODEL])
    share = int(os.environ.get("NUMBA_NUM_THREADS", max(1, cpu_count() // 2)))
    assert found == [share] * 2


def test_a_search_in_threads_gives_the_same():
    grid = {"depth": [1, 2], "rounds": [1, 2]}
    alone = GridSearchCV(MODEL, grid, cv=2, error_score="raise").fit(X, Y)
    with parallel_config("threading"):
        shared = GridSearchCV(MODEL, grid, cv=2, n_jobs=2, error_score="raise").fit(X, Y)
    assert (shared.cv_results_["mean_test_score"] == alone.cv_results_["mean_test_score"]).all()
