"""The base of all sections of the configuration."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from convrfm.errors import refuse
from convrfm.system.terminal import expand_home

__all__ = ["Model", "Positive", "UserPath", "as_yaml", "check_among", "each_once", "one_of"]

Positive = Annotated[int, Field(ge=1)]

UserPath = Annotated[str, Field(min_length=1), AfterValidator(expand_home)]
"""A path in the configuration; a leading `~` is the home folder."""


class Model(BaseModel):
    """Base of all sections: unknown keys are errors, and so are strings in the place of numbers, and infinite numbers."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


def as_yaml(value: Any) -> str:
    """A value as one line of YAML, which would read 1e-05, as Python prints it, as text."""
    dumped: str = yaml.safe_dump(value, default_flow_style=True, width=math.inf)
    return dumped.removesuffix("...\n").strip()


def each_once(
    name: Callable[[Any], object] = lambda value: value, apart: Callable[[Any], object] = lambda _: None
) -> AfterValidator:
    """Validate that a list has no duplicates, by the names of its values and what else tells them apart; for `Annotated`."""

    def check(values: list[Any]) -> list[Any]:
        counts = Counter((name(value), apart(value)) for value in values)
        if duplicates := [repr(value) for (value, _), count in counts.items() if count > 1]:
            msg = f"duplicate {', '.join(duplicates)}"
            raise ValueError(msg)
        return values

    return AfterValidator(check)


def one_of(names: Sequence[str]) -> AfterValidator:
    """Validate that a string is one of these names. For `Annotated`."""

    def check(value: str) -> str:
        refuse(value not in names, f"must be one of {', '.join(names)}", ValueError)
        return value

    return AfterValidator(check)


def check_among(key: str, names: Iterable[str], source: str, known: Sequence[str]) -> None:
    """Check that the names under a key are known to another section, the source.

    Raises:
        ValueError: the first name that is not.
    """
    for name in names:
        refuse(name not in known, f"{key}: {name!r} is not in {source}, which has {', '.join(known)}", ValueError)
