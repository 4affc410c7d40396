"""A copy of the project that runs a tiny version of the whole workflow."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml
from datasets.official import MAKERS

from convrfm.datasets.registry import REGISTRY
from convrfm.system.storage import sha256

ROOT = Path(__file__).parents[2]

PANEL = {
    "n_train": 24,
    "n_test": 16,
    "depth": 2,
    "rfm": {"rounds": 2, "stages": 2, "filters": 3, "ridges": [1e-5, 1e-3]},
    "cnn": {
        "width": 4,
        "batch_size": 8,
        "seeds": 1,
        "adam": {"learning_rate": 1e-3, "epochs": 2},
        "sgd": {"learning_rate": 0.01, "epochs": 2},
    },
}
SIMPLENET = {
    "dataset": "digits",
    "n_train": 24,
    "n_test": 12,
    "scaling": "unit",
    "width_divisor": 16,
    "training": {"epochs": 3, "batch_size": 8, "milestones": [2]},
    "ansatz": {"images": 4, "epochs": [1]},
}
DIGITS = {
    "dataset": "digits",
    "n_train": 24,
    "n_test": 16,
    "size": None,
    "depth": 2,
    "seeds": 1,
    "rfm": PANEL["rfm"],
    "cnn": {"width": 4, "batch_size": 8, "epochs": 2},
}
ZOO = {
    "standins": [
        {
            "network": "vgg11",
            "divisor": 16,
            "size": 32,
            "n_train": 24,
            "n_test": 12,
            "learning_rate": 1e-3,
            "epochs": 2,
            "batch_size": 8,
            "snapshots": [1],
        }
    ],
    "measurement": {"images": 6, "batch_size": 4},
}
CONFIG = {
    "preset": "quick",
    "protocol": "published",
    "seeds": [0],
    "threads": 1,
    "overrides": {
        "fig05": {
            "panels": [{"task": "bars", "sigmas": [0.5, 2.0], **PANEL}, {"task": "noisy-digits", "sigmas": [1.0], **PANEL}]
        },
        "fig06": {"datasets": [DIGITS], "layers": ["digits"], "pairs": []},
        "fig04": {"sigma": 2.0, "datasets": [], "images": 3, "control_draws": 2},
        "fig08": {"panels": [SIMPLENET]},
        "zoo": ZOO,
        "fig01": {"heat_maps": ["vgg11-standin"]},
        "fig02": {"network": "vgg11-standin", "images": 2, "control_draws": 2},
        "features": {
            "tasks": [
                {
                    "dataset": "street-digits",
                    "size": 16,
                    "colour": "grey",
                    "n_train": 24,
                    "n_test": 16,
                    "rounds": 2,
                    "ridges": [1e-5, 1e-3],
                    "depth": 2,
                    "laplace_patch_size": 5,
                    "network": {"width": 4, "batch_size": 8, "epochs": 2},
                }
            ],
            "natural_size": 32,
            "images": 8,
            "control_draws": 2,
        },
        "fig12": {"datasets": ["street-digits"]},
        "fig09": {
            "datasets": [{"dataset": "digits", "size": 8, "colour": "grey", "scaling": "unit", "n_train": 24, "n_test": 16}],
            "architectures": ["vanilla", "MyrtleMax"],
            "patch_sizes": [3],
            "width": 4,
            "epochs": 2,
            "seeds": 1,
        },
        "theorem1": {
            "draws": 2,
            "sizes": [{"images": 8, "channels": 2, "height": 7, "width": 6, "patch_size": 3, "filters": 8}],
        },
    },
}


@dataclass(frozen=True)
class Project:
    """A checkout of the project in a folder of its own."""

    root: Path

    @property
    def results(self) -> Path:
        return self.root / "results" / "quick"

    def configure(self, **changes) -> None:
        """Write the configuration; a figure that `overrides` does not name stays tiny."""
        overrides = {**CONFIG["overrides"], **changes.pop("overrides", {})}
        (self.root / "config.yaml").write_text(yaml.safe_dump({**CONFIG, **changes, "overrides": overrides}))

    def command(self, *arguments: str) -> list[str]:
        return [str(Path(sys.executable).with_name("snakemake")), *arguments]

    @property
    def environment(self) -> dict[str, str]:
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        return {**os.environ, "PATH": path, "PYTHONPATH": str(self.root / "src")}

    def snakemake(self, *arguments: str, succeeds: bool = True, environment: Mapping[str, str] | None = None) -> str:
        """Run Snakemake, with further variables in its environment; gives what it printed."""
        done = subprocess.run(
            self.command(*arguments), cwd=self.root, env={**self.environment, **(environment or {})}, text=True, check=False,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=1800,
        )  # fmt: skip
        assert (done.returncode == 0) == succeeds, done.stdout[-6000:]
        return done.stdout

    def planned(self, *arguments: str) -> dict[str, int]:
        """How many jobs of each rule Snakemake would run, the targets left out."""
        output = self.snakemake("-n", *arguments)
        _, found, stats = output.partition("Job stats:")
        if not found:
            assert "Nothing to be done" in output
            return {}
        lines = stats.partition("\n\n")[0].splitlines()[3:]
        targets = ("all", "total", *arguments)
        return {line.split()[0]: int(line.split()[1]) for line in lines if line.split()[0] not in targets}

    def planned_after_change(self, path: str, *targets: str) -> dict[str, int]:
        """What `planned` gives after a file of the project has changed, which is as it was afterwards."""
        file = self.root / path
        before = file.read_text()
        try:
            file.write_text(before + "\n# changed\n")
            return self.planned(*targets)
        finally:
            file.write_text(before)

    def check_built(self, figures: Sequence[str], protocol: str) -> None:
        """Every file of these figures is there, and nothing that work leaves by the way."""
        for figure in figures:
            for form in ("png", "pdf", "parquet", "csv", "md", "json"):
                assert (self.results / "figures" / protocol / f"{figure}.{form}").stat().st_size > 0
        assert not list(self.root.rglob(".tmp-*"))
        assert not list(self.results.rglob("checkpoint*"))

    def check_records(self, records: Sequence[Path]) -> None:
        """Inputs and outputs lie there with the hashes that the records have of them."""
        for path in records:
            record = json.loads(path.read_text())
            for described in [*record["inputs"].values(), *record["outputs"].values()]:
                assert sha256(self.root / described["path"]) == described["sha256"]

    def kill_when(self, happened: Callable[[], bool], *arguments: str) -> None:
        """Start Snakemake, and kill it (`kill -9`) when something has happened; its jobs have to notice, and end."""
        killed = subprocess.Popen(
            self.command(*arguments), cwd=self.root, env=self.environment,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + 600
        while not happened():
            assert time.monotonic() < deadline
            assert killed.poll() is None
            time.sleep(0.02)
        killed.send_signal(signal.SIGKILL)
        killed.wait()
        time.sleep(2)


def copy_project(folder: Path) -> Project:
    """Copy what the workflow needs, with compiled code and file times, so that caches stay valid."""
    for name in ("src", "workflow", "envs"):
        # Not what another process is about to write into a cache of compiled code.
        shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("*.tmp.*", "*.pyc.*"))
    shutil.copy2(ROOT / "Snakefile", folder)
    # The small MNIST of the tests is what is published.
    registry = folder / "src/convrfm/datasets/registry.py"
    text = registry.read_text()
    for path, known in MAKERS["mnist"]().entry("mnist").contents.items():
        text = text.replace(REGISTRY["mnist"].contents[path].removeprefix("md5:"), known.removeprefix("md5:"))
    registry.write_text(text)
    project = Project(folder)
    project.configure()
    return project


@pytest.fixture
def finished(built, tmp_path) -> Project:
    """A copy of the project in which the workflow has been run, with all that Snakemake knows of it."""
    shutil.copytree(built.root, tmp_path / "project")
    return Project(tmp_path / "project")


@pytest.fixture
def project(tmp_path) -> Project:
    return copy_project(tmp_path / "project")


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Project:
    """A project in which Figure 5 has been built, for both protocols; tests put back what they change."""
    project = copy_project(tmp_path_factory.mktemp("built") / "project")
    project.configure(protocol="both")
    project.snakemake("-c2", "--", "fig05")
    return project
