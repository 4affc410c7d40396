"""The sum of what is planned, on plans whose sums are known."""

from itertools import pairwise

import numpy as np
import pytest

from convrfm.replication.plan.cost import Planned, longest_chain, table


def planned(name, after="", minutes=60.0, rule="fit", **others):
    """A job that writes a file and needs those of others, named in one string."""
    return Planned(rule, tuple(after), (name,), minutes, **{"threads": 1, "gpus": 0, "memory_mb": 1024, **others})


def test_sums_by_rule():
    jobs = [
        planned("a", minutes=30, rule="train", gpus=1, threads=4),
        planned("b", minutes=90, rule="train", gpus=1, memory_mb=4096),
        planned("c", minutes=6, rule="draw_fig05"),
        planned("d", minutes=0, rule="all"),
    ]
    rows = {line.split()[0]: line.split()[1:] for line in table(jobs)}
    assert rows["train"] == ["2", "3.50", "2.00", "4.0", "90.0"]
    assert rows["draw_fig05"] == ["1", "0.10", "0.00", "1.0", "6.0"]
    assert rows["total"] == ["3", "3.60", "2.00", "4.0", "90.0"]
    assert list(rows) == ["rule", "train", "draw_fig05", "total"]


@pytest.mark.parametrize("order", [1, -1])
def test_the_longest_chain_counts_minutes_and_not_jobs(order):
    jobs = [
        planned("a", minutes=1), planned("b", "a", 1), planned("c", "b", 1), planned("d", "c", 1),
        planned("x", minutes=50), planned("y", "xa", 10), planned("z", "yd", 5), planned("t", "z", 0),
    ]  # fmt: skip
    assert [job.outputs[0] for job in longest_chain(jobs[::order])] == ["x", "y", "z"]


def test_the_longest_chain_of_a_random_plan(rng):
    """Against the longest of all paths, found one by one."""
    names = "abcdefghij"
    for _ in range(20):
        minutes = rng.integers(1, 100, 10).astype(float)
        needs = [[names[j] for j in range(i) if rng.random() < 0.3] for i in range(10)]
        jobs = [planned(name, need, float(m)) for name, need, m in zip(names, needs, minutes, strict=True)]

        def best(i, needs=needs, minutes=minutes):
            return minutes[i] + max((best(names.index(name)) for name in needs[i]), default=0.0)

        chain = longest_chain([jobs[i] for i in rng.permutation(10)])
        assert np.isclose(sum(job.minutes for job in chain), max(best(i) for i in range(10)))
        assert all(first.outputs[0] in second.inputs for first, second in pairwise(chain))


def test_an_empty_plan():
    assert longest_chain([]) == []
    assert list(table([]))[-1].split() == ["total", "0", "0.00", "0.00", "0.0", "0.0"]
