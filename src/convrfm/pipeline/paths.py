"""Where results lie: `results/<preset>/runs/<experiment>/<protocol>/<key=value,...>/`."""

from collections.abc import Mapping
from pathlib import Path

__all__ = ["RUN_FILES", "run_keys", "run_name"]

RUN_FILES = {"metrics": "metrics.parquet", "arrays": "arrays.safetensors", "record": "record.json"}
"""The files of a run."""


def run_name(keys: Mapping[str, object]) -> str:
    """Name of a run's folder, such as `task=bars,sigma=1,seed=0`; numbers in their shortest form."""
    return ",".join(f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}" for key, value in keys.items())


def run_keys(folder: Path) -> dict[str, str]:
    """What `run_name` put into the name of a folder, with the experiment and the protocol of its parents."""
    keys = dict(part.split("=", 1) for part in folder.name.split(","))
    return {"experiment": folder.parent.parent.name, "protocol": folder.parent.name, **keys}
