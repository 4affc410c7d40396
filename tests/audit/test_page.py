"""The page as text: what it says, that all links lead somewhere, and that nothing in it comes alive."""

import base64
import os
import re
import shutil
from io import BytesIO
from urllib.parse import unquote
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from audit import outcomes
from audit.tiny import FIGURES, RECORD, RESULTS, RUN, edit_record
from convrfm.replication.audit.comparing import FIGURE, TOLERANCES
from convrfm.replication.audit.outcome import Deviation, Replay, Result, State, summary, trust
from convrfm.replication.audit.page import LOOKS
from convrfm.replication.claims.verdicts import Verdict

TITLE, UNUSABLE = RUN.removeprefix(f"{RESULTS}/runs/"), "had a GPU and could not use it"
PNG = f"{FIGURES}/fig05.png"
COVERED = "12 of 120 runs recomputed; a single forged run would have been found with probability 0.1, a tenth of them forged with 0.71"


def parsed(html):
    """The page as XML, which is strict about tags and attributes; HTML leaves some of them open, or without a value."""
    html = html.removeprefix("<!doctype html>").replace("<details open>", '<details open="">')
    return ET.fromstring(re.sub("(<(meta|img)[^>]*)>", r"\1/>", html))


def words_of(page):
    return " ".join("".join(page.itertext()).split())


def links_of(page):
    return [unquote(link.get("href")) for link in page.iter("a")]


@pytest.fixture
def full(project):
    """A page about everything that there can be."""
    with (project / FIGURES / "fig05.md").open("a") as caption:
        caption.write("<script>alert(5)</script> [link](javascript:alert(6)) ![picture](http://example.org/x.png)\n")
    shutil.copy(project / FIGURES / "fig05.json", project / FIGURES / "<b>fig.json")
    edit_record(project / RUN, gpu_unusable="PyTorch <b>2</b> cannot use a GPU")
    return outcomes.render(project, outcomes.every_kind())


def test_all_is_there_in_words_and_no_verdict_without_its_recomputed_share(full):
    found, words = outcomes.every_kind(), words_of(parsed(full))
    for verdict in Verdict:
        number = sum(each.verdict is verdict for each in found.judgements)
        assert f"{LOOKS[verdict][0]} {number} {verdict}" in words
        assert f"claim that is {verdict}" in words
    for shown in (
        *(f"✗ {state}" for state in State),
        "Not trusted. 5 findings on the files, and 2 of 5 runs and figures computed again came out different.",
        "not a number", "[-infinite, infinite]", "undecided", f"{TITLE} {UNUSABLE}: PyTorch <b>2</b> cannot use a GPU",
        # Outcomes by kind, those that are not equal by name, and what they follow from.
        f"rfm1121{TOLERANCES['rfm'].in_words()}", f"figures1001{FIGURE.in_words()}", found.root, found.beacon,
        f"{RUN}✗ differentmetrics.parquet: row 0", f"{RUN}close≈ close{outcomes.LONG}",
        f"{RUN}impossible? impossible{outcomes.LONG}", "It was not drawn again here, so no picture is shown",
    ):  # fmt: skip
        assert shown in words
    assert f"{RUN}equal" not in words
    # In the table of claims, and at each claim.
    assert words.count(COVERED) == 2 * len(found.judgements)
    lines = [line for line in summary(found, "page") if any(f": {each}" in line for each in Verdict)]
    assert [line.endswith(f"({COVERED})") for line in lines] == [True] * len(found.judgements)


SEEDS = Deviation("seeds", "Seeds were [0, 1, 2], and are [0].")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({}, "Trusted: nothing wrong was found in these files, and nothing came out different that was computed again (1 run"),
        ({"deviations": (SEEDS,)}, "Trusted, with 1 deviation: "),
        ({"deviations": (SEEDS, SEEDS)}, "Trusted, with 2 deviations: "),
        ({"checked": {"records": 9}}, "Trusted as far as recomputed (1 of 9 runs and figures): "),
        ({"replays": (Replay(RUN, Result.CLOSE, "", 1.0),)}, "(1 run or figure, 1 of them close by the tolerance of their kind"),
        ({"replays": (Replay(RUN, Result.DIFFERENT, "", 1.0),)}, "Not trusted: 0 findings on the files, and 1 of 1 run or"),
    ],
)  # fmt: skip
def test_how_far_results_are_trusted(project, changes, sentence):
    found = outcomes.audit(**changes)
    assert sentence in trust(found)
    page = parsed(outcomes.render(project, found))
    assert page.find("head/title").text == f"Audit of results/quick: {trust(found).partition(': ')[0].lower()}"
    assert "No file is tampered with, stale, orphaned or missing." in words_of(page)
    shown = words_of(page.find(".//section[@aria-labelledby='deviations']"))
    assert all(each in shown for each in ("Compared with the release v0.1.0.", *(each.found for each in found.deviations)))


def test_measured_values_stand_beside_their_claim(project):
    html = outcomes.render(project, **{PNG: (project / PNG).read_bytes()})
    figure = html[html.index('id="figure-fig05"') : html.index('id="figure-fig08"')]
    assert figure.index("data:image/png") < figure.index("feature learning overcomes noise")
    for shown in ("5.8 points", "[4.1, 7.5] over draws", "a 95 % interval above 0", "+4.1", "1 hold", "-- fig05"):
        assert shown in figure
    assert UNUSABLE not in html


def test_each_link_leads_somewhere_and_labels_name_what_is_there(project, full):
    (project / RESULTS / "audit").mkdir()
    for file in ("audit/audit.json", "ro-crate-metadata.json"):
        (project / RESULTS / file).touch()
    page, full = parsed(outcomes.render(project)), parsed(full)
    # From a number to the record of its run.
    assert RECORD.replace(RESULTS, "..") in links_of(page)
    for link in links_of(page):
        assert link.startswith("#") or (project / RESULTS / "audit" / link).is_file(), link
    for each in (page, full):
        ids = [tag.get("id") for tag in each.findall(".//*[@id]")]
        assert len(ids) == len(set(ids))
        named = {link[1:] for link in links_of(each) if link.startswith("#")}
        assert named | {tag.get("aria-labelledby") for tag in each.findall(".//*[@aria-labelledby]")} <= set(ids)
    levels = [int(each.tag[1]) for each in full.iter() if each.tag in {"h1", "h2", "h3", "h4"}]
    assert (levels[0], levels.count(1), max(np.diff(levels))) == (1, 1, 1)


def test_hostile_text_stays_text_and_nothing_is_loaded_from_elsewhere(full):
    page = parsed(full)
    assert not {"script", "link", "iframe", "img", "b"} & {each.tag for each in page.iter()}
    assert not [name for each in page.iter() for name in each.attrib if name.startswith("on")]
    assert all(link.startswith(("#", "../", "./", "audit.json")) for link in links_of(page))
    assert "../figures/published/<b>fig.json" in links_of(page)
    for text in (outcomes.HOSTILE, "<script>alert(5)</script>"):
        assert text in words_of(page)
    assert "default-src 'none'" in page.find("head/meta[@http-equiv='Content-Security-Policy']").get("content")
    assert not any(text in full for text in ("@import", "url("))


def test_pictures_are_those_that_were_drawn_here_and_no_others(project, rng):
    drawn = (project / PNG).read_bytes()
    (project / PNG).write_bytes(b"what came with the results")
    (image,) = parsed(outcomes.render(project, **{PNG: drawn})).iter("img")
    assert base64.b64decode(image.get("src").partition(",")[2]) == drawn
    assert (int(image.get("width")), int(image.get("height"))) == Image.open(BytesIO(drawn)).size
    assert "Figure 5, local signal adaptivity" in image.get("alt")
    large = BytesIO()
    Image.fromarray(rng.integers(0, 256, (900, 2800, 3), dtype=np.uint8)).save(large, "PNG")
    page = parsed(outcomes.render(project, **{PNG: large.getvalue()}))
    (image,) = page.iter("img")
    assert (image.get("width"), image.get("height")) == ("1400", "450")
    assert len(image.get("src")) < len(large.getvalue()) / 2
    assert "drawn again by this audit and made smaller" in words_of(page)


def test_a_caption_that_is_no_plain_file_or_too_long_is_not_read(project):
    caption, shown = project / FIGURES / "fig05.md", "Test accuracy against the noise level"
    assert shown in outcomes.render(project)
    caption.write_text(caption.read_text() * 5000)
    assert shown not in outcomes.render(project)
    caption.unlink()
    os.mkfifo(caption)
    assert shown not in outcomes.render(project)


def test_an_empty_folder(tmp_path):
    words = words_of(parsed(outcomes.render(tmp_path, outcomes.audit(judgements=(), coverage=(), replays=(), checked={}))))
    for shown in ("No claim was judged.", "There is no figure here", "nothing.", "Nothing was computed"):
        assert shown in words
