"""What a site with accounting, limits and typed GPUs does to a workflow: nothing is lost, and the bits are the same."""

import signal
import subprocess
import time

import pytest

from cluster.conftest import EPOCHS, TRAINING, configure, hashes

pytestmark = pytest.mark.cluster

OTHER = TRAINING.replace("adam", "sgd")
AWAY = 45
"""Seconds; the plugin of Snakemake gives up after 20."""


def test_each_job_gets_what_it_needs_of_the_site(site_project, expected):
    site_project.start_over()
    site_project.settle(constraint="old", gpu={"constraint": "new", "model": "a30"})
    site_project.submit(TRAINING)
    assert hashes(site_project) == expected
    drawing, training = site_project.accounted("Account,Partition,Constraints,AllocTRES,NodeList")
    assert "rule_draw" in drawing["Comment"]
    assert (drawing["Account"], drawing["Partition"], drawing["Constraints"]) == ("physics", "cpu", "old")
    assert "gpu" not in drawing["AllocTRES"]
    assert (training["Account"], training["Partition"], training["Constraints"]) == ("physics", "gpu", "new")
    assert training["NodeList"] == "a30"
    assert "gres/gpu=1" in training["AllocTRES"]


def test_a_job_is_cancelled_by_hand(site_project, expected, faults):
    snakemake = site_project.train_for_a_while()
    (job,) = site_project.jobs()
    start = time.monotonic()
    with site_project.slurm.without_squeue():
        site_project.slurm.ask("scancel", job)
        site_project.wait(lambda: "failed, SLURM status" in site_project.output, snakemake)
    seconds = site_project.recovered(snakemake, expected, start)
    assert [training["State"] for training in site_project.trainings("State")] == ["CANCELLED by 0", "COMPLETED"]
    faults.note(
        "job cancelled by hand (`scancel`)", "the epoch under way", f"a second attempt {site_project.from_checkpoint}", seconds
    )


def test_nothing_says_how_jobs_are(site_project, expected, faults):
    """Accounting is away from before the submission, and the controller answers no questions when the training ends."""
    slurm = site_project.slurm
    slurm.stop_database()
    try:
        snakemake = site_project.start(TRAINING)
        site_project.wait(lambda: site_project.training, snakemake)
        start = time.monotonic()
        with slurm.without_squeue():
            time.sleep(AWAY)
            assert snakemake.poll() is None, site_project.output
    finally:
        slurm.start_database()
    seconds = site_project.recovered(snakemake, expected, start)
    assert "Trying to restart job" not in site_project.output
    ended = "jobs were submitted and ended meanwhile, Snakemake asked again"
    faults.note(f"accounting (slurmdbd) away, `squeue` silent for {AWAY} s", "nothing", ended, seconds)


def test_memory_alone_grows_when_memory_ran_out(site_project, expected, faults):
    configure(site_project, costs={"train_cnn": {"memory_mb": 100}})
    start = time.monotonic()
    snakemake = site_project.start(TRAINING)
    seconds = site_project.recovered(snakemake, expected, start)
    *killed, done = site_project.trainings("State,ReqMem,TimelimitRaw")
    # SLURM says the latter where the kernel has hit the job's step, which the script around it survives.
    assert {job["State"] for job in killed} <= {"OUT_OF_MEMORY", "FAILED"}
    assert done["State"] == "COMPLETED"
    asked = [int(job["ReqMem"].rstrip("M")) for job in (*killed, done)]
    assert asked == sorted(set(asked))
    assert len({job["TimelimitRaw"] for job in (*killed, done)}) == 1
    faults.note(
        "job over its memory, which a cgroup enforces",
        "the attempt",
        "a later attempt had more memory, and no more time",
        seconds,
    )


def test_submissions_are_limited(site_project, expected, faults):
    site_project.adapt(retries=0)
    start = time.monotonic()
    with site_project.slurm.limited(1):
        snakemake = site_project.start(TRAINING, OTHER)
        site_project.finish(snakemake)
    assert expected.items() <= hashes(site_project).items()
    assert (site_project.root / OTHER).exists()
    assert "Trying to restart job" not in site_project.output
    faults.note(
        "more jobs than one may submit", "nothing", "refused submissions waited, and were no attempts", time.monotonic() - start
    )


def test_ctrl_c_ends_submissions_that_wait(site_project):
    slurm = site_project.slurm
    other = slurm.ask("sbatch", "--parsable", "--account=physics", "--wrap=sleep 600", "--output=/dev/null").strip()
    try:
        with slurm.limited(1):
            snakemake = site_project.start(TRAINING)
            site_project.wait(lambda: "accepts no more jobs" in site_project.output, snakemake)
            snakemake.send_signal(signal.SIGINT)
            site_project.finish(snakemake, succeeds=False)
    finally:
        slurm.ask("scancel", other)
    assert not site_project.jobs("all")


def test_gpus_by_gres(site_project, expected):
    site_project.settle(gpu={"partition": "strict", "gres": "gpu:a30"})
    snakemake = site_project.train_for_a_while()
    (job,) = site_project.jobs()
    assert "gres:gpu:a30:1" in site_project.slurm.ask("scontrol", "show", "job", job)
    assert site_project.training.environ()["CUDA_VISIBLE_DEVICES"] in ("0", "1")
    site_project.recovered(snakemake, expected, time.monotonic())


def test_several_gpus_are_of_one_node(site_project, expected):
    slurm = site_project.slurm
    # A GPU of each node is taken.
    taken = [
        slurm.ask("sbatch", "--parsable", "--account=physics", "--partition=gpu", f"--gpus={model}:1", "--wrap=sleep 600",
                  "--output=/dev/null").strip() for model in ("h100", "a30")
    ]  # fmt: skip
    try:
        site_project.adapt(**{"set-resources": ["train_cnn:gpu=2"]})
        snakemake = site_project.start(TRAINING)
        site_project.wait(lambda: site_project.jobs("PENDING"), snakemake)
        time.sleep(5)
        assert not site_project.jobs()
    finally:
        slurm.ask("scancel", *taken)
    site_project.recovered(snakemake, expected, time.monotonic())
    (training,) = site_project.trainings("AllocTRES,NNodes")
    assert training["NNodes"] == "1"
    assert "gres/gpu=2" in training["AllocTRES"]


def test_a_job_is_preempted(site_project, expected, faults):
    slurm = site_project.slurm
    site_project.settle(gpu={"model": "h100"})
    snakemake = site_project.train_for_a_while()
    start = time.monotonic()
    site_project.training.send_signal(signal.SIGSTOP)
    slurm.ask("sbatch", "--account=physics", "--qos=urgent", "--partition=gpu", "--gpus=h100:2", "--wrap=sleep 10",
              "--output=/dev/null")  # fmt: skip
    site_project.wait(lambda: site_project.jobs("PENDING"), snakemake)
    seconds = site_project.recovered(snakemake, expected, start)
    assert "Trying to restart job" not in site_project.output
    faults.note(
        "job pre-empted by a QOS", "the epoch under way", f"SLURM started it again; it {site_project.from_checkpoint}", seconds
    )


def test_a_node_cannot_launch_jobs(site_project, expected, faults):
    slurm = site_project.slurm
    site_project.settle(gpu={"model": "h100"})
    start = time.monotonic()
    with slurm.without_spool("h100"):
        snakemake = site_project.start(TRAINING)
        site_project.wait(lambda: "launch failed requeued held" in site_project.output, snakemake)
    (job,) = site_project.jobs("PENDING")
    slurm.ask("scontrol", "release", job)
    seconds = site_project.recovered(snakemake, expected, start)
    assert "Trying to restart job" not in site_project.output
    ended = "Snakemake said that the job was held; `scontrol release` let it go on"
    faults.note("node that cannot start jobs (`launch failed requeued held`)", "nothing", ended, seconds)


def test_snakemake_runs_as_a_job(site_project, expected):
    """The recipe of docs/cluster.md, which is interrupted as its `--signal` would, and submitted again."""
    slurm = site_project.slurm
    command = [
        "sbatch", "--parsable", "--account=physics", "--partition=cpu", "--mem=1000", "--time=60", "--no-requeue",
        "--output=snakemake.out", "--open-mode=append", f"--wrap=exec snakemake --profile slurm -- {TRAINING}",
    ]  # fmt: skip

    def submit():
        done = subprocess.run(
            command, cwd=site_project.root, env=site_project.environment, check=True, text=True, capture_output=True
        )
        return done.stdout.strip()

    def ended(job):
        return slurm.ask("sacct", "-X", "-n", "-P", f"--jobs={job}", "--format=State").strip() not in ("", "PENDING", "RUNNING")

    snakemake = submit()
    site_project.wait(lambda: site_project.checkpoint and site_project.training)
    slurm.ask("scancel", "--batch", "--signal=INT", snakemake)
    site_project.wait(lambda: ended(snakemake) and not site_project.jobs("PENDING,RUNNING,COMPLETING"))
    assert not (site_project.root / TRAINING).exists()
    snakemake = submit()
    site_project.wait(lambda: ended(snakemake))
    assert hashes(site_project) == expected, site_project.output
    assert 0 < site_project.went_on_after() < EPOCHS
