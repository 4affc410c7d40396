"""What surrounds a job of the workflow: threads, GPUs, a log, checkpoints, and errors in sentences.

Snakemake counts GPUs, but assigns none. Each job therefore claims its devices before CUDA starts: it locks a file named after
each device, and the system releases the lock when the process ends, in whatever way. A job that finds too few free waits.
"""

import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import IO, Any, NoReturn

import numpy as np
import pandas as pd
import psutil

from convrfm.errors import ConvRFMError
from convrfm.replication.record.record import Recorder
from convrfm.system.storage import clear_leftovers, sha256, write_arrays, write_table

__all__ = [
    "CHECKPOINT", "Job", "asked_gpus", "checkpoint_path", "claim_gpus", "end_with", "environment_of", "job_key", "load_job",
    "remove_checkpoints", "run_job", "sign_of_gpu", "visible_gpus",
]  # fmt: skip

SECONDS_BETWEEN_LOOKS = 0.5

CHECKPOINT = "checkpoint-"  # prefix of the names of checkpoints, files and folders

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What a job function receives."""

    inputs: Mapping[str, list[Path]]  # files by name; a name may stand for several
    outputs: Mapping[str, Path]  # files by name
    settings: Mapping[str, Any]  # the resolved slice of the configuration, plain values
    threads: int  # threads it may use
    recorder: Recorder  # collects its record
    gpu: str | None = None  # evidence that it has a GPU, see `convrfm.replication.record.session.sign_of_gpu`; None without any

    def input(self, name: str) -> Path:
        """The only file of an input name."""
        (path,) = self.inputs[name]
        return path

    def note_unusable_gpu(self, reason: str) -> None:
        """Warn, and record, that the job cannot use its GPU and continues on the CPU; does nothing if it has none."""
        if self.gpu is not None:
            self.recorder.notes |= {"gpu_granted": self.gpu, "gpu_unusable": reason}
            message = "THE GPU OF THIS JOB IS NOT USED (%s): it continues on the CPU, perhaps many times slower. %s"
            log.warning(message, self.gpu, reason)

    def finish(self, metrics: pd.DataFrame, arrays: dict[str, np.ndarray], **notes: Any) -> None:
        """Write what a run leaves, the record with these notes last, and remove its checkpoints.

        Raises:
            StorageError: see `convrfm.system.storage`.
        """
        write_table(self.outputs["metrics"], metrics)
        write_arrays(self.outputs["arrays"], arrays)
        self.recorder.notes |= notes
        self.write_record()
        remove_checkpoints(self)

    def write_record(self) -> None:
        """Write the record, the last output; it has the hashes of all inputs and of the other outputs."""
        files = {f"{name}/{i}": path for name, paths in self.inputs.items() for i, path in enumerate(paths)}
        outputs = {name: path for name, path in self.outputs.items() if name != "record"}
        # The last bits of sums depend on them.
        self.recorder.notes["threads"] = self.threads
        self.recorder.write(self.outputs["record"], files, outputs)


def run_job(snakemake: Any) -> None:
    """Run one job of the workflow, by the object that Snakemake gives to scripts.

    Its params are `job`, the function as `module:function`, which takes a `Job`; `settings`, those of the job; and `code`, the
    hash of its code.
    """
    target = snakemake.params.job
    os.environ |= environment_of(snakemake.threads)
    _end_with_workflow()
    with _logging_to(Path(snakemake.log[0])):
        gpus = asked_gpus(snakemake.resources)
        if gpus:
            claim_gpus(gpus)
        elif gpus == 0:
            # Hide those of other jobs.
            os.environ["CUDA_VISIBLE_DEVICES"] = ""
        function = load_job(target)
        settings = dict(snakemake.params.settings)
        given = {key: snakemake.input[key] for key in snakemake.input.keys()}  # noqa: SIM118 (not a dict)
        job = Job(
            inputs={key: [Path(path) for path in ([own] if isinstance(own, str) else own)] for key, own in given.items()},
            outputs={key: Path(snakemake.output[key]) for key in snakemake.output.keys()},  # noqa: SIM118 (not a dict)
            settings=settings,
            threads=snakemake.threads,
            recorder=Recorder(target, snakemake.params.code, settings),
            gpu=None if gpus is None else sign_of_gpu(gpus),
        )
        for path in job.outputs.values():
            clear_leftovers(path)
        function(job)


def load_job(target: str) -> Callable[[Job], None]:
    """Import a job by its name, `module:function`; only after `environment_of` has set the threads."""
    module, _, name = target.partition(":")
    function: Callable[[Job], None] = getattr(import_module(module), name)
    return function


def environment_of(threads: int) -> dict[str, str]:
    """Variables that the numerical libraries read when they are imported.

    They set the number of threads, and let PyTorch request large pages, which saves two thirds of a training's page faults
    and changes no bit.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    pages = os.environ.get("THP_MEM_ALLOC_ENABLE", "1")
    return {**dict.fromkeys(names, str(threads)), "THP_MEM_ALLOC_ENABLE": pages}


def checkpoint_path(job: Job, *parts: object) -> Path:
    """Path of a checkpoint of a job, named by the hash of its code, settings and inputs, and of the `parts`, plain values.

    If one exists, from which the job will continue, the note `resumed_from` of its record names the files.
    """
    path = job.outputs["record"].with_name(f"{CHECKPOINT}{job_key(job, *parts)}.safetensors")
    if found := sorted(each.name for each in path.parent.glob(f"{path.stem}*")):
        job.recorder.notes["resumed_from"] = [*job.recorder.notes.get("resumed_from", []), *found]
    return path


def job_key(job: Job, *parts: object) -> str:
    """Hash (16 hex digits) of what the outputs of a job, or the named part of them, depend on."""
    inputs = {name: [sha256(path) for path in paths] for name, paths in job.inputs.items()}
    identity = [job.recorder.code, dict(job.settings), inputs, list(parts)]
    return hashlib.sha256(json.dumps(identity, sort_keys=True).encode()).hexdigest()[:16]


def remove_checkpoints(job: Job) -> None:
    """Remove all checkpoints of a finished job, and temporary files of a killed one."""
    folder = job.outputs["record"].parent
    for pattern in (f"{CHECKPOINT}*", f".tmp-*-{CHECKPOINT}*"):
        for checkpoint in folder.glob(pattern):
            checkpoint.unlink()


def _end_with_workflow() -> None:
    """End this process soon after its Snakemake process has died, be it by `kill -9`.

    An orphan would finish outputs that Snakemake has marked as incomplete.
    """
    workflow = next(filter(_is_snakemake, psutil.Process().parents()), None)
    if workflow is not None:
        end_with("Snakemake", lambda: _is_snakemake(workflow))


def _is_snakemake(process: psutil.Process) -> bool:
    try:
        return any(Path(part).name == "snakemake" for part in process.cmdline())
    except psutil.Error:
        return False


def end_with(what: str, is_alive: Callable[[], bool]) -> None:
    """End this process soon after something that it belongs to has died; a thread calls `is_alive` repeatedly."""

    def watch() -> None:
        while is_alive():
            time.sleep(SECONDS_BETWEEN_LOOKS)
        log.error("%s has died: stopping", what)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Send log lines and warnings to a file; report a failure on stderr, in one sentence if it is an error of ours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    logging.basicConfig(
        filename=path,
        filemode="w",
        encoding="utf-8",
        level=logging.INFO,
        format="%(asctime)s %(levelname)s %(message)s",
        force=True,
    )
    logging.captureWarnings(capture=True)
    warnings.simplefilter("default")
    try:
        log.info("started")
        yield
        log.info("finished")
    except ConvRFMError as error:
        log.error("%s", error)
        _stop(str(error))
    except KeyboardInterrupt:
        log.warning("interrupted")
        raise SystemExit(130) from None
    except MemoryError:
        log.exception("out of memory")
        _stop("The job ran out of memory: run fewer jobs at a time, or lower n_train and n_test.")
    except Exception:
        log.exception("unexpected error")
        _stop(f"{traceback.format_exc(limit=-1)}The whole traceback is in {path}.")


def _stop(sentence: str) -> NoReturn:
    sys.stderr.write(f"error: {sentence}\n")
    raise SystemExit(1)


SCHEDULERS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "FLUX_JOB_ID")
"""Variables inside the jobs of schedulers, which assign devices themselves."""

NO_DEVICE = ("", "-1", "NoDevFiles")  # values of CUDA_VISIBLE_DEVICES without a device; the last is SLURM's
_held: list[IO[str]] = []  # locked files; they stay open as long as this process lives


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
    return any(name in os.environ for name in SCHEDULERS)
