"""Ctrl-C during long work: compiled code runs in calls of bounded work, after which Python raises KeyboardInterrupt."""

import numba
import numpy as np
import pytest

from convrfm.kernels import CNTK, PatchLaplace, cpu
from convrfm.kernels.compiled import sweeps
from kernels.cases import random_images, random_metric

KERNELS = [CNTK(depth=2, backend="cpu"), PatchLaplace(patch_size=3, backend="cpu")]


@pytest.mark.parametrize(("n", "size", "channels"), [(1500, 32, 3), (600, 30, 64), (40, 224, 3)])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("kernel", KERNELS, ids=["CNTK", "Laplace"])
@pytest.mark.parametrize("sweeps", [1, 3])
def test_work_of_a_call_is_bounded(kernel, n, size, channels, dtype, sweeps, rng):
    image = np.zeros((1, channels, size, size), dtype)
    batch = cpu.prepare(image, random_metric(rng, channels * 9), kernel.spec, 1).take(np.zeros(n, int))
    calls = cpu._calls(batch, batch, kernel.spec, sweeps=sweeps)
    pairs = [16 * (call[:, 2] - call[:, 1]).sum() for call in calls]
    least = 16 * 8 * numba.get_num_threads()  # a group of rows for each thread
    work = sweeps * cpu._operations(batch, kernel.spec)
    assert max(pairs) * work <= max(cpu.OPERATIONS_PER_CALL * numba.get_num_threads() * 2, least * work)
    assert sum(((call[:, 2] - call[:, 1]).sum()) for call in calls) == n * (cpu._whole_vectors(batch) // cpu.lanes(dtype))


@pytest.mark.parametrize("kernel", KERNELS, ids=["CNTK", "Laplace"])
def test_calls_do_not_change_bits(kernel, rng, monkeypatch):
    x, alpha = random_images(rng, 70, 2, 8, 7).astype(np.float32), rng.standard_normal((70, 3))
    gram, cross, agop = kernel.gram(x), kernel.gram(x[:30], x), kernel.patch_agop(x, x[:30], alpha)
    monkeypatch.setattr(cpu, "OPERATIONS_PER_CALL", 1)
    assert (kernel.gram(x) == gram).all()
    assert (kernel.gram(x[:30], x) == cross).all()
    assert (kernel.patch_agop(x, x[:30], alpha) == agop).all()


@pytest.mark.parametrize(("kernel", "kind"), list(zip(KERNELS, ["arccosine", "laplace"], strict=True)), ids=["CNTK", "Laplace"])
def test_an_interrupt_between_calls_leaves_things_whole(kernel, kind, rng, monkeypatch, tmp_path):
    x, alpha = random_images(rng, 70, 2, 8, 7).astype(np.float32), rng.standard_normal((70, 3))
    prepared = kernel.prepare(x)
    gram, agop = kernel.gram(prepared), kernel.patch_agop(prepared, prepared, alpha)
    monkeypatch.setattr(cpu, "OPERATIONS_PER_CALL", 1)
    for name in ("forward", "reverse"):
        original, calls = getattr(sweeps, f"{kind}_{name}"), []

        def interrupted(*arguments, original=original, calls=calls):
            calls.append(1)
            if len(calls) % 7 == 0:
                raise KeyboardInterrupt
            return original(*arguments)

        with monkeypatch.context() as patch:
            patch.setattr(sweeps, f"{kind}_{name}", interrupted)
            with pytest.raises(KeyboardInterrupt):
                kernel.gram(prepared, out=tmp_path / "gram.npy") if name == "forward" else kernel.patch_agop(
                    prepared, prepared, alpha
                )
    assert not (tmp_path / "gram.npy").exists()
    assert (kernel.gram(prepared, out=tmp_path / "gram.npy") == gram).all()
    assert (kernel.patch_agop(prepared, prepared, alpha) == agop).all()
