"""The kinds of runs: what names the folders of each, which files it reads, and what it sees of the configuration.

The modules list their kinds as `KINDS`, and so do figures with runs of their own. They are read when the workflow is planned,
and by jobs for their typed settings: they import neither numerics nor the configuration, which they receive as a `Plan`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self

from pydantic import Field

from convrfm.replication.config.models import Model

if TYPE_CHECKING:
    from convrfm.replication.plan.plan import Plan

__all__ = ["Files", "Keys", "RunKind", "RunSettings"]

Keys = Mapping[str, str]
"""What names a run, its protocol included: the wildcards of its rule, or the parts of its folder's name."""

Files = Callable[["Plan", Keys], list[str]]  # gives files, relative to the project, for the keys of a run


class RunSettings(Model):
    """What a run sees of the configuration: the settings of its job, which its record keeps."""

    protocol: str = Field(pattern="^(published|corrected)$")
    seed: int

    @classmethod
    def of(cls, plan: "Plan", w: Keys, *sections: Model, **given: Any) -> Self:
        """The settings of a run: each field is `given`, or is what a section, a key of the run or `config.yaml` calls so.

        Args:
            plan: the plan.
            w: keys of the run. Numbers among them are text: but for the seed, they have to be `given`.
            sections: of the preset; later ones go before earlier ones, and all of them before keys.
            given: fields that are called otherwise there, or not taken as they are.
        """
        values = plan.settings.config.model_dump(include=set(cls.model_fields))
        values |= {name: value for name, value in w.items() if name in cls.model_fields}
        for section in sections:
            values |= section.model_dump(include=set(cls.model_fields))
        return cls.model_validate({**values, "protocol": w["protocol"], "seed": int(w["seed"]), **given})


@dataclass(frozen=True)
class RunKind:
    """One kind of run."""

    name: str  # of the folder of its runs
    # What computes a run, `module:function` in `convrfm.replication.jobs`. Not the whole name, which would make the job's code
    # a part of all code that reads its settings (`convrfm.replication.record.closure`).
    function: str
    keys: tuple[str, ...]  # what a run's folder is named by, in order; the protocol is the folder above
    inputs: Mapping[str, Files]  # the files that a run reads, by name
    seen: Callable[["Plan", Keys], RunSettings]  # what a run sees of the configuration

    @property
    def job(self) -> str:
        """The function that computes a run, `module:function`."""
        return f"convrfm.replication.jobs.{self.function}"

    def settings(self, plan: "Plan", keys: Keys) -> dict[str, Any]:
        """What a run sees of the configuration, as plain values."""
        return self.seen(plan, keys).model_dump()
