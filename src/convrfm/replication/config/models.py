"""The base of all sections of the configuration."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from convrfm.system.terminal import expand_home

__all__ = ["Model", "Positive", "UserPath", "as_yaml", "check_among", "check_each_once"]

Positive = Annotated[int, Field(ge=1)]

UserPath = Annotated[str, Field(min_length=1), AfterValidator(expand_home)]
"""A path in the configuration; a leading `~` is the home folder."""


class Model(BaseModel):
    """Base of all sections: unknown keys are errors, and so are strings in the place of numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def as_yaml(value: Any) -> str:
    """A value as one line of YAML, which would read 1e-05, as Python prints it, as text."""
    dumped: str = yaml.safe_dump(value, default_flow_style=True, width=math.inf)
    return dumped.removesuffix("...\n").strip()


def check_each_once(values: Sequence[object]) -> None:
    """Check that a list has no duplicates.

    Raises:
        ValueError: it has; the message names them.
    """
    if duplicates := [repr(value) for value, count in Counter(values).items() if count > 1]:
        msg = f"duplicate {', '.join(duplicates)}"
        raise ValueError(msg)


def check_among(key: str, names: Iterable[str], source: str, known: Sequence[str]) -> None:
    """Check that the names under a key are known to another section, the source.

    Raises:
        ValueError: the first name that is not.
    """
    for name in names:
        if name not in known:
            msg = f"{key}: {name!r} is not in {source}, which has {', '.join(known)}"
            raise ValueError(msg)
