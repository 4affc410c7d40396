"""What surrounds a job of the workflow: threads, a GPU of its own, a log, progress, and errors in sentences."""

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

from convrfm.errors import ConvRFMError
from convrfm.replication.record.gpus import asked_gpus, claim_gpus, sign_of_gpu
from convrfm.replication.record.record import Recorder
from convrfm.system.storage import clear_leftovers

__all__ = ["Job", "end_with", "environment_of", "load_job", "run_job"]

SECONDS_BETWEEN_LOOKS = 0.5


@dataclass(frozen=True)
class Job:
    """What a job function receives.

    Attributes:
        inputs: files by name; a name may stand for several.
        outputs: files by name.
        settings: the resolved slice of the configuration, plain values.
        threads: threads it may use.
        recorder: collects its record.
        gpu: what says that it has a GPU, see `convrfm.replication.record.gpus.sign_of_gpu`; None if nothing does.
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
        """Warn, and put into the record, that the job continues on the CPU although it has a GPU; nothing if it has none.

        Args:
            reason: why it cannot use the GPU.
        """
        if self.gpu is not None:
            self.recorder.notes |= {"gpu_granted": self.gpu, "gpu_unusable": reason}
            message = (
                "THE GPU OF THIS JOB IS NOT USED (%s): it continues on the CPU and may take many times as long. %s"
            )
            logging.getLogger(__name__).warning(message, self.gpu, reason)

    def write_record(self) -> None:
        """Write the record, last of the outputs; it holds the hashes of all inputs and of the other outputs."""
        files = {f"{name}/{i}": path for name, paths in self.inputs.items() for i, path in enumerate(paths)}
        outputs = {name: path for name, path in self.outputs.items() if name != "record"}
        # The last bits of sums depend on them.
        self.recorder.notes["threads"] = self.threads
        self.recorder.write(self.outputs["record"], files, outputs)


def run_job(snakemake: Any) -> None:
    """Run one job of the workflow.

    Args:
        snakemake: the object that Snakemake gives to scripts. Of its params, `job` names the function, `module:function`, which
            takes a `Job`; `settings` are the job's, and `code` is the hash of its code.
    """
    target = snakemake.params.job
    os.environ |= environment_of(snakemake.threads)
    _end_with_workflow()
    with _logging_to(Path(snakemake.log[0])):
        gpus = asked_gpus(snakemake.resources)
        if gpus:
            claim_gpus(gpus)
        elif gpus == 0:
            # Those of others are not to be seen.
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
    """Import a job by its name, `module:function`; only after the numerical libraries have been told of their threads."""
    module, _, name = target.partition(":")
    function: Callable[[Job], None] = getattr(import_module(module), name)
    return function


def _as_paths(value: Any) -> list[Path]:
    return [Path(value)] if isinstance(value, str) else [Path(path) for path in value]


def environment_of(threads: int) -> dict[str, str]:
    """Variables that the numerical libraries read when they are imported.

    Beside the number of threads, PyTorch is to ask the system for large pages, which saves two thirds of a training's page
    faults, and no bit changes.
    """
    names = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")
    pages = os.environ.get("THP_MEM_ALLOC_ENABLE", "1")
    return {**dict.fromkeys(names, str(threads)), "THP_MEM_ALLOC_ENABLE": pages}


def _end_with_workflow() -> None:
    """End this process soon after the Snakemake process that it belongs to has died, be it by `kill -9`.

    Otherwise an orphan would go on, and finish outputs that Snakemake has marked as incomplete.
    """
    workflow = next((pid for pid in _ancestors() if _is_snakemake(pid)), None)
    if workflow is None:
        return

    end_with("Snakemake", lambda: _is_snakemake(workflow))


def end_with(what: str, is_alive: Callable[[], bool]) -> None:
    """End this process soon after something that it belongs to is no longer alive.

    Args:
        what: its name, for the log.
        is_alive: asked again and again, in a thread of its own.
    """

    def watch() -> None:
        while is_alive():
            time.sleep(SECONDS_BETWEEN_LOOKS)
        logging.getLogger(__name__).error("%s has died: stopping", what)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _proc(pid: int, name: str) -> bytes:
    """A file of a process under /proc; empty where there is none."""
    try:
        return Path(f"/proc/{pid}/{name}").read_bytes()
    except OSError:
        return b""


def _is_snakemake(pid: int) -> bool:
    """Whether a process runs Snakemake; one that is dead and not yet collected has an empty command line."""
    return any(part.rpartition(b"/")[2] == b"snakemake" for part in _proc(pid, "cmdline").split(b"\0"))


def _ancestors() -> Iterator[int]:
    """Process ids from the parent upwards."""
    pid = os.getppid()
    while pid > 1:
        yield pid
        # The parent is the second field after the command, which stands in brackets and may hold anything.
        fields = _proc(pid, "stat").rpartition(b")")[2].split()
        pid = int(fields[1]) if len(fields) > 1 else 0


@contextmanager
def _logging_to(path: Path) -> Iterator[None]:
    """Send log lines and warnings to a file; on failure say why, in a sentence if it is an error of ours."""
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
    log = logging.getLogger(__name__)
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
        _stop("The job ran out of memory: use fewer jobs at a time, or smaller n_train and n_test.")
    except Exception:
        log.exception("unexpected error")
        _stop(f"{traceback.format_exc(limit=-1)}The whole traceback is in {path}.")


def _stop(sentence: str) -> NoReturn:
    sys.stderr.write(f"error: {sentence}\n")
    raise SystemExit(1)
