"""One GPU for each job that has asked for one, where no scheduler hands them out one by one.

Snakemake counts GPUs and gives none to anybody. A job therefore claims a device before CUDA starts: it takes the lock on a
file named after the device, which the system releases when the process ends, in whatever way. Whoever finds all devices
taken waits.
"""

import fcntl
import logging
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO

__all__ = ["claim_gpu", "visible_gpus"]

SECONDS_BETWEEN_LOOKS = 0.5
SCHEDULERS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "FLUX_JOB_ID")
"""Variables inside the jobs of schedulers, which hand out devices by themselves."""

log = logging.getLogger(__name__)

_held: list[IO[str]] = []
"""Locked files; they stay open as long as this process lives."""


def visible_gpus(environment: Mapping[str, str] = os.environ) -> list[str]:
    """The GPUs that this process may use, by their UUIDs; none without NVIDIA's driver.

    Those that CUDA_VISIBLE_DEVICES names, if it is set, by index or UUID; else all.
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


def claim_gpu(folder: Path | None = None) -> str | None:
    """Claim a GPU for this process alone, wait for one if all are taken, and make it the only one that CUDA sees.

    Must be called before CUDA starts. Nothing happens where there is no GPU, and inside the job of a scheduler that was given
    none or one; of several, which may serve several jobs of ours, one is claimed.

    Args:
        folder: of the locks; without one, a folder of this user in the folder for temporary files.

    Returns:
        its UUID, or None where nothing was claimed.
    """
    given = any(name in os.environ for name in SCHEDULERS)
    if given and "CUDA_VISIBLE_DEVICES" not in os.environ:
        return None
    devices = visible_gpus()
    if len(devices) <= (1 if given else 0):
        return None
    folder = Path(tempfile.gettempdir()) / f"convrfm-gpus-{os.getuid()}" if folder is None else folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    waiting = False
    while True:
        for device in devices:
            if _locked(folder / device):
                os.environ["CUDA_VISIBLE_DEVICES"] = device
                log.info("GPU %s is this job's own", device)
                return device
        if not waiting:
            log.info("all of %d GPU(s) are taken: waiting for one", len(devices))
            waiting = True
        time.sleep(SECONDS_BETWEEN_LOOKS)


def _locked(path: Path) -> bool:
    """Whether this process now holds the lock on a file."""
    file = path.open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    _held.append(file)
    return True
