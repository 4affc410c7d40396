"""Where results lie: `results/<preset>/runs/<experiment>/<protocol>/<key=value,...>/`."""

from collections.abc import Mapping
from pathlib import Path

__all__ = ["RUN_FILES", "STEP_MATRICES", "figure_records", "run_keys", "run_name", "run_records"]

RUN_FILES = {"metrics": "metrics.parquet", "arrays": "arrays.safetensors", "record": "record.json"}
"""The files of a run."""

STEP_MATRICES = ("train", "test")
"""The kernel matrices of a round of a fit, in the order in which it asks for them."""


def run_name(keys: Mapping[str, object]) -> str:
    """Name of a run's folder, such as `task=bars,sigma=1,seed=0`; numbers in their shortest form."""
    return ",".join(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in keys.items())


def run_keys(folder: Path) -> dict[str, str]:
    """What `run_name` put into the name of a folder, with the experiment and the protocol of its parents."""
    keys = dict(part.split("=", 1) for part in folder.name.split(","))
    return {"experiment": folder.parent.parent.name, "protocol": folder.parent.name, **keys}


def run_records(results: Path) -> list[Path]:
    """Records of the runs that lie in `results/<preset>`, in the order of their names."""
    return sorted((results / "runs").glob("*/*/*/" + RUN_FILES["record"]))


def figure_records(results: Path) -> list[Path]:
    """Records of the figures that lie in `results/<preset>/figures/<protocol>`, in the order of their names."""
    return sorted((results / "figures").glob("*/*.json"))
