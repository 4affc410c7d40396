"""The page: one HTML file that is read from disk, offline, without a script, on a phone as on a desk."""

import json
import math
import posixpath
import re
from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from importlib.metadata import version
from importlib.resources import files
from io import BytesIO
from itertools import count, groupby
from pathlib import Path
from typing import get_args
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup
from PIL import Image

from convrfm.replication.audit.commands import rebuild
from convrfm.replication.audit.comparing import FIGURE, TOLERANCES
from convrfm.replication.audit.outcome import Audit, Result
from convrfm.replication.audit.records import find_products
from convrfm.replication.audit.summary import by_kind, coverage_in_words, headline, trust
from convrfm.replication.claims.judging import Judgement
from convrfm.replication.claims.verdicts import Verdict
from convrfm.replication.config.presets import Protocol
from convrfm.replication.plan.plan import FIGURE_FORMATS
from convrfm.replication.record.received import open_result

__all__ = ["render_page"]

PROTOCOLS = get_args(Protocol)

FEW_MEASUREMENTS = 12
"""So many are shown without being asked for."""

MOST_FILES = 60
"""Files of one run that are listed; its record has them all."""

LARGEST_PICTURE = 1_000_000
"""Bytes; a picture above this is made smaller."""

SMALLER_WIDTH = 1400
"""Pixels; twice the width of the column that the page shows it in."""

TITLE = re.compile(r"\*\*([^*\n]{1,200})\*\*")
"""What the caption of a figure begins with, in bold."""

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
class Picture:
    """A picture that was drawn here.

    Attributes:
        data: the address with the whole picture in it.
        width: pixels.
        height: pixels.
        reduced: whether it is smaller than what was drawn.
    """

    data: str
    width: int
    height: int
    reduced: bool


@dataclass(frozen=True)
class Drawing:
    """A figure under one protocol.

    Attributes:
        protocol: "published" or "corrected".
        picture: None where it was not drawn again.
        caption: HTML.
        files: relative to the project.
    """

    protocol: str
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


def render_page(project: Path, audit: Audit, made: datetime, pictures: Mapping[str, bytes]) -> str:
    """Make the page.

    Args:
        project: the folder of the project, in which captions and records are read.
        audit: what was found.
        made: when.
        pictures: what was drawn again here, PNG, by the figure's own PNG, relative to the project. Pictures that lie in the
            results are not opened: they may show anything.

    Returns:
        HTML. All that comes from files is escaped, and a policy in the page forbids scripts and loads of any kind.
    """
    return _Page(project, audit, pictures).render(made)


class _Page:
    """One page in the making."""

    def __init__(self, project: Path, audit: Audit, pictures: Mapping[str, bytes]) -> None:
        self.project = project
        self.audit = audit
        self.pictures = pictures
        # What is wrong with records stands among the findings.
        self.runs = [product for product, _ in find_products(project, audit.results)]
        self.runs.sort(key=lambda run: (not run.is_figure, run.title))
        pointed = self._pointed_at() if len(self.runs) > MOST_RUNS else None
        self.shown_runs = [run for run in self.runs if pointed is None or run.name in pointed]
        self._run_anchors = dict(
            zip(
                (run.name for run in self.shown_runs),
                _different(f"run-{run.title}" for run in self.shown_runs),
                strict=True,
            )
        )
        names = _different(f"claim-{each.claim}-{each.protocol or 'any'}" for each in audit.judgements)
        self._claim_anchors = {id(each): name for each, name in zip(audit.judgements, names, strict=True)}
        self._coverage = {
            id(each): coverage_in_words(own) for each, own in zip(audit.judgements, audit.coverage, strict=True)
        }

    def _pointed_at(self) -> set[str]:
        """Places of all files that something on the page points at."""
        named = [source for each in self.audit.judgements for part in each.measurements for source in part.sources]
        named += [finding.file for finding in self.audit.findings]
        odd = {replay.name for replay in self.audit.replays if replay.result is not Result.EQUAL}
        return {_place(file) for file in named} | odd

    def render(self, made: datetime) -> str:
        environment = Environment(
            loader=PackageLoader("convrfm.replication.audit"), autoescape=True, undefined=StrictUndefined
        )
        environment.filters |= {
            "allowed": lambda kind: TOLERANCES.get(kind, FIGURE).in_words(),
            "anchor": lambda judgement: self._claim_anchors[id(judgement)],
            "basename": posixpath.basename,
            "coverage": lambda judgement: self._coverage[id(judgement)],
            "holds": _holds,
            "href": self._href,
            "interval": _interval,
            "number": _number,
            "pretty": lambda settings: json.dumps(settings, indent=1, sort_keys=True, ensure_ascii=False),
            "rebuild": rebuild,
            "run_named": self._run_anchors.get,
            "run_of": lambda file: self._run_anchors.get(_place(file)),
            "signed": lambda value: _number(value, sign=True),
            "tally": _tally,
        }
        style = (files("convrfm.replication.audit") / "templates" / "page.css").read_text(encoding="utf-8")
        return environment.get_template("page.html.j2").render(
            audit=self.audit,
            few=FEW_MEASUREMENTS,
            figures=list(self._figures()),
            headline=headline(self.audit),
            kinds=by_kind(self.audit),
            left_out=len(self.runs) - len(self.shown_runs),
            looks=LOOKS,
            made=f"{made:%Y-%m-%d %H:%M} UTC",
            most_files=MOST_FILES,
            odd=[replay for replay in self.audit.replays if replay.result is not Result.EQUAL],
            others=[judgement for judgement in self.audit.judgements if judgement.figure is None],
            results=list(Result),
            runs={kind: list(members) for kind, members in groupby(self.shown_runs, key=lambda run: run.group)},
            style=Markup(style),  # noqa: S704 (ours, and no place for entities)
            trust=trust(self.audit).partition(": ")[2],
            verdicts={verdict: len(list(self.audit.of_verdict(verdict))) for verdict in Verdict},
            version=version("convrfm"),
        )

    def _href(self, file: str) -> str:
        """Address of a file of the project, from the page's own folder; never one of a scheme."""
        relative = posixpath.relpath(file.lstrip("/"), f"{self.audit.results}/audit")
        return quote(relative if relative.startswith("..") else f"./{relative}", safe="/=,+@", errors="surrogateescape")

    def _figures(self) -> Iterator[ShownFigure]:
        """Figures that have records, and those that claims are about."""
        names = {run.kind for run in self.runs if run.is_figure}
        names |= {judgement.figure for judgement in self.audit.judgements if judgement.figure is not None}
        for name in sorted(names):
            captions = {protocol: self._caption(name, protocol) for protocol in PROTOCOLS}
            titles = [match[1] for match in map(TITLE.match, captions.values()) if match]
            yield ShownFigure(
                f"figure-{_slug(name)}",
                titles[0].removesuffix(": SKIPPED") if titles else _plain_title(name),
                tuple(self._drawings(name, captions)),
                tuple(each for each in self.audit.judgements if each.figure == name),
            )

    def _drawings(self, name: str, captions: Mapping[str, str]) -> Iterator[Drawing]:
        for protocol in PROTOCOLS:
            base = f"{self.audit.results}/figures/{protocol}/{name}"
            present = [
                f"{base}.{form}" for form in (*FIGURE_FORMATS, "json") if (self.project / f"{base}.{form}").is_file()
            ]
            if present:
                png = self.pictures.get(f"{base}.png")
                picture = None if png is None else _picture(png)
                yield Drawing(protocol, picture, _html(captions[protocol]), tuple(present))

    def _caption(self, name: str, protocol: str) -> str:
        """The caption of a figure, Markdown; empty where there is none."""
        try:
            with open_result(self.project, f"{self.audit.results}/figures/{protocol}/{name}.md") as file:
                return file.read().decode("utf-8", "replace")
        except OSError:
            return ""


def _picture(png: bytes) -> Picture:
    """A picture of ours, made smaller where it is large."""
    with Image.open(BytesIO(png), formats=["PNG"]) as image:
        if reduced := len(png) > LARGEST_PICTURE:
            image.thumbnail((SMALLER_WIDTH, 4 * SMALLER_WIDTH))
            smaller = BytesIO()
            image.convert("RGB").quantize(256).save(smaller, "PNG", optimize=True)
            png = smaller.getvalue()
        return Picture(f"data:image/png;base64,{b64encode(png).decode('ascii')}", *image.size, reduced)


def _place(file: str) -> str:
    """Where a run's files lie: its folder, or for figures the path without a suffix."""
    path = Path(file)
    return str(path.with_suffix("")) if "figures" in path.parts[:3] else str(path.parent)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.") or "unnamed"


def _different(names: Iterable[str]) -> list[str]:
    """Names as anchors, those that have been there before with a number."""
    given: dict[str, None] = {}
    for name in map(_slug, names):
        numbered = (f"{name}-{number}" for number in count(2))
        given[name if name not in given else next(each for each in numbered if each not in given)] = None
    return list(given)


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
