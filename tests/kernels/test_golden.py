"""Pinned numbers of Neural Tangents in double precision, so that they are checked where JAX is absent.

`golden.safetensors` was written by `python tests/kernels/golden.py`.
"""

from pathlib import Path

import pytest
from safetensors.numpy import load_file
from tolerance import assert_close

from kernels.golden import CASES, kernel

GOLDEN = load_file(Path(__file__).with_name("golden.safetensors"))


@pytest.mark.parametrize(("backend", "dtype"), [("reference", "float64"), ("cpu", "float64"), ("cpu", "float32")])
@pytest.mark.parametrize("name", CASES)
def test_agrees_with_the_pinned_numbers(name, backend, dtype):
    x, z, metric, alpha = (GOLDEN.get(f"{name}/{part}") for part in ("x", "z", "metric", "alpha"))
    ours = kernel(name, backend)
    x, z = x.astype(dtype), z.astype(dtype)
    assert_close(ours.gram(x, z, metric), GOLDEN[f"{name}/gram"], "gram", dtype)
    assert_close(ours.patch_agop(x, z, alpha, metric), GOLDEN[f"{name}/agop"], "agop", dtype)
