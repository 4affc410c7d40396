"""Folders of runs, and the record that every job leaves: what went in, what came out, and on what it was computed.

Results lie in `results/<preset>/runs/<experiment>/<protocol>/<key=value,...>/` and `results/<preset>/figures/<protocol>/`.
"""

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
    "CHECKOUT", "CODE", "RUN_FILES", "SEAL", "STEP_MATRICES", "Recorder", "ask_git", "commit_of", "figure_records",
    "read_record", "run_keys", "run_name", "run_records", "seal_of", "uncommitted_code",
]  # fmt: skip

RUN_FILES = {"metrics": "metrics.parquet", "arrays": "arrays.safetensors", "record": "record.json"}
"""The files of a run."""

STEP_MATRICES = ("train", "test")  # the kernel matrices of a round of a fit, in the order in which it computes them
SEAL = "seal"  # the field of a record with the hash of all others, which reveals an edit of the record itself

CHECKOUT = Path(__file__).parents[4]
"""The checkout of the code, with its history and lock, unless it is installed elsewhere; results may lie elsewhere, too."""

CODE = ("src", "workflow", "Snakefile", ":(exclude)workflow/presets")
"""What is code in the checkout, as pathspecs of git."""

PACKAGES = (
    "convrfm", "jax", "matplotlib", "neural-tangents", "numba", "numpy", "pandas", "pyarrow", "safetensors",
    "scikit-learn", "scipy", "seaborn", "snakemake", "torch", "torchvision",
)  # fmt: skip


def run_name(keys: Mapping[str, object]) -> str:
    """Name of a run's folder, such as `task=bars,sigma=1,seed=0`; numbers in their shortest form."""
    return ",".join(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in keys.items())


def run_keys(folder: Path) -> dict[str, str]:
    """The keys in the name of a run's folder, with the experiment and the protocol of its parents."""
    keys = dict(part.split("=", 1) for part in folder.name.split(","))
    return {"experiment": folder.parent.parent.name, "protocol": folder.parent.name, **keys}


def run_records(results: Path) -> list[Path]:
    """Records of the runs in `results/<preset>`, sorted by name."""
    return sorted((results / "runs").glob("*/*/*/" + RUN_FILES["record"]))


def figure_records(results: Path) -> list[Path]:
    """Records of the figures in `results/<preset>/figures/<protocol>`, sorted by name."""
    return sorted((results / "figures").glob("*/*.json"))


@dataclass
class Recorder:
    """Collects the record of one job; its clock starts at construction."""

    job: str  # the function that does the work, `module:function`
    code: str  # hash of its import closure
    settings: Mapping[str, Any]  # the resolved slice of the configuration that the job sees
    notes: dict[str, Any] = field(default_factory=dict)  # what the job adds: the seed, the solves, the device
    started: float = field(default_factory=time.time)
    clock: float = field(default_factory=time.perf_counter)

    def write(self, path: Path, inputs: Mapping[str, Path], outputs: Mapping[str, Path]) -> None:
        """Write the record; inputs and outputs enter by hash.

        Raises:
            ValueError: a note has the name of a field of every record.
            StorageError: see `convrfm.system.storage`.
        """

        def described(files: Mapping[str, Path]) -> dict[str, dict[str, str]]:
            return {name: {"path": file.as_posix(), "sha256": sha256(file)} for name, file in sorted(files.items())}

        record = {
            "job": self.job,
            "settings": dict(self.settings),
            "inputs": described(inputs),
            "outputs": described(outputs),
            "code": {"closure": self.code, **_git_state()},
            **self.surroundings(),
            "started": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(self.started)),
            "wall_seconds": round(time.perf_counter() - self.clock, 3),
            # ru_maxrss is in KiB on Linux.
            "peak_memory_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1),
        }
        if taken := sorted({*record, SEAL} & self.notes.keys()):
            msg = f"{self.job}: notes may not be named {', '.join(taken)}, which are fields of every record."
            raise ValueError(msg)
        record |= self.notes
        write_json(path, {**record, SEAL: seal_of(record)})

    @staticmethod
    def surroundings() -> dict[str, Any]:
        """The environment of the work: `packages`, versions by name, and `machine`."""
        return {"packages": _versions(), "machine": _machine()}


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _machine() -> dict[str, Any]:
    """What a job ran on, with the numbers of threads, on which the last bits of BLAS and LAPACK depend."""
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
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "") or platform.processor()


def ask_git(checkout: Path, *arguments: str) -> str | None:
    """What git prints about a checkout; None without git, without such a checkout, or if git refuses."""
    git = shutil.which("git")
    if git is None:
        return None
    # Many jobs ask at a time, perhaps while the user commits: take no lock on the index.
    command = [git, "--no-optional-locks", "-C", str(checkout), *arguments]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", errors="replace", check=False)
    return done.stdout if done.returncode == 0 else None


def commit_of(checkout: Path) -> str | None:
    """The commit of a checkout; None for any other folder, also one inside the checkout of another project."""
    top, _, commit = (ask_git(checkout, "rev-parse", "--show-toplevel", "HEAD") or "").strip().rpartition("\n")
    return commit if top and Path(top) == checkout.resolve() else None


def uncommitted_code(checkout: Path) -> list[str] | None:
    """Files of code that differ from the commit of a checkout, or are new; None if git does not say."""
    status = ask_git(checkout, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *CODE)
    if status is None:
        return None
    # Of new files only those count that Python or Snakemake may read.
    entries = (entry for entry in status.split("\0") if entry)
    return [entry[3:] for entry in entries if not entry.startswith("?? ") or entry.endswith((".py", ".smk"))]


def _git_state(checkout: Path = CHECKOUT) -> dict[str, Any]:
    """Commit of the checkout of the package, and whether its code differs from it; None outside one.

    Settings are no code: each record has its own.
    """
    commit = commit_of(checkout)
    changed = None if commit is None else uncommitted_code(checkout)
    return {"commit": commit, "dirty": None if changed is None else bool(changed)}


def seal_of(record: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a record without its seal; NaN is refused, since JSON has none."""
    # As read from disk, where keys are strings, and sort as such.
    content = json.loads(json.dumps({key: value for key, value in record.items() if key != SEAL}))
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_record(path: Path) -> dict[str, Any]:
    """Read what `Recorder.write` wrote.

    Raises:
        OSError: it is missing, or cannot be read.
        ValueError: it is not JSON, or not UTF-8.
        RecursionError: it is nested too deeply.
    """
    record: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return record
