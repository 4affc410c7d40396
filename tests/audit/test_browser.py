"""The page in a real browser, headless: from disk, offline, without a script, wide and narrow, light and dark."""

import pytest

from audit.outcomes import every_kind, render
from audit.tiny import FIGURES

pytestmark = pytest.mark.browser
axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="axe is not installed: the extra `browser`")

WIDE, PHONE = {"width": 1280, "height": 900}, {"width": 360, "height": 740}
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}


@pytest.fixture
def see(browser, pristine, tmp_path):
    """Opens a page about all that there can be in a window of its own; gives it, complaints, and what was asked for."""
    png, file = f"{FIGURES}/fig05.png", tmp_path / "index.html"
    file.write_text(render(pristine, every_kind(), **{png: (pristine / png).read_bytes()}))

    def open_page(size=WIDE, **options):
        page, complaints, asked = browser.new_page(viewport=size, offline=True, **options), [], []
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("dialog", lambda dialog: complaints.append(dialog.message))
        page.on("request", lambda request: asked.append(request.url))
        page.goto(file.as_uri())
        return page, complaints, asked

    return open_page


@pytest.mark.parametrize(("scheme", "back"), [("light", "rgb(255, 255, 255)"), ("dark", "rgb(20, 23, 26)")])
@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_it_is_accessible_and_never_scrolls_sideways(see, size, scheme, back):
    page, complaints, _ = see(size, color_scheme=scheme)
    # Contrast is measured of what can be seen: everything is opened.
    page.eval_on_selector_all("details", "all => all.forEach(one => one.open = true)")
    found = axe.Axe().run(page, options=RULES)
    assert found.violations_count == 0, found.generate_report()
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == back
    assert complaints == []
    assert page.evaluate("document.documentElement.scrollWidth") <= size["width"]
    # Tables do, within their own frames.
    wider = "all => all.filter(one => one.scrollWidth > one.clientWidth).length"
    assert size is WIDE or page.locator(".scroll").evaluate_all(wider) > 0


def test_axe_finds_what_is_wrong(see):
    page, _, _ = see()
    page.evaluate("document.querySelector('img').removeAttribute('alt')")
    page.evaluate("document.querySelector('.note').style.color = '#bbbbbb'")
    found = axe.Axe().run(page, options=RULES)
    assert {violation["id"] for violation in found.response["violations"]} == {"image-alt", "color-contrast"}


def test_it_asks_for_nothing_but_itself_and_runs_no_script(see):
    page, complaints, asked = see()
    assert [url for url in asked if not url.startswith("data:")] == [page.url]
    assert complaints == []
    assert page.locator("img").evaluate_all("all => all.every(one => one.complete && one.naturalWidth > 0)")
    page.set_content(page.content().replace("</main>", "<script>document.title = 'owned'</script></main>"))
    assert page.title() != "owned"
    assert "Content Security Policy" in complaints[0]


def test_it_works_by_keyboard(see):
    page, _, _ = see()
    page.keyboard.press("Tab")
    focused = "document.activeElement.outerHTML"
    assert "Skip to the verdicts" in page.evaluate(focused)
    assert page.locator(".skip").bounding_box()["y"] >= 0
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "verdicts"
    for _ in range(40):
        page.keyboard.press("Tab")
        style = "(({outlineStyle, outlineWidth}) => [outlineStyle, outlineWidth])(getComputedStyle(document.activeElement))"
        assert page.evaluate(style) == ["solid", "3px"], page.evaluate(focused)
    details = page.locator(".claim details").last
    before = details.evaluate("one => one.open")
    details.locator("summary").first.focus()
    for opened in (not before, before):
        page.keyboard.press("Enter")
        assert details.evaluate("one => one.open") is opened
