"""GPUs for the jobs that request some, where no scheduler assigns devices to jobs.

Snakemake counts GPUs, but assigns none. Each job therefore claims its devices before CUDA starts: it locks a file named after
each device, and the system releases the lock when the process ends, in whatever way. A job that finds too few free waits.
"""

import fcntl
import logging
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

__all__ = ["asked_gpus", "claim_gpus", "sign_of_gpu", "visible_gpus"]

SECONDS_BETWEEN_LOOKS = 0.5
SCHEDULERS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "FLUX_JOB_ID")
"""Variables inside the jobs of schedulers, which assign devices themselves."""

NO_DEVICE = ("", "-1", "NoDevFiles")
"""Values of CUDA_VISIBLE_DEVICES without a device; the last is SLURM's."""

log = logging.getLogger(__name__)

_held: list[IO[str]] = []
"""Locked files; they stay open as long as this process lives."""


def visible_gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """UUIDs of the GPUs that this process may use; none without NVIDIA's driver.

    Those that CUDA_VISIBLE_DEVICES names, by index or UUID, or all if it is unset.
    """
    program = shutil.which("nvidia-smi", path=environment.get("PATH"))
    if program is None:
        return []
    command = [program, "--query-gpu=index,uuid", "--format=csv,noheader"]
    done = subprocess.run(command, capture_output=True, encoding="utf-8", check=False)
    lines = done.stdout.splitlines() if done.returncode == 0 else []
    pairs = (line.split(",", 1) for line in lines if "," in line)
    known = {index.strip(): device.strip() for index, device in pairs}
    chosen = environment.get("CUDA_VISIBLE_DEVICES")
    if chosen is None:
        return list(known.values())
    return [known.get(name.strip(), name.strip()) for name in chosen.split(",") if name.strip()]


def claim_gpus(count: int, folder: Path | None = None) -> list[str]:
    """Claim GPUs for this process alone, waiting while too few are free, and hide all others from CUDA.

    Must be called before CUDA starts. Does nothing without a GPU, and in the job of a scheduler that was assigned none or one;
    of several, which may serve several of our jobs, `count` are claimed. A process claims all of its devices or none, one
    process at a time, and so jobs that want several never block each other.
    If fewer exist, it gets all. The locks are in a folder, by default one of this user among the temporary files.

    Returns:
        the claimed UUIDs.
    """
    assigned = _in_scheduler()
    if assigned and "CUDA_VISIBLE_DEVICES" not in os.environ:
        return []
    devices = visible_gpus()
    if len(devices) <= (1 if assigned else 0):
        return []
    if count > len(devices):
        log.warning("%d GPUs were requested, but only %d exist: the job takes these", count, len(devices))
        count = len(devices)
    folder = Path(tempfile.gettempdir()) / f"convrfm-gpus-{os.getuid()}" if folder is None else folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    waiting = False
    while not (claimed := _claimed(devices, count, folder)):
        if not waiting:
            log.info("fewer than %d of %d GPU(s) are free: waiting", count, len(devices))
            waiting = True
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(claimed)
    log.info("claimed for this job: GPU %s", ", ".join(claimed))
    return claimed


def _claimed(devices: Sequence[str], count: int, folder: Path) -> list[str]:
    """So many devices, now locked, or none."""
    found: dict[str, IO[str]] = {}
    with (folder / "claiming").open("a", encoding="utf-8") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for device in devices:
            if len(found) < count and (file := _locked(folder / device)) is not None:
                found[device] = file
        if len(found) < count:
            for file in found.values():
                file.close()
            return []
    _held.extend(found.values())
    return list(found)


def _locked(path: Path) -> IO[str] | None:
    """The file, open and locked by this process; None if another has the lock."""
    file = path.open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file


def asked_gpus(resources: Mapping[str, Any]) -> int | None:
    """GPUs that a job requested: 0 if none on purpose, None if it says nothing, as do rules that cannot use any.

    In the job of a scheduler, those count, too, that a site requests in its own words (`gres`, `slurm_extra`).
    """
    own: int | None = resources.get("gpu")
    words = f"{resources.get('gres', '')} {resources.get('slurm_extra', '')}"
    if not _in_scheduler() or "gpu" not in words:
        return own
    # gpu:2, gpu:h100:2, --gpus-per-node=h100:2; without a number it is one.
    numbers = re.findall(r"gpu[\w-]*[:=](?:[A-Za-z][\w.-]*:)?(\d+)", words)
    return max(own or 0, *map(int, numbers or ["1"]))


def sign_of_gpu(asked: int, environment: Mapping[str, str] = os.environ, devices: Path = Path("/dev")) -> str | None:
    """Evidence that this job has a GPU, whether or not CUDA can use it; None without any, or if all are hidden.

    Device files alone count if the job `asked` Snakemake for GPUs.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible in NO_DEVICE:
        return None
    for name in ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "SLURM_GPUS_ON_NODE"):
        value = environment.get(name, "")
        # The last is a number; the others are lists of indices.
        if value not in NO_DEVICE and (name, value) != ("SLURM_GPUS_ON_NODE", "0"):
            return f"{name}={value}"
    if visible is not None:
        return f"CUDA_VISIBLE_DEVICES={visible}"
    files = sorted(path.name for path in devices.glob("nvidia[0-9]*"))
    return f"{asked} asked for, and {devices / files[0]}" if asked > 0 and files else None


def _in_scheduler() -> bool:
    """Whether this process runs inside the job of a scheduler."""
    return any(name in os.environ for name in SCHEDULERS)
