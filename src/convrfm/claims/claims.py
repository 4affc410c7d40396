"""The claims of the paper as data: `claims.yaml`, read and checked."""

import string
from collections import Counter
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml
from pydantic import Field, ValidationError, model_validator

from convrfm.claims.rules import Rule
from convrfm.errors import ConvRFMError

__all__ = ["Claim", "ClaimsError", "chosen", "load_claims", "read_claims", "rebuild_command"]


class ClaimsError(ConvRFMError, ValueError):
    """The file of claims has a wrong key, type or range, or claims and their judges do not belong together."""


class Claim(Rule):
    """One statement of the paper and what decides it."""

    sentence: str = Field(min_length=1, description="what the paper says, in our words")
    where: str = Field(min_length=1, description="section and figure of the paper, or another source")
    figure: str | None = Field(None, description="the figure that shows it")
    tables: list[str] = Field(
        description="the figures whose tables are read, in this order; cost: the table of benchmarks/cost.py"
    )
    condition: str = Field(
        min_length=1, description="what has to hold for REPRODUCED; {name} stands for the bound of a condition"
    )
    protocols: list[Literal["published", "corrected"]] = Field(
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

    def rule(self) -> dict[str, Any]:
        """What decides it, as plain values: what the settings of a figure carry; a `Rule` is made from it again."""
        return self.model_dump(include=set(Rule.model_fields), exclude_defaults=True)

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
        ClaimsError: a key, type or range is wrong, or an id stands there twice.
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
    return read_claims((files("convrfm.claims") / "claims.yaml").read_text(encoding="utf-8"))


def chosen(preset: str, protocol: str | None = None) -> str:
    """The options of Snakemake that choose a preset and a protocol."""
    return f"--config preset={preset}" + ("" if protocol is None else f" protocol={protocol}")


def rebuild_command(claim: Claim, preset: str, protocol: str | None) -> str:
    """The one command that builds anew what a claim rests on; without a protocol, by that of `config.yaml`."""
    if claim.figure is None:
        return claim.command
    # Other presets lack the target; what they do have of other claims is built by them.
    built = claim.presets[0] if claim.printed and preset not in claim.presets else preset
    options = chosen(built, protocol if claim.protocols else None)
    # The dashes end the list of settings: a target behind it would be taken for one of them.
    return f"snakemake -c2 {options} -- {claim.command}"
