"""The page in a real browser, headless: from disk, offline, without a script, wide and narrow, light and dark."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from audit import outcomes
from convrfm.replication.audit.crate import CRATE_FILE
from convrfm.replication.audit.page import render_page

pytestmark = pytest.mark.browser
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: the extra `browser`")

MADE = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)
WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@pytest.fixture(scope="module")
def address(tmp_path_factory):
    """A page about everything that there can be."""
    project = tmp_path_factory.mktemp("page")
    outcomes.lay_out(project)
    folder = project / outcomes.RESULTS / "audit"
    folder.mkdir()
    (folder / "audit.json").write_text("{}")
    folder.with_name(CRATE_FILE).write_text("{}")
    png = f"{outcomes.RESULTS}/figures/published/fig05.png"
    drawn = {png: (project / png).read_bytes()}
    (folder / "index.html").write_text(render_page(project, outcomes.every_kind(), MADE, drawn))
    return (folder / "index.html").as_uri()


class Sight:
    """A page that is open, and what the browser complained about."""

    def __init__(self, page, address):
        self.page, self.complaints, self.asked = page, [], []
        page.on("console", lambda message: self.complaints.append(message.text))
        page.on("pageerror", lambda error: self.complaints.append(str(error)))
        page.on("dialog", lambda dialog: self.complaints.append(dialog.message))
        page.on("request", lambda request: self.asked.append(request.url))
        page.goto(address)


@pytest.fixture
def see(browser, address):
    contexts = []

    def open_page(size=WIDE, *, script=True, **options):
        context = browser.new_context(viewport=size, offline=True, java_script_enabled=script, **options)
        contexts.append(context)
        return Sight(context.new_page(), address)

    yield open_page
    for context in contexts:
        context.close()


def shown(page, name):
    """Keep a picture of the page where one is asked for, to be looked at."""
    if folder := os.environ.get("SCREENSHOTS"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        page.screenshot(path=f"{folder}/{name}.png")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize(("name", "size"), [("wide", WIDE), ("phone", PHONE)])
def test_it_is_accessible(see, name, size, scheme):
    sight = see(size, color_scheme=scheme)
    # Contrast is measured of what can be seen: everything is opened.
    sight.page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    found = axe.Axe().run(sight.page, options=RULES)
    assert found.violations_count == 0, found.generate_report()
    assert (
        sight.page.evaluate("getComputedStyle(document.body).backgroundColor")
        == {
            "light": "rgb(255, 255, 255)",
            "dark": "rgb(20, 23, 26)",
        }[scheme]
    )
    assert sight.complaints == []
    shown(sight.page, f"every-kind-{name}-{scheme}")


def test_axe_finds_what_is_wrong(see):
    sight = see()
    sight.page.evaluate("document.querySelector('img').removeAttribute('alt')")
    sight.page.evaluate("document.querySelector('.note').style.color = '#bbbbbb'")
    found = axe.Axe().run(sight.page, options=RULES)
    assert {violation["id"] for violation in found.response["violations"]} == {"image-alt", "color-contrast"}


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_it_never_scrolls_sideways(see, size):
    page = see(size).page
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    # Tables do, within their own frames.
    if size is PHONE:
        frames = page.locator(".scroll").evaluate_all(
            "all => all.filter(one => one.scrollWidth > one.clientWidth).length"
        )
        assert frames > 0


def test_it_asks_for_nothing_but_itself(see, address):
    sight = see()
    assert [url for url in sight.asked if not url.startswith("data:")] == [address]
    assert sight.complaints == []
    assert sight.page.locator("img").evaluate_all("all => all.every(one => one.complete && one.naturalWidth > 0)")


def test_a_script_that_came_in_would_not_run(see):
    sight = see()
    sight.page.set_content(sight.page.content().replace("</main>", "<script>document.title = 'owned'</script></main>"))
    assert sight.page.title() != "owned"
    assert "Content Security Policy" in sight.complaints[0]


def test_a_link_to_a_run_opens_it(see):
    # Without scripts, which tests of the browser itself do not need.
    page = see(script=False).page
    target = page.locator("#run-rfm-published-task-bars-sigma-1-seed-0")
    assert not target.is_visible()
    page.locator('.claim a[href="#run-rfm-published-task-bars-sigma-1-seed-0"]').first.click()
    assert target.is_visible()
    assert target.locator("text=snakemake -c2 --force").is_visible()


def test_details_open_and_close_by_keyboard(see):
    page = see().page
    details = page.locator(".claim details").last
    before = details.evaluate("one => one.open")
    details.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert details.evaluate("one => one.open") is not before
    page.keyboard.press("Enter")
    assert details.evaluate("one => one.open") is before


def test_the_keyboard_finds_everything(see):
    page = see().page
    page.keyboard.press("Tab")
    focused = "document.activeElement.outerHTML"
    assert "Skip to the verdicts" in page.evaluate(focused)
    box = page.locator(".skip").bounding_box()
    assert box["y"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "verdicts"
    for _ in range(40):
        page.keyboard.press("Tab")
        style = page.evaluate(
            "(({outlineStyle, outlineWidth}) => [outlineStyle, outlineWidth])(getComputedStyle(document.activeElement))"
        )
        assert style == ["solid", "3px"], page.evaluate(focused)


def test_every_link_within_leads_somewhere(see):
    page = see().page
    broken = page.locator('a[href^="#"]').evaluate_all(
        "all => all.map(one => decodeURIComponent(one.hash.slice(1))).filter(id => !document.getElementById(id))"
    )
    assert broken == []


def test_landmarks(see):
    page = see().page
    for role in ("banner", "navigation", "main", "contentinfo"):
        assert page.get_by_role(role).count() == 1, role
    assert page.get_by_role("region", name="All claims").count() == 1
