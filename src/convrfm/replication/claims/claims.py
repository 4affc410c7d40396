"""The claims of the paper as data: `claims.yaml`, read and checked; and `docs/claims.md`, generated from it."""

import string
from collections import Counter
from functools import cache
from importlib.resources import files
from typing import Any, Literal

import yaml
from pydantic import Field, TypeAdapter, ValidationError, model_validator

from convrfm.errors import ConvRFMError
from convrfm.replication.claims.evidence import Rule
from convrfm.replication.config.validation import load_yaml

__all__ = ["Claim", "ClaimsError", "chosen", "load_claims", "read_claims", "rebuild_command"]


class ClaimsError(ConvRFMError, ValueError):
    """The file of claims has a wrong key, type or range, or claims and their judges do not belong together."""


class Claim(Rule):
    """One statement of the paper and what decides it."""

    sentence: str = Field(min_length=1, description="what the paper says, in our words")
    where: str = Field(min_length=1, description="section and figure of the paper, or another source")
    tables: list[str] = Field(
        min_length=1, description="figures whose tables are read, the one that shows it first; cost: benchmarks/cost.csv"
    )
    condition: str = Field(
        min_length=1, description="what has to hold for REPRODUCED; {name} stands for the bound of a condition"
    )
    protocols: list[Literal["published", "corrected"]] = Field(
        ["published", "corrected"], description="protocols under which it is judged; empty where none makes a difference"
    )
    presets: list[Literal["quick", "workstation", "paper"]] = Field(description="presets in which it can be decided")
    needs: str = Field(min_length=1, description="what a decision takes")
    failure_means: str = Field(min_length=1, description="what it would mean if it failed")
    command: str | None = Field(None, description="what builds the table where that belongs to no figure")
    changes: list[str] = Field(default_factory=list, description="what has changed in its condition since it was set, by date")

    @model_validator(mode="after")
    def _words_name_bounds(self) -> "Claim":
        for _, name, _, _ in string.Formatter().parse(self.condition):
            if name is not None and name not in self.conditions:
                msg = f"the condition names {{{name}}}, but the conditions are {', '.join(self.conditions)}"
                raise ValueError(msg)
        if all(condition.soft or condition.control for condition in self.conditions.values()):
            msg = "all conditions are soft or controls: nothing decides the claim"
            raise ValueError(msg)
        return self

    @property
    def figure(self) -> str | None:
        """The figure that shows it; None where its table belongs to none."""
        return None if self.command else self.tables[0]

    def rule(self) -> dict[str, Any]:
        """What decides it, as plain values: what the settings of a figure carry; a `Rule` is made from it again."""
        return self.model_dump(include=set(Rule.model_fields), exclude_defaults=True)

    def condition_in_words(self) -> str:
        """`condition` with all bounds filled in."""
        bounds = {name: each.bound for name, each in self.conditions.items()}
        words = {n: "the printed tolerance" if isinstance(b, str) else f"{b:g}" for n, b in bounds.items()}
        return self.condition.format(**words)


def read_claims(text: str) -> tuple[Claim, ...]:
    """Read and check claims, a list in YAML.

    Raises:
        ClaimsError: a key, type or range is wrong, or an id is not unique.
    """
    try:
        claims = TypeAdapter(tuple[Claim, ...]).validate_python(tuple(load_yaml(text)))
    except (yaml.YAMLError, TypeError, ValidationError) as error:
        msg = f"claims.yaml must be a list of mappings, one for each claim: {error}"
        raise ClaimsError(msg) from None
    twice = sorted(name for name, count in Counter(claim.id for claim in claims).items() if count > 1)
    if twice:
        msg = f"claims.yaml: duplicate id {', '.join(twice)}"
        raise ClaimsError(msg)
    return claims


@cache
def load_claims() -> tuple[Claim, ...]:
    """The claims of the paper, in order.

    Raises:
        ClaimsError: see `read_claims`.
    """
    return read_claims((files("convrfm.replication.claims") / "claims.yaml").read_text(encoding="utf-8"))


def chosen(preset: str, protocol: str | None = None) -> str:
    """The options of Snakemake that choose a preset and a protocol."""
    return f"--config preset={preset}" + ("" if protocol is None else f" protocol={protocol}")


def rebuild_command(claim: Claim, preset: str, protocol: str | None) -> str:
    """The one command that builds what a claim rests on; without a protocol, by that of `config.yaml`."""
    if claim.command is not None:
        return claim.command
    # Other presets lack the target; what they do have of other claims is built by them.
    built = claim.presets[0] if claim.printed and preset not in claim.presets else preset
    options = chosen(built, protocol if claim.protocols else None)
    # The dashes end the list of settings: a target behind it would be taken for one of them.
    return f"snakemake -c2 {options} -- {' '.join(claim.tables)}"
