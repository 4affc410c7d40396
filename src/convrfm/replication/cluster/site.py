"""What a SLURM site wants to be told of jobs: `slurm/site.yaml`, a file of the site's own that git ignores."""

from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from convrfm.replication.config.models import Model
from convrfm.replication.config.presets import read_yaml, validated

__all__ = ["SITE", "Site", "load_site"]

SITE = Path("slurm/site.yaml")
"""Where the file lies, beside the profile."""

PLACEMENT = {"partition": "slurm_partition", "constraint": "constraint", "qos": "qos", "extra": "slurm_extra"}
"""Snakemake's names of what can differ for jobs with a GPU."""


def _as_text(value: Any) -> Any:
    """Accounts are numbers at some sites."""
    return str(value) if type(value) is int else value


Text = Annotated[str, BeforeValidator(_as_text), Field(min_length=1)]


class _Placement(Model):
    """Where jobs go."""

    partition: Text | None = Field(None, description="as for `sbatch -p`")
    constraint: Text | None = Field(None, description="features of nodes, as for `sbatch -C`")
    qos: Text | None = Field(None, description="as for `sbatch --qos`")
    extra: Text | None = Field(None, description="further options of `sbatch`, such as --reservation=mine")


class _GPUs(_Placement):
    """What differs for jobs that ask for a GPU: what is left out here is as for the others, and null is nothing at all."""

    model: Text | None = Field(None, pattern=r"^[A-Za-z0-9_.]+$", description="the type, as in `sbatch --gpus=h100:1`")
    gres: Text | None = Field(
        None,
        pattern=r"^gpu(:[A-Za-z_.][A-Za-z0-9_.]*)?$",
        description="the name, as in `sbatch --gres=gpu:h100:1`, for sites that do not take --gpus; without the number",
    )


class Site(_Placement):
    """The file; a key that is left out says nothing to `sbatch`."""

    account: Text | None = Field(None, description="as for `sbatch -A`")
    gpu: _GPUs = Field(default_factory=_GPUs, description="what differs for jobs that ask for a GPU")
    partitions: dict[str, dict[str, Any]] | None = Field(
        None,
        description="limits of partitions, of which each job gets the one that fits best, unless `partition` names one; the "
        "keys are those of Snakemake's plugin for SLURM: max_runtime (minutes), max_mem_mb, max_cpus_per_task, max_gpu, ...",
    )

    @field_validator("gpu", mode="before")
    @classmethod
    def _all_keys_may_be_left_out(cls, given: Any) -> Any:
        return {} if given is None else given

    def resources(self, gpus: int) -> dict[str, str | int]:
        """Snakemake's resources of a job, by the names that its plugin for SLURM knows, as far as anything is asked for.

        Args:
            gpus: how many GPUs it asks for, on one node.
        """
        of_gpus = self.gpu if gpus else _GPUs()
        found: dict[str, str | int | None] = {"slurm_account": self.account}
        for key, name in PLACEMENT.items():
            found[name] = getattr(of_gpus if key in of_gpus.model_fields_set else self, key)
        if gpus:
            by_gres = {"gres": f"{of_gpus.gres}:{gpus}"}
            found |= {"nodes": 1} | ({"gpu": gpus, "gpu_model": of_gpus.model} if of_gpus.gres is None else by_gres)
        return {name: value for name, value in found.items() if value is not None}


def load_site(folder: Path) -> Site:
    """Read the site's file, if there is one.

    Args:
        folder: where Snakemake was called.

    Raises:
        ConfigError: it cannot be read, is no YAML, or has wrong keys or values.
    """
    try:
        values = read_yaml(folder / SITE, str(SITE))
    except FileNotFoundError:
        return Site()
    return validated(Site, {} if values is None else values, str(SITE))
