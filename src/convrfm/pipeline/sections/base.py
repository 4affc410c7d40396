"""What all sections of the configuration have in common."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Model", "Positive"]

Positive = Annotated[int, Field(ge=1)]


class Model(BaseModel):
    """Base of all sections: unknown keys are errors, and so are strings where numbers belong."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)
