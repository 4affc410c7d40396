"""Faults of a cluster, each done to a training under way: nothing that was finished is lost, and the bits are the same."""

import re
import signal
import subprocess
import time

import pytest

from cluster.conftest import TRAINING

pytestmark = pytest.mark.cluster


def test_a_job_is_killed(cluster_project, expected, faults):
    snakemake = cluster_project.train_for_a_while()
    start = time.monotonic()
    cluster_project.training.send_signal(signal.SIGKILL)
    seconds = cluster_project.recovered(snakemake, expected, start)
    faults.note("job killed (SIGKILL)", "the epoch under way", f"a second attempt {cluster_project.from_checkpoint}", seconds)


def test_a_job_is_over_its_time_limit_after_a_checkpoint(cluster_project, expected, faults):
    cluster_project.adapt(retries=0)
    snakemake = cluster_project.train_for_a_while()
    start = time.monotonic()
    cluster_project.training.send_signal(signal.SIGSTOP)
    (job,) = cluster_project.jobs()
    cluster_project.slurm.end_soon(job)
    seconds = cluster_project.recovered(snakemake, expected, start)
    assert f"SLURM job {job} (TIMEOUT) is submitted again; this does not count as an attempt" in cluster_project.output
    assert "Trying to restart job" not in cluster_project.output
    ended = f"a second attempt {cluster_project.from_checkpoint}; it did not use up an attempt"
    faults.note("job over its time limit", "the epoch under way", ended, seconds)


def test_a_job_is_over_its_time_limit_before_any_checkpoint(cluster_project, expected, faults):
    snakemake = cluster_project.start(TRAINING)
    cluster_project.wait(lambda: cluster_project.training, snakemake)
    start = time.monotonic()
    cluster_project.training.send_signal(signal.SIGSTOP)
    (job,) = [job for job, comment in cluster_project.jobs().items() if "train_cnn" in comment]
    cluster_project.slurm.end_soon(job)
    seconds = cluster_project.recovered(snakemake, expected, start)
    assert "SLURM status is: 'TIMEOUT'. It ran out of time" in cluster_project.output
    asked = re.findall(r"runtime=(\d+), gpu=1, .*mem_mb=(\d+),", cluster_project.output)
    assert asked == [("10", "4400"), ("20", "4400")]
    faults.note(
        "the same before its first checkpoint", "the attempt", "the next had twice the time, and no more memory", seconds
    )


def test_the_node_is_drained_and_resumed(cluster_project, expected, faults):
    slurm = cluster_project.slurm
    cluster_project.start_over()  # so that something comes next
    snakemake = cluster_project.start(TRAINING)
    cluster_project.wait(cluster_project.jobs, snakemake)
    start = time.monotonic()
    slurm.ask("scontrol", "update", f"NodeName={slurm.node}", "State=DRAIN", "Reason=test")
    try:
        cluster_project.wait(lambda: cluster_project.jobs("PENDING"), snakemake)
        assert not cluster_project.jobs()
    finally:
        slurm.ask("scontrol", "update", f"NodeName={slurm.node}", "State=RESUME")
    seconds = cluster_project.recovered(snakemake, expected, start)
    assert "Trying to restart job" not in cluster_project.output
    faults.note("node drained, and resumed", "nothing", "what ran ended, what came next waited", seconds)


def test_the_controller_dies_and_comes_back(cluster_project, expected, faults):
    snakemake = cluster_project.train_for_a_while()
    start = time.monotonic()
    cluster_project.slurm.stop_controller()
    time.sleep(15)
    cluster_project.slurm.start_controller()
    seconds = cluster_project.recovered(snakemake, expected, start)
    assert "Trying to restart job" not in cluster_project.output
    faults.note("controller killed, back after 15 s", "nothing", "the job ran on, Snakemake asked again", seconds)


def test_snakemake_is_killed_and_started_again(cluster_project, expected, faults):
    snakemake = cluster_project.train_for_a_while()
    (orphan,) = cluster_project.jobs()
    start = time.monotonic()
    snakemake.send_signal(signal.SIGKILL)
    snakemake.wait()
    cluster_project.training.send_signal(signal.SIGSTOP)  # so that it is there whatever the speed of what follows
    assert orphan in cluster_project.jobs()
    cluster_project.snakemake("--unlock")
    seconds = cluster_project.recovered(cluster_project.start(TRAINING), expected, start)
    assert f"SLURM job {orphan} was left by a Snakemake that has died: cancelled" in cluster_project.output
    ended = f"after `--unlock`, the next call cancelled the job left over; a second attempt {cluster_project.from_checkpoint}"
    faults.note("Snakemake killed (SIGKILL), started again", "the epoch under way", ended, seconds)


def test_a_second_call_is_refused(cluster_project, expected, faults):
    snakemake = cluster_project.train_for_a_while()
    start = time.monotonic()
    training = cluster_project.training
    training.suspend()  # so that it is under way whatever the speed of the second call
    output = cluster_project.submit(TRAINING, succeeds=False)
    training.resume()
    assert "no other Snakemake process is trying to create the same files" in output.replace("\n", " ")
    assert "--unlock" in output
    seconds = cluster_project.recovered(snakemake, expected, start)
    assert "Trying to restart job" not in cluster_project.output
    faults.note("two calls at once", "nothing", "the second was refused, and said what to do", seconds)


def test_the_disk_is_full(cluster_project, expected, faults):
    project = cluster_project
    project.adapt(retries=0)
    project.start_over()
    project.results.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=260m", "tmpfs", project.results], check=True)
    try:
        snakemake = project.train_for_a_while()
        start = time.monotonic()
        project.training.send_signal(signal.SIGSTOP)
        filler = project.results / "filler"
        subprocess.run(["dd", "if=/dev/zero", f"of={filler}", "bs=1M"], check=False, capture_output=True)
        project.training.send_signal(signal.SIGCONT)
        project.finish(snakemake, succeeds=False)
        said = [path.read_text() for path in (project.root / "results/slurm-logs").rglob("*.log")]
        assert any("the disk is full. No partial file is left" in text for text in said)
        assert not (project.root / TRAINING).exists()
        filler.unlink()
        project.adapt(retries=3)
        seconds = project.recovered(project.start(TRAINING), expected, start)
        ended = f"the job said so and failed; with room again, a second attempt {project.from_checkpoint}"
        faults.note("disk full", "the epoch under way", ended, seconds)
    finally:
        subprocess.run(["umount", "--lazy", project.results], check=True)


def test_a_checkpoint_is_damaged(cluster_project, expected, faults):
    snakemake = cluster_project.train_for_a_while()
    training = cluster_project.training
    start = time.monotonic()
    training.send_signal(signal.SIGSTOP)
    checkpoint = cluster_project.checkpoint
    while not checkpoint.exists():  # just moved away, for the next one
        training.send_signal(signal.SIGCONT)
        time.sleep(0.02)
        training.send_signal(signal.SIGSTOP)
    checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
    training.send_signal(signal.SIGKILL)
    seconds = cluster_project.recovered(snakemake, expected, start)
    assert "training goes on from the one before" in cluster_project.log
    ended = f"a second attempt {cluster_project.from_checkpoint}, from the checkpoint before the damaged one, with a warning"
    faults.note("job killed, its checkpoint damaged", "two epochs", ended, seconds)


def test_jobs_get_gpus_of_their_own(cluster_project):
    other = TRAINING.replace("adam", "sgd")
    snakemake = cluster_project.start(TRAINING, other)
    cluster_project.wait(lambda: len([c for c in cluster_project.jobs().values() if "train_cnn" in c]) == 2, snakemake)
    details = [cluster_project.slurm.ask("scontrol", "-d", "show", "job", job) for job in cluster_project.jobs()]
    given = [line.strip() for text in details for line in text.splitlines() if "(IDX:" in line]
    assert sorted(line.partition("GRES=")[2] for line in given) == ["gpu:1(IDX:0)", "gpu:1(IDX:1)"]
    cluster_project.finish(snakemake)
