"""How many threads numerical work takes, for as long as it lasts."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from convrfm.errors import InputError

__all__ = ["limited_threads"]


@contextmanager
def limited_threads(n_jobs: Any) -> Iterator[None]:
    """Limit the threads of the kernels (Numba) and of linear algebra (BLAS), and put back what was set before.

    Args:
        n_jobs: None leaves things as they are set: all cores, or what `NUMBA_NUM_THREADS` and its like say, such as the share
            that joblib gives to each of its processes. Otherwise the number of threads, at most as many; -1 stands for all
            that the CPU affinity and the CPU quota of a container allow (`joblib.cpu_count`), -2 for all but one.

    Raises:
        InputError: neither None nor an integer other than 0.
    """
    if n_jobs is None:
        yield
        return
    if not isinstance(n_jobs, int | np.integer) or n_jobs == 0:
        msg = f"n_jobs must be None or an integer other than 0 (-1 for all cores), but it is {n_jobs!r}."
        raise InputError(msg)
    # They take a second, and what is done without limits may never need them.
    import joblib
    import numba

    available, before = numba.config.NUMBA_NUM_THREADS, numba.get_num_threads()
    wanted = int(n_jobs) if n_jobs > 0 else min(available, joblib.cpu_count()) + 1 + int(n_jobs)
    threads = min(max(wanted, 1), available)
    numba.set_num_threads(threads)
    try:
        with threadpool_limits(threads, user_api="blas"):
            yield
    finally:
        numba.set_num_threads(before)
