"""Checking what a user wrote in YAML, with every fault in a sentence."""

import difflib
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar, get_args

import yaml
from pydantic import ValidationError

from convrfm.errors import ConfigError
from convrfm.replication.config.models import Model, as_yaml

__all__ = [
    "as_in_yaml", "check_files", "check_folders", "load_yaml", "nearest", "place", "read_yaml", "section_in", "validated",
]  # fmt: skip

Section = TypeVar("Section", bound=Model)

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

LONGEST_VALUE = 40  # characters of a wrong value, up to which messages show it


class DuplicateKeyError(yaml.YAMLError):
    """A mapping has a key twice."""


class _Loader(yaml.SafeLoader):
    """YAML's safe loader, for which a key that is there twice is an error; the plain one takes the last of them in silence."""

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, yaml.ScalarNode):
                continue
            line = key.start_mark.line + 1
            if (first := lines.get((key.tag, key.value))) is not None:
                msg = f"line {line}: duplicate key {key.value!r}, first in line {first}: keep one of the two."
                raise DuplicateKeyError(msg)
            lines[key.tag, key.value] = line
        return node


def load_yaml(text: str) -> Any:
    """The content of a text in YAML.

    Raises:
        DuplicateKeyError: a mapping has a key twice.
        yaml.YAMLError: it is not YAML.
        ValueError: it has a date that does not exist, or a number with thousands of digits.
    """
    return yaml.load(text, Loader=_Loader)  # noqa: S506


def check_files(paths: Iterable[Path]) -> None:
    """Check files that Snakemake reads, in whose YAML it takes the last of equal keys; missing ones are left to it.

    Raises:
        ConfigError: see `read_yaml`.
    """
    for path in paths:
        if path.suffix != ".json" and path.exists():
            read_yaml(path, path.name)


def as_in_yaml(given: Any) -> Any:
    """A value of the command line as a file would give it: Snakemake takes all numbers in lists and mappings for text there."""
    if isinstance(given, Mapping):
        return {key: as_in_yaml(value) for key, value in given.items()}
    if isinstance(given, list):
        return [as_in_yaml(value) for value in given]
    if not isinstance(given, str):
        return given
    try:
        read = yaml.safe_load(given)
    except (yaml.YAMLError, ValueError):
        return given
    return read if isinstance(read, int | float) or given.lower() == "null" else given


def read_yaml(path: Path, source: str) -> Any:
    """Read a file of a user, called `source` in messages.

    Raises:
        FileNotFoundError: it is missing.
        ConfigError: it cannot be read, is not YAML, or has a key twice.
    """
    try:
        return load_yaml(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise
    except OSError as error:
        msg = f"{source} cannot be read: {error.strerror}."
    except UnicodeDecodeError as error:
        line = 1 + error.object.count(b"\n", 0, error.start)
        msg = f"{source}: line {line} is not UTF-8 text: save the file in this encoding."
    except DuplicateKeyError as error:
        msg = f"{source}: {error}"
    except (yaml.YAMLError, ValueError) as error:
        msg = f"{source} is not valid YAML: {error}"
    raise ConfigError(msg)


def validated(model: type[Section], values: Any, source: str, overrides: Mapping[str, Any] = MappingProxyType({})) -> Section:
    """Check the content of a file, called `source` in messages; it already contains the overrides of `config.yaml`.

    Raises:
        ConfigError: with all wrong keys, types and ranges in one message.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        lines = [_sentence(model, details, source, overrides) for details in error.errors()]
        raise ConfigError("\n".join(lines)) from None


def place(location: Sequence[str | int], source: str, overrides: Mapping[str, Any]) -> str:
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
    location = details["loc"]
    missing = details["type"] == "missing"
    file, _, key = place(location[:-1] if missing else location, source, overrides).partition(": ")
    key += ".".join(str(part) for part in location)
    if missing:
        return f"{file}: missing key {key!r}"
    if details["type"] == "extra_forbidden":
        known = _keys_at(model, location[:-1])
        return f"{file}: unknown key {key!r}" + (nearest(location[-1], known) or f"; known are {', '.join(known)}")
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


def nearest(name: Any, known: list[str]) -> str:
    """End a sentence on an unknown name with the known one that resembles it; empty without one."""
    close = difflib.get_close_matches(str(name), known, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""


def section_in(annotation: Any) -> type[Model] | None:
    """The section that a key holds: itself, or in an optional value, a list or a mapping."""
    if isinstance(annotation, type) and issubclass(annotation, Model):
        return annotation
    return next(filter(None, map(section_in, get_args(annotation))), None)


def _keys_at(model: type[Model], location: tuple[str | int, ...]) -> list[str]:
    for part in location:
        if part in model.model_fields:
            model = section_in(model.model_fields[str(part)].annotation) or model
    return list(model.model_fields)


def check_folders(data_dir: str, data_folders: Mapping[str, str]) -> None:
    """Check that `data_dir` can be a folder, and that all `data_folders` are there.

    Raises:
        ConfigError: with a sentence for each that is wrong.
    """
    lines = []
    home = Path(data_dir).absolute()
    existing = next(path for path in (home, *home.parents) if path.exists())
    if not existing.is_dir():
        lines.append(f"data_dir: {data_dir} cannot be written, as {existing} is a file: name another folder.")
    for name, folder in data_folders.items():
        if not Path(folder).exists():
            remedy = f"correct the path, or take {name} out of data_folders."
            lines.append(f"data_folders.{name}: there is no folder {folder}: {remedy}")
        elif not Path(folder).is_dir():
            lines.append(f"data_folders.{name}: {folder} is a file: name the folder that holds the data set.")
    if lines:
        raise ConfigError("\n".join(f"config.yaml: {line}" for line in lines))
