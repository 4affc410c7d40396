"""The configuration: `config.yaml` and the presets, as Pydantic models, and what is said of their mistakes.

The JSON schemas and the table in `docs/configuration.md` are generated from the models by
`convrfm.replication.config.generate`.
"""

import difflib
import math
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import Field, ValidationError, ValidationInfo, field_validator

from convrfm.datasets.registry import REGISTRY
from convrfm.errors import ConfigError
from convrfm.replication.config.costs import Costs, Split
from convrfm.replication.config.models import Model, Positive, UserPath, as_yaml, check_each_once
from convrfm.replication.config.sections.beyond import Beyond
from convrfm.replication.config.sections.features import FeatureFigure, Features
from convrfm.replication.config.sections.fig01 import Fig01
from convrfm.replication.config.sections.fig02 import Fig02
from convrfm.replication.config.sections.fig04 import Fig04
from convrfm.replication.config.sections.fig05 import Fig05
from convrfm.replication.config.sections.fig06 import Fig06
from convrfm.replication.config.sections.fig08 import Fig08
from convrfm.replication.config.sections.fig09 import Fig09
from convrfm.replication.config.sections.printed import Printed, is_printed_fit
from convrfm.replication.config.sections.theorem1 import Theorem1
from convrfm.replication.config.sections.zoo import Zoo
from convrfm.replication.figures.printed_runs import PRINTED, RIDGE

__all__ = ["Config", "Preset", "Protocol", "Settings", "load_settings", "read_yaml", "section_in", "validated"]

Protocol = Literal["published", "corrected"]

Section = TypeVar("Section", bound="Model")

PLAIN = (
    (r"^(Input|Value|List|String|Dictionary|it) (should|must) ", "must "),
    (", unable to .*", ""),
    (r"a valid dictionary.*", "a mapping"),
    ("a valid integer", "an integer"),
    ("a valid ", "a "),
    ("greater than or equal to", ">="),
    ("less than or equal to", "<="),
    ("greater than", ">"),
    ("less than", "<"),
    (" after validation", ""),
    (r", not \d+$", ""),
    (r"(be|have)( at (least|most) \d+ (item|character))", r"have\2"),
)
"""Pydantic's words, as patterns, and ours."""

LONGEST_VALUE = 40
"""Characters of a wrong value, up to which messages show it."""


class Preset(Model):
    """What each figure needs at one scale."""

    zoo: Zoo = Field(description="the networks of Figures 1, 2 and 7")
    fig01: Fig01 = Field(description="Figure 1")
    fig02: Fig02 = Field(description="Figure 2")
    features: Features = Field(description="what the first layer learns, for Figures 3, 10, 11 and 12")
    fig03: FeatureFigure = Field(description="Figure 3, of one data set")
    fig05: Fig05 = Field(description="Figure 5")
    fig06: Fig06 = Field(description="Figure 6")
    # After Figures 5 and 6, whose runs it shares.
    fig04: Fig04 = Field(description="Figure 4")
    fig08: Fig08 = Field(description="Figure 8")
    fig09: Fig09 = Field(description="Figure 9")
    fig10: FeatureFigure = Field(description="Figure 10")
    fig11: FeatureFigure = Field(description="Figure 11, of one data set")
    fig12: FeatureFigure = Field(description="Figure 12")
    theorem1: Theorem1 = Field(description="Theorem 1")
    printed: Printed = Field(default_factory=Printed, description="the authors' printed numbers beside ours")
    beyond: Beyond = Field(description="beyond the paper: points of the AGOP, training images, single choices")
    split: Split | None = Field(
        None,
        description="large fits over several jobs, with `backend: cpu`; otherwise they are not split, since a GPU fills such "
        "kernel matrices in seconds. Null: none is",
    )
    costs: Costs = Field(default_factory=Costs, description="what a job of each rule takes, and asks a scheduler for")

    @field_validator("fig03", "fig10", "fig11", "fig12")
    @classmethod
    def _data_sets_are_fitted(cls, figure: FeatureFigure, info: ValidationInfo) -> FeatureFigure:
        features = info.data.get("features")
        fitted = [] if features is None else [task.dataset for task in features.tasks]
        for name in figure.datasets:
            if features is not None and name not in fitted:
                msg = f"{name!r} must be a data set of the section features, that is one of {', '.join(fitted)}"
                raise ValueError(msg)
        if info.field_name in ("fig03", "fig11") and len(figure.datasets) > 1:
            msg = "there is room for one data set only"
            raise ValueError(msg)
        return figure

    @field_validator("fig01", "fig02")
    @classmethod
    def _network_of_the_zoo(cls, figure: Fig01 | Fig02, info: ValidationInfo) -> Fig01 | Fig02:
        zoo = info.data.get("zoo")
        for name in figure.heat_maps if isinstance(figure, Fig01) else [figure.network]:
            if zoo is not None and name not in zoo.networks:
                msg = f"{name!r} must be a network of the section zoo, that is one of {', '.join(zoo.networks)}"
                raise ValueError(msg)
        return figure

    @field_validator("printed")
    @classmethod
    def _images_of_figure_6(cls, printed: Printed, info: ValidationInfo) -> Printed:
        fig06 = info.data.get("fig06")
        for name in printed.runs:
            run = PRINTED[name]
            if run.sigma is None and fig06 and not any(is_printed_fit(task, run) for task in fig06.datasets):
                msg = (
                    f"{name!r} needs {run.task} among fig06.datasets with n_train {run.n_train}, n_test {run.n_test}, size "
                    f"{run.size}, rfm.ridges {as_yaml([RIDGE])} and at least {run.rounds} rfm.rounds"
                )
                raise ValueError(msg)
        return printed

    @field_validator("fig04")
    @classmethod
    def _datasets_of_figure_6(cls, fig04: Fig04, info: ValidationInfo) -> Fig04:
        fig06 = info.data.get("fig06")
        for name in fig04.datasets:
            known = [] if fig06 is None else [task.dataset for task in fig06.datasets]
            if fig06 is not None and name not in known:
                msg = f"datasets must be among fig06.datasets, that is {', '.join(known)}, but there is {name!r}"
                raise ValueError(msg)
        return fig04


class Config(Model):
    """The file that a user edits."""

    preset: str = Field(description="which file of workflow/presets: quick, anchors or paper")
    protocol: Literal["published", "corrected", "both"] = Field(
        description="published: the choices of the paper and its code; corrected: validation split, all images in the "
        "AGOP; both: one after the other"
    )
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="where networks train; auto takes a GPU if any")
    backend: Literal["auto", "cuda", "cpu", "reference", "neural-tangents"] = Field(
        "auto", description="backend of the kernels; auto takes cuda where there is a GPU, and cpu elsewhere"
    )
    # Not strict: in a list on the command line, Snakemake gives numbers as strings.
    seeds: list[Annotated[int, Field(ge=0, lt=2**32, strict=False)]] = Field(
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
    # Not strict: on the command line, Snakemake gives it as a string.
    assume_data: bool = Field(
        False,
        strict=False,
        description="for plans alone: take all data for present, so that `-n` shows what follows once they are fetched",
    )
    overrides: dict[str, Any] = Field(
        default_factory=dict, description="changes to the preset, with its own keys; lists are replaced as a whole"
    )

    @field_validator("data_folders")
    @classmethod
    def _folders_of_known_data(cls, folders: dict[str, UserPath]) -> dict[str, UserPath]:
        known = [name for name, entry in REGISTRY.items() if entry.has_files]
        for name in folders:
            if name not in known:
                hint = _nearest(name, known) or f"; data sets with files are {', '.join(known)}"
                msg = f"{name!r} is not a data set with files{hint}"
                raise ValueError(msg)
        return folders

    @field_validator("seeds")
    @classmethod
    def _each_seed_once(cls, seeds: list[int]) -> list[int]:
        check_each_once(seeds)
        return seeds


class Settings(Model):
    """A configuration with its preset resolved."""

    config: Config
    preset: Preset

    @property
    def protocols(self) -> tuple[Protocol, ...]:
        """The protocols to run, in order."""
        return get_args(Protocol) if self.config.protocol == "both" else (self.config.protocol,)


def load_settings(config: Mapping[str, Any], presets: Path) -> Settings:
    """Check a configuration and resolve its preset.

    Args:
        config: the content of `config.yaml`.
        presets: the folder of the presets.

    Raises:
        ConfigError: with all wrong keys, types and ranges in one message.
    """
    checked = validated(Config, config, "config.yaml")
    names = sorted(file.stem for file in presets.glob("*.yaml"))
    if checked.preset not in names:
        msg = f"config.yaml: preset: must be one of {', '.join(names)}, not {checked.preset!r}"
        raise ConfigError(msg + _nearest(checked.preset, names))
    source = f"{checked.preset}.yaml"
    merged = _merge(read_yaml(presets / source, source), checked.overrides)
    return Settings(config=checked, preset=validated(Preset, merged, source, checked.overrides))


def _merge(base: Any, changes: Any) -> Any:
    """Put changes over a nested mapping."""
    if not (isinstance(base, dict) and isinstance(changes, dict)):
        return changes
    return {key: _merge(base.get(key), changes[key]) if key in changes else base[key] for key in {**base, **changes}}


def read_yaml(path: Path, source: str) -> Any:
    """Read a file of a user.

    Args:
        path: the file.
        source: its name in messages.

    Raises:
        FileNotFoundError: it is missing.
        ConfigError: it cannot be read, or is not YAML.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except OSError as error:
        msg = f"{source} cannot be read: {error.strerror}."
    except yaml.YAMLError as error:
        msg = f"{source} is not valid YAML: {error}"
    raise ConfigError(msg)


def validated(
    model: type[Section], values: Any, source: str, overrides: Mapping[str, Any] = MappingProxyType({})
) -> Section:
    """Check the content of a file.

    Args:
        model: its schema.
        values: what YAML gave.
        source: the name of the file in messages.
        overrides: of `config.yaml`, which `values` already contain.

    Raises:
        ConfigError: with all wrong keys, types and ranges in one message.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = []
        for details in error.errors():
            place, prefix, location = source, "", details["loc"]
            if _is_within(overrides, location[:-1] if details["type"] == "missing" else location):
                place, prefix = "config.yaml", "overrides."
            elif overrides:
                place = f"{source} with overrides"
            lines.append(f"{place}: {_sentence(model, details, prefix)}")
        raise ConfigError("\n".join(lines)) from None


def _is_within(overrides: Any, location: tuple[str | int, ...]) -> bool:
    """Whether a value was given by overrides, which change mappings key by key and replace everything else as a whole."""
    for part in location:
        if not isinstance(overrides, Mapping):
            return True
        if part not in overrides:
            return False
        overrides = overrides[part]
    return bool(location)


def _sentence(model: type[Model], details: Any, prefix: str) -> str:
    """What is wrong with one key."""
    key = prefix + ".".join(str(part) for part in details["loc"])
    if details["type"] == "extra_forbidden":
        known = _keys_at(model, details["loc"][:-1])
        return f"unknown key {key!r}" + (_nearest(details["loc"][-1], known) or f"; known are {', '.join(known)}")
    if details["type"] == "missing":
        return f"missing key {key!r}"
    fault = details["msg"].removeprefix("Value error, ")
    for pattern, replacement in PLAIN:
        fault = re.sub(pattern, replacement, fault)
    found = repr(details["input"])
    if fault.startswith("must ") and len(found) <= LONGEST_VALUE:
        fault += f", not {found}{_number_meant(details)}"
    return f"{key}: {fault}" if key else fault


def _number_meant(details: Any) -> str:
    """How to write a number that YAML reads as text, such as 1e-5."""
    if details["type"] not in ("float_type", "int_type") or not isinstance(details["input"], str):
        return ""
    try:
        number = float(details["input"])
    except ValueError:
        return ""
    whole = details["type"] == "int_type"
    if not math.isfinite(number) or (whole and not number.is_integer()):
        return ""
    return f", which YAML reads as text; write {as_yaml(int(number) if whole else number)}"


def _nearest(name: Any, known: list[str]) -> str:
    close = difflib.get_close_matches(str(name), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def section_in(annotation: Any) -> type[Model] | None:
    """The section that a key holds: itself, or in an optional value, a list or a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    return next(filter(None, map(section_in, get_args(annotation))), None)


def _keys_at(model: type[Model], location: tuple[str | int, ...]) -> list[str]:
    """The keys of the section at a location."""
    for part in location:
        if part in model.model_fields:
            model = section_in(model.model_fields[str(part)].annotation) or model
    return list(model.model_fields)
