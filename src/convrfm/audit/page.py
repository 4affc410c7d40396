"""The page: one HTML file that is read from disk, offline, without a script, on a phone as on a desk."""

import json
import math
import posixpath
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from importlib.metadata import version
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import get_args
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup

from convrfm.audit.outcome import Audit
from convrfm.audit.pictures import Picture, inline
from convrfm.audit.runs import find_runs
from convrfm.claims.judging import Judgement
from convrfm.claims.verdicts import Verdict
from convrfm.pipeline.config import Protocol

__all__ = ["render_page"]

PROTOCOLS = get_args(Protocol)

FEW_MEASUREMENTS = 12
"""So many are shown without being asked for."""

MOST_FILES = 60
"""Files of one run that are listed; its record has them all."""

MOST_RUNS = 600
"""Above this, only runs that something points at are shown."""


@dataclass(frozen=True)
class Look:
    """How a verdict is shown: never by its colour alone."""

    symbol: str
    css: str
    meaning: str


LOOKS = {
    Verdict.REPRODUCED: Look("✓", "reproduced", "all that was asked for beforehand holds, on the paper's own data"),
    Verdict.PARTIAL: Look("◐", "partial", "some of it holds; the rest fails, or is not decided"),
    Verdict.NOT_REPRODUCED: Look("✗", "not-reproduced", "it was measured, and none of it holds"),
    Verdict.NOT_COMPARABLE: Look("≠", "not-comparable", "measured on stand-in data, which says nothing of the paper"),
    Verdict.SKIPPED: Look("↷", "skipped", "its data are not there"),
    Verdict.UNKNOWN: Look("?", "unknown", "not built, or too little to decide"),
}


@dataclass(frozen=True)
class Drawing:
    """A figure under one protocol.

    Attributes:
        protocol: "published" or "corrected".
        png: the picture, relative to the project.
        picture: what is shown of it; None where it cannot be read.
        caption: HTML.
        files: its other files, relative to the project.
    """

    protocol: str
    png: str
    picture: Picture | None
    caption: Markup
    files: tuple[str, ...]


@dataclass(frozen=True)
class ShownFigure:
    """A figure with the claims that it shows."""

    anchor: str
    title: str
    drawings: tuple[Drawing, ...]
    judgements: tuple[Judgement, ...]


def render_page(project: Path, audit: Audit, made: datetime) -> str:
    """Make the page.

    Args:
        project: the folder of the project, in which pictures, captions and records are read.
        audit: what was found.
        made: when.

    Returns:
        HTML. All that comes from files is escaped, and a policy in the page forbids scripts and loads of any kind.
    """
    return _Page(project, audit).render(made)


class _Page:
    """One page in the making."""

    def __init__(self, project: Path, audit: Audit) -> None:
        self.project = project
        self.audit = audit
        self.runs = list(find_runs(project, audit.results))
        if len(self.runs) > MOST_RUNS:
            self.shown_runs = [run for run in self.runs if _place(run.record) in self._pointed_at]
        else:
            self.shown_runs = self.runs
        slugs = _different(f"run-{_slug(run.name)}" for run in self.shown_runs)
        self._run_anchors = {_place(run.record): slug for run, slug in zip(self.shown_runs, slugs, strict=True)}
        names = [f"claim-{_slug(each.claim)}-{_slug(each.protocol or 'any')}" for each in audit.judgements]
        self._claim_anchors = {
            id(judgement): slug for judgement, slug in zip(audit.judgements, _different(names), strict=True)
        }

    @cached_property
    def _pointed_at(self) -> set[str]:
        """Places of all files that something on the page points at."""
        named = [source for each in self.audit.judgements for part in each.measurements for source in part.sources]
        named += [finding.file for finding in self.audit.findings] + [check.file for check in self.audit.spot_checks]
        return {_place(file) for file in named}

    def render(self, made: datetime) -> str:
        environment = Environment(loader=PackageLoader("convrfm.audit"), autoescape=True, undefined=StrictUndefined)
        environment.filters |= {
            "anchor": lambda judgement: self._claim_anchors[id(judgement)],
            "basename": posixpath.basename,
            "holds": _holds,
            "href": self._href,
            "interval": _interval,
            "number": _number,
            "pretty": lambda settings: json.dumps(settings, indent=1, sort_keys=True, ensure_ascii=False),
            "run_of": lambda file: self._run_anchors.get(_place(file)),
            "signed": lambda value: _number(value, sign=True),
            "tally": _tally,
        }
        figures = list(self._figures())
        style = (files("convrfm.audit") / "templates" / "page.css").read_text(encoding="utf-8")
        return environment.get_template("page.html.j2").render(
            audit=self.audit,
            failed_checks=sum(not check.holds for check in self.audit.spot_checks),
            few=FEW_MEASUREMENTS,
            figures=figures,
            left_out=len(self.runs) - len(self.shown_runs),
            looks=LOOKS,
            made=f"{made:%Y-%m-%d %H:%M} UTC",
            most_files=MOST_FILES,
            others=[judgement for judgement in self.audit.judgements if judgement.figure is None],
            runs={kind: list(members) for kind, members in groupby(self.shown_runs, key=lambda run: run.kind)},
            style=Markup(style),  # noqa: S704 (ours, and no place for entities)
            verdicts={verdict: len(list(self.audit.of_verdict(verdict))) for verdict in Verdict},
            version=version("convrfm"),
        )

    def _href(self, file: str) -> str:
        """Address of a file of the project, from the page's own folder; never one of a scheme."""
        relative = posixpath.relpath(file.lstrip("/"), f"{self.audit.results}/audit")
        return quote(relative if relative.startswith("..") else f"./{relative}", safe="/=,+@", errors="surrogateescape")

    def _figures(self) -> Iterator[ShownFigure]:
        """Figures that were drawn, and those that claims are about."""
        drawn = {path.stem for path in (self.project / self.audit.results / "figures").glob("*/*.png")}
        drawn |= {Path(run.record).stem for run in self.runs if run.kind == "figures"}
        claimed = {judgement.figure for judgement in self.audit.judgements if judgement.figure is not None}
        for name in sorted(drawn | claimed):
            drawings = tuple(self._drawings(name))
            judgements = tuple(each for each in self.audit.judgements if each.figure == name)
            titles = [title for title in (self._title(name, protocol) for protocol in PROTOCOLS) if title]
            yield ShownFigure(
                f"figure-{_slug(name)}", titles[0] if titles else _plain_title(name), drawings, judgements
            )

    def _drawings(self, name: str) -> Iterator[Drawing]:
        for protocol in PROTOCOLS:
            base = f"{self.audit.results}/figures/{protocol}/{name}"
            suffixes = [s for s in ("png", "pdf", "csv", "parquet", "json") if (self.project / f"{base}.{s}").is_file()]
            if not suffixes:
                continue
            yield Drawing(
                protocol,
                f"{base}.png",
                inline(self.project / f"{base}.png"),
                _html(self._caption(name, protocol)),
                tuple(f"{base}.{suffix}" for suffix in suffixes if suffix != "png"),
            )

    def _caption(self, name: str, protocol: str) -> str:
        """The caption of a figure, Markdown; empty where there is none."""
        path = self.project / self.audit.results / "figures" / protocol / f"{name}.md"
        try:
            return path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def _title(self, name: str, protocol: str) -> str:
        """What the caption of a figure begins with, in bold."""
        match = re.match(r"\*\*([^*\n]{1,200})\*\*", self._caption(name, protocol))
        return match[1].removesuffix(": SKIPPED") if match else ""


def _place(file: str) -> str:
    """Where a run's files lie: its folder, or for figures the path without a suffix."""
    path = Path(file)
    return str(path.with_suffix("")) if "figures" in path.parts[:3] else str(path.parent)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.") or "unnamed"


def _different(names: Iterable[str]) -> list[str]:
    """Names, those that have been there before with a number."""
    given: list[str] = []
    known: set[str] = set()
    for name in names:
        candidate, number = name, 2
        while candidate in known:
            candidate, number = f"{name}-{number}", number + 1
        known.add(candidate)
        given.append(candidate)
    return given


def _plain_title(name: str) -> str:
    match = re.fullmatch(r"fig0*(\d+)(_.*)?", name)
    if match:
        return f"Figure {match[1]}" + (match[2] or "").replace("_", ", ", 1)
    match = re.fullmatch(r"theorem(\d+)", name)
    return f"Theorem {match[1]}" if match else name.capitalize()


def _html(caption: str) -> Markup:
    """Markdown as HTML; tags, links and pictures in it stay text."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["image", "link", "autolink"])
    return Markup(parser.render(caption))  # noqa: S704


def _number(value: float | None, *, sign: bool = False) -> str:
    if value is None:
        return "-"
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite" if value > 0 else "-infinite"
    return f"{value:+.4g}" if sign else f"{value:.4g}"


def _interval(bounds: Sequence[float] | None) -> str:
    return "-" if bounds is None else f"[{', '.join(map(_number, bounds))}]"


def _holds(value: bool | None, *, counts: bool = True) -> Markup:
    """A word for whether something holds, in a neutral colour where that decides nothing."""
    css, symbol, word = {True: ("good", "✓", "yes"), False: ("bad", "✗", "no"), None: ("unknown", "?", "undecided")}[
        value
    ]
    text = '<span class="badge {}"><span aria-hidden="true">{}</span> {}</span>'
    return Markup(text).format(css if counts else "skipped", symbol, word)  # noqa: S704


def _tally(judgement: Judgement) -> str:
    """How many measurements hold, fail, and are not decided; those that cannot count by themselves."""
    kinds: dict[str, list[bool | None]] = {}
    for measurement in judgement.measurements:
        kind = "" if measurement.comparable else "on stand-in data "
        kind += "reported only " if measurement.soft else ""
        kinds.setdefault(kind, []).append(measurement.holds)
    words = (("hold", True), ("fail", False), ("undecided", None))
    return "; ".join(
        kind + ", ".join(f"{found.count(value)} {word}" for word, value in words if value in found)
        for kind, found in kinds.items()
    )
