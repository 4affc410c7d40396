"""What surrounds a job of the workflow: threads, GPUs, a log, checkpoints, and errors in sentences."""

import hashlib
import json
import logging
import os
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any, NoReturn

import psutil

from convrfm.errors import ConvRFMError
from convrfm.replication.record.gpus import asked_gpus, claim_gpus, sign_of_gpu
from convrfm.replication.record.record import Recorder
from convrfm.system.storage import clear_leftovers, sha256

__all__ = [
    "CHECKPOINT", "Job", "checkpoint_path", "end_with", "environment_of", "job_key", "load_job", "remove_checkpoints",
    "run_job",
]  # fmt: skip

SECONDS_BETWEEN_LOOKS = 0.5

CHECKPOINT = "checkpoint-"
"""Prefix of the names of checkpoints, files and folders."""

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """What a job function receives.

    Attributes:
        inputs: files by name; a name may stand for several.
        outputs: files by name.
        settings: the resolved slice of the configuration, plain values.
        threads: threads it may use.
        recorder: collects its record.
        gpu: evidence that it has a GPU, see `convrfm.replication.record.gpus.sign_of_gpu`; None without any.
    """

    inputs: Mapping[str, list[Path]]
    outputs: Mapping[str, Path]
    settings: Mapping[str, Any]
    threads: int
    recorder: Recorder
    gpu: str | None = None

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

    def write_record(self) -> None:
        """Write the record, the last output; it has the hashes of all inputs and of the other outputs."""
        files = {f"{name}/{i}": path for name, paths in self.inputs.items() for i, path in enumerate(paths)}
        outputs = {name: path for name, path in self.outputs.items() if name != "record"}
        # The last bits of sums depend on them.
        self.recorder.notes["threads"] = self.threads
        self.recorder.write(self.outputs["record"], files, outputs)


def run_job(snakemake: Any) -> None:
    """Run one job of the workflow.

    Args:
        snakemake: the object that Snakemake gives to scripts. Its params are `job`, the function as `module:function`, which
            takes a `Job`; `settings`, those of the job; and `code`, the hash of its code.
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
        job = Job(
            inputs={key: _as_paths(snakemake.input[key]) for key in snakemake.input.keys()},  # noqa: SIM118 (not a dict)
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


def _as_paths(value: Any) -> list[Path]:
    return [Path(value)] if isinstance(value, str) else [Path(path) for path in value]


def environment_of(threads: int) -> dict[str, str]:
    """Variables that the numerical libraries read when they are imported.

    They set the number of threads, and let PyTorch request large pages, which saves two thirds of a training's page faults
    and changes no bit.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    pages = os.environ.get("THP_MEM_ALLOC_ENABLE", "1")
    return {**dict.fromkeys(names, str(threads)), "THP_MEM_ALLOC_ENABLE": pages}


def checkpoint_path(job: Job, *parts: object) -> Path:
    """Path of a checkpoint of a job, named by the hash of what it depends on.

    If one exists, from which the job will continue, the note `resumed_from` of its record names the files.

    Args:
        job: the checkpoint depends on its code, settings and inputs.
        parts: what distinguishes the networks of one job, plain values.
    """
    path = job.outputs["record"].with_name(f"{CHECKPOINT}{job_key(job, *parts)}.safetensors")
    if found := sorted(each.name for each in path.parent.glob(f"{path.stem}*")):
        job.recorder.notes["resumed_from"] = [*job.recorder.notes.get("resumed_from", []), *found]
    return path


def job_key(job: Job, *parts: object) -> str:
    """Hash (16 hex digits) of what the outputs of a job depend on; arguments as of `checkpoint_path`."""
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
    """Whether a process is alive and runs Snakemake."""
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
