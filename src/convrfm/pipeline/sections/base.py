"""What all sections of the configuration have in common."""

from collections.abc import Sequence
from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from convrfm.user_input import expand_home

__all__ = ["Model", "Positive", "UserPath", "check_each_once"]

Positive = Annotated[int, Field(ge=1)]

UserPath = Annotated[str, Field(min_length=1), AfterValidator(expand_home)]
"""A path as a user writes it; a leading `~` is the home folder."""


class Model(BaseModel):
    """Base of all sections: unknown keys are errors, and so are strings where numbers belong."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


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
