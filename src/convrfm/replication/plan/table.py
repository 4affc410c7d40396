"""Every kind of run and every figure: the job that makes it, what it reads, and what it sees of the configuration."""

import pkgutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any

from convrfm.replication import figures as rooms
from convrfm.replication import runs
from convrfm.replication.claims.claims import load_claims
from convrfm.replication.figures.figure import FigureFiles, FigureSpec, figures
from convrfm.replication.plan.plan import Plan
from convrfm.replication.runs.kinds import Files, Keys, RunKind

__all__ = ["DRAWS", "FIGURES", "RUNS", "FigureKind", "asked_figures"]

DRAWS = ("prepare", "resample", "draw", "sized-draw")
"""Kinds of runs that draw images by their seed, on which all others rest."""


def _run_kinds() -> dict[str, RunKind]:
    found = [
        import_module(f"{package.__name__}.{module.name}")
        for package in (runs, rooms)
        for module in pkgutil.iter_modules(package.__path__)
    ]
    return {kind.name: kind for module in found for kind in getattr(module, "KINDS", ())}


RUNS = _run_kinds()
"""Every kind of run, by its name."""


@dataclass(frozen=True)
class FigureKind:
    """A figure as the workflow and the audit see it: with the interface of a kind of run, whose only key is the protocol.

    Attributes:
        name: such as "fig05".
        spec: the figure.
    """

    name: str
    spec: FigureSpec

    @property
    def job(self) -> str:
        """The function that draws it, `module:function`."""
        return self.spec.job or f"{rooms.__name__}.{self.name}:draw_figure"

    @property
    def inputs(self) -> Mapping[str, Files]:
        """The files that it is drawn from, by name; `states` are the state files of data that are absent."""
        states: FigureFiles = lambda plan, _: plan.absent(self.spec.data(plan))  # noqa: E731
        return {name: partial(_files, of) for name, of in {"states": states, **self.spec.inputs}.items()}

    def settings(self, plan: Plan, w: Keys) -> dict[str, Any]:
        """What drawing sees of the configuration, as plain values.

        The rules of the claims that the caption quotes are among it: an edited threshold makes the figure stale.
        """
        rules = {claim.id: claim.rule() for claim in load_claims() if self.name in claim.tables}
        return {**self.spec.settings(plan, w["protocol"]), **({"claims": rules} if rules else {})}


def _files(of: FigureFiles, plan: Plan, w: Keys) -> list[str]:
    return of(plan, w["protocol"])


FIGURES = {name: FigureKind(name, spec) for name, spec in figures().items()}
"""Every figure, by its name."""


def asked_figures(plan: Plan) -> Iterator[tuple[str, str]]:
    """Figure and protocol of everything that the target `all` builds."""
    for name, figure in FIGURES.items():
        protocols = figure.spec.only or plan.settings.protocols
        yield from ((name, protocol) for protocol in protocols if figure.spec.asked(plan) and not figure.spec.lacking(plan))
