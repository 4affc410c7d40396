"""How much memory may be used."""

from pathlib import Path

import psutil

__all__ = ["free_bytes"]

CGROUP_LIMITS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)
"""Files that hold the limit and the use of the control group, as set by containers and clusters (versions 2 and 1)."""


def free_bytes() -> int:
    """Memory that this process can still take: what the machine has free, or what its control group leaves."""
    free = psutil.virtual_memory().available
    for limit, used in CGROUP_LIMITS:
        try:
            left = int(Path(limit).read_text(encoding="utf-8")) - int(Path(used).read_text(encoding="utf-8"))
        except (OSError, ValueError):  # no such control group, or no limit ("max")
            continue
        free = min(free, max(left, 0))
    return free
