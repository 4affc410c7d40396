"""The executor for SLURM and a site's settings, without a SLURM; with one, see tests/cluster."""

import asyncio
import re
import threading
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from snakemake_executor_plugin_slurm import Executor as Plugin
from snakemake_interface_common.exceptions import WorkflowError

import snakemake_executor_plugin_slurm_site as module
from convrfm.errors import ConfigError
from convrfm.replication.cluster import site as site_module
from convrfm.replication.cluster.site import Site, growth, load_site, note_failure
from convrfm.replication.config.costs import Costs
from snakemake_executor_plugin_slurm_site import Executor, ExecutorSettings, JobState, parse_states, shortage_of
from workflow.conftest import ROOT


@pytest.fixture(autouse=True)
def nothing_noted(monkeypatch):
    monkeypatch.setattr(site_module, "_failures", {})


def test_states_of_squeue_and_sacct():
    text = "1|COMPLETED|None\n2_4|PENDING|(launch failed requeued held)\n3|CANCELLED by 0\n4|CANCELLED+\n\nCLUSTER: a\n"
    assert parse_states(text) == {
        "1": JobState("COMPLETED", "None"),
        "2_4": JobState("PENDING", "(launch failed requeued held)"),
        "3": JobState("CANCELLED"),
        "4": JobState("CANCELLED"),
    }


@pytest.mark.parametrize(
    ("state", "said", "shortage"),
    [
        ("TIMEOUT", "", "time"),
        ("TIMEOUT", "slurmstepd: error: Detected 1 oom_kill event", "time"),
        ("OUT_OF_MEMORY", "", "memory"),
        ("FAILED", "slurmstepd: error: Detected 1 oom-kill event(s) in StepId=1.0", "memory"),
        ("FAILED", "slurmstepd: error: StepId=2.0 exceeded memory limit (700 > 500), being killed", "memory"),
        ("FAILED", "error: The job ran out of memory: run fewer jobs at a time", "memory"),
        ("FAILED", "error: the disk is full", None),
        ("FAILED", "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2 GiB", None),
        ("CANCELLED", "", None),
    ],
)
def test_what_a_job_ran_out_of(state, said, shortage):
    assert shortage_of(state, said) == shortage


def test_only_what_ran_out_grows():
    job = {"task": "bars", "seed": 0}
    note_failure("fit", job, 1, "time")
    assert (growth("fit", job, 2, of="time"), growth("fit", job, 2, of="memory")) == (2, 1)
    note_failure("fit", job, 2, "memory")
    note_failure("fit", job, 2, None)  # told twice
    note_failure("fit", job, 3, None)
    assert (growth("fit", job, 4, of="time"), growth("fit", job, 4, of="memory")) == (2, 2)
    # Of other jobs nothing is known, as on other schedulers, where all grows with each attempt.
    assert growth("fit", {"task": "bars", "seed": 1}, 3, of="memory") == 3
    assert growth("train", job, 3, of="time") == 3


def test_memory_grows_to_the_most_and_is_never_less_than_expected():
    costs = Costs(most_memory_mb=10_000, most_minutes=100)
    assert [costs.memory_limit(4000, times) for times in (1, 2, 3, 4)] == [4000, 8000, 10_000, 10_000]
    assert costs.memory_limit(12_000, 2) == 12_000
    assert [costs.limit(20, times) for times in (1, 2, 3)] == [60, 100, 100]


def test_the_example_of_a_site_is_valid_with_all_that_is_commented_out(tmp_path):
    text = (ROOT / "slurm/site.example.yaml").read_text()
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm/site.yaml").write_text(text)
    assert load_site(tmp_path).account == "my_account"
    uncommented = re.sub(r"^( *)# ( *\w+:.*)$", r"\1\2", text, flags=re.MULTILINE)
    (tmp_path / "slurm/site.yaml").write_text(uncommented)
    site = load_site(tmp_path)
    assert site.partitions["gpu"]["max_gpu"] == 4
    for key in ("partition", "model", "gres", "constraint", "qos"):
        assert getattr(site.gpu, key)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("acount: mine", "slurm/site.yaml: unknown key 'acount'; did you mean 'account'?"),
        ("gpu: {model: [h100]}", "slurm/site.yaml: gpu.model: must be a string, not .'h100'"),
        ("gpu: {model: a100-sxm4}", "slurm/site.yaml: gpu.model: must match pattern .*, not 'a100-sxm4'"),
        ("gpu: {gres: 'gpu:h100:2'}", "slurm/site.yaml: gpu.gres: must match pattern .*, not 'gpu:h100:2'"),
        ("partition: ''", "slurm/site.yaml: partition: must have at least 1 item, not ''"),
        ("- a", "slurm/site.yaml: must be a mapping, not .'a'"),
        ("a: [", "slurm/site.yaml is not valid YAML"),
    ],
)
def test_what_is_wrong_with_the_file_of_a_site_is_said(tmp_path, text, sentence):
    (tmp_path / "slurm").mkdir()
    (tmp_path / "slurm/site.yaml").write_text(text)
    with pytest.raises(ConfigError, match=sentence):
        load_site(tmp_path)


def test_what_a_site_wants_to_be_told_of_jobs():
    assert load_site(Path("/nowhere")).resources(gpus=0) == {}
    assert Site().resources(gpus=2) == {"gpu": 2, "nodes": 1}
    site = Site(account="me", partition="cpu", qos="normal", gpu={"partition": "gpu", "model": "h100", "constraint": "nvlink"})
    assert site.resources(gpus=0) == {"slurm_account": "me", "slurm_partition": "cpu", "qos": "normal"}
    with_gpu = {"slurm_partition": "gpu", "constraint": "nvlink", "gpu": 1, "gpu_model": "h100", "nodes": 1}
    assert site.resources(gpus=1) == {"slurm_account": "me", "qos": "normal", **with_gpu}
    by_gres = Site(gpu={"gres": "gpu:h100"}).resources(gpus=2)
    assert by_gres == {"gres": "gpu:h100:2", "nodes": 1}


def test_a_site_file_as_people_write_it(tmp_path):
    (tmp_path / "slurm").mkdir()
    text = "account: 123456\npartition: cpu\nconstraint: avx512\nqos: long\ngpu:\n"
    (tmp_path / "slurm/site.yaml").write_text(text)
    assert load_site(tmp_path).resources(gpus=0)["slurm_account"] == "123456"
    assert load_site(tmp_path).resources(gpus=1)["constraint"] == "avx512"
    (tmp_path / "slurm/site.yaml").write_text(f"{text}  constraint: null\n")
    found = load_site(tmp_path).resources(gpus=1)
    assert "constraint" not in found
    assert found["qos"] == "long"


def test_settings_without_effect_are_refused():
    with pytest.raises(WorkflowError, match="slurm-site-status-command has no effect"):
        ExecutorSettings(status_command="sacct")
    with pytest.raises(WorkflowError, match="slurm-site-status-attempts has no effect"):
        ExecutorSettings(status_attempts=3)


class Job:
    """A job of Snakemake, as far as executors look."""

    def __init__(self, output: Path):
        self.output = [str(output)]
        self.rule = SimpleNamespace(name="train")
        self.wildcards_dict = {"seed": "0"}
        self.name, self.attempt, self.resources = "train", 1, {}

    def is_group(self) -> bool:
        return False


@pytest.fixture
def executor(tmp_path, monkeypatch):
    """An executor that notes what it would report, with answers of SLURM's commands put into its hands."""
    made = Executor.__new__(Executor)
    settings = SimpleNamespace(requeue=False, init_seconds_before_status_checks=20, keep_successful_logs=False)
    scheduled = SimpleNamespace(
        submit=lambda run, job: made.submitted.append(job), shutdown=lambda **_: made.asked.append("no more")
    )
    made.workflow = SimpleNamespace(
        executor_settings=settings, remote_execution_settings=SimpleNamespace(seconds_between_status_checks=10)
    )
    said = SimpleNamespace(info=lambda text: made.said.append(text), warning=lambda text: made.said.append(text))
    made.__dict__ |= {
        "logger": said, "said": [], "submitted": [], "ended": [], "answers": {}, "asked": [], "run_uuid": "run",
        "_submitted_job_clusters": set(), "slurm_logdir": tmp_path, "array_jobs": set(), "_main_event_loop": None, "_next_seconds_between_status_checks": None,
        "_job_submission_executor": scheduled, "_stopping": False, "_room": threading.Event(), "_accounts": False, "_looks": module.Counter(),
        "_losses": module.Counter(), "_checkpoints": {}, "_told": set(), "_longest_interval": 100.0,
    }  # fmt: skip
    made.report_job_success = lambda info: made.ended.append((info.external_jobid, "success"))
    made.report_job_error = lambda info, msg, **_: made.ended.append((info.external_jobid, msg))

    def answer(command):
        made.asked.append(command)
        return made.answers.get(command[0])

    monkeypatch.setattr(module, "ask_slurm", answer)
    monkeypatch.setattr(Plugin, "run_job", lambda self, job: self.submitted.append(job))
    return made


def submitted(executor, tmp_path, number=7):
    """A job under way."""
    job = Job(tmp_path / "run" / "record.json")
    executor.run_job(job)
    executor.submitted.clear()
    return SimpleNamespace(job=job, external_jobid=str(number), aux={"slurm_logfile": tmp_path / f"{number}.log"})


def look(executor, *infos):
    """What is still active after a look at the jobs."""

    async def all_of_them():
        return [info async for info in executor.check_active_jobs(list(infos))]

    return asyncio.run(all_of_them())


def test_a_job_that_squeue_has_forgotten_is_looked_up_by_sacct(executor, tmp_path):
    info = submitted(executor, tmp_path)
    executor.answers = {"squeue": "", "sacct": "7|CANCELLED by 0\n"}
    assert look(executor, info) == []
    assert executor.ended == [("7", "SLURM-job '7' failed, SLURM status is: 'CANCELLED'. ")]
    assert executor.asked[-1][-1] == "--jobs=7"


def test_no_job_is_lost_while_slurm_does_not_answer(executor, tmp_path):
    info = submitted(executor, tmp_path)
    for _ in range(50):
        assert look(executor, info) == [info]
    # The interval between two looks grows, and no further than a job that has ended is known.
    assert executor.next_seconds_between_status_checks == 100
    executor.answers = {"squeue": "7|COMPLETED|None\n"}
    assert look(executor, info) == []
    assert executor.ended == [("7", "success")]
    assert executor.next_seconds_between_status_checks == 20


def test_a_job_that_nobody_knows_has_failed_after_a_few_answers(executor, tmp_path):
    info = submitted(executor, tmp_path)
    executor.answers = {"squeue": ""}  # and no accounting
    for _ in range(module.MOST_LOOKS - 1):
        assert look(executor, info) == [info]
    assert look(executor, info) == []
    assert "neither squeue nor sacct knows it any more" in executor.ended[0][1]


def test_a_job_is_not_given_up_while_accounting_is_away(executor, tmp_path):
    info = submitted(executor, tmp_path)
    executor._accounts = True
    executor.answers = {"squeue": ""}
    for _ in range(3 * module.MOST_LOOKS):
        assert look(executor, info) == [info]
    executor.answers = {"squeue": "", "sacct": "7|COMPLETED\n"}
    assert look(executor, info) == []
    assert executor.ended == [("7", "success")]


def test_the_end_of_a_job_makes_room_for_a_refused_submission(executor, tmp_path):
    ending, waiting = submitted(executor, tmp_path, 7), submitted(executor, tmp_path, 8)
    executor.answers = {"squeue": "7|COMPLETED|None\n"}
    threading.Timer(0.1, look, [executor, ending]).start()
    executor._report_job_error_threadsafe(waiting, "QOSMaxSubmitJobPerUserLimit")
    assert executor.submitted == [waiting.job]


@pytest.fixture
def sent(executor, monkeypatch):
    """What would go to SLURM, together or one by one."""
    sent = []
    executor._submit_job = sent.append
    executor._submit_array_jobs = lambda jobs: sent.append(jobs)
    return sent


def test_arrays_take_what_is_ready_and_wait_for_nothing(executor, tmp_path, sent):
    jobs = [Job(tmp_path / str(number) / "record.json") for number in range(4)]
    jobs[3].is_group = lambda: True
    del jobs[3].rule  # which groups have not
    executor.array_jobs = {"train"}
    executor.run_jobs(jobs)
    assert sent == [jobs[3], jobs[:3]]
    sent.clear()
    executor.run_jobs(jobs[:1])
    executor.array_jobs = set()
    executor.run_jobs(jobs[1:3])
    assert sent == [*jobs[:3]]


def test_a_job_whose_submission_goes_wrong_is_not_lost(executor, tmp_path, monkeypatch):
    def broken(self, job):
        raise AttributeError("rule")

    failed = []
    monkeypatch.setattr(Plugin, "run_job", broken)
    monkeypatch.setattr(Plugin, "_report_job_error_threadsafe", lambda self, info, msg: failed.append((info.job, msg)))
    job = Job(tmp_path / "record.json")
    executor.run_job(job)
    assert failed == [(job, "It could not be submitted: rule")]


def test_the_log_of_an_array_task_says_what_it_ran_out_of(executor, tmp_path):
    info = submitted(executor, tmp_path, "7_2")
    (tmp_path / "rule_train").mkdir()
    (tmp_path / "rule_train/7_2.log").write_text("slurmstepd: error: Detected 1 oom-kill event(s)")
    executor.answers = {"squeue": "7_2|FAILED|None\n"}
    assert look(executor, info) == []
    assert "It ran out of memory" in executor.ended[0][1]
    assert growth("train", {"seed": "0"}, 2, of="memory") == 2


def test_a_failure_that_slurm_knows_nothing_of_grows_nothing(executor, tmp_path):
    job = submitted(executor, tmp_path).job
    executor.handle_job_error(job)
    assert growth("train", {"seed": "0"}, 2, of="memory") == growth("train", {"seed": "0"}, 2, of="time") == 1


@pytest.mark.parametrize(
    ("state", "reason", "told"),
    [
        ("PENDING", "Resources", False),
        ("PENDING", "QOSMaxWallDurationPerJobLimit", True),
        ("PENDING", "InvalidAccount", True),
        ("PENDING", "JobHeldAdmin", True),
        ("SPECIAL_EXIT", "", True),
        ("RUNNING", "None", False),
        ("REVOKED", "None", False),
    ],
)
def test_jobs_that_will_never_start_are_told_of(executor, tmp_path, state, reason, told):
    info = submitted(executor, tmp_path)
    executor.answers = {"squeue": f"7|{state}|{reason}\n"}
    assert look(executor, info) == [info]
    assert bool(executor.said) == told


def test_progress_within_a_checkpoint_that_is_a_folder_counts(executor, tmp_path):
    scratch = tmp_path / "run/checkpoint-a"
    scratch.mkdir(parents=True)
    (scratch / "part.npz.partial").write_text("one tile")
    info = submitted(executor, tmp_path)
    (scratch / "part.npz.partial").write_text("one tile, and another")
    executor.answers = {"squeue": "7|TIMEOUT|TimeLimit\n"}
    assert look(executor, info) == []
    assert executor.submitted == [info.job]


def test_an_account_is_given_as_it_is(executor, tmp_path):
    job = Job(tmp_path / "record.json")
    assert list(executor.get_account_arg(job)) == [""]
    job.resources = {"slurm_account": "a b"}
    assert list(executor.get_account_arg(job)) == [" -A 'a b'"]


@pytest.mark.parametrize("progress", [True, False])
def test_a_time_limit_is_no_attempt_after_a_new_checkpoint(executor, tmp_path, progress):
    (tmp_path / "run").mkdir()
    (tmp_path / "run/checkpoint-a.safetensors").write_text("old")
    info = submitted(executor, tmp_path)
    if progress:
        (tmp_path / "run/checkpoint-a.safetensors").write_text("newer")
    executor.answers = {"squeue": "7|TIMEOUT|TimeLimit\n"}
    assert look(executor, info) == []
    assert executor.submitted == ([info.job] if progress else [])
    assert [growth("train", {"seed": "0"}, 2, of=kind) for kind in ("time", "memory")] == ([2, 2] if progress else [2, 1])
    assert executor.ended == (
        [] if progress else [("7", "SLURM-job '7' failed, SLURM status is: 'TIMEOUT'. It ran out of time. ")]
    )


def test_a_job_taken_from_its_node_is_submitted_again(executor, tmp_path):
    info = submitted(executor, tmp_path)
    executor.answers = {"squeue": "7|PREEMPTED|None\n", "scancel": ""}
    assert look(executor, info) == []
    assert executor.submitted == [info.job]
    assert executor.ended == []
    assert ["scancel", "7"] in executor.asked


def test_slurm_requeues_by_itself_where_it_may_and_not_for_ever(executor, tmp_path):
    executor.workflow.executor_settings.requeue = True
    info = submitted(executor, tmp_path)
    executor.answers = {"squeue": "7|NODE_FAIL|None\n", "scancel": ""}
    for _ in range(module.MOST_LOOKS - 1):
        assert look(executor, info) == [info]
    assert look(executor, info) == []
    assert executor.submitted == [info.job]


def test_a_job_that_will_not_start_by_itself_is_told_of_once(executor, tmp_path):
    info = submitted(executor, tmp_path)
    executor.answers = {"squeue": "7|PENDING|launch failed requeued held\n"}
    for _ in range(3):
        assert look(executor, info) == [info]
    assert executor.said == ["SLURM job 7 is pending and will not start by itself: launch failed requeued held."]


@pytest.mark.parametrize(
    "message",
    [
        "sbatch: error: QOSMaxSubmitJobPerUserLimit",
        "sbatch: error: AssocMaxSubmitJobLimit",
        "sbatch: error: AssocGrpSubmitJobsLimit",
        "sbatch: error: Batch job submission failed: Unable to contact slurm controller (connect failure)",
        "sbatch: error: Slurm temporarily unable to accept job, sleeping and retrying",
    ],
)
def test_a_submission_that_is_refused_for_the_moment_waits(executor, tmp_path, message, monkeypatch):
    monkeypatch.setattr(module, "SECONDS_BETWEEN_SUBMISSIONS", 0.01)
    info = submitted(executor, tmp_path)
    executor._report_job_error_threadsafe(info, f"SLURM sbatch failed. The error message was '{message}'.")
    assert executor.submitted == [info.job]
    assert executor.ended == []
    # Snakemake stops: nothing is submitted any more, and nothing waits.
    monkeypatch.setattr(module, "SECONDS_BETWEEN_SUBMISSIONS", 600)
    executor.answers = {"scancel": ""}
    threading.Timer(0.1, executor.cancel_jobs, [[]]).start()
    executor._report_job_error_threadsafe(info, message)
    assert executor.submitted == [info.job]
    executor.run_job(info.job)
    assert executor.submitted == [info.job]


def test_the_jobs_of_a_refused_array_are_submitted_one_by_one(executor, tmp_path):
    info = submitted(executor, tmp_path)
    executor._report_job_error_threadsafe(info, "Part of failed array sbatch submission (tasks 1-3); see log for details.")
    assert executor.submitted == [info.job]


@pytest.mark.parametrize(
    "message", ["Requested node configuration is not available", "Invalid account or account/partition", "AssocMaxWallDuration"]
)
def test_a_submission_that_is_wrong_fails(executor, tmp_path, message, monkeypatch):
    failed = []
    monkeypatch.setattr(Plugin, "_report_job_error_threadsafe", lambda self, info, msg: failed.append(msg))
    executor._report_job_error_threadsafe(submitted(executor, tmp_path), message)
    assert failed == [message]


def test_nothing_is_submitted_again_while_snakemake_stops(executor, tmp_path):
    info = submitted(executor, tmp_path)
    executor.answers = {"squeue": "7|PREEMPTED|None\n", "scancel": ""}
    executor.cancel_jobs([])
    assert look(executor, info) == [info]
    assert executor.submitted == []


def test_a_log_that_cannot_be_read_ends_nothing_else(executor, tmp_path):
    info = submitted(executor, tmp_path)
    info.aux["slurm_logfile"].mkdir()
    executor.answers = {"squeue": "7|FAILED|NonZeroExitCode\n"}
    assert look(executor, info) == []
    assert executor.ended == [("7", "SLURM-job '7' failed, SLURM status is: 'FAILED'. ")]
    executor.answers = {"squeue": "7|COMPLETED|None\n"}
    assert look(executor, info) == []


def test_all_jobs_of_the_run_are_cancelled(executor):
    executor.cancel_jobs([])
    # Not before the last submission is through, or its job would be left.
    assert executor.asked == ["no more", ["scancel", "--name=run"]]
    assert executor.said == ["SLURM did not answer `scancel --name=run`: run it yourself."]


def test_the_profile_names_the_executor_and_only_settings_that_it_knows():
    profile = yaml.safe_load((ROOT / "slurm/config.yaml").read_text())
    assert profile["executor"] == "slurm-site"
    settings = {key.removeprefix("slurm-site-").replace("-", "_") for key in profile if key.startswith("slurm")}
    assert settings <= set(ExecutorSettings.__dataclass_fields__) - set(module.UNUSED)
