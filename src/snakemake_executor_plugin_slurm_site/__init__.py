"""Snakemake's executor `slurm-site`: its plugin for SLURM, adapted to sites with accounting, limits and outages.

Snakemake finds executors by the names of such packages. The wheel leaves this one out, since the workflow alone needs it.

What differs:

- It queries both `squeue` and, for jobs that this no longer knows, `sacct`, and works with and without accounting. A job is
  only lost when both answer, and neither knows it. The plugin queries one of them, gives up after a few failed queries, and
  takes `CANCELLED by 0`, as `sacct` says, for a running job.
- A submission that is refused because of a limit on jobs, or because the controller is away, waits; the plugin counts it as an
  attempt of the job.
- A job that reached its time limit after a new checkpoint, or that SLURM took from its node, is submitted again as it was,
  without using up an attempt.
- What a failed job ran out of is noted for its next attempt, see `convrfm.replication.cluster.site`.
"""

import re
import shlex
import threading
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Optional

from snakemake.exceptions import WorkflowError
from snakemake_executor_plugin_slurm import Executor as SlurmExecutor
from snakemake_executor_plugin_slurm import ExecutorSettings as SlurmSettings
from snakemake_executor_plugin_slurm import common_settings
from snakemake_executor_plugin_slurm.job_status_query import get_min_job_age
from snakemake_interface_executor_plugins.executors.base import SubmittedJobInfo

from convrfm.replication.cluster.site import Shortage, ask_slurm, note_failure

__all__ = ["Executor", "ExecutorSettings", "JobState", "common_settings", "parse_states", "shortage_of"]

SECONDS_BETWEEN_SUBMISSIONS = 30.0  # wait of a refused submission, unless one of our jobs ends

SHORTEST_INTERVAL, LONGEST_INTERVAL = 10.0, 180.0
"""Seconds between two queries when nothing has happened for a while."""

MOST_LOOKS = 5
"""Looks in a row at a job that SLURM no longer knows, or took from its node without starting it again."""

MOST_LOSSES = 20  # how often a job that SLURM took from its node is submitted again

REFUSED = re.compile(
    r"(Grp|Max)Submit(ted)?Jobs?|Slurm temporarily unable to accept job|job count limit|"
    r"Unable to contact slurm controller|Unable to contact the controller|Resource temporarily unavailable"
)
"""What `sbatch` says when the same submission can succeed later, and certainly did not now."""

ARRAY_REFUSED = "failed array sbatch submission"
"""What the plugin says of the jobs of a refused array, without the reason."""

OUT_OF_MEMORY = re.compile(
    r"oom[-_ ]kill|(?<!cuda )out of memory|exceeded (job|step)? ?memory limit|is being oom", re.IGNORECASE
)
"""What SLURM, the kernel or our jobs say when a job needs more memory than it has; a GPU's memory cannot be requested."""

TAKEN = ("PREEMPTED", "NODE_FAIL", "BOOT_FAIL")
"""Ends that are not the job's fault; with `requeue`, SLURM itself starts it again, and they pass."""

FAILED = ("CANCELLED", "DEADLINE", "FAILED", "OUT_OF_MEMORY", "TIMEOUT")

ON_HOLD = ("REQUEUE_HOLD", "RESV_DEL_HOLD", "SPECIAL_EXIT")

HELD = re.compile("[Hh]eld|PerJob|Invalid|PartitionTimeLimit|PartitionNodeLimit|BadConstraints|DependencyNeverSatisfied")
"""Reasons for which a job will not start by itself."""

SQUEUE = ("squeue", "--array", "--states=all", "--noheader", "--format=%i|%T|%r")
SACCT = ("sacct", "--allocations", "--parsable2", "--noheader", "--format=JobID,State")

UNUSED = ("status_command", "status_attempts")  # settings of the plugin about its queries, which are different here


def _unused() -> Any:
    return field(default=None, metadata={"help": "Not of this executor.", "env_var": False, "required": False})


@dataclass
class ExecutorSettings(SlurmSettings):
    """Those of the plugin, under the prefix `slurm-site`, without those that have no effect.

    Raises:
        WorkflowError: one of these is given.
    """

    # Snakemake turns these types into options, and does not know unions.
    status_command: Optional[str] = _unused()  # noqa: UP045
    status_attempts: Optional[int] = _unused()  # noqa: UP045

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in UNUSED:
            if getattr(self, name) is not None:
                option = f"slurm-site-{name.replace('_', '-')}"
                msg = f"{option} has no effect: squeue and sacct are both queried, until they answer. Remove it."
                raise WorkflowError(msg)


class JobState(NamedTuple):
    """State of a job, the first of SLURM's words, and the reason why it waits or ended, empty if unknown."""

    state: str
    reason: str = ""


def parse_states(text: str) -> dict[str, JobState]:
    """Parse lines `id|state` or `id|state|reason` of `squeue` and `sacct`; by id, `<job>_<task>` in arrays."""
    found = {}
    for line in text.splitlines():
        job, *parts = line.strip().split("|")
        if job and parts and parts[0]:
            # "CANCELLED by 0" names the user.
            found[job] = JobState(parts[0].split()[0].rstrip("+"), parts[1].strip() if len(parts) > 1 else "")
    return found


def shortage_of(state: str, said: str) -> Shortage | None:
    """What a job that ended in a state ran out of, or None; `said` is its output with that of SLURM."""
    if state in ("TIMEOUT", "DEADLINE"):
        return "time"
    return "memory" if state == "OUT_OF_MEMORY" or OUT_OF_MEMORY.search(said) else None


class Executor(SlurmExecutor):
    """See the top of the module."""

    def __post_init__(self, test_mode: bool = False) -> None:
        self._stopping = False
        self._room = threading.Event()
        # Whether `sacct` answers, which it never does without accounting.
        self._accounts = ask_slurm([*SACCT, "--starttime=now"]) is not None
        self._looks: Counter[str] = Counter()
        self._losses: Counter[Any] = Counter()
        self._checkpoints: dict[Any, set[tuple[str, int, int]]] = {}
        self._told: set[str] = set()
        # After so many seconds, 300 by default, the controller forgets jobs that have ended.
        self._longest_interval = min(LONGEST_INTERVAL, max((get_min_job_age() or 300) / 2, SHORTEST_INTERVAL))
        super().__post_init__(test_mode)
        # Every call of Snakemake imports this module, and only a call that submits needs these.
        from convrfm.errors import ConvRFMError
        from convrfm.replication.cluster.site import read_partitions

        if self._partitions is None:
            try:
                self._partitions = read_partitions(Path(self.workflow.workdir_init)) or None
            except ConvRFMError as error:
                raise WorkflowError(str(error)) from None

    def run_jobs(self, jobs: list[Any]) -> None:
        """Submit jobs that are ready; those of a rule that is submitted as arrays (`array-jobs`) together, as they come."""
        super().run_jobs([])  # the plugin notes the event loop
        arrays: dict[str, list[Any]] = defaultdict(list)
        for job in jobs:
            if not job.is_group() and {job.rule.name, "all"} & self.array_jobs:
                arrays[job.rule.name].append(job)
            else:
                self._submit_job(job)
        for together in arrays.values():
            if len(together) > 1:
                self._submit_array_jobs(together)
            else:
                self._submit_job(together[0])

    def run_job(self, job: Any) -> None:
        """Submit a job, unless Snakemake is stopping."""
        self._submit([job], super().run_job, job)

    def run_array_jobs(self, jobs: list[Any]) -> None:
        """Submit jobs of one rule together, unless Snakemake is stopping."""
        self._submit(jobs, super().run_array_jobs, jobs)

    def _submit(self, jobs: list[Any], run: Callable[[Any], None], argument: Any) -> None:
        if self._stopping:
            return
        try:
            self._checkpoints |= {job: set(_checkpoints(job)) for job in jobs}
            run(argument)
        except Exception as error:  # noqa: BLE001 (errors of the pool's threads are lost, and the job with them)
            for job in jobs:
                self._report_job_error_threadsafe(SubmittedJobInfo(job), f"It could not be submitted: {error}")

    def get_account_arg(self, job: Any) -> Iterator[str]:
        """The account in the site's file, without a guess; `sbatch` says whether it exists."""
        account = job.resources.get("slurm_account")
        yield f" -A {shlex.quote(str(account))}" if account else ""

    def handle_job_error(self, job: Any) -> None:
        """Note every failure for the next attempt, also that of missing outputs."""
        super().handle_job_error(job)
        _note_failure(job, None)

    def _report_job_error_threadsafe(self, job_info: Any, msg: str) -> None:
        """Let a submission that is refused for the moment wait; report all others as failed."""
        if ARRAY_REFUSED in msg and not self._stopping:
            # One by one, each waits or says what is wrong.
            self._job_submission_executor.submit(self.run_job, job_info.job)
            return
        refused = REFUSED.search(msg)
        if refused is None:
            super()._report_job_error_threadsafe(job_info, msg)
            return
        self._tell(f"SLURM accepts no more jobs for now ({refused[0]}): submissions wait.")
        self._room.clear()
        if not self._stopping:
            self._room.wait(SECONDS_BETWEEN_SUBMISSIONS)
        if not self._stopping:
            self._job_submission_executor.submit(self.run_job, job_info.job)

    async def check_active_jobs(self, active_jobs: list[Any]) -> AsyncIterator[Any]:
        """Report the jobs that have ended, and yield the others; jobs that are submitted again get another id."""
        if not active_jobs:
            return  # also before this executor is complete, since the calling thread starts early
        if self._stopping:
            for info in active_jobs:
                yield info
            return
        states, all_known = self._states({info.external_jobid for info in active_jobs})
        ended = False
        for info in active_jobs:
            job = info.external_jobid
            state, reason = states.get(job, JobState(""))
            lost = state in TAKEN or (state == "" and all_known)
            self._looks[job] = self._looks[job] + 1 if lost else 0
            if state == "COMPLETED":
                self._succeed(info)
            elif self._goes_on(info, state):
                self._submit_again(info, state)
            elif state in FAILED or (state in TAKEN and self._losses[info.job] >= MOST_LOSSES):
                self._fail(info, state, f"SLURM status is: '{state}'")
            elif state == "" and self._looks[job] >= MOST_LOOKS:
                self._fail(info, state, "neither squeue nor sacct knows it any more")
            else:
                if state in ON_HOLD or (state == "PENDING" and HELD.search(reason)):
                    self._tell(f"SLURM job {job} is pending and will not start by itself: {reason or state}.")
                yield info
                continue
            ended = True
        if ended:
            self._room.set()
        interval = float(self.workflow.executor_settings.init_seconds_before_status_checks)
        longer = 1.2 * float(self.next_seconds_between_status_checks)
        self.next_seconds_between_status_checks = interval if ended else min(longer, self._longest_interval)

    def cancel_jobs(self, active_jobs: list[Any]) -> None:  # noqa: ARG002 (of the interface)
        """Cancel all jobs of this run, also those that were submitted just now."""
        self._stop_submitting()
        self._job_submission_executor.shutdown(cancel_futures=True)
        command = ["scancel", f"--name={self.run_uuid}", *(["--clusters=all"] if self._submitted_job_clusters else [])]
        if ask_slurm(command) is None:
            self.logger.warning(f"SLURM did not answer `{' '.join(command)}`: run it yourself.")

    def shutdown(self) -> None:
        """End without what still waits to be submitted."""
        self._stop_submitting()
        super().shutdown()

    def _stop_submitting(self) -> None:
        self._stopping = True
        self._room.set()

    @property
    def _clusters(self) -> list[str]:
        """The option with the clusters of this run, if there are several."""
        names = ",".join(sorted(self._submitted_job_clusters))
        return [f"--clusters={names}"] if names else []

    def _states(self, jobs: set[str]) -> tuple[dict[str, JobState], bool]:
        """States of jobs, by id, and whether every command that could know one has answered."""
        queue = ask_slurm([*SQUEUE, f"--name={self.run_uuid}", *self._clusters])
        found = parse_states(queue or "")
        missing = sorted(jobs - found.keys())
        if not missing:
            return found, True
        accounts = ask_slurm([*SACCT, f"--jobs={','.join(missing)}", *self._clusters])
        self._accounts = self._accounts or accounts is not None
        answered = queue is not None and (accounts is not None or not self._accounts)
        return found | parse_states(accounts or ""), answered

    def _goes_on(self, info: Any, state: str) -> bool:
        """Whether a job that has ended goes on as it was: the end was not its fault, or it has a new checkpoint."""
        if state == "TIMEOUT":
            # A group starts from the beginning with all its members.
            return not info.job.is_group() and bool(set(_checkpoints(info.job)) - self._checkpoints[info.job])
        # With `requeue`, SLURM starts it again by itself, unless the site forbids it.
        left_alone = not self.workflow.executor_settings.requeue or self._looks[info.external_jobid] >= MOST_LOOKS
        return state in TAKEN and left_alone and self._losses[info.job] < MOST_LOSSES

    def _submit_again(self, info: Any, state: str) -> None:
        if state in TAKEN:
            self._losses[info.job] += 1
            # Otherwise it might come back beside the new one.
            ask_slurm(["scancel", *self._clusters, info.external_jobid])
        self.logger.info(f"SLURM job {info.external_jobid} ({state}) is submitted again; this does not count as an attempt.")
        self._job_submission_executor.submit(self.run_job, info.job)

    def _succeed(self, info: Any) -> None:
        self.report_job_success(info)
        if not self.workflow.executor_settings.keep_successful_logs:
            with suppress(OSError):
                self._log(info).unlink()

    def _fail(self, info: Any, state: str, why: str) -> None:
        log, said = self._log(info), ""
        with suppress(OSError):  # the job did not get so far, or the file system does not show it
            said = log.read_text(encoding="utf-8", errors="replace")
        shortage = shortage_of(state, said)
        _note_failure(info.job, shortage)
        ran_out = f" It ran out of {shortage}." if shortage else ""
        self.report_job_error(info, msg=f"SLURM-job '{info.external_jobid}' failed, {why}.{ran_out} ", aux_logs=[str(log)])

    def _log(self, info: Any) -> Path:
        """SLURM's log; that of an array's task is where `sbatch` puts it, and not where the plugin looks."""
        if "_" in info.external_jobid:
            return Path(self.slurm_logdir) / f"rule_{info.job.name}" / f"{info.external_jobid}.log"
        return Path(info.aux["slurm_logfile"])

    def _tell(self, sentence: str) -> None:
        """Warn, once for each sentence."""
        if sentence not in self._told:
            self._told.add(sentence)
            self.logger.warning(sentence)


def _members(job: Any) -> Iterable[Any]:
    return job.jobs if job.is_group() else [job]


def _note_failure(job: Any, shortage: Shortage | None) -> None:
    """Note why a job, or each job of a group, failed, unless that is already known."""
    for member in _members(job):
        note_failure(member.rule.name, member.wildcards_dict, member.attempt, shortage)


def _checkpoints(job: Any) -> Iterator[tuple[str, int, int]]:
    """Name, time of change and size of each checkpoint file of a job (`convrfm.replication.record.session`)."""
    for folder in {Path(output).parent for member in _members(job) for output in member.output}:
        with suppress(OSError):
            for path in [*folder.glob("checkpoint-*"), *folder.glob("checkpoint-*/**/*")]:
                with suppress(OSError):  # it was replaced by the next one
                    status = path.stat()
                    yield str(path.relative_to(folder)), status.st_mtime_ns, status.st_size
