"""The estimate of a fit's time and threads: beside what fits take, and the same for rules and for `snakemake cost`."""

import pytest
from workflow.test_slices import plan_of

from convrfm.datasets.registry import REGISTRY
from convrfm.kernels.compiled import first_layer
from convrfm.replication.cluster import fits
from convrfm.replication.cluster.fits import FitSize, Step, Work, fit_minutes, fit_work
from convrfm.replication.config.costs import Costs, Rates
from convrfm.replication.plan.fits import FITS, STEPS, expected_minutes, fit_size, fit_threads

BARS = {"task": "bars", "sigma": "1", "seed": "0", "protocol": "published"}
UNIT = Rates(start=0, by_thread=True, maps=1, pixels=1, patches=1, gradients=1, solves=1, entries=1)


@pytest.fixture(scope="module")
def benchmark(load_benchmark):
    return load_benchmark("minutes")


def test_the_estimate_is_near_the_measured_seconds(benchmark):
    lines = [line for line in benchmark.PAGE.read_text().splitlines() if line.count("|") == 10][1:]
    measured = [float(line.split("|")[7]) for line in lines if line[2].isdigit()]
    for case, seconds in zip(benchmark.CASES, measured, strict=True):
        assert 0.5 < benchmark.estimate(case) / seconds < 2, case
    # The page says what the estimate is today.
    rows = [line for line in lines if line[2].isdigit()]
    assert rows == [benchmark.row(case, seconds) for case, seconds in zip(benchmark.CASES, measured, strict=True)]


def size(n=1000, m=500, outputs=10, shape=(1, 12, 12), **changes):
    """A fit of one round with one ridge, unless something else is given."""
    rfm = {"rounds": 1, "stages": 1, "filters": 4, "ridges": [1e-5]}
    given = {"protocol": "published", "depth": 2, "patch_size": 3, "memory_mb": None, "changes": {}}
    given |= {key: value for key, value in changes.items() if key not in rfm}
    rfm |= {key: value for key, value in changes.items() if key in rfm}
    return FitSize({**given, "rfm": rfm}, n, m, shape, outputs)


def test_work_is_counted_by_hand():
    pairs = 1000**2 / 2 + 1000 * 500
    solve = 1000**3 / 3 + fits.SOLVE_PASSES * 1000**2
    entries = fits.ENTRY_PASSES * 1000 * 1500
    # 10 x 10 and 8 x 8 positions.
    assert vars(fit_work(size())) == {
        "maps": pairs * 164, "pixels": pairs * 2 * 144, "patches": 0, "gradients": 0, "solves": solve, "entries": entries,
    }  # fmt: skip
    two = fit_work(size(rounds=2, ridges=[1e-5, 1e-3]))
    assert two.maps == 2 * pairs * 164 + fits.REVERSE * 1000 * 20 * 164
    assert two.patches == 2 * 100 * 9 * (pairs + 1500 * 9)
    assert two.gradients == 2 * 100 * 20 * 10 * 32 * (1000 + 16)
    assert two.solves == 4 * solve
    # A validation part is held out: all fitted images in the AGOP, and two systems.
    corrected = fit_work(size(rounds=2, protocol="corrected"))
    assert corrected.gradients == 2 * 100 * 800 * 10 * 32 * (800 + 16)
    assert corrected.solves == 2 * (solve + 800**3 / 3 + fits.SOLVE_PASSES * 800**2)
    assert fit_work(size(changes={"selection": "validation"})).solves == corrected.solves / 2
    # The second stage has a layer less, of 10 x 10 pixels in 4 channels.
    stages = fit_work(size(stages=2))
    assert stages.maps == pairs * (164 + 64)
    assert stages.pixels == pairs * 2 * (144 + 400)
    assert stages.patches == 2 * 1500 * 144 * 9 * 4


def test_the_laplace_kernel_has_one_layer():
    given = {"rounds": 1, "ridges": [1e-5], "kernel": "laplace", "patch_size": 7, "protocol": "published"}
    work = fit_work(FitSize({**given, "memory_mb": None}, 100, 0, (1, 12, 12), 10))
    assert work.maps == 100**2 / 2 * 36


def test_minutes_follow_from_work_rates_and_threads():
    work = sum(vars(fit_work(size())).values()) / 1e9 / 60
    assert fit_minutes(fit_work(size()), UNIT, 1) == pytest.approx(work)
    assert fit_minutes(fit_work(size()), UNIT, 4) == pytest.approx(work / 4)
    slow = UNIT.model_copy(update={"start": 2, "by_thread": False})
    assert fit_minutes(fit_work(size()), slow, 4) == pytest.approx(2 + work)
    assert fit_minutes(fit_work(size()), UNIT.model_copy(update={"solves": 0.5}), 1) == pytest.approx(
        work + fit_work(size()).solves / 1e9 / 60
    )


def test_constants_are_those_of_the_kernels():
    from convrfm.kernels.compiled.simd import VECTOR_BYTES

    assert first_layer.OUTPUTS == fits.PADDED_OUTPUTS
    assert fits.PADDED_PATCH == 2 * VECTOR_BYTES // 4


def test_the_steps_of_a_fit_do_its_work_once():
    given = size(stages=2, rounds=3)
    steps = [Step(stage, t, filling) for stage in range(2) for t in range(3) for filling in (True, False)]
    together = sum((fit_work(given, step) for step in steps), Work())
    assert vars(together) == pytest.approx(vars(fit_work(given)))
    assert all(fit_work(given, step) != Work() for step in steps)
    assert fit_work(given, Step(2, 0, True)) == Work()
    assert vars(fit_work(given).share(4))["maps"] == pytest.approx(fit_work(given).maps / 4)


def test_every_fit_has_a_size():
    kinds = Costs.model_fields
    assert {*FITS, *STEPS} == {name for name in Costs.rules() if kinds[name].default.minutes is None}


def variant(n):
    return {**BARS, "variant": "unchanged", "n_train": str(n)}


def test_minutes_grow_with_the_images():
    plan = plan_of("paper")
    few, many = (expected_minutes(plan, "fit_variant", variant(n), 1) for n in (125, 30000))
    assert few < 4
    assert 20 < many < 200
    on_cpu = plan_of("paper", backend="cpu")
    one, eight = (expected_minutes(on_cpu, "fit_variant", variant(30000), threads) for threads in (1, 8))
    assert one > 800
    assert one == pytest.approx(8 * eight, rel=0.01)


def test_a_number_of_minutes_that_somebody_gives_counts():
    given = {"fit_rfm": {"minutes": 7}, "fit_variant": {"cases": [{"of": "noisy-mnist", "minutes": 9}]}}
    plan, plain = plan_of("paper", overrides={"costs": given}), plan_of("paper")
    assert expected_minutes(plan, "fit_rfm", BARS, 1) == 7
    assert expected_minutes(plan, "fit_variant", {**variant(500), "task": "noisy-mnist"}, 1) == 9
    estimated = expected_minutes(plan, "fit_variant", variant(500), 1)
    assert estimated == expected_minutes(plain, "fit_variant", variant(500), 1) != 9
    assert expected_minutes(plan, "train_cnn", BARS, 1) == 5


def test_rates_are_those_of_where_a_fit_runs():
    def minutes(preset, backend, rule="fit_variant", w=None, **costs):
        plan = plan_of(preset, backend=backend, overrides={"costs": costs})
        return expected_minutes(plan, rule, w or variant(500), 1)

    on_gpu, on_cpu = minutes("quick", "cuda"), minutes("paper", "cpu")
    assert on_gpu != minutes("quick", "cpu")
    assert minutes("quick", "auto") == minutes("quick", "cpu")
    assert minutes("paper", "auto") == minutes("paper", "cuda") != on_cpu
    assert minutes("paper", "auto", fits_on="cpu") == minutes("paper", "reference") == on_cpu
    assert minutes("paper", "auto", fit_variant={"gpu": "never"}) == on_cpu
    # Pairs of classes travel in groups on CPUs.
    pair = {"dataset": "dtd", "classes": "0-1", "seed": "0", "protocol": "published"}
    assert minutes("paper", "auto", "fit_images", pair) == minutes("paper", "cpu", "fit_images", pair)
    assert minutes("paper", "cuda", "fit_images", pair) != minutes("paper", "cpu", "fit_images", pair)


@pytest.mark.parametrize(
    ("backend", "n", "threads", "expected"),
    [
        ("cpu", 2000, 1, 1), ("cpu", 5000, 1, 5), ("cpu", 10000, 1, 10), ("cpu", 30000, 1, 16), ("cpu", 30000, 20, 20),
        ("cpu", 2000, 3, 3), ("auto", 5000, 1, 1), ("auto", 30000, 1, 7), ("cuda", 10000, 4, 4),
    ],
)  # fmt: skip
def test_threads_grow_with_the_images(backend, n, threads, expected):
    assert fit_threads(plan_of("paper", backend=backend, threads=threads), "fit_variant", variant(n)) == expected


def test_threads_have_a_bound_and_pairs_keep_theirs():
    bounded = plan_of("paper", backend="cpu", overrides={"costs": {"most_threads": 4}})
    assert fit_threads(bounded, "fit_variant", variant(30000)) == 4
    pairs = [{"dataset": "gtsrb", "n_train": 6000, "n_test": 10}]
    plan = plan_of("paper", backend="cpu", threads=2, overrides={"fig06": {"pairs": pairs}})
    keys = {"dataset": "gtsrb", "seed": "0", "protocol": "published"}
    assert fit_threads(plan, "fit_images", {**keys, "classes": "0-1"}) == 2


def test_fits_of_quick_run_side_by_side():
    plan = plan_of("quick")
    assert fit_threads(plan, "fit_rfm", BARS) == fit_threads(plan, "fit_variant", variant(1000)) == 1


def test_outputs_are_those_of_the_data():
    plan = plan_of("paper")
    keys = {"seed": "0", "protocol": "published"}
    assert fit_size(plan, "rfm", BARS).outputs == REGISTRY["bars"].classes == 2
    assert fit_size(plan, "image-rfm", {**keys, "dataset": "dtd", "classes": "all"}).outputs == 47
    assert fit_size(plan, "image-rfm", {**keys, "dataset": "dtd", "classes": "0-1"}).outputs == 1
    assert fit_size(plan, "features", {**keys, "dataset": "svhn", "kernel": "cntk"}).outputs == 10
