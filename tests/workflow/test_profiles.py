"""The profiles, as far as plans go."""

import re
import shutil

import pytest
import yaml

from convrfm.replication.config.costs import LIMIT
from workflow.conftest import ROOT, Project, copy_project


@pytest.fixture(scope="module")
def with_profiles(tmp_path_factory) -> Project:
    project = copy_project(tmp_path_factory.mktemp("profiles") / "project")
    for name in ("slurm", "profiles"):
        shutil.copytree(ROOT / name, project.root / name)
    return project


@pytest.fixture
def workstation(with_profiles):
    """The same on real data, with one noise level of Figure 5 and noisy MNIST at the size that the authors printed.

    Kernels run at rates of a slow machine, so that fits are the longest jobs.
    """
    config = with_profiles.root / "config.yaml"
    before = config.read_text()
    panels = yaml.safe_load((ROOT / "workflow/presets/workstation.yaml").read_text())["fig05"]["panels"]
    bars, mnist = ({**panel, "sigmas": [1.0]} for panel in panels)
    overrides = {"fig05": {"panels": [bars, {**mnist, "n_train": 4000, "n_test": 4000}]}, "costs": {"cpu": {"maps": 0.01}}}
    config.write_text(yaml.safe_dump({"preset": "workstation", "protocol": "published", "seeds": [0], "overrides": overrides}))
    yield with_profiles
    config.write_text(before)


def requests(output: str, rule: str) -> set[str]:
    """What the planned jobs of a rule ask for."""
    blocks = re.findall(rf"^rule {rule}:\n(?:    .*\n)*", output, flags=re.MULTILINE)
    return {re.search("resources: (.*)", block)[1] for block in blocks}


@pytest.mark.parametrize("profile", ["slurm", "profiles/local-gpu", "profiles/generic"])
def test_plans_are_made_where_there_is_no_scheduler(with_profiles, profile, monkeypatch, tmp_path):
    # A path without SLURM's commands.
    for name in ("bash", "git", "sh", "which"):
        (tmp_path / name).symlink_to(shutil.which(name))
    monkeypatch.setenv("PATH", str(tmp_path))
    output = with_profiles.snakemake("-n", "--profile", profile, "fig05")
    assert "draw_fig05" in output
    fits = requests(output, "fit_rfm")
    assert fits
    for asked in fits:
        assert "gpu=1" in asked
        assert "runtime=10" in asked
        # The program, and what its fit takes: see docs/benchmarks_memory.md.
        assert 3000 < int(re.search(r"mem_mb=(\d+)", asked)[1]) < 5000
    assert all("gpu=1" not in asked for asked in requests(output, "draw_fig05"))


def test_no_gpu_is_asked_for_where_the_configuration_says_cpu(with_profiles):
    output = with_profiles.snakemake("-n", "fig05", "--config", "backend=cpu")
    assert all("gpu=1" not in asked for asked in requests(output, "fit_rfm"))
    assert all("gpu=1" in asked for asked in requests(output, "train_cnn"))


@pytest.fixture
def site(with_profiles):
    """Writes the file of a site."""
    path = with_profiles.root / "slurm/site.yaml"
    yield lambda **keys: path.write_text(yaml.safe_dump(keys))
    path.unlink()


def test_what_a_site_says_of_gpus_reaches_no_job_without_one(with_profiles, site):
    gpu = {"partition": "gpu", "model": "h100", "constraint": "nvlink"}
    site(account="me", partition="cpu", gpu=gpu)
    output = with_profiles.snakemake("-n", "--profile", "slurm", "fig05")
    for asked in requests(output, "train_cnn") | requests(output, "fit_rfm"):
        assert {"slurm_account=me", "slurm_partition=gpu", "gpu_model=h100", "constraint=nvlink", "gpu=1", "nodes=1"} <= {
            *asked.split(", ")
        }
    for asked in requests(output, "draw") | requests(output, "draw_fig05"):
        assert "slurm_account=me, slurm_partition=cpu" in asked
        assert not any(word in asked for word in ("h100", "nvlink", "gpu", "nodes"))
    # A job that may not use a GPU is none with one.
    output = with_profiles.snakemake("-n", "--profile", "slurm", "fig05", "--config", "backend=cpu")
    assert all("slurm_partition=cpu" in asked for asked in requests(output, "fit_rfm"))


def test_gpus_by_gres(with_profiles, site):
    site(gpu={"gres": "gpu:h100"})
    output = with_profiles.snakemake("-n", "--profile", "slurm", "fig05")
    for asked in requests(output, "train_cnn"):
        assert "gres=gpu:h100:1" in asked
        assert " gpu=" not in asked


def test_a_wrong_key_of_a_site_is_said_before_anything_runs(with_profiles, site):
    site(acount="me")
    output = with_profiles.snakemake("-n", "--profile", "slurm", "fig05", succeeds=False)
    assert "slurm/site.yaml: unknown key 'acount'" in output


def test_profiles_lie_where_snakemake_finds_them_and_nowhere_in_its_way():
    assert {path.name for path in (ROOT / "slurm").iterdir()} - {"site.yaml"} == {"config.yaml", "site.example.yaml"}
    assert not (ROOT / "profiles/default").exists()
    assert not (ROOT / "default").exists()
    for path in [ROOT / "slurm/config.yaml", *(ROOT / "profiles").glob("*/config.yaml")]:
        profile = yaml.safe_load(path.read_text())
        # `cores: 1` would cut every job on a cluster to one CPU.
        assert profile["cores"] != 1


def test_the_cost_of_fits_is_what_their_rules_ask_for(workstation):
    """Minutes from their size, and threads: as many as there are cores, in both."""
    config = workstation.root / "config.yaml"
    settings = {**yaml.safe_load(config.read_text()), "backend": "cpu", "assume_data": True}
    config.write_text(yaml.safe_dump(settings))
    plan = workstation.snakemake("-n", "--profile", "slurm", "fig05")
    blocks = re.findall(r"^rule fit_rfm:\n(?:    .*\n)*", plan, flags=re.MULTILINE)
    asked = {
        re.search("task=([a-z-]+)", block)[1]: (
            int(re.search(r"runtime=(\d+)", block)[1]),
            int(found[1]) if (found := re.search(r"threads: (\d+)", block)) else 1,
        )
        for block in blocks
    }
    assert asked["bars"][1] == 1
    # One for each 1000 images.
    assert asked["noisy-mnist"][1] == 4
    output = workstation.snakemake("-c1", "cost")
    row = re.search(r"^fit_rfm +2 +([\d.]+) +0.00 +[\d.]+ +([\d.]+)$", output, flags=re.MULTILINE)
    longest = float(row[2])
    minutes = {task: runtime / LIMIT for task, (runtime, _) in asked.items()}
    assert longest == pytest.approx(max(minutes.values()), abs=0.5)
    assert float(row[1]) == pytest.approx(sum(minutes[task] * asked[task][1] for task in asked) / 60, rel=0.02)


def test_the_cost_of_what_is_configured_and_of_data_that_are_not_there(workstation):
    output = workstation.snakemake("-c1", "cost")
    assert "preset workstation, protocol published, seeds [0]" in output
    rows = {line.split()[0]: line.split()[1:] for line in output.splitlines() if line and not line.startswith(" ")}
    assert rows["fit_rfm"][0] == "2"
    assert rows["train_cnn"][:3] == ["4", "0.20", "0.20"]
    assert "sets, 3.7 GB to fetch if none is present" in output
    assert not (workstation.root / "data").exists()
    chain = output.partition("Longest chain")[2]
    assert chain.index("prepare") < chain.index("fit_rfm") < chain.index("draw_fig04")
    assert "add `partitions` to slurm/site.yaml" in output


def test_what_slurm_would_get(with_profiles, site):
    """As many jobs as a plan with the profile has, groups of pairs as one, and each with all the CPUs that it may have."""
    config = with_profiles.root / "config.yaml"
    before = config.read_text()
    fig06 = yaml.safe_load(before)["overrides"]["fig06"]
    fig06 = {**fig06, "pairs": [{**fig06["datasets"][0], "first_classes": 10, "n_train": 20, "n_test": 10}]}
    with_profiles.configure(threads=2, overrides={"fig06": fig06})
    site(partitions={"gpu": {"max_runtime": 20, "max_gpu": 1}, "cpu": {"max_cpus_per_task": 8}})
    try:
        output = with_profiles.snakemake("-c1", "cost")
        plan = with_profiles.snakemake("-n", "--profile", "slurm", "all")
    finally:
        config.write_text(before)
    groups = re.findall("Group job pairs", plan)
    single = re.findall(r"^rule \w+:\n(?:    .*\n)*?    resources: .*runtime=", plan, flags=re.MULTILINE)
    assert len(groups) == 6  # 45 pairs of ten classes, eight to a job
    assert f"Submissions to SLURM: {len(groups) + len(single)}, at most 200 at a time" in output
    # Sixteen jobs of two CPUs in a group, of which eight run at a time.
    assert "16 CPU (group pairs_fit_images_prepare_train_images)" in output
    assert "16 CPU, but cpu allows 8; 30 min, but gpu allows 20 (6 jobs)" in output
