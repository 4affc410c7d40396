"""The configuration: `config.yaml` and the presets, as Pydantic models.

The JSON schemas and the table in `docs/configuration.md` are generated from these models (`convrfm.pipeline.generate`).
"""

import difflib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from convrfm.datasets.registry import REGISTRY
from convrfm.errors import ConfigError
from convrfm.pipeline.paths import run_name

__all__ = [
    "CNNSettings",
    "Config",
    "Fig05",
    "LocalSignalPanel",
    "OptimizerSettings",
    "Preset",
    "Protocol",
    "RFMSection",
    "Settings",
    "load_settings",
]

Protocol = Literal["published", "corrected"]

Section = TypeVar("Section", bound="Model")

Positive = Annotated[int, Field(ge=1)]


class Model(BaseModel):
    """Base of all sections: unknown keys are errors, and so are strings where numbers belong."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class OptimizerSettings(Model):
    """One optimizer of a network."""

    learning_rate: float = Field(gt=0, description="step size")
    epochs: Positive = Field(description="passes over the training images")


class CNNSettings(Model):
    """The plain convolutional network, trained with each optimizer."""

    width: Positive = Field(64, description="filters of each convolution")
    batch_size: Positive = Field(128, description="images per step")
    seeds: Positive = Field(description="how many of the seeds train networks; the first ones of the list")
    adam: OptimizerSettings = Field(description="settings of Adam")
    sgd: OptimizerSettings = Field(description="settings of plain SGD; the paper's values are lost")


class RFMSection(Model):
    """ConvRFM and Deep ConvRFM."""

    rounds: Positive = Field(5, description="rounds of ConvRFM, T")
    stages: Positive = Field(3, description="stages of Deep ConvRFM, at most the depth; stage 0 is ConvRFM")
    filters: Positive = Field(64, description="random filters of each stage of Deep ConvRFM")
    ridges: list[Annotated[float, Field(gt=0)]] = Field(
        default=[1e-8, 1e-5, 1e-3], min_length=1, description="ridges to try, for a kernel divided by its largest entry"
    )


class LocalSignalPanel(Model):
    """One local-signal task with its kernels and networks."""

    task: Literal["bars", "noisy-digits", "noisy-mnist"] = Field(
        description="noisy bars; noisy digits with scikit-learn's embedded digits (a stand-in); or with MNIST"
    )
    n_train: Positive = Field(description="training images")
    n_test: Positive = Field(description="test images")
    sigmas: list[Annotated[float, Field(ge=0, allow_inf_nan=False)]] = Field(
        min_length=1, description="noise levels in the authors' parametrisation, see convrfm.datasets.local_signal"
    )
    depth: Positive = Field(3, description="convolutions of kernels and networks, L")
    patch_size: Positive = Field(3, description="patch size q")
    rfm: RFMSection = Field(default_factory=RFMSection, description="the kernels that learn")
    cnn: CNNSettings = Field(description="the networks to compare with")

    @model_validator(mode="after")
    def _parts_fit_together(self) -> Self:
        if self.rfm.stages > self.depth:
            msg = f"rfm.stages must be at most depth, {self.depth}, but it is {self.rfm.stages}"
            raise ValueError(msg)
        if self.rfm.rounds < 2:
            msg = "rfm.rounds must be at least 2: round 0 is the plain kernel that the others are compared with"
            raise ValueError(msg)
        return self

    @field_validator("sigmas")
    @classmethod
    def _sigmas_tell_runs_apart(cls, sigmas: list[float]) -> list[float]:
        names = [run_name({"sigma": sigma}) for sigma in sigmas]
        if len(set(names)) < len(names):
            msg = "each noise level may stand there only once, and they must differ in their first six digits"
            raise ValueError(msg)
        if max(sigmas) == 0:
            msg = "at least one noise level must be above 0"
            raise ValueError(msg)
        return sigmas


class Fig05(Model):
    """Figure 5, local signal adaptivity."""

    panels: list[LocalSignalPanel] = Field(min_length=1, description="one panel for each task")

    @field_validator("panels")
    @classmethod
    def _one_panel_for_each_task(cls, panels: list[LocalSignalPanel]) -> list[LocalSignalPanel]:
        tasks = [panel.task for panel in panels]
        if len(set(tasks)) < len(tasks):
            msg = f"each task may have one panel only, but the tasks are {', '.join(tasks)}"
            raise ValueError(msg)
        return panels


class Preset(Model):
    """What each figure needs at one scale."""

    fig05: Fig05 = Field(description="Figure 5")


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
        min_length=1, description="seeds of the replicates; each draws its own data, filters and weights"
    )
    threads: Positive = Field(1, description="threads of each job of the kernels and networks")
    memory_mb: Positive | None = Field(
        None,
        description="memory in MiB that a kernel computation may take beside its result; without a number it is a quarter "
        "of what is free, and 896 at most",
    )
    data_dir: str = Field("data", min_length=1, description="where downloaded data lie; scratch on a cluster")
    data_mirror: str | None = Field(
        None,
        min_length=1,
        description="address of a copy of somebody's data_dir, over HTTP, that is used instead of the official addresses",
    )
    data_folders: dict[str, str] = Field(
        default_factory=dict,
        description="folders elsewhere that hold a data set unpacked, by its name; used where they are, never written to",
    )
    overrides: dict[str, Any] = Field(
        default_factory=dict, description="changes to the preset, with its own keys; lists are replaced as a whole"
    )

    @field_validator("data_folders")
    @classmethod
    def _folders_of_known_data(cls, folders: dict[str, str]) -> dict[str, str]:
        known = [name for name, entry in REGISTRY.items() if entry.has_files]
        for name in folders:
            if name not in known:
                msg = f"{name!r} is no data set with files; they are {', '.join(known)}.{_nearest(name, known)}"
                raise ValueError(msg.removesuffix("."))
        return folders

    @field_validator("seeds")
    @classmethod
    def _each_seed_once(cls, seeds: list[int]) -> list[int]:
        if len(set(seeds)) < len(seeds):
            msg = "a seed may stand there only once"
            raise ValueError(msg)
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
        config: what `config.yaml` holds.
        presets: the folder of the presets.

    Raises:
        ConfigError: with every wrong key, type or range in one message.
    """
    checked = _validated(Config, config, "config.yaml")
    path = presets / f"{checked.preset}.yaml"
    names = sorted(file.stem for file in presets.glob("*.yaml"))
    if checked.preset not in names:
        msg = f"config.yaml: preset is {checked.preset!r}, but must be one of {', '.join(names)}."
        raise ConfigError(msg + _nearest(checked.preset, names))
    merged = _merge(yaml.safe_load(path.read_text()), checked.overrides)
    source = f"{path.name} with the overrides of config.yaml" if checked.overrides else path.name
    return Settings(config=checked, preset=_validated(Preset, merged, source))


def _merge(base: Any, changes: Any) -> Any:
    """Put changes over a nested mapping."""
    if not (isinstance(base, dict) and isinstance(changes, dict)):
        return changes
    return {key: _merge(base.get(key), changes[key]) if key in changes else base[key] for key in {**base, **changes}}


def _validated(model: type[Section], values: Mapping[str, Any], source: str) -> Section:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [f"{source}: {_sentence(model, details)}" for details in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def _sentence(model: type[Model], details: Any) -> str:
    """What is wrong with one key, in one sentence."""
    key = ".".join(str(part) for part in details["loc"])
    if details["type"] == "extra_forbidden":
        known = _keys_at(model, details["loc"][:-1])
        return f"there is no key {key!r}; the keys here are {', '.join(known)}." + _nearest(details["loc"][-1], known)
    if details["type"] == "missing":
        return f"the key {key!r} is missing."
    allowed = details["msg"].removeprefix("Value error, ").replace("Input should", "it should")
    return f"{key} is {details['input']!r}, but {allowed}."


def _nearest(name: Any, known: list[str]) -> str:
    close = difflib.get_close_matches(str(name), known, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def _keys_at(model: Any, location: tuple[Any, ...]) -> list[str]:
    """The keys that the section at a location knows."""
    for part in location:
        if isinstance(part, int):
            continue
        annotation = model.model_fields[part].annotation
        model = get_args(annotation)[0] if get_args(annotation) else annotation
    return list(model.model_fields)
