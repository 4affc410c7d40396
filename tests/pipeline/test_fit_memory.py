"""The estimate of a fit's memory: beside what fits take, the same for rules and jobs, and refused where it is not free."""

import pytest
from workflow.test_slices import plan_of

from convrfm.errors import InputError
from convrfm.kernels import backends, cpu
from convrfm.replication.cluster import fits as fit_costs
from convrfm.replication.cluster.fits import check_memory, fit_bytes
from convrfm.replication.plan import fits
from convrfm.replication.plan.plan import RUNS
from convrfm.system.machine import FreeMemory

GIB = 2**30
PRINTED = {
    "rfm": {"rounds": 4, "stages": 1, "filters": 64, "ridges": [1e-5]},
    "protocol": "published", "depth": 3, "patch_size": 3, "memory_mb": None, "changes": {},
}  # fmt: skip
"""Noisy MNIST with 4000 training and 4000 test images, as the authors printed numbers of."""

FRAMED = (1, 42, 42)


@pytest.fixture(scope="module")
def benchmark(load_benchmark):
    return load_benchmark("memory")


def test_the_estimate_is_near_the_measured_peaks(benchmark):
    lines = [line for line in benchmark.PAGE.read_text().splitlines() if line.startswith("| ")][1:]
    peaks = [float(line.split("|")[7]) for line in lines]
    # The page says what the estimate is today.
    assert lines == [benchmark.row(case, peak * 2**20) for case, peak in zip(benchmark.CASES, peaks, strict=True)]
    for case, peak in zip(benchmark.CASES, peaks, strict=True):
        assert 0.9 < benchmark.estimate(case) / 2**20 / peak < 1.5, case


def test_constants_are_those_of_the_kernels():
    assert fit_costs.LARGEST_BUDGET == backends.LARGEST_DEFAULT
    assert (fit_costs.LARGEST_SIDE, fit_costs.FUSED_RANK) == (cpu.LARGEST_SIDE, cpu.FUSED_RANK)
    for name in ("STRIP_BYTES", "ROWS_OF_PRODUCTS", "COLUMNS_OF_PRODUCTS"):
        assert getattr(fit_costs, name) == getattr(cpu, name)
    assert cpu.PATCH_SHARE == 0.5


def test_the_largest_printed_run_fits_a_laptop(monkeypatch):
    assert fit_bytes(PRINTED, 4000, 4000, FRAMED) < 1.5 * GIB
    monkeypatch.setattr(fit_costs, "free_memory", lambda: FreeMemory(8 * GIB, "on this machine"))
    check_memory(PRINTED, 4000, 4000, FRAMED)


def test_a_fit_that_does_not_find_its_memory_is_refused(monkeypatch):
    needed = fit_bytes(PRINTED, 4000, 4000, FRAMED, budget=GIB // 8) - 8000 * 4 * 42**2
    monkeypatch.setattr(fit_costs, "free_memory", lambda: FreeMemory(GIB // 2, "in the control group /job (x: 2.0 GiB)"))
    with pytest.raises(InputError) as caught:
        check_memory(PRINTED, 4000, 4000, FRAMED)
    assert str(caught.value).startswith(
        f"A fit to 4000 training and 4000 test images needs {needed / GIB:.1f} GiB beside them, but only 0.5 GiB are free in the "
        "control group /job (x: 2.0 GiB). Lower n_train, n_test, stages or filters"
    )


def changed(**changes):
    rfm = {key: value for key, value in changes.items() if key in PRINTED["rfm"]}
    return {**PRINTED, **changes, "rfm": {**PRINTED["rfm"], **rfm}}


def test_it_grows_with_what_a_fit_holds():
    few, many = (fit_bytes(PRINTED, n, 100, (1, 16, 32)) for n in (20_000, 40_000))
    assert 3.8 < many / few < 4
    # The matrix of the kernel in float32, and the solver's three.
    assert many == pytest.approx(28 * 40_000**2, rel=0.05)
    size = (2000, 1000, FRAMED)
    plain = fit_bytes(PRINTED, *size)
    assert fit_bytes(changed(protocol="corrected"), *size) > plain
    assert fit_bytes(changed(changes={"selection": "validation"}), *size) > plain
    assert fit_bytes(changed(rounds=1), *size) < plain
    assert fit_bytes(changed(memory_mb=100), *size) < plain
    # Beside one another: the features of two stages, of test images those of one, and a copy for their hashes.
    features = 4 * 64 * (40**2 * (2000 + 1000) + 38**2 * (2000 + 1000))
    assert fit_bytes(changed(stages=3), *size) > plain + features / 2
    assert fit_bytes(changed(stages=3, filters=128), *size) > 1.4 * fit_bytes(changed(stages=3), *size)


def test_the_laplace_kernel_has_no_layers():
    prepared = {"rounds": 3, "kernel": "laplace", "patch_size": 7, "bandwidth": 10.0} | {
        key: PRINTED[key] for key in ("protocol", "memory_mb")
    }
    assert 0 < fit_bytes(prepared, 2000, 1000, FRAMED) < fit_bytes(changed(patch_size=7), 2000, 1000, FRAMED)


def test_rules_ask_for_what_jobs_check():
    plan = plan_of("workstation", protocol="both")
    keys = {"protocol": "published", "seed": "0", "sigma": "1.0", "task": "noisy-mnist"}
    expected = fit_bytes(RUNS["rfm"].settings(plan, keys), 1000, 1000, FRAMED) // 2**20
    assert fits.fit_memory(plan, "fit_rfm", keys) == expected < 2600
    sized = {**keys, "n_train": "200", "n_test": "200"}
    assert (
        fits.fit_memory(plan, "fit_printed", sized)
        == fit_bytes(RUNS["printed-rfm"].settings(plan, sized), 200, 200, FRAMED) // 2**20
    )
    varied = {**keys, "n_train": "2000", "variant": "unchanged"}
    assert (
        fits.fit_memory(plan, "fit_variant", varied)
        == fit_bytes(RUNS["variant"].settings(plan, varied), 2000, 2000, FRAMED) // 2**20
    )
    of_svhn = {**keys, "dataset": "svhn", "classes": "all", "kernel": "laplace"}
    colour = (1000, 1000, (3, 32, 32))
    assert (
        fits.fit_memory(plan, "fit_images", of_svhn) == fit_bytes(RUNS["image-rfm"].settings(plan, of_svhn), *colour) // 2**20
    )
    assert fits.fit_memory(plan, "train_cnn", keys) == 0
    assert (
        fits.fit_memory(plan, "fit_features", of_svhn) == fit_bytes(RUNS["features"].settings(plan, of_svhn), *colour) // 2**20
    )


@pytest.mark.parametrize(
    ("dataset", "shape"),
    [
        ("qmnist", (1, 28, 28)),
        ("usps", (1, 16, 16)),
        ("dtd", (3, 32, 32)),
        ("caltech101", (3, 32, 32)),
        ("cifar10", (3, 32, 32)),
    ],
)
def test_images_have_the_shape_that_they_are_prepared_in(dataset, shape):
    keys = {"protocol": "published", "seed": "0", "dataset": dataset, "classes": "all"}
    assert fits.fit_size(plan_of("paper"), "image-rfm", keys).shape == shape
