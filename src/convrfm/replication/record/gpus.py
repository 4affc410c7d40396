"""GPUs for the jobs that have asked for some, where no scheduler hands them out job by job.

Snakemake counts GPUs and gives none to anybody. A job therefore claims its devices before CUDA starts: it takes the lock on a
file named after each device, which the system releases when the process ends, in whatever way. Whoever finds too few free
waits.
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

__all__ = ["asked_gpus", "claim_gpus", "in_scheduler", "sign_of_gpu", "visible_gpus"]

SECONDS_BETWEEN_LOOKS = 0.5
SCHEDULERS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "FLUX_JOB_ID")
"""Variables inside the jobs of schedulers, which hand out devices by themselves."""

NO_DEVICE = ("", "-1", "NoDevFiles")
"""What CUDA_VISIBLE_DEVICES holds where there is none; the last is SLURM's."""

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


def claim_gpus(count: int, folder: Path | None = None) -> list[str]:
    """Claim GPUs for this process alone, wait while too few are free, and make them the only ones that CUDA sees.

    Must be called before CUDA starts. Nothing happens where there is no GPU, and inside the job of a scheduler that was given
    none or one; of several, which may serve several jobs of ours, so many are claimed. A process claims all of its devices or
    none, one process at a time: jobs that want several never wait for each other with a part in their hands.

    Args:
        count: how many the job has asked for; all that there are, if they are fewer.
        folder: of the locks; without one, a folder of this user in the folder for temporary files.

    Returns:
        their UUIDs; none where nothing was claimed.
    """
    given = in_scheduler()
    if given and "CUDA_VISIBLE_DEVICES" not in os.environ:
        return []
    devices = visible_gpus()
    if len(devices) <= (1 if given else 0):
        return []
    if count > len(devices):
        log.warning("%d GPUs were asked for, but there are %d: the job takes these", count, len(devices))
    folder = Path(tempfile.gettempdir()) / f"convrfm-gpus-{os.getuid()}" if folder is None else folder
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    waiting = False
    while not (claimed := _claimed(devices, min(count, len(devices)), folder)):
        if not waiting:
            log.info("fewer than %d of %d GPU(s) are free: waiting", min(count, len(devices)), len(devices))
            waiting = True
        time.sleep(SECONDS_BETWEEN_LOOKS)
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(claimed)
    log.info("this job has to itself: GPU %s", ", ".join(claimed))
    return list(claimed)


def asked_gpus(resources: Mapping[str, Any]) -> int | None:
    """GPUs that a job has asked for: 0 if none on purpose, None if it says nothing, as of rules that cannot use any.

    In the job of a scheduler, those count, too, that a site asks for in its own words (`gres`, `slurm_extra`), of which
    Snakemake does not know.

    Args:
        resources: of the job.
    """
    own: int | None = resources.get("gpu")
    words = f"{resources.get('gres', '')} {resources.get('slurm_extra', '')}"
    if not in_scheduler() or "gpu" not in words:
        return own
    # gpu:2, gpu:h100:2, --gpus-per-node=h100:2; without a number it is one.
    numbers = re.findall(r"gpu[\w-]*[:=](?:[A-Za-z][\w.-]*:)?(\d+)", words)
    return max(own or 0, *map(int, numbers or ["1"]))


def sign_of_gpu(asked: int, environment: Mapping[str, str] = os.environ, devices: Path = Path("/dev")) -> str | None:
    """What says that this job has a GPU, whether or not CUDA can use it; None where nothing does, or all are hidden.

    Args:
        asked: GPUs that the job has asked Snakemake for.
        environment: of the process.
        devices: where the files of NVIDIA's devices are.
    """
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible in NO_DEVICE:
        return None
    granted = {name: environment.get(name, "") for name in ("SLURM_STEP_GPUS", "SLURM_JOB_GPUS", "SLURM_GPUS_ON_NODE")}
    if granted["SLURM_GPUS_ON_NODE"] == "0":  # a number, and the others are lists of indices
        granted["SLURM_GPUS_ON_NODE"] = ""
    for name, value in granted.items():
        if value not in NO_DEVICE:
            return f"{name}={value}"
    if visible is not None:
        return f"CUDA_VISIBLE_DEVICES={visible}"
    files = sorted(path.name for path in devices.glob("nvidia[0-9]*"))
    return f"{asked} asked for, and {devices / files[0]}" if asked > 0 and files else None


def in_scheduler(environment: Mapping[str, str] = os.environ) -> bool:
    """Whether this process runs inside the job of a scheduler."""
    return any(name in environment for name in SCHEDULERS)


def _claimed(devices: Sequence[str], count: int, folder: Path) -> dict[str, IO[str]]:
    """So many devices with their locked files, or none."""
    found: dict[str, IO[str]] = {}
    with (folder / "claiming").open("a", encoding="utf-8") as turn:
        fcntl.flock(turn, fcntl.LOCK_EX)
        for device in devices:
            if len(found) < count and (file := _locked(folder / device)) is not None:
                found[device] = file
        if len(found) < count:
            for file in found.values():
                file.close()
            return {}
    _held.extend(found.values())
    return found


def _locked(path: Path) -> IO[str] | None:
    """The file, open and locked by this process; None where another has the lock."""
    file = path.open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
