"""Replay: whole runs and figures are computed again, and compared with what lies in the results.

Each one is computed by the code of this tree, with the settings of the plan, the recorded number of threads, in an empty
folder outside the results, from the inputs that lie there. These are verified by their hashes first, and are outputs of other
runs, or data that were verified when they were fetched. So every link of the chain from the data to a figure is tested by
itself, in any order; where all links hold, the numbers follow from the data.
"""

import hashlib
import json
import os
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, wait
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import asdict, dataclass
from io import StringIO
from itertools import groupby, islice
from pathlib import Path
from typing import Any

from convrfm.errors import ConfigError, ConvRFMError, DataError, MachineError, StorageError
from convrfm.replication.audit.comparing import FIGURE, TOLERANCES, compare
from convrfm.replication.audit.currency import expected_of
from convrfm.replication.audit.outcome import Replay, Result
from convrfm.replication.audit.records import Product
from convrfm.replication.plan.plan import Plan
from convrfm.replication.plan.table import DRAWS
from convrfm.replication.record.closure import closure_hash
from convrfm.replication.record.record import Recorder, read_record
from convrfm.replication.record.session import Job, end_with, environment_of, load_job
from convrfm.system.storage import write_json
from convrfm.system.terminal import track

__all__ = ["ALWAYS", "Replayed", "kept_replays", "replay"]

ALWAYS = (*DRAWS, "layers", "transformed")
"""Kinds of runs that are always computed again, and figures are, too: what all else rests on, and what is shown."""


@dataclass(frozen=True)
class Replayed:
    """What came out of one run or figure.

    Attributes:
        replay: for the page.
        picture: of a figure, a PNG as it was drawn here; None for runs, and where none was drawn.
    """

    replay: Replay
    picture: bytes | None = None


@dataclass(frozen=True)
class _Task:
    """A job to be done again; plain values, for another process.

    Attributes:
        project: absolute; jobs find data relative to it.
        name: folder of the run, or the figure, relative to the project.
        kind: of run, or the figure.
        is_figure: which of the two.
        job: the library function.
        inputs: absolute files, by name.
        settings: of the plan.
        written: absolute files of the run by name, with the record.
        threads: as recorded, or as many as there are here.
        on_gpu: whether it was computed on a GPU.
        seconds: that it took by its record, which nothing depends on but the order.
        key: hash of all that a comparison depends on: the job, its code, its inputs and outputs by the record, and what runs
            here.
    """

    project: str
    name: str
    kind: str
    is_figure: bool
    job: str
    inputs: dict[str, list[str]]
    settings: dict[str, Any]
    written: dict[str, str]
    threads: int
    on_gpu: bool
    seconds: float
    key: str


def replay(project: Path, place: Path, plan: Plan, products: Iterable[Product], cores: int) -> Iterator[Replayed]:
    """Compute runs and figures again, several at a time, and give what comes out, in the order of their names.

    What came out before for the same files is not computed again, but for figures.

    Args:
        project: the folder of the project.
        place: the folder that holds `results/<preset>`; the project, or where results wait to be taken in.
        plan: what the configuration asks for.
        products: runs and figures without a finding, whose inputs are what their records say.
        cores: processor cores to use.
    """
    here = Recorder.surroundings()
    tasks = [_task(project, place, plan, product, cores, here) for product in products]
    kept = ((task.name, _known(task)) for task in tasks)
    found = {name: replayed for name, replayed in kept if replayed is not None}
    todo = [task for task in tasks if task.name not in found]
    for task, replayed in track(_computed(todo, cores), len(todo), "computing again", show=True):
        found[task.name] = replayed
        if not task.is_figure and replayed.replay.result is not Result.IMPOSSIBLE:
            # It saves time alone: in a home that is read-only, or on a full disk, the audit goes on.
            with suppress(StorageError):
                write_json(kept_replays() / f"{task.key}.json", asdict(replayed.replay))
    yield from (found[task.name] for task in sorted(tasks, key=lambda task: task.name))


def _task(project: Path, place: Path, plan: Plan, product: Product, cores: int, here: Mapping[str, Any]) -> _Task:
    """The task of a run or figure; `here` is what `Recorder.surroundings` says of this machine."""
    expected = expected_of(product, plan)
    assert expected is not None, "products of the plan alone are without a finding"
    record = read_record(place / product.record_file)
    inputs: dict[str, list[str]] = {name: [] for name in expected.names}
    for name, path in expected.inputs.items():
        home = place if path.startswith(f"{plan.results}/") else project
        inputs[name.partition("/")[0]].append(str(home.absolute() / path))
    recorded, seconds = record.get("threads"), record.get("wall_seconds")
    threads = min(recorded, cores) if type(recorded) is int and recorded > 0 else 1
    code = [closure_hash(module) for module in (expected.job.partition(":")[0], __name__)]
    builds = [here["packages"], here["machine"]["processor"]]
    depends_on = [product.name, expected.job, code, expected.settings, threads, record, builds]
    return _Task(
        project=str(project.absolute()),
        name=product.name,
        kind=product.kind,
        is_figure=product.is_figure,
        job=expected.job,
        inputs=inputs,
        settings=expected.settings,
        written={
            **{name: str(place.absolute() / file) for name, file in product.files.items()},
            "record": str(place.absolute() / product.record_file),
        },
        threads=threads,
        on_gpu=record.get("machine", {}).get("gpu") is not None,
        seconds=float(seconds) if isinstance(seconds, int | float) else 0.0,
        key=hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:32],
    )


def kept_replays() -> Path:
    """The folder that keeps what came out, by what went in. It is the user's: nothing that came with results gets there."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "convrfm" / "replays"


def _known(task: _Task) -> Replayed | None:
    """What came out before; None where it is not known."""
    try:
        content = json.loads((kept_replays() / f"{task.key}.json").read_text(encoding="utf-8"))
        found = Replay(**{**content, "result": Result(content["result"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return Replayed(found) if found.name == task.name else None


def _computed(tasks: list[_Task], cores: int) -> Iterator[tuple[_Task, Replayed]]:
    """Do tasks in processes of their own, which are told of their threads and devices before they import anything."""

    def surroundings(task: _Task) -> tuple[int, bool]:
        return task.threads, task.on_gpu

    for (threads, on_gpu), group in groupby(sorted(tasks, key=surroundings), surroundings):
        # Large jobs first, so that none is left over at the end: fits are larger than trainings, and these than the rest.
        members = sorted(group, key=lambda task: task.seconds, reverse=True)
        at_a_time = 1 if on_gpu else max(1, cores // threads)
        left = iter(members)
        while first := list(islice(left, at_a_time)):
            yield from _in_pool(first, left, _environment(threads, on_gpu))


def _in_pool(
    first: list[_Task], left: Iterator[_Task], environment: dict[str, str]
) -> Iterator[tuple[_Task, Replayed]]:
    """Do tasks, as many at a time as there are first ones, until none is left, or a process has died."""
    # It takes a moment, and most of what the audit does can do without.
    from joblib.externals.loky import get_reusable_executor

    # It starts workers anew that have taken much memory, and warns of it.
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given")
    executor = get_reusable_executor(
        len(first), env=environment, kill_workers=True, reuse=False, initializer=_end_with, initargs=(os.getpid(),)
    )
    alive = True
    try:
        # No more than are at work, so that there is nothing to take back when the audit is interrupted.
        running = {executor.submit(_replayed, task): task for task in first}
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                task = running.pop(future)
                try:
                    yield task, future.result()
                except BrokenExecutor as error:
                    alive = False
                    found = (
                        f"The process that computed it, or one beside it, has died, perhaps for want of memory: {error}"
                    )
                    yield task, Replayed(Replay(task.name, Result.IMPOSSIBLE, found, 0.0))
            if alive:
                running |= {executor.submit(_replayed, task): task for task in islice(left, len(done))}
    finally:
        executor.shutdown(wait=True, kill_workers=True)


def _environment(threads: int, on_gpu: bool) -> dict[str, str]:
    return environment_of(threads) | ({} if on_gpu else {"CUDA_VISIBLE_DEVICES": ""})


def _end_with(parent: int) -> None:
    end_with("The audit", lambda: os.getppid() == parent)


@contextmanager
def _quiet(threads: int) -> Iterator[None]:
    """Keep what a job says from the terminal, and undo what earlier jobs of this process have set."""
    import torch
    from matplotlib import pyplot as plt

    plt.switch_backend("agg")
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(mode=False)
    torch.backends.cudnn.allow_tf32 = True
    try:
        with redirect_stderr(StringIO()):
            yield
    finally:
        plt.close("all")


def _replayed(task: _Task) -> Replayed:
    """Do one job again and compare; runs in a process of its own."""
    os.chdir(task.project)
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as name:
        outputs = {of: Path(name) / Path(path).name for of, path in task.written.items()}
        result, found = _result(task, outputs)
        picture = outputs["png"].read_bytes() if task.is_figure and outputs["png"].exists() else None
    seconds = round(time.perf_counter() - began, 1)
    return Replayed(Replay(task.name, result, found, seconds), picture)


def _result(task: _Task, outputs: Mapping[str, Path]) -> tuple[Result, str]:
    inputs = {name: [Path(path) for path in paths] for name, paths in task.inputs.items()}
    recorder = Recorder(task.job, closure_hash(task.job.partition(":")[0]), task.settings)
    # All others were verified: it is the state of data that were never looked for here.
    if absent := [path for paths in inputs.values() for path in paths if not path.exists()]:
        return Result.IMPOSSIBLE, f"It cannot be computed here: there is no {absent[0]}."
    try:
        with _quiet(task.threads):
            load_job(task.job)(Job(inputs, outputs, task.settings, task.threads, recorder))
    except (ConfigError, DataError, MachineError, MemoryError) as error:
        # Of a configuration that was checked, what is left to be wrong is a device.
        return Result.IMPOSSIBLE, f"It cannot be computed here: {error}"
    except Exception as error:  # noqa: BLE001 (whatever the job stumbles over in these files is what was found)
        kind = "" if isinstance(error, ConvRFMError) else f"{type(error).__name__}: "
        return Result.DIFFERENT, f"It cannot be computed from its inputs: {kind}{error}"
    written = {name: Path(path) for name, path in task.written.items()}
    records = read_record(written.pop("record")), read_record(outputs["record"])
    try:
        return compare(written, outputs, records, FIGURE if task.is_figure else TOLERANCES[task.kind])
    except MemoryError as error:
        return Result.IMPOSSIBLE, f"It cannot be compared here: {error}"
    except Exception as error:  # noqa: BLE001 (as above)
        return Result.DIFFERENT, f"It cannot be compared with what was computed: {type(error).__name__}: {error}"
