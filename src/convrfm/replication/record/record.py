"""The record that every run leaves: what went in, what came out, and on what it was computed."""

import hashlib
import json
import platform
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from convrfm.system.storage import sha256, write_json

__all__ = [
    "CHECKOUT", "CODE", "SEAL", "Recorder", "ask_git", "commit_of", "read_record", "seal_of", "uncommitted_code",
]  # fmt: skip

SEAL = "seal"
"""The field of a record that holds the hash of all the others, so that an edit of the record itself is seen."""

CHECKOUT = Path(__file__).parents[4]
"""What the code lies in, with its history and its lock, unless it is installed elsewhere; results may lie elsewhere too."""

CODE = ("src", "workflow", "Snakefile", ":(exclude)workflow/presets")
"""What is code in the checkout, as pathspecs of git."""

PACKAGES = (
    "convrfm", "jax", "matplotlib", "neural-tangents", "numba", "numpy", "pandas", "pyarrow", "safetensors",
    "scikit-learn", "scipy", "seaborn", "snakemake", "torch", "torchvision",
)  # fmt: skip


@dataclass
class Recorder:
    """Collects the record of one job; times run from its construction.

    Attributes:
        job: the library function that does the work, `module:function`.
        code: hash of its import closure.
        settings: the resolved slice of the configuration that the job sees.
        notes: what the job adds: the seed, the solves, the device.
    """

    job: str
    code: str
    settings: Mapping[str, Any]
    notes: dict[str, Any] = field(default_factory=dict)
    started: float = field(default_factory=time.time)
    clock: float = field(default_factory=time.perf_counter)

    def write(self, path: Path, inputs: Mapping[str, Path], outputs: Mapping[str, Path]) -> None:
        """Write the record; inputs and outputs enter by hash.

        Raises:
            ValueError: a note bears the name of something that every record has.
            StorageError: see `convrfm.system.storage`.
        """
        record = {
            "job": self.job,
            "settings": dict(self.settings),
            "inputs": {name: _described(file) for name, file in sorted(inputs.items())},
            "outputs": {name: _described(file) for name, file in sorted(outputs.items())},
            "code": {"closure": self.code, **_git_state()},
            **self.surroundings(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.started)),
            "wall_seconds": round(time.perf_counter() - self.clock, 3),
            # ru_maxrss is in KiB on Linux.
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        }
        if taken := sorted({*record, SEAL} & self.notes.keys()):
            msg = f"Every record has {', '.join(taken)}: give the note of {self.job} another name."
            raise ValueError(msg)
        record |= self.notes
        write_json(path, {**record, SEAL: seal_of(record)})

    @staticmethod
    def surroundings() -> dict[str, Any]:
        """What work is done with and on: `packages`, versions by name, and `machine`."""
        return {"packages": _versions(), "machine": _machine()}


def _described(path: Path) -> dict[str, str]:
    return {"path": path.as_posix(), "sha256": sha256(path)}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _machine() -> dict[str, Any]:
    """What a job ran on; numbers of threads are here, since the last bits of BLAS and LAPACK depend on them."""
    torch = sys.modules.get("torch")
    description: dict[str, Any] = {"system": platform.system(), "processor": _processor(), "gpu": None}
    if torch is not None:
        description["torch_threads"] = torch.get_num_threads()
        description["tf32"] = bool(torch.backends.cuda.matmul.allow_tf32 or torch.backends.cudnn.allow_tf32)
        if torch.cuda.is_available():
            description["gpu"] = torch.cuda.get_device_name()
    numba = sys.modules.get("numba")
    if numba is not None:
        description["numba_threads"] = numba.get_num_threads()
    return description


def _processor() -> str:
    """Model name of the CPU."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor()


def ask_git(checkout: Path, *arguments: str) -> str | None:
    """What git prints about a checkout; None without git, without such a checkout, or where git refuses."""
    git = shutil.which("git")
    if git is None:
        return None
    # Many jobs ask at the same time, perhaps while the user commits: without a lock on the index.
    command = [git, "--no-optional-locks", "-C", str(checkout), *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    return done.stdout if done.returncode == 0 else None


def commit_of(checkout: Path) -> str | None:
    """The commit of a checkout; None outside one. An environment inside of another project has the commits of that one."""
    top, _, commit = (ask_git(checkout, "rev-parse", "--show-toplevel", "HEAD") or "").strip().rpartition("\n")
    return commit if top and Path(top) == checkout.resolve() else None


def uncommitted_code(checkout: Path) -> list[str] | None:
    """Files of code that are changed, or new, beside the commit of a checkout; None where git does not say."""
    status = ask_git(
        checkout, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *CODE
    )  # fmt: skip
    return None if status is None else [entry[3:] for entry in status.split("\0") if _is_of_code(entry)]


def _git_state(checkout: Path = CHECKOUT) -> dict[str, Any]:
    """Commit of the checkout that the package lies in, and whether its code has changed beside it; None outside one.

    Settings are no code: each record holds its own.
    """
    commit = commit_of(checkout)
    changed = None if commit is None else uncommitted_code(checkout)
    return {"commit": commit, "dirty": None if changed is None else bool(changed)}


def _is_of_code(entry: str) -> bool:
    """Whether a line of `git status` is a change, or a new file that Python or Snakemake may read."""
    return bool(entry) and (not entry.startswith("?? ") or entry.endswith((".py", ".smk")))


def seal_of(record: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of everything that a record holds, but for its seal; NaN is refused, as JSON has none."""
    # As it comes back from disk, where keys are strings, and sort as such.
    content = json.loads(json.dumps({key: value for key, value in record.items() if key != SEAL}))
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_record(path: Path) -> dict[str, Any]:
    """Read what `Recorder.write` wrote.

    Raises:
        OSError: it is not there, or cannot be read.
        ValueError: it is no JSON, or not in UTF-8.
        RecursionError: it is nested as no record is.
    """
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record
