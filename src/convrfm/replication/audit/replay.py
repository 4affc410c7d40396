"""Replay: which runs and figures are computed again, how, and what that says of each claim.

Each one is computed by the code of this tree, with the settings of the plan, the recorded number of threads, in an empty
folder outside the results, from the inputs in the results. These are verified by their hashes first, and are outputs of other
runs, or data that were verified when they were fetched. Every link of the chain from the data to a figure is thus tested by
itself, in any order; if all links hold, the numbers follow from the data.

Whoever computed the results must not know beforehand which runs will be looked at. So they follow from the Merkle root of all
records, and, since records can be made over and over until the choice is a convenient one, from a public value that did not
exist when the root was published, see `docs/audit.md`.
"""

import hashlib
import json
import math
import os
import tempfile
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, wait
from contextlib import contextmanager, redirect_stderr, suppress
from dataclasses import asdict, dataclass
from io import StringIO
from itertools import groupby, islice
from operator import attrgetter
from pathlib import Path
from typing import Any, NamedTuple

from convrfm.errors import ConfigError, ConvRFMError, DataError, MachineError, StorageError
from convrfm.replication.audit.changes import Expected, expected_of
from convrfm.replication.audit.comparing import FIGURE, TOLERANCES, compare
from convrfm.replication.audit.judging import Judgement
from convrfm.replication.audit.outcome import Coverage, Replay, Result
from convrfm.replication.audit.records import Product, makers
from convrfm.replication.plan.plan import DRAWS, Plan
from convrfm.replication.record.closure import closure_hash
from convrfm.replication.record.record import Recorder, read_record
from convrfm.replication.record.session import Job, end_with, environment_of, load_job
from convrfm.system.storage import write_json
from convrfm.system.terminal import track

__all__ = ["Choice", "Replayed", "choose", "coverage_of", "kept_replays", "replay"]

ALWAYS = (*DRAWS, "layers", "transformed")
"""Kinds of runs that are always computed again, as figures are: all else rests on them, or they are what is shown."""


@dataclass(frozen=True)
class Choice:
    """What is computed again beside what always is: so many runs of each claim, drawn with the beacon, and all of some claims.

    None for `each` is all there is.
    """

    each: int | None = 0
    claims: tuple[str, ...] = ()
    beacon: str = ""


def choose(
    choice: Choice, judgements: Sequence[Judgement], products: Iterable[Product], sound: Iterable[Product], root: str
) -> list[Product]:
    """Give the runs and figures to compute again, of those that are sound; the root is that of all records."""

    def rank(name: str) -> bytes:
        """A number that nobody can choose; the same for all claims, which share runs where they can."""
        return hashlib.sha256("\n".join([root, choice.beacon, name]).encode("utf-8", "surrogateescape")).digest()

    candidates = {product.name: product for product in sound}
    if choice.each is None:
        return list(candidates.values())
    always = {name for name, product in candidates.items() if product.is_figure or product.kind in ALWAYS}
    chosen, made_by = set(always), makers(products)
    for judgement in judgements:
        drawn = [name for name in _runs_behind(judgement, made_by) if name in candidates and name not in always]
        chosen |= set(drawn if judgement.claim in choice.claims else sorted(drawn, key=rank)[: choice.each])
    return [candidates[name] for name in sorted(chosen)]


def _runs_behind(judgement: Judgement, made_by: Mapping[str, Product]) -> dict[str, Product]:
    """The runs behind the tables that a judgement has read, by name and in its order; products are given by their files."""
    waiting = [file for each in judgement.measurements for file in each.sources]
    found: dict[str, Product] = {}
    while waiting:
        product = made_by.get(waiting.pop())
        if product is not None and product.name not in found:
            found[product.name] = product
            waiting += [] if product.record is None else [described.path for described in product.record.inputs.values()]
    return {name: product for name, product in sorted(found.items()) if not product.is_figure}


def coverage_of(
    judgements: Sequence[Judgement], products: Iterable[Product], replays: Iterable[Replay]
) -> tuple[Coverage, ...]:
    """How much of what each judgement rests on was computed again, and how likely a forgery would have been found."""
    made_by, found = makers(products), []
    held = {replay.name for replay in replays if replay.result in (Result.EQUAL, Result.CLOSE)}
    for judgement in judgements:
        runs = _runs_behind(judgement, made_by)
        # What could not be computed again here may be forged like any other.
        drawn = [name for name, run in runs.items() if run.kind not in ALWAYS or name not in held]
        done, of_drawn = len(held & runs.keys()), len(held & set(drawn))
        one, tenth = (_caught(len(drawn), of_drawn, forged) for forged in (1, math.ceil(len(drawn) / 10)))
        if not drawn:
            one = tenth = float(done == len(runs) > 0)
        found.append(Coverage(judgement.claim, judgement.protocol, len(runs), done, one, tenth))
    return tuple(found)


def _caught(runs: int, recomputed: int, forged: int) -> float:
    """Probability that at least one of the forged runs is among those that were computed again, drawn without replacement."""
    return 1 - math.comb(runs - recomputed, forged) / math.comb(runs, forged) if runs else 0.0


class Replayed(NamedTuple):
    """The outcome for one run or figure; with the picture of a figure, a PNG, as far as it was drawn here."""

    replay: Replay
    picture: bytes | None = None


@dataclass(frozen=True)
class _Task:
    """A job to be done again, for another process; paths are absolute.

    Expected is what the plan asks; threads are as recorded, as far as there are so many here. The key is a hash of all that
    the outcome depends on: job, code, settings, threads, record, and what runs here.
    """

    project: Path
    product: Product
    expected: Expected
    inputs: dict[str, list[Path]]
    written: dict[str, Path]
    threads: int
    on_gpu: bool
    key: str


def replay(project: Path, place: Path, plan: Plan, products: Iterable[Product], cores: int) -> Iterator[Replayed]:
    """Compute sound runs and figures again, several at a time, and give the outcomes in the order of their names.

    `place` is the folder that holds `results/<preset>`: the project, or where results wait to be taken in. The outcome of a
    run, unlike that of a figure, is kept for the next audit of the same files.
    """
    here = Recorder.surroundings()
    tasks = [_task(project, place, plan, product, cores, here) for product in products]
    found = {task.product.name: kept for task in tasks if (kept := _known(task)) is not None}
    todo = [task for task in tasks if task.product.name not in found]
    for task, replayed in track(_computed(todo, cores), len(todo), "computing again", show=True):
        found[task.product.name] = replayed
        if not task.product.is_figure and replayed.replay.result is not Result.IMPOSSIBLE:
            # It saves time alone: in a home that is read-only, or on a full disk, the audit goes on.
            with suppress(StorageError):
                write_json(kept_replays() / f"{task.key}.json", asdict(replayed.replay))
    yield from (replayed for _, replayed in sorted(found.items()))


def _task(project: Path, place: Path, plan: Plan, product: Product, cores: int, here: Mapping[str, Any]) -> _Task:
    """The task of a run or figure; `here` is what `Recorder.surroundings` says of this machine."""
    expected = expected_of(product, plan)
    assert expected is not None, "only products of the plan are without a finding"
    record = read_record(place / product.record_file)
    inputs = {
        name: [(place if path.startswith(f"{plan.results}/") else project).absolute() / path for path in paths]
        for name, paths in expected.files.items()
    }
    recorded = record.get("threads")
    threads = min(recorded, cores) if type(recorded) is int and recorded > 0 else 1
    code = [closure_hash(module) for module in (expected.job.partition(":")[0], __name__)]
    builds = [here["packages"], here["machine"]["processor"]]
    depends_on = [product.name, expected.job, code, expected.settings, threads, record, builds]
    return _Task(
        project=project.absolute(),
        product=product,
        expected=expected,
        inputs=inputs,
        written={name: place.absolute() / file for name, file in {**product.files, "record": product.record_file}.items()},
        threads=threads,
        on_gpu=record.get("machine", {}).get("gpu") is not None,
        key=hashlib.sha256(json.dumps(depends_on, sort_keys=True).encode()).hexdigest()[:32],
    )


def kept_replays() -> Path:
    """The folder that keeps outcomes by what they depend on. It is the user's: nothing that came with results gets there."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "convrfm" / "replays"


def _known(task: _Task) -> Replayed | None:
    try:
        content = json.loads((kept_replays() / f"{task.key}.json").read_text(encoding="utf-8"))
        found = Replay(**{**content, "result": Result(content["result"])})
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return Replayed(found) if found.name == task.product.name else None


def _computed(tasks: list[_Task], cores: int) -> Iterator[tuple[_Task, Replayed]]:
    """Do tasks in processes of their own, which are told of their threads and devices before they import anything."""

    def seconds(task: _Task) -> float:
        record = task.product.record
        return 0.0 if record is None or record.wall_seconds is None else record.wall_seconds

    surroundings = attrgetter("threads", "on_gpu")
    for (threads, on_gpu), group in groupby(sorted(tasks, key=surroundings), surroundings):
        # Large jobs first, and none is left over at the end: fits are larger than trainings, and these than the rest.
        left = iter(sorted(group, key=seconds, reverse=True))
        at_a_time = 1 if on_gpu else max(1, cores // threads)
        environment = environment_of(threads) | ({} if on_gpu else {"CUDA_VISIBLE_DEVICES": ""})
        while first := list(islice(left, at_a_time)):
            yield from _in_pool(first, left, environment)


def _in_pool(first: list[_Task], left: Iterator[_Task], environment: dict[str, str]) -> Iterator[tuple[_Task, Replayed]]:
    """Do tasks, as many at a time as there are first ones, until none is left, or a process has died."""
    # It takes a moment, and most of what the audit does can do without.
    from joblib.externals.loky import get_reusable_executor

    # It replaces workers that have taken much memory, and warns of it.
    warnings.filterwarnings("ignore", message="A worker stopped while some jobs were given")
    executor = get_reusable_executor(
        len(first), env=environment, kill_workers=True, reuse=False, initializer=_end_with, initargs=(os.getpid(),)
    )
    alive = True
    try:
        # No more than are at work: there is nothing to take back when the audit is interrupted.
        running = {executor.submit(_replayed, task): task for task in first}
        while running:
            done, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in done:
                task = running.pop(future)
                try:
                    yield task, future.result()
                except BrokenExecutor as error:
                    alive = False
                    found = f"Its process, or one beside it, has died, perhaps for want of memory: {error}"
                    yield task, Replayed(Replay(task.product.name, Result.IMPOSSIBLE, found, 0.0))
            if alive:
                running |= {executor.submit(_replayed, task): task for task in islice(left, len(done))}
    finally:
        executor.shutdown(wait=True, kill_workers=True)


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
        outputs = {of: Path(name) / path.name for of, path in task.written.items()}
        result, found = _result(task, outputs)
        picture = outputs["png"].read_bytes() if task.product.is_figure and outputs["png"].exists() else None
    return Replayed(Replay(task.product.name, result, found, round(time.perf_counter() - began, 1)), picture)


def _result(task: _Task, outputs: Mapping[str, Path]) -> tuple[Result, str]:
    job, settings = task.expected.job, task.expected.settings
    recorder = Recorder(job, closure_hash(job.partition(":")[0]), settings)
    # All others were verified: it is the state of data that were never looked for here.
    if absent := [path for paths in task.inputs.values() for path in paths if not path.exists()]:
        return Result.IMPOSSIBLE, f"It cannot be computed here: there is no {absent[0]}."
    try:
        with _quiet(task.threads):
            load_job(job)(Job(task.inputs, outputs, settings, task.threads, recorder))
    except (ConfigError, DataError, MachineError, MemoryError) as error:
        # In a configuration that was checked, only a device can still be wrong.
        return Result.IMPOSSIBLE, f"It cannot be computed here: {error}"
    except Exception as error:  # noqa: BLE001 (whatever the job stumbles over in these files is what was found)
        kind = "" if isinstance(error, ConvRFMError) else f"{type(error).__name__}: "
        return Result.DIFFERENT, f"It cannot be computed from its inputs: {kind}{error}"
    records = read_record(task.written["record"]), read_record(outputs["record"])
    written = {name: task.written[name] for name in task.product.files}
    try:
        return compare(written, outputs, records, FIGURE if task.product.is_figure else TOLERANCES[task.product.kind])
    except MemoryError as error:
        return Result.IMPOSSIBLE, f"It cannot be compared here: {error}"
    except Exception as error:  # noqa: BLE001 (as above)
        return Result.DIFFERENT, f"It cannot be compared with what was computed: {type(error).__name__}: {error}"
