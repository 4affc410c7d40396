"""The configuration: `config.yaml` and the presets, as Pydantic models, and what is said of their mistakes.

The JSON schemas and the table in `docs/configuration.md` are generated from the models by
`convrfm.replication.config.generate`.
"""

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal, TypeVar, get_args

import yaml
from pydantic import Field, ValidationError, create_model, field_validator

from convrfm.datasets.registry import REGISTRY
from convrfm.errors import ConfigError
from convrfm.replication.config.costs import Costs, Split
from convrfm.replication.config.models import Model, Positive, UserPath, as_yaml, check_each_once
from convrfm.replication.figures.features import Features
from convrfm.replication.figures.figure import figures
from convrfm.replication.figures.zoo import Zoo

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
        raise ConfigError(msg + _nearest(checked.preset, names))
    source = f"{checked.preset}.yaml"
    merged = _merge(read_yaml(presets / source, source), checked.overrides)
    preset = validated(Preset, merged, source, checked.overrides)
    try:
        preset.check()
    except ValueError as error:
        faults = str(error).splitlines()
        places = (_place(fault.partition(":")[0].split("."), source, checked.overrides) for fault in faults)
        raise ConfigError("\n".join(map("".join, zip(places, faults, strict=True)))) from None
    return Settings(config=checked, preset=preset)


def _merge(base: Any, changes: Any) -> Any:
    """Put changes over a nested mapping."""
    if not (isinstance(base, dict) and isinstance(changes, dict)):
        return changes
    return {key: _merge(base.get(key), changes[key]) if key in changes else base[key] for key in {**base, **changes}}


def read_yaml(path: Path, source: str) -> Any:
    """Read a file of a user, called `source` in messages.

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
    """Check the content of a file, called `source` in messages; it already contains the overrides of `config.yaml`.

    Raises:
        ConfigError: with all wrong keys, types and ranges in one message.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_sentence(model, details, source, overrides) for details in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def _place(location: Sequence[str | int], source: str, overrides: Mapping[str, Any]) -> str:
    """What a message has before a key: the file, and `overrides` if these give its value."""
    given: Any = overrides
    for part in location:
        # Overrides change mappings key by key, and replace everything else as a whole.
        if isinstance(given, Mapping):
            if part not in given:
                return f"{source} with overrides: " if overrides else f"{source}: "
            given = given[part]
    return "config.yaml: overrides." if overrides and location else f"{source}: "


def _sentence(model: type[Model], details: Any, source: str, overrides: Mapping[str, Any]) -> str:
    """What is wrong with one key."""
    location = details["loc"]
    missing = details["type"] == "missing"
    file, _, key = _place(location[:-1] if missing else location, source, overrides).partition(": ")
    key += ".".join(str(part) for part in location)
    if missing:
        return f"{file}: missing key {key!r}"
    if details["type"] == "extra_forbidden":
        known = _keys_at(model, location[:-1])
        return f"{file}: unknown key {key!r}" + (_nearest(location[-1], known) or f"; known are {', '.join(known)}")
    fault = details["msg"].removeprefix("Value error, ")
    # Of our own messages, only the beginning may need a change.
    for pattern, replacement in PLAIN[:1] if details["type"] == "value_error" else PLAIN:
        fault = re.sub(pattern, replacement, fault)
    found = repr(details["input"])
    if fault.startswith("must ") and len(found) <= LONGEST_VALUE:
        fault += f", not {found}{_number_meant(details)}"
    return f"{file}: {key}: {fault}" if key else f"{file}: {fault}"


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
