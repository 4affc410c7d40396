"""What a scheduler would get of a plan, and what exceeds its partitions."""

import pytest
import yaml

from convrfm.errors import ConfigError
from convrfm.replication.cluster.site import Submission, excesses, largest_requests, read_partitions

PARTITIONS = {
    "cpu": {"max_runtime": 2880, "max_cpus_per_task": 32, "max_mem_mb": 128000, "max_gpu": 0},
    "gpu": {"max_runtime": "1-00:00:00", "max_cpus_per_task": 8, "max_mem_mb": 64000, "max_gpu": 2},
}


def job(name="fit_rfm", threads=1, about=None, **resources):
    return Submission(name, {"runtime": 60, "mem_mb": 4000, **resources}, threads, about or {})


@pytest.fixture
def site(tmp_path):
    """Gives the partitions of a site's file with these keys."""

    def read(**keys):
        (tmp_path / "slurm").mkdir(exist_ok=True)
        (tmp_path / "slurm/site.yaml").write_text(yaml.safe_dump(keys))
        return read_partitions(tmp_path)

    return read


def test_the_largest_requests_and_whose_they_are():
    jobs = [
        job(about={"task": "bars", "seed": "0"}, mem_mb=9000),
        job("train_simplenet", about={"dataset": "imagenet32"}, runtime=2880, gpu=1),
        job("group pairs", threads=16),
        job("measure_ansatz", about={"network": "vgg11-v1"}, gres="gpu:h100:2"),
    ]
    assert list(largest_requests(jobs)) == [
        "2880 min (train_simplenet imagenet32)",
        "9000 MB (fit_rfm bars)",
        "16 CPU (group pairs)",
        "2 GPU (measure_ansatz vgg11-v1)",
    ]
    assert list(largest_requests([])) == []
    assert not any("GPU" in line for line in largest_requests([job()]))


def test_what_no_partition_takes(site):
    jobs = [
        job(runtime=2880), job(runtime=1440, gpu=2), job(threads=32), job(mem_mb=128000),  # which all fit
        job("train_simplenet", about={"dataset": "imagenet32"}, runtime=2880, gpu=1),
        job("train_simplenet", about={"dataset": "imagenet32"}, runtime=2880, gpu=1),
        job("train_simplenet", about={"dataset": "svhn"}, runtime=1441, mem_mb=64001, gpu=1),
        job("prepare", mem_mb=2_000_000),
        job("fit_rfm", gpu=4),
        job("fit_rfm", gres="gpu:h100:4"),
        job("group pairs", threads=16, gpu=1),
    ]  # fmt: skip
    assert list(excesses(jobs, site(partitions=PARTITIONS))) == [
        "train_simplenet imagenet32: 2880 min, but gpu allows 1440 (2 jobs)",
        "train_simplenet svhn: 1441 min, but gpu allows 1440, and 64001 MB, but gpu allows 64000",
        "prepare: 2000000 MB, but cpu allows 128000; 2000000 MB, but gpu allows 64000",
        "fit_rfm: 4 GPU, but cpu allows 0; 4 GPU, but gpu allows 2 (2 jobs)",
        "group pairs: 16 CPU, but gpu allows 8",
    ]


def test_a_job_that_names_its_partition_goes_to_no_other(site):
    partitions = site(partitions=PARTITIONS)
    jobs = [job(runtime=2880, slurm_partition="gpu"), job(slurm_partition="gpu"), job(slurm_partition="long")]
    assert list(excesses(jobs, partitions)) == [
        "fit_rfm: 2880 min, but gpu allows 1440",
        "fit_rfm: partition long is missing in slurm/site.yaml",
    ]


def test_limits_without_words_of_their_own(site):
    gpu = {**PARTITIONS["gpu"], "available_gpu_models": ["a30"]}
    assert list(excesses([job(gpu=1, gpu_model="h100")], site(partitions={"gpu": gpu}))) == ["fit_rfm: another limit of gpu"]


def test_files_without_partitions_and_wrong_ones(site, tmp_path):
    assert read_partitions(tmp_path / "nowhere") == []
    assert site(account="me") == []
    for partitions in ({"cpu": {"max_hours": 3}}, {"cpu": {"max_runtime": "soon"}}):
        with pytest.raises(ConfigError, match=r"slurm/site\.yaml: partitions"):
            site(partitions=partitions)
