"""What this machine and installation have: threads, GPUs, free memory, optional packages.

Of the limits of memory, the smallest counts:

- what the machine has free, by `psutil`;
- what each visible control group of the process leaves (a container's, a SLURM job's, a user slice's): version 2
  (`memory.max`, and `memory.high`, above which processes slow down), version 1 (`memory.limit_in_bytes`), or both;
- what `ulimit -v` and `ulimit -d` leave of the address space and of data.

A group's use includes file pages. Those that the kernel would drop first (`inactive_file` in `memory.stat`) count as free, as
in `docker stats`. Swap does not count.
"""

import re
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path, PurePosixPath
from typing import Any

import psutil

from convrfm.errors import ConvRFMError, InputError

__all__ = [
    "FreeMemory", "MissingExtraError", "cuda_trouble", "free_bytes", "free_memory", "gpu_by_default", "how_to_install",
    "limited_threads", "require", "why_no_gpu",
]  # fmt: skip

PACKAGES = {"PIL": "pillow", "yaml": "pyyaml"}  # packages whose modules have another name


@contextmanager
def limited_threads(n_jobs: Any) -> Iterator[None]:
    """Limit the threads of the kernels (Numba) and of linear algebra (BLAS), and restore the former limits.

    Args:
        n_jobs: None changes nothing: all cores, or what `NUMBA_NUM_THREADS` and its like say, such as the share
            that joblib gives to each of its processes. A positive integer is the largest number of threads; -1 is all
            that the CPU affinity and the CPU quota of a container allow (`joblib.cpu_count`), -2 all but one.

    Raises:
        InputError: neither None nor an integer other than 0.
    """
    if n_jobs is None:
        yield
        return
    # Imported here: they take a second, and work without limits may never need them.
    import joblib
    import numba
    import numpy as np
    from threadpoolctl import threadpool_limits

    if not isinstance(n_jobs, int | np.integer) or n_jobs == 0:
        msg = f"n_jobs must be None or an integer other than 0 (-1 for all cores), but it is {n_jobs!r}."
        raise InputError(msg)
    available, before = numba.config.NUMBA_NUM_THREADS, numba.get_num_threads()
    wanted = int(n_jobs) if n_jobs > 0 else min(available, joblib.cpu_count()) + 1 + int(n_jobs)
    threads = min(max(wanted, 1), available)
    numba.set_num_threads(threads)
    try:
        with threadpool_limits(threads, user_api="blas"):
            yield
    finally:
        numba.set_num_threads(before)


def cuda_trouble() -> str | None:
    """Say why PyTorch cannot compute on the visible GPUs, without a full stop; None where it can.

    The reason is the driver (none, or too old), the build (without CUDA, or not for GPUs of this generation), or that
    no GPU is visible.
    """
    import torch

    version = f"PyTorch {torch.__version__}"
    if not torch.cuda.is_available():
        try:
            torch.cuda.init()
        except (RuntimeError, AssertionError) as error:
            return f"{version} cannot use a GPU: {str(error).split('. ')[0].rstrip('.')}"
        return f"{version} sees no GPU"
    built = torch.cuda.get_arch_list()
    for index in range(torch.cuda.device_count()):
        capability = torch.cuda.get_device_capability(index)
        if not any(_serves(arch, capability) for arch in built):
            name, (major, minor) = torch.cuda.get_device_name(index), capability
            return f"{version} is built for {', '.join(built)}, but {name} has compute capability {major}.{minor}"
    return None


def _serves(arch: str, capability: tuple[int, int]) -> bool:
    """Whether code for an architecture runs: binary (sm) within its generation, intermediate (compute) after it."""
    found = re.match(r"(sm|compute)_(\d+)(\d)", arch)
    if found is None:
        return False
    own = (int(found[2]), int(found[3]))
    return own <= capability and (found[1] == "compute" or own[0] == capability[0])


def why_no_gpu() -> str | None:
    """Say what the backend cuda lacks, and what to do; None where it can be used (Numba's simulator included)."""
    if find_spec("numba_cuda") is None:
        return f"The backend cuda needs the package numba-cuda: {how_to_install('cuda')}."
    from numba import cuda
    from numba.core import config

    if config.ENABLE_CUDASIM:
        return None
    if not cuda.is_available():
        return (
            "The backend cuda needs an NVIDIA GPU with its driver, and finds none: check whether nvidia-smi lists one, "
            "and whether CUDA_VISIBLE_DEVICES hides it."
        )
    trouble = cuda_trouble()
    return None if trouble is None else f"The backend cuda needs a build of PyTorch for CUDA, but {trouble}."


def gpu_by_default() -> bool:
    """Whether the backend "auto" takes the GPU: never in Numba's simulator, which is slow."""
    if find_spec("numba_cuda") is None:
        return False
    from numba.core import config

    return not config.ENABLE_CUDASIM and why_no_gpu() is None


@dataclass(frozen=True)
class FreeMemory:
    """Memory that can still be taken."""

    size: int  # bytes
    source: str  # what sets the limit, to follow "free" in a sentence


VERSIONS = {
    "cgroup2": (("memory.max", "memory.high"), "memory.current", "inactive_file"),
    "cgroup": (("memory.limit_in_bytes",), "memory.usage_in_bytes", "total_inactive_file"),
}
"""Versions of control groups by the type of their file system: files of the limits and of the use, and the name of droppable
file pages in `memory.stat`."""


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
    for kind, mount, group in _hierarchies(root):
        limits, use, droppable = VERSIONS[kind]
        for path in (group, *group.parents):
            folder = root / mount.relative_to("/") / path
            for name in limits:
                limit, used = _number(folder / name), _number(folder / use)
                if limit is not None and used is not None and limit < total:
                    left = limit - used + (_number(folder / "memory.stat", rf"(?m)^{droppable} (\d+)$") or 0)
                    yield FreeMemory(max(left, 0), f"in the control group {mount / path} ({name}: {_gib(limit)})")


def _number(file: Path, line: str = r"\A(\d+)\s*\Z") -> int | None:
    """The number in a file; None for a missing file, as in the highest group, or no limit, which reads "max"."""
    try:
        found = re.search(line, file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return int(found[1]) if found else None


def _hierarchies(root: Path) -> Iterator[tuple[str, PurePosixPath, PurePosixPath]]:
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
                yield kind, mount, _below(top, PurePosixPath(group))


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


class MissingExtraError(ConvRFMError, ImportError):
    """Something needs a package of an extra that is not installed."""


def how_to_install(*extras: str) -> str:
    """Give the command that installs the missing packages of extras, or all their packages if none is missing.

    It names packages and not extras, since convrfm itself need not be on an index.
    """
    wanted = _requirements(*extras)
    missing = [requirement for package, requirement in wanted.items() if not _is_installed(package)]
    return _command(missing or list(wanted.values()), extras)


def require(extra: str, *modules: str, what: str) -> None:
    """Check that modules of an extra can be imported, without importing them.

    Args:
        extra: its name in pyproject.toml.
        modules: as they are imported.
        what: needs them, to begin a sentence with, such as "Drawing".

    Raises:
        MissingExtraError: one of them is missing.
    """
    missing = [name for name in modules if find_spec(name) is None]
    if missing:
        packages = [PACKAGES.get(name, name) for name in missing]
        wanted = [requirement for package, requirement in _requirements(extra).items() if package in packages]
        msg = f"{what} needs {' and '.join(missing)}, not installed here: {_command(wanted, (extra,))}"
        raise MissingExtraError(msg)


def _requirements(*extras: str) -> dict[str, str]:
    """The requirements of extras by package, such as "pillow>=11", from the metadata of the installation."""
    try:
        found = requires("convrfm") or []
    except PackageNotFoundError:  # sources that are not installed
        return {}
    split = [requirement.partition(";") for requirement in found]
    named = [text.strip() for text, _, marker in split if any(f'extra == "{extra}"' in marker for extra in extras)]
    return {re.split(r"[^\w.-]", text, maxsplit=1)[0]: text for text in named}


def _is_installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _command(requirements: list[str], extras: tuple[str, ...]) -> str:
    if not requirements:
        return f'pip install ".[{",".join(extras)}]" in a checkout'
    return " ".join(["pip install", *(f'"{requirement}"' for requirement in requirements)])
