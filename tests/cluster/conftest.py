"""A running SLURM, and a tiny project that is run on it."""

import os
import re
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import pytest
import yaml
from workflow.conftest import PANEL, ROOT, Project, copy_project

from cluster.faults import Faults
from cluster.site import SITE_PROGRAMS, Site
from cluster.slurm import PROGRAMS, Slurm, missing
from convrfm.system.storage import sha256

PATIENCE = 300
EPOCHS = 400
TRAINING = "results/quick/runs/cnn/published/task=bars,sigma=1,optimizer=adam,seed=0/record.json"
LOG = "results/quick/logs/cnn/published/task=bars,sigma=1,optimizer=adam,seed=0.log"


def running(kind: type[Slurm], programs: tuple[str, ...]) -> Iterator[Slurm]:
    """Start a SLURM; at the end it is stopped, and its folder goes."""
    if reason := missing(programs):
        pytest.skip(reason)
    folder = Path(tempfile.mkdtemp(prefix="slurm-"))
    cluster = kind(folder)
    try:
        cluster.start()
        yield cluster
    finally:
        cluster.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def slurm() -> Iterator[Slurm]:
    yield from running(Slurm, PROGRAMS)


@pytest.fixture(scope="session")
def site() -> Iterator[Slurm]:
    yield from running(Site, SITE_PROGRAMS)


@pytest.fixture(scope="session")
def faults() -> Iterator[Faults]:
    """What the tests found; written where FAULT_TABLE says, relative to the root of the project."""
    found = Faults()
    yield found
    if path := os.environ.get("FAULT_TABLE"):
        found.write(ROOT / path)


@dataclass(frozen=True)
class OnCluster(Project):
    """A checkout whose jobs run on the SLURM of the tests."""

    slurm: Slurm
    started: list[subprocess.Popen] = field(default_factory=list)

    @property
    def environment(self) -> dict[str, str]:
        inherited = super().environment
        return {**inherited, "PATH": self.slurm.path(inherited["PATH"])}

    def adapt(self, **settings) -> None:
        """Change keys of the profile, as a site would."""
        path = self.root / "slurm/config.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), **settings}))

    def start_over(self) -> None:
        """Forget what has been drawn, for tests of the whole way."""
        shutil.rmtree(self.root / "results")
        shutil.rmtree(self.root / ".snakemake")

    def submit(self, *targets: str, succeeds: bool = True) -> str:
        """Run Snakemake on the cluster; gives what it printed."""
        return self.snakemake("--profile", "slurm", "--", *targets, succeeds=succeeds)

    def start(self, *targets: str) -> subprocess.Popen:
        """Start Snakemake on the cluster; what it prints goes to `snakemake.out`."""
        with (self.root / "snakemake.out").open("ab") as output:
            process = subprocess.Popen(
                self.command("--profile", "slurm", "--", *targets), cwd=self.root, env=self.environment,
                stdout=output, stderr=output, start_new_session=True,
            )  # fmt: skip
        self.started.append(process)
        return process

    @property
    def output(self) -> str:
        return (self.root / "snakemake.out").read_text()

    def jobs(self, states: str = "RUNNING") -> dict[str, str]:
        """Comment by id of the jobs in the queue that this project has submitted."""
        lines = self.slurm.ask("squeue", "-h", "-t", states, "-o", "%A|%k|%Z").splitlines()
        parts = [line.strip().split("|") for line in lines]
        return {part[0]: part[1] for part in parts if len(part) == 3 and part[2] == str(self.root)}

    @property
    def checkpoint(self) -> Path | None:
        """The checkpoint of the training, once there is one before it as well."""
        for previous in self.results.glob("runs/cnn/*/*/checkpoint-*.previous.safetensors"):
            return previous.with_name(previous.name.replace(".previous", ""))
        return None

    @property
    def training(self) -> psutil.Process | None:
        """The process that trains."""
        for process in psutil.process_iter():
            try:
                if process.cmdline()[-1].endswith("job.py") and process.cwd() == str(self.root):
                    return process
            except (psutil.Error, IndexError):
                continue
        return None

    @property
    def log(self) -> str:
        """The log of the training's last attempt."""
        return (self.root / LOG).read_text()

    def went_on_after(self) -> int:
        """The epoch of the checkpoint from which the last attempt went on."""
        return int(re.search(r"goes on from its checkpoint, after epoch (\d+)", self.log)[1])

    @property
    def from_checkpoint(self) -> str:
        """That the last attempt went on from a checkpoint, in words."""
        epoch = self.went_on_after()
        assert 0 < epoch < EPOCHS
        return f"went on after epoch {epoch} of {EPOCHS}"

    def recovered(self, snakemake: subprocess.Popen, expected: dict[str, str], start: float) -> float:
        """Wait for the end, compare; gives the seconds since the fault."""
        output = self.finish(snakemake)
        assert hashes(self) == expected, output[-3000:]
        assert not list(self.root.rglob(".tmp-*"))
        assert not list(self.results.rglob("checkpoint*"))
        return time.monotonic() - start

    def train_for_a_while(self) -> subprocess.Popen:
        """Start Snakemake, and wait until the training is under way."""
        snakemake = self.start(TRAINING)
        self.wait(lambda: self.checkpoint and self.training, snakemake)
        return snakemake

    def wait(self, happened: Callable[[], object], snakemake: subprocess.Popen | None = None) -> None:
        deadline = time.monotonic() + PATIENCE
        while not happened():
            assert time.monotonic() < deadline
            assert snakemake is None or snakemake.poll() is None, self.output[-4000:]
            time.sleep(0.1)

    def finish(self, snakemake: subprocess.Popen, *, succeeds: bool = True) -> str:
        """Wait for the end of Snakemake."""
        try:
            snakemake.wait(timeout=2 * PATIENCE)
        except subprocess.TimeoutExpired:
            os.killpg(snakemake.pid, signal.SIGKILL)
            raise
        assert (snakemake.returncode == 0) == succeeds, self.output[-6000:]
        return self.output


@dataclass(frozen=True)
class OnSite(OnCluster):
    """A checkout whose jobs run on the site of the tests."""

    slurm: Site

    def settle(self, **settings) -> None:
        """Write the settings of the site; the account and the partitions are there already."""
        gpu = {"partition": "gpu", **settings.pop("gpu", {})}
        site = {"account": "physics", "partition": "cpu", "gpu": gpu, **settings}
        (self.root / "slurm/site.yaml").write_text(yaml.safe_dump(site))

    def accounted(self, fields: str) -> list[dict[str, str]]:
        """Fields, by their names in sacct, of each job that this project has submitted, in that order."""
        names = ["WorkDir", "Comment", *fields.split(",")]
        lines = self.slurm.ask("sacct", "-X", "-n", "-P", "-D", f"--format={','.join(names)}").splitlines()
        jobs = [dict(zip(names, line.split("|"), strict=True)) for line in lines]
        return [job for job in jobs if job["WorkDir"] == str(self.root)]

    def trainings(self, fields: str) -> list[dict[str, str]]:
        """As `accounted`, of trainings alone."""
        return [job for job in self.accounted(fields) if "train_cnn" in job["Comment"]]


def configure(project: Project, **overrides) -> None:
    """One panel of Figure 5, whose trainings take seconds."""
    settings = {"learning_rate": 1e-3, "epochs": EPOCHS}
    panel = {"task": "bars", "sigmas": [1.0], **PANEL, "cnn": {**PANEL["cnn"], "adam": settings, "sgd": settings}}
    project.configure(overrides={"fig05": {"panels": [panel]}, **overrides})


def profile_of_the_tests(project: OnCluster) -> None:
    """What differs from the profile of the repository: haste."""
    project.adapt(
        **{
            "slurm-site-init-seconds-before-status-checks": 5,
            "seconds-between-status-checks": 3,
            "latency-wait": 20,
            "max-jobs-per-timespan": "20/1s",
        }
    )


def clear(project: OnCluster) -> None:
    """End what a test has left: its Snakemakes, and their jobs."""
    for snakemake in project.started:
        with suppress(ProcessLookupError):
            os.killpg(snakemake.pid, signal.SIGKILL)
        snakemake.wait()
    if left := project.jobs("PENDING,RUNNING,SUSPENDED"):
        project.slurm.ask("scancel", *left)
    project.wait(lambda: not project.jobs("PENDING,RUNNING,COMPLETING"))


@pytest.fixture
def cluster_project(slurm, drawn, tmp_path) -> Iterator[OnCluster]:
    """A tiny Figure 5, on the cluster; its images are drawn."""
    shutil.copytree(drawn.root, tmp_path / "project")
    project = OnCluster(tmp_path / "project", slurm)
    profile_of_the_tests(project)
    yield project
    clear(project)


@pytest.fixture
def site_project(site, drawn, tmp_path) -> Iterator[OnSite]:
    """A tiny Figure 5, on the site; its images are drawn."""
    shutil.copytree(drawn.root, tmp_path / "project")
    project = OnSite(tmp_path / "project", site)
    profile_of_the_tests(project)
    project.settle()
    yield project
    clear(project)


@pytest.fixture(scope="session")
def drawn(tmp_path_factory) -> Project:
    """A project that has drawn the images of the training on this machine."""
    project = copy_project(tmp_path_factory.mktemp("drawn") / "project")
    shutil.copytree(ROOT / "slurm", project.root / "slurm", ignore=shutil.ignore_patterns("site.yaml"))
    configure(project)
    project.snakemake("-c2", "--until", "draw", "--", TRAINING)
    return project


@pytest.fixture(scope="session")
def expected(drawn, tmp_path_factory) -> dict[str, str]:
    """Hashes of what the training should leave, from a run on this machine."""
    project = Project(tmp_path_factory.mktemp("expected") / "project")
    shutil.copytree(drawn.root, project.root)
    project.snakemake("-c2", "--", TRAINING)
    return hashes(project)


def hashes(project: Project) -> dict[str, str]:
    """Hashes of metrics and arrays of all runs of a project."""
    found = {}
    for name in ("metrics.parquet", "arrays.safetensors"):
        for path in project.results.rglob(name):
            found[path.relative_to(project.root).as_posix()] = sha256(path)
    return found
