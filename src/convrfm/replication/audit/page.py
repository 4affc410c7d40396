"""The page: one HTML file that is read from disk, offline, without a script, on a phone as on a desk."""

import math
import posixpath
import re
from base64 import b64encode
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from importlib.metadata import version
from io import BytesIO
from pathlib import Path
from typing import NamedTuple, get_args
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markdown_it import MarkdownIt
from markupsafe import Markup
from PIL import Image

from convrfm.replication.audit.comparing import FIGURE, TOLERANCES
from convrfm.replication.audit.judging import Judgement
from convrfm.replication.audit.outcome import Audit, Result, by_kind, coverage_in_words, headline, trust
from convrfm.replication.audit.records import Product, makers
from convrfm.replication.claims.evidence import counted
from convrfm.replication.claims.verdicts import Verdict
from convrfm.replication.figures.figure import figures
from convrfm.replication.plan.plan import FIGURE_FORMATS
from convrfm.replication.plan.presets import Protocol
from convrfm.replication.record.received import open_result

__all__ = ["render_page"]

FEW_MEASUREMENTS = 12  # so many are shown without a click
LARGEST_PICTURE = 1_000_000  # bytes; a picture above this is made smaller
SMALLER_WIDTH = 1400  # pixels; twice the width of the column that the page shows it in

LOOKS = {
    Verdict.REPRODUCED: ("✓", "every condition holds on the paper's own data"),
    Verdict.PARTIAL: ("◐", "some of it holds; the rest fails, or is not decided"),
    Verdict.NOT_REPRODUCED: ("✗", "it was measured, and all of it fails"),
    Verdict.INCONCLUSIVE: ("≈", "it was measured, and intervals are too wide to tell"),
    Verdict.NOT_COMPARABLE: ("≠", "measured on stand-in data, which says nothing about the paper"),
    Verdict.SKIPPED: ("↷", "its data are absent"),
    Verdict.UNKNOWN: ("?", "not built, or too little to decide"),
}
"""How a verdict is shown, never by its colour alone: its symbol and its meaning."""

HOLDS = {True: ("good", "✓", "yes"), False: ("bad", "✗", "no"), None: ("unknown", "?", "undecided")}
"""The same of whether something holds: class, symbol and word."""


class Picture(NamedTuple):
    """A picture that was drawn here: its address with the whole picture in it, pixels, and whether it was made smaller."""

    data: str
    width: int
    height: int
    reduced: bool


class Drawing(NamedTuple):
    """A figure under one protocol: its picture if it was drawn again, its caption in HTML, its files in the project."""

    protocol: str
    picture: Picture | None
    caption: Markup
    files: tuple[str, ...]


def render_page(project: Path, audit: Audit, products: Sequence[Product], made: datetime, pictures: Mapping[str, bytes]) -> str:
    """Make the page, in HTML. All that comes from files is escaped, and its policy forbids scripts and loads of any kind.

    Pictures are what was drawn again here, PNG, by the figure's own PNG. Those in the results are not opened: they may show
    anything.
    """
    environment = Environment(loader=PackageLoader("convrfm.replication.audit"), autoescape=True, undefined=StrictUndefined)
    coverage = {(each.claim, each.protocol): coverage_in_words(each) for each in audit.coverage}
    made_by = makers(products)

    def href(file: str) -> str:
        """Address of a file of the project, from the page's own folder; never one of a scheme."""
        relative = posixpath.relpath(file.lstrip("/"), f"{audit.results}/audit")
        return quote(relative if relative.startswith("..") else f"./{relative}", safe="/=,+@", errors="surrogateescape")

    environment.filters |= {
        "allowed": lambda kind: TOLERANCES.get(kind, FIGURE).in_words(),
        "anchor": lambda judgement: _slug(f"claim-{judgement.claim}-{judgement.protocol or 'any'}"),
        "basename": posixpath.basename,
        "counted": counted,
        "css": lambda verdict: _slug(verdict.lower()),
        "coverage": lambda judgement: coverage[judgement.claim, judgement.protocol],
        "href": href,
        "interval": lambda ends: "-" if ends is None else f"[{', '.join(map(_number, ends))}]",
        "number": _number,
        "record": lambda file: made_by[file].record_file if file in made_by else file,
        "tally": _tally,
    }
    return environment.get_template("page.html.j2").render(
        audit=audit,
        few=FEW_MEASUREMENTS,
        holds=HOLDS,
        figures=list(_figures(project, audit, products, pictures)),
        headline=headline(audit),
        kinds=by_kind(audit),
        looks=LOOKS,
        made=f"{made:%Y-%m-%d %H:%M} UTC",
        odd=[replay for replay in audit.replays if replay.result is not Result.EQUAL],
        others=[judgement for judgement in audit.judgements if judgement.figure is None],
        remarked=[product for product in products if product.record and product.record.gpu_unusable],
        results=list(Result),
        trust=trust(audit).partition(": ")[2],
        verdicts={verdict: sum(each.verdict is verdict for each in audit.judgements) for verdict in Verdict},
        version=version("convrfm"),
    )


def _figures(
    project: Path, audit: Audit, products: Sequence[Product], pictures: Mapping[str, bytes]
) -> Iterator[tuple[str, str, list[Drawing], list[Judgement]]]:
    """Figures that have records, and those that claims are about: anchor, title, drawings, and claims."""
    names = {product.kind for product in products if product.is_figure}
    names |= {judgement.figure for judgement in audit.judgements if judgement.figure is not None}
    for name in sorted(names):
        drawings = []
        for protocol in get_args(Protocol):
            base = f"{audit.results}/figures/{protocol}/{name}"
            paths = [f"{base}.{form}" for form in (*FIGURE_FORMATS, "json")]
            if present := tuple(path for path in paths if (project / path).is_file()):
                caption = ""
                with suppress(OSError), open_result(project, f"{base}.md") as content:
                    caption = content.read().decode("utf-8", "replace")
                png = pictures.get(f"{base}.png")
                drawings.append(Drawing(protocol, None if png is None else _picture(png), _html(caption), present))
        spec = figures().get(name)
        title = name if spec is None else f"{spec.title}, {spec.subject}"
        yield f"figure-{_slug(name)}", title, drawings, [each for each in audit.judgements if each.figure == name]


def _picture(png: bytes) -> Picture:
    """A picture of ours, made smaller if it is large."""
    with Image.open(BytesIO(png), formats=["PNG"]) as image:
        if reduced := len(png) > LARGEST_PICTURE:
            image.thumbnail((SMALLER_WIDTH, 4 * SMALLER_WIDTH))
            smaller = BytesIO()
            image.convert("RGB").quantize(256).save(smaller, "PNG", optimize=True)
            png = smaller.getvalue()
        return Picture(f"data:image/png;base64,{b64encode(png).decode('ascii')}", *image.size, reduced)


def _slug(text: str) -> str:
    return re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-.") or "unnamed"


def _html(caption: str) -> Markup:
    """Markdown as HTML; tags, links and pictures in it stay text."""
    parser = MarkdownIt("commonmark", {"html": False}).enable("table").disable(["image", "link", "autolink"])
    return Markup(parser.render(caption))  # noqa: S704


def _number(value: float | None, sign: str = "") -> str:
    if value is None:
        return "-"
    if not math.isfinite(value):
        return "not a number" if math.isnan(value) else "infinite" if value > 0 else "-infinite"
    return f"{value:{sign}.4g}"


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
