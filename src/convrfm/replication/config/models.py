"""What all sections of the configuration have in common."""

import math
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from convrfm.system.user_input import expand_home

__all__ = ["Model", "Positive", "UserPath", "as_yaml", "check_among", "check_each_once"]

Positive = Annotated[int, Field(ge=1)]

UserPath = Annotated[str, Field(min_length=1), AfterValidator(expand_home)]
"""A path as a user writes it; a leading `~` is the home folder."""


class Model(BaseModel):
    """Base of all sections: unknown keys are errors, and so are strings where numbers belong."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


def as_yaml(value: Any) -> str:
    """A value as one line that can be put into `config.yaml`, where 1e-05, as Python prints it, would be text."""
    dumped: str = yaml.safe_dump(value, default_flow_style=True, width=math.inf)
    return dumped.removesuffix("...\n").strip()


def check_each_once(
    names: Sequence[str], expected: str = "each data set may stand there only once, but they are"
) -> None:
    """Check that a list has no name twice.

    Args:
        names: in their order.
        expected: the message up to the names that there are.

    Raises:
        ValueError: a name stands there twice.
    """
    if len(set(names)) < len(names):
        msg = f"{expected} {', '.join(names)}"
        raise ValueError(msg)


def check_among(key: str, names: Iterable[str], source: str, known: Sequence[str]) -> None:
    """Check that names are known to another section.

    Args:
        key: whose names they are.
        names: that should be known.
        source: the section, or its list.
        known: the names there.

    Raises:
        ValueError: the first name that is not.
    """
    for name in names:
        if name not in known:
            msg = f"{key}: {name!r} is not in {source}, which has {', '.join(known)}"
            raise ValueError(msg)
