"""How much memory this process may still take, and what sets that limit.

The smallest of these counts:

- what the machine has free, by `psutil`;
- what each visible control group of the process leaves (a container's, a SLURM job's, a user slice's): version 2
  (`memory.max`, and `memory.high`, above which processes slow down), version 1 (`memory.limit_in_bytes`), or both;
- what `ulimit -v` and `ulimit -d` leave of the address space and of data.

A group's use includes file pages. Those that the kernel would drop first (`inactive_file` in `memory.stat`) count as
free, as in `docker stats`. Swap does not count.
"""

import re
import resource
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import psutil

__all__ = ["FreeMemory", "free_bytes", "free_memory"]


@dataclass(frozen=True)
class FreeMemory:
    """Memory that can still be taken.

    Attributes:
        size: bytes.
        source: what sets the limit, to follow "free" in a sentence.
    """

    size: int
    source: str


@dataclass(frozen=True)
class _Version:
    """Files of a version of control groups: limits, use, and the name of droppable file pages in `memory.stat`."""

    limits: tuple[str, ...]
    used: str
    droppable: str


VERSIONS = {
    "cgroup2": _Version(("memory.max", "memory.high"), "memory.current", "inactive_file"),
    "cgroup": _Version(("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"),
}
"""By the type of their file system."""


def free_bytes() -> int:
    """Bytes that this process can still take."""
    return free_memory().size


def free_memory(root: Path = Path("/")) -> FreeMemory:
    """Memory that this process can still take, and what sets the limit; `root` holds `proc` and control groups."""
    machine = psutil.virtual_memory()
    everything = [FreeMemory(machine.available, "on this machine"), *_of_groups(root, machine.total), *_of_process()]
    return min(everything, key=lambda free: free.size)


def _of_groups(root: Path, total: int) -> Iterator[FreeMemory]:
    """What each control group of this process leaves, where it is limited to less than the machine has.

    Without a limit, version 1 has a number beyond the memory of any machine.
    """
    for version, mount, group in _hierarchies(root):
        for path in (group, *group.parents):
            folder = root / mount.relative_to("/") / path
            for name in version.limits:
                limit, used = _number(folder / name), _number(folder / version.used)
                if limit is not None and used is not None and limit < total:
                    left = limit - used + _droppable(folder, version)
                    yield FreeMemory(max(left, 0), f"in the control group {mount / path} ({name}: {_gib(limit)})")


def _number(file: Path) -> int | None:
    """The number in a file; None for a missing file, as in the highest group, or no limit, which reads "max"."""
    try:
        return int(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None


def _droppable(folder: Path, version: _Version) -> int:
    """Bytes of a group's file pages that count as free."""
    try:
        statistics = (folder / "memory.stat").read_text(encoding="utf-8")
    except OSError:
        return 0
    found = re.search(rf"^{version.droppable} (\d+)$", statistics, re.MULTILINE)
    return int(found[1]) if found else 0


def _hierarchies(root: Path) -> Iterator[tuple[_Version, PurePosixPath, PurePosixPath]]:
    """Where memory is limited: the version, the mount point, and the group of this process relative to it."""
    try:
        groups, mounts = (
            # Names of folders may be in any encoding.
            (root / "proc/self" / name).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
            for name in ("cgroup", "mountinfo")
        )
    except OSError:
        return
    for number, controllers, group in (line.split(":", 2) for line in groups if line.count(":") >= 2):
        kind = "cgroup2" if number == "0" else "cgroup"
        for fields in (line.split(" ") for line in mounts if " - " in line):
            # ... root, mount point, options, tags, "-", type, source, and what is mounted together in version 1.
            if fields[fields.index("-") + 1] == kind and (
                kind == "cgroup2" or ("memory" in controllers.split(",") and "memory" in fields[-1].split(","))
            ):
                top, mount = _unescaped(fields[3]), _unescaped(fields[4])
                yield VERSIONS[kind], mount, _below(top, PurePosixPath(group))


def _unescaped(field: str) -> PurePosixPath:
    """A path of mountinfo, where blanks and the like are octal."""
    return PurePosixPath(re.sub(r"\\([0-7]{3})", lambda code: chr(int(code[1], 8)), field))


def _below(top: PurePosixPath, group: PurePosixPath) -> PurePosixPath:
    """A group relative to the mounted one; the mounted one if the group is not below it, as in some containers."""
    if ".." in group.parts or not group.is_relative_to(top):
        return PurePosixPath()
    return group.relative_to(top)


def _of_process() -> Iterator[FreeMemory]:
    """What limits of the process itself leave, where it has any."""
    for kind, of, option in ((resource.RLIMIT_AS, "vms", "-v"), (resource.RLIMIT_DATA, "data", "-d")):
        limit, _ = resource.getrlimit(kind)
        if limit != resource.RLIM_INFINITY:
            left = limit - getattr(psutil.Process().memory_info(), of)
            yield FreeMemory(max(left, 0), f"under ulimit {option} ({_gib(limit)})")


def _gib(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
