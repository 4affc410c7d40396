"""The configuration: `config.yaml` and the presets, as Pydantic models, checked and merged.

The JSON schemas and the table in `docs/configuration.md` are generated from the models by
`convrfm.replication.pages.generate`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args

from pydantic import Field, create_model, field_validator

from convrfm.datasets.registry import REGISTRY
from convrfm.errors import ConfigError, refuse
from convrfm.kernels.base import BACKENDS
from convrfm.replication.config.costs import Costs, Split
from convrfm.replication.config.models import Model, Positive, UserPath, each_once
from convrfm.replication.config.validation import nearest, place, read_yaml, validated
from convrfm.replication.figures.features import Features
from convrfm.replication.figures.figure import figures
from convrfm.replication.figures.zoo import Zoo

__all__ = ["Config", "Preset", "Protocol", "Settings", "load_settings"]

Protocol = Literal["published", "corrected"]


class PresetBase(Model):
    """What each figure needs at one scale: the sections that several figures share, and those of the figures."""

    zoo: Zoo = Field(description="the networks of Figures 1, 2 and 7")
    features: Features = Field(description="what the first layer learns, for Figures 3, 10, 11 and 12")
    split: Split | None = Field(
        None,
        description="large fits over several jobs, with `backend: cpu`; otherwise they are not split, since a GPU fills such "
        "kernel matrices in seconds. Null: none is",
    )
    costs: Costs = Field(default_factory=Costs, description="what a job of each rule takes, and asks a scheduler for")

    def check(self) -> None:
        """Check the sections against each other.

        Raises:
            ValueError: with every section that does not fit, a line for each.
        """
        lines = []
        for name in type(self).model_fields:
            try:
                getattr(getattr(self, name), "check", lambda _: None)(self)
            except ValueError as error:
                lines.append(f"{name}.{error}")
        if lines:
            raise ValueError("\n".join(lines))


def _preset_model() -> type[PresetBase]:
    """The model of presets, with a section for each figure that has one."""
    fields: dict[str, Any] = {}
    for name, figure in figures().items():
        if (section := figure.section) is not None:
            title = (section.__doc__ or figure.title).strip().removesuffix(".")
            optional = all(not info.is_required() for info in section.model_fields.values())
            info = Field(default_factory=section, description=title) if optional else Field(description=title)
            fields[name] = (section, info)
    return create_model("Preset", __base__=PresetBase, __doc__="What each figure needs at one scale.", **fields)


Preset: type[PresetBase] = _preset_model()


class Config(Model):
    """The file that a user edits."""

    preset: str = Field(description="which file of workflow/presets: quick, workstation or paper")
    protocol: Literal["published", "corrected", "both"] = Field(
        description="published: the choices of the paper and its code; corrected: validation split, all images in the "
        "AGOP; both: one after the other"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where networks train; auto takes a GPU if any")
    backend: Literal[("auto", *BACKENDS)] = Field(  # type: ignore[valid-type]
        "auto", description="backend of the kernels; auto takes cuda where there is a GPU, and cpu elsewhere"
    )
    seeds: Annotated[list[Annotated[int, Field(ge=0, lt=2**32)]], each_once()] = Field(
        min_length=1,
        description="seeds of the replicates; each draws its own filters and weights, and its own data where the protocol does "
        "not fix them",
    )
    threads: Positive = Field(1, description="threads of each job of the kernels and networks")
    memory_mb: Positive | None = Field(
        None,
        description="memory in MiB that a kernel computation may take beside its result; without a number it is a quarter "
        "of what is free, and 896 at most",
    )
    data_dir: UserPath = Field("data", description="where downloaded data lie; scratch on a cluster")
    data_mirror: str | None = Field(
        None,
        min_length=1,
        description="address of a copy of somebody's data_dir, over HTTP, that is used instead of the official addresses",
    )
    data_folders: dict[str, UserPath] = Field(
        default_factory=dict,
        description="folders elsewhere that hold a data set unpacked, by its name; used where they are, never written to",
    )
    assume_data: bool = Field(
        False, description="for plans alone: take all data for present, so that `-n` shows what follows once they are fetched"
    )
    overrides: dict[str, Any] = Field(
        default_factory=dict, description="changes to the preset, with its own keys; lists are replaced as a whole"
    )

    @field_validator("data_dir")
    @classmethod
    def _no_wildcards(cls, folder: str) -> str:
        refuse("{" in folder or "}" in folder, "must have no braces, which Snakemake reads as wildcards", ValueError)
        return folder

    @field_validator("data_folders")
    @classmethod
    def _folders_of_known_data(cls, folders: dict[str, UserPath]) -> dict[str, UserPath]:
        known = [name for name, entry in REGISTRY.items() if entry.has_files]
        for name in folders:
            if name not in known:
                hint = nearest(name, known) or f"; data sets with files are {', '.join(known)}"
                msg = f"{name!r} is not a data set with files{hint}"
                raise ValueError(msg)
        return folders


class Settings(Model):
    """A configuration with its preset resolved."""

    config: Config
    preset: Any

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """The protocols to run, in order."""
        return get_args(Protocol) if self.config.protocol == "both" else (self.config.protocol,)


def load_settings(config: Mapping[str, Any], presets: Path) -> Settings:
    """Check the content of `config.yaml`, and resolve its preset from a folder of presets.

    Raises:
        ConfigError: with all wrong keys, types and ranges in one message.
    """
    checked = validated(Config, config, "config.yaml")
    names = sorted(file.stem for file in presets.glob("*.yaml"))
    if checked.preset not in names:
        msg = f"config.yaml: preset: must be one of {', '.join(names)}, not {checked.preset!r}"
        raise ConfigError(msg + nearest(checked.preset, names))
    source = f"{checked.preset}.yaml"
    merged = _merge(read_yaml(presets / source, source), checked.overrides)
    preset = validated(Preset, merged, source, checked.overrides)
    try:
        preset.check()
    except ValueError as error:
        faults = str(error).splitlines()
        places = (place(fault.partition(":")[0].split("."), source, checked.overrides) for fault in faults)
        raise ConfigError("\n".join(map("".join, zip(places, faults, strict=True)))) from None
    return Settings(config=checked, preset=preset)


def _merge(base: Any, changes: Any) -> Any:
    if not (isinstance(base, dict) and isinstance(changes, dict)):
        return changes
    return {key: _merge(base.get(key), changes[key]) if key in changes else base[key] for key in {**base, **changes}}
