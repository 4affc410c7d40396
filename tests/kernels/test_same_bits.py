"""The same bits from the process that compiles a kernel and from those that find it in Numba's cache."""

import os
import subprocess
import sys

CODE = """
import hashlib, numpy
from convrfm.kernels import CNTK
rng = numpy.random.default_rng(0)
x, alpha = rng.random((20, 3, 9, 10), dtype=numpy.float32), rng.standard_normal((20, 2), dtype=numpy.float32)
kernel = CNTK(depth=3)
print(*(hashlib.sha256(found.tobytes()).hexdigest() for found in (kernel.gram(x), kernel.patch_agop(x, x[:4], alpha))))
"""


def test_compiling_and_loading_give_the_same_bits(tmp_path):
    """Numba optimises what a process has just compiled otherwise than what it stores: no rounding may depend on it."""

    def run():
        environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_NUM_THREADS": "1"}
        return subprocess.run([sys.executable, "-c", CODE], env=environment, capture_output=True, text=True, check=True).stdout

    compiled = run()
    files = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb?")}
    assert any("forward" in path.name for path in files)
    assert run() == compiled
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.nb?")} == files  # nothing was compiled again
