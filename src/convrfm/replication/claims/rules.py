"""What decides a claim, apart from its prose: conditions that were fixed before anything was measured."""

from typing import Literal

from pydantic import Field

from convrfm.replication.config.models import Model

__all__ = ["Condition", "Rule"]


class Condition(Model):
    """What one kind of measurement of a claim has to meet, fixed before anything was measured."""

    quantity: str = Field(description="what is measured, in words")
    relation: Literal["above", "at least", "at most", "within"] = Field(
        description="how the value has to stand to the bound; within: its size is at most the bound"
    )
    bound: float | Literal["printed"] = Field(
        description="the number; printed: the tolerance of `convrfm.replication.figures.printed`, which differs from round to round"
    )
    unit: Literal["", "points", "cosine", "1 - rho", "degrees", "times"] = Field(
        "", description="unit of value and bound"
    )
    clear: bool = Field(False, description="whether the 95 % interval of the value has to lie above 0 as well")
    over: Literal["draws", "any"] = Field(
        "any",
        description="what the interval of a clear condition has to be over: distinct draws of the data; or any, such as the "
        "test images of a draw that the protocol fixes",
    )
    control: bool = Field(
        False,
        description="that a check can fail: it has to hold for anything to be decided, and proves nothing by itself",
    )
    soft: bool = Field(False, description="reported only: the paper's number is lost, or the paper gives none")

    def in_words(self, bound: float | None = None) -> str:
        """The condition in words, such as "at least 5 points, with a 95 % interval above 0".

        Args:
            bound: the number where it is not the condition's own.
        """
        number = self.bound if bound is None else bound
        interval = f"a 95 % interval{' over draws' if self.over == 'draws' else ''} above 0"
        if self.clear and self.relation == "above" and number == 0:
            return interval
        shown = "the tolerance" if isinstance(number, str) else f"{number:g} {self.unit}".strip()
        return f"{self.relation} {shown}" + (f", with {interval}" if self.clear else "")


class Rule(Model):
    """What a verdict on a claim follows from. The settings of a figure carry this part of a claim."""

    id: str = Field(pattern=r"^(A\d+|P-[a-z0-9-]+)$", description="its name: A for the paper, P for printed numbers")
    title: str = Field(min_length=1, description="a few words")
    of: list[str] = Field(
        default_factory=list,
        description="tasks or data sets that the claim speaks of, where a table has more; stand-ins come on top",
    )
    conditions: dict[str, Condition] = Field(min_length=1, description="conditions by name")
    one_is_enough: bool = Field(False, description="whether a single measurement that holds decides the claim")
    fewest: int = Field(1, ge=1, description="data sets of the paper below which nothing is decided")

    @property
    def printed(self) -> str | None:
        """The run of `convrfm.replication.figures.printed.PRINTED` that it is about, if any."""
        return self.id.removeprefix("P-") if self.id.startswith("P-") else None
