"""The site as it was built into site/: it needs no network, and its formulas were understood."""

import importlib.util
import re
import threading
from functools import partial
from html.parser import HTMLParser
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from docs.pages import PAGES, ROOT

pytestmark = pytest.mark.docs

SITE = ROOT / "site"
HTML = sorted(SITE.rglob("*.html"))

LOADS = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "video": "src", "object": "data"}


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
    assert {page.with_suffix(".html") for page in pages} | {Path("404.html")} == {page.relative_to(SITE) for page in HTML}


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


class _Silent(SimpleHTTPRequestHandler):
    def log_message(self, *_) -> None:
        pass


@pytest.fixture(scope="module")
def address():
    """The site on a server of this machine: browsers let no search look into files."""
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(_Silent, directory=SITE)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


class Sight:
    """A page that is open: what it asked for, and what went wrong."""

    def __init__(self, page, url: str) -> None:
        self.page = page
        self.asked: list[str] = []
        self.complaints: list[str] = []
        page.on("request", lambda request: self.asked.append(request.url))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.goto(url)


@pytest.fixture
def see(browser, address):
    contexts = []

    def open_page(name: str, width: int) -> Sight:
        contexts.append(browser.new_context(viewport={"width": width, "height": 800}))
        return Sight(contexts[-1].new_page(), f"{address}{name}.html")

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize(
    "name", ["index", "tutorial", "gallery", "explanation/kernels", "reference/kernels", "choices", "configuration"]
)
def test_in_a_browser(see, address, name, width):
    """Nothing is asked of another host, nothing fails, and only tables, code and formulas scroll sideways."""
    sight = see(name, width)
    assert not [url for url in sight.asked if not url.startswith((address, "data:", "blob:"))]
    assert sight.complaints == []
    assert sight.page.evaluate("document.documentElement.scrollWidth") <= width
    assert sight.page.locator("img").evaluate_all("all => all.every(one => one.complete && one.naturalWidth > 0)")


def test_the_search_finds(see, address):
    sight = see("index", 1280)
    sight.page.locator("[data-md-component=search-query]").fill("singular points")
    sight.page.locator(".md-search-result__link").first.wait_for(state="attached", timeout=20_000)
    assert "explanation/kernels.html" in sight.page.locator(".md-search-result__link").first.get_attribute("href")
    assert not [url for url in sight.asked if not url.startswith((address, "data:", "blob:"))]


def test_what_is_wrong_is_found():
    page = (
        '<script src="https://cdn.example/x.js"></script><link href="//fonts.example/a.css" rel="stylesheet"><img src="a.png">'
    )
    assert from_elsewhere(page) == ["https://cdn.example/x.js", "//fonts.example/a.css"]
    content = hook().on_page_content('<span class="arithmatex">\\(a \\lt \\gone\\)</span> and <div class="arithmatex">\\[b')
    assert not_understood(content) == ["a<\\gone", 'class="arithmatex"']
