"""How often a job has run out of time, and how often of memory, so that its next attempt gets more of that alone.

Snakemake says which attempt a job is at, and not why the ones before have failed. The executor `slurm-site` learns that from
SLURM and notes it here, in the process that plans the next attempt.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Literal

__all__ = ["Shortage", "growth", "note_failure"]

Shortage = Literal["time", "memory"]

_Key = tuple[str, tuple[tuple[str, str], ...]]

_failures: dict[_Key, dict[int, Shortage | None]] = {}
"""What each failed attempt of a job ran out of, if it was anything."""


def note_failure(rule: str, wildcards: Mapping[str, str], attempt: int, shortage: Shortage | None) -> None:
    """Note that an attempt of a job has failed, once: what is noted first counts.

    Args:
        rule: its rule.
        wildcards: its wildcards.
        attempt: from 1.
        shortage: what it ran out of; None if it failed in another way.
    """
    _failures.setdefault(_key(rule, wildcards), {}).setdefault(attempt, shortage)


def growth(rule: str, wildcards: Mapping[str, str], attempt: int, of: Shortage) -> int:
    """How many times what its first attempt got a job is given, from 1.

    Where nobody notes why attempts fail, as on schedulers other than SLURM, every attempt gets more of both.
    """
    noted = _failures.get(_key(rule, wildcards))
    return attempt if noted is None else 1 + Counter(noted.values())[of]


def _key(rule: str, wildcards: Mapping[str, str]) -> _Key:
    return rule, tuple(sorted((name, str(value)) for name, value in wildcards.items()))
