"""Kernels in poor surroundings: no folder for compiled code, an ASCII locale, the caller's arrays that change."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from convrfm.errors import InputError
from convrfm.kernels import CNTK, PatchLaplace
from kernels.cases import random_images

NO_CACHE = """
import warnings
from numba.core import caching
caching.CacheImpl._locator_classes = []
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import numpy
    from convrfm.kernels import batches, cpu
    assert len(batches.image_keys(numpy.zeros((2, 1, 3, 3), numpy.float32))) == 2
print(*(f"{found.category.__name__}: {found.message}" for found in caught), sep="\\n")
"""

ASCII = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PYTHONIOENCODING": "ascii"}

IN_ASCII = """
import os, pty, sys
import convrfm.kernels
from convrfm.system.terminal import track
from convrfm.system.machine import free_bytes
assert free_bytes() > 0
list(track(range(3), 3, "tiles", show=True))
primary, secondary = pty.openpty()
sys.stderr = os.fdopen(secondary, "w", encoding="ascii")
list(track(range(3), 3, "tiles", show=True))
print("done")
"""


def run(*arguments, **environment):
    return subprocess.run(
        [sys.executable, *arguments], env={**os.environ, **environment}, capture_output=True, encoding="utf-8", check=False
    )


def test_without_a_folder_for_compiled_code_one_warning_is_given():
    done = run("-c", NO_CACHE)
    assert done.returncode == 0, done.stderr
    (warning,) = done.stdout.splitlines()
    assert warning.startswith("ConvRFMWarning: Numba finds no writable folder")
    assert "NUMBA_CACHE_DIR" in warning


def test_in_a_locale_of_ascii():
    done = run("-c", IN_ASCII, **ASCII)
    assert (done.returncode, done.stdout) == (0, "done\n"), done.stderr
    done = run("-m", "convrfm", "--help", **ASCII)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("backend", ["cpu", "reference"])
@pytest.mark.parametrize("kind", [np.array, torch.tensor])
def test_prepared_images_are_a_copy(backend, kind, rng):
    kernel = CNTK(depth=1, backend=backend)
    x, metric = kind(random_images(rng, 3, 1, 5, 5)), np.eye(9)
    for of_metric in (None, metric):
        prepared = kernel.prepare(x, of_metric)
        before = np.asarray(kernel.gram(prepared)).copy()
        x[0], metric[0, 0] = x[0] + 1, metric[0, 0] + 1
        assert (np.asarray(kernel.gram(prepared)) == before).all()


def test_the_home_folder_is_put_in_place_of_its_sign(rng, monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    CNTK(depth=1, backend="cpu").gram(random_images(rng, 3, 1, 5, 5), out="~/gram.npy")
    assert (tmp_path / "home" / "gram.npy").exists()
    assert not Path("~").exists()
    with pytest.raises(InputError, match="home folder"):
        PatchLaplace(patch_size=3).gram(random_images(rng, 3, 1, 5, 5), out="~no-such-user-here/gram.npy")
