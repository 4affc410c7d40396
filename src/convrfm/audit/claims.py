"""The claims of the paper as data: `claims.yaml`, read and checked."""

import string
from collections import Counter
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from convrfm.audit.commands import chosen
from convrfm.errors import ConvRFMError
from convrfm.pipeline.config import Protocol
from convrfm.pipeline.sections.base import Model
from convrfm.printed import PRINTED

__all__ = ["Claim", "ClaimsError", "Condition", "load_claims", "read_claims", "rebuild_command"]


class ClaimsError(ConvRFMError, ValueError):
    """The file of claims has a wrong key, type or range, or claims and their judges do not belong together."""


class Condition(Model):
    """What one kind of measurement of a claim has to meet, fixed before anything was measured."""

    quantity: str = Field(description="what is measured, in words")
    relation: Literal["above", "at least", "at most", "within"] = Field(
        description="how the value has to stand to the bound; within: its size is at most the bound"
    )
    bound: float | Literal["printed"] = Field(
        description="the number; printed: the tolerance of `convrfm.printed`, which differs from round to round"
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


class Claim(Model):
    """One statement of the paper and what decides it."""

    id: str = Field(pattern=r"^(A\d+|P-[a-z0-9-]+)$", description="its name: A for the paper, P for printed numbers")
    title: str = Field(min_length=1, description="a few words")
    sentence: str = Field(min_length=1, description="what the paper says, in our words")
    where: str = Field(min_length=1, description="section and figure of the paper, or another source")
    figure: str | None = Field(None, description="the figure that shows it")
    tables: list[str] = Field(description="the figures whose tables are read")
    of: list[str] = Field(
        default_factory=list,
        description="tasks or data sets that the claim speaks of, where a table has more; stand-ins come on top",
    )
    condition: str = Field(
        min_length=1, description="what has to hold for REPRODUCED; {name} stands for the bound of a condition"
    )
    conditions: dict[str, Condition] = Field(min_length=1, description="conditions by name")
    one_is_enough: bool = Field(False, description="whether a single measurement that holds decides the claim")
    fewest: int = Field(1, ge=1, description="data sets of the paper below which nothing is decided")
    protocols: list[Protocol] = Field(
        description="protocols under which it is judged; empty where none makes a difference"
    )
    presets: list[Literal["quick", "anchors", "paper"]] = Field(description="presets in which it can be decided")
    needs: str = Field(min_length=1, description="what a decision takes")
    failure_means: str = Field(min_length=1, description="what it would mean if it failed")
    command: str = Field(
        min_length=1,
        description="the targets of Snakemake that build what it rests on; a whole command where it reads no table of a figure",
    )

    @model_validator(mode="after")
    def _words_name_bounds(self) -> "Claim":
        for _, name, _, _ in string.Formatter().parse(self.condition):
            if name is not None and name not in self.conditions:
                msg = f"the condition names {{{name}}}, but the conditions are {', '.join(self.conditions)}"
                raise ValueError(msg)
        if all(condition.soft or condition.control for condition in self.conditions.values()):
            msg = "all conditions are soft or controls, so that nothing decides the claim"
            raise ValueError(msg)
        return self

    @property
    def printed(self) -> str | None:
        """The run of `convrfm.printed.PRINTED` that it is about, if any."""
        return self.id.removeprefix("P-") if self.id.startswith("P-") else None

    def condition_in_words(self) -> str:
        """`condition` with all bounds filled in."""
        return self.condition.format(**{name: Bound(each.bound) for name, each in self.conditions.items()})


class Bound:
    """A bound in a sentence: a number in its shortest form, or "the printed tolerance"."""

    def __init__(self, number: float | str) -> None:
        self.number = number

    def __format__(self, form: str) -> str:
        return format(self.number, form or "g") if isinstance(self.number, float) else "the printed tolerance"


def read_claims(text: str) -> tuple[Claim, ...]:
    """Read and check claims.

    Args:
        text: YAML, a list of claims.

    Raises:
        ClaimsError: a key, type or range is wrong, an id stands there twice, or printed runs and claims do not match.
    """
    try:
        entries: Any = yaml.safe_load(text)
    except yaml.YAMLError as error:
        msg = f"The claims are no YAML: {error}. Mend the file claims.yaml."
        raise ClaimsError(msg) from None
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        msg = "The claims must be a list of mappings, one for each claim: mend the file claims.yaml."
        raise ClaimsError(msg)
    claims = tuple(_checked(entry) for entry in entries)
    twice = sorted(name for name, count in Counter(claim.id for claim in claims).items() if count > 1)
    if twice:
        msg = f"A claim may stand there once, but there are several of {', '.join(twice)}: give each its own id."
        raise ClaimsError(msg)
    printed = {claim.printed for claim in claims if claim.printed is not None}
    if printed != PRINTED.keys():
        msg = (
            f"Each run of convrfm.printed is a claim, and they are {', '.join(PRINTED)}; but the claims are about "
            f"{', '.join(sorted(printed)) or 'none'}. Add or remove claims whose id starts with P-."
        )
        raise ClaimsError(msg)
    return claims


def _checked(entry: dict[str, Any]) -> Claim:
    try:
        return Claim.model_validate(entry)
    except ValidationError as error:
        lines = [
            f"{entry.get('id', 'a claim without an id')}, {'.'.join(map(str, part['loc'])) or 'as a whole'}: {part['msg']}"
            for part in error.errors()
        ]
        msg = "The claims are wrong, mend the file claims.yaml:\n" + "\n".join(lines)
        raise ClaimsError(msg) from None


@cache
def load_claims() -> tuple[Claim, ...]:
    """The claims of the paper, in order.

    Raises:
        ClaimsError: see `read_claims`.
    """
    return read_claims((files("convrfm.audit") / "claims.yaml").read_text(encoding="utf-8"))


def rebuild_command(claim: Claim, preset: str, protocol: str | None) -> str:
    """The one command that builds anew what a claim rests on; without a protocol, by that of `config.yaml`."""
    if not claim.tables:
        return claim.command
    # Other presets lack the target; what they do have of other claims is built by them.
    built = claim.presets[0] if claim.printed and preset not in claim.presets else preset
    options = chosen(built, protocol if claim.protocols else None)
    # The dashes end the list of settings: a target behind it would be taken for one of them.
    return f"snakemake -c2 {options} -- {claim.command}"
