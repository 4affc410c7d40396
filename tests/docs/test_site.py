"""The site as it was built into site/: it needs no network, and its formulas were understood."""

import importlib.util
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from docs.pages import PAGES, ROOT

pytestmark = pytest.mark.docs

SITE = ROOT / "site"
HTML = sorted(SITE.rglob("*.html"))

LOADS = {
    "script": "src",
    "link": "href",
    "img": "src",
    "iframe": "src",
    "source": "src",
    "video": "src",
    "object": "data",
}


class _Reader(HTMLParser):
    """Collects what a page loads, and the text of its formulas."""

    def __init__(self) -> None:
        super().__init__()
        self.loaded: list[str] = []
        self.formulas: list[str] = []
        self._inside = False

    def handle_starttag(self, tag, attrs) -> None:
        if tag in LOADS and (address := dict(attrs).get(LOADS[tag])) and dict(attrs).get("rel") != "canonical":
            self.loaded.append(address)
        if tag == "math":
            self._inside = True
            self.formulas.append("")

    def handle_endtag(self, tag) -> None:
        self._inside = self._inside and tag != "math"

    def handle_data(self, data) -> None:
        if self._inside:
            self.formulas[-1] += data


def read(text: str) -> _Reader:
    reader = _Reader()
    reader.feed(text)
    return reader


def from_elsewhere(text: str) -> list[str]:
    """What a page loads from another host."""
    styled = re.findall(r"@import\s+[^;]+|url\((?![\"']?data:)[\"']?(?:https?:)?//[^)]+\)", text)
    return [address for address in read(text).loaded if re.match(r"(https?:)?//", address)] + styled


def not_understood(text: str) -> list[str]:
    """Formulas that are still LaTeX, as a whole or in part."""
    return [formula for formula in read(text).formulas if "\\" in formula] + re.findall(r'class="arithmatex"', text)


def hook():
    spec = importlib.util.spec_from_file_location("mathml", ROOT / "docs/_hooks/mathml.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_page_was_built():
    pages = [page.relative_to(ROOT / "docs") for page in PAGES if page.is_relative_to(ROOT / "docs")]
    assert {page.with_suffix(".html") for page in pages} | {Path("404.html")} == {
        page.relative_to(SITE) for page in HTML
    }


@pytest.mark.parametrize("page", HTML, ids=lambda page: page.relative_to(SITE).as_posix())
def test_nothing_comes_from_elsewhere_and_formulas_are_understood(page):
    text = page.read_text()
    assert from_elsewhere(text) == []
    assert not_understood(text) == []


def test_styles_load_nothing_from_elsewhere():
    for style in SITE.rglob("*.css"):
        assert not re.search(r"url\([\"']?(https?:)?//", style.read_text()), style


def test_formulas_and_the_library_are_there():
    assert len(read((SITE / "explanation/kernels.html").read_text()).formulas) > 60
    kernels = (SITE / "reference/kernels.html").read_text()
    for name in ("CNTK", "ConvolutionalKernel.gram", "ConvolutionalKernel.patch_agop", "PatchLaplace"):
        assert f'id="convrfm.kernels.base.{name}"' in kernels


def test_what_is_wrong_is_found():
    page = '<script src="https://cdn.example/x.js"></script><link href="//fonts.example/a.css" rel="stylesheet"><img src="a.png">'
    assert from_elsewhere(page) == ["https://cdn.example/x.js", "//fonts.example/a.css"]
    content = hook().on_page_content(
        '<span class="arithmatex">\\(a \\lt \\gone\\)</span> and <div class="arithmatex">\\[b'
    )
    assert not_understood(content) == ["a<\\gone", 'class="arithmatex"']
