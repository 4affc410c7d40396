"""The page as text: what it says, that all links lead somewhere, and that nothing in it comes alive."""

import base64
import os
from html.parser import HTMLParser
from io import BytesIO
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from audit import outcomes
from audit.tiny import FIGURES, RECORD, RESULTS, RUN, edit_record
from convrfm.replication.audit.comparing import FIGURE, TOLERANCES
from convrfm.replication.audit.outcome import Coverage, Deviation, Replay, Result, State, coverage_in_words, summary, trust
from convrfm.replication.audit.page import LOOKS, render_page
from convrfm.replication.audit.records import find_products
from convrfm.replication.claims.verdicts import Verdict

PNG = f"{FIGURES}/fig05.png"
COVERED = "12 of 120 runs recomputed; a single forged run would have been found with probability 0.1, a tenth of them forged with 0.71"


class Parsed(HTMLParser):
    """Tags with their attributes, and the text of the page without its style."""

    def __init__(self, html):
        super().__init__()
        self.html, self.tags, self.text, self.open = html, [], "", []
        self.feed(html)
        self.words = " ".join(self.text.split())
        self.links = [attributes["href"] for attributes in self.named("a")]

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in {"meta", "img", "link", "br", "hr", "input"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def render(project, found=None, **pictures):
    return render_page(project, found or outcomes.audit(), find_products(project, RESULTS), outcomes.MADE, pictures)


def section(html, name):
    start = html.index(f'<section aria-labelledby="{name}"')
    return Parsed(html[start : html.index("</section>", start)] + "</section>").words


@pytest.fixture
def full(project):
    """A page about everything that there can be."""
    with (project / FIGURES / "fig05.md").open("a") as caption:
        caption.write("<script>alert(5)</script> [link](javascript:alert(6)) ![picture](http://example.org/x.png)\n")
    return Parsed(render(project, outcomes.every_kind()))


def test_every_verdict_and_state_is_there_in_words(full):
    for verdict in Verdict:
        number = sum(each.verdict is verdict for each in outcomes.every_kind().judgements)
        assert f"{LOOKS[verdict][0]} {number} {verdict}" in full.words
        assert f"claim that is {verdict}" in full.words
    for words in (
        *(f"✗ {state}" for state in State),
        "Not trusted. 5 findings on the files, and 2 of 5 runs and figures computed again came out different.",
        "not a number", "[-infinite, infinite]", "undecided",
    ):  # fmt: skip
        assert words in full.words


def test_no_verdict_stands_without_its_recomputed_share(full):
    judged = outcomes.every_kind().judgements
    # In the table of claims, and at each claim.
    assert full.words.count(COVERED) == 2 * len(judged)
    lines = [line for line in summary(outcomes.every_kind(), "page") if any(f": {each}" in line for each in Verdict)]
    assert [line.endswith(f"({COVERED})") for line in lines] == [True] * len(judged)


@pytest.mark.parametrize(
    ("runs", "one", "tenth", "shown"),
    [
        (3, 1.0, 1.0, "probability 1, a tenth of them forged with 1"),
        (3, 0.29, 0.9999, "0.29, a tenth of them forged with 0.99"),
        (0, 0.0, 0.0, "no run behind it"),
    ],
)
def test_probabilities_are_never_rounded_up(runs, one, tenth, shown):
    assert coverage_in_words(Coverage("A1", None, runs, 1, one, tenth)).endswith(shown)


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
    html = render(project, found)
    title, *deviations = [trust(found).partition(": ")[0], *(each.found for each in found.deviations)]
    assert f"<title>Audit of results/quick: {title.lower()}</title>" in html
    assert all(each in section(html, "deviations") for each in deviations)
    for words in ("No file is tampered with, stale, orphaned or missing.", "Compared with the release v0.1.0."):
        assert words in Parsed(html).words


def test_what_was_recomputed_is_counted_by_kind_and_what_is_not_equal_named(project):
    replays = (
        *(Replay(f"{RESULTS}/runs/rfm/published/seed={i}", Result.EQUAL, "", 1.0) for i in range(3)),
        Replay(f"{FIGURES}/fig05", Result.CLOSE, "1e-9, and 1e-6 is allowed", 1.0),
        Replay(RUN, Result.DIFFERENT, "accuracy is 0.999, not 0.708", 1.0),
        Replay(f"{RESULTS}/runs/cnn/published/seed=0", Result.IMPOSSIBLE, "no GPU here", 0.0),
    )
    shown = section(render(project, outcomes.audit(replays=replays, beacon="drand 42")), "recomputed")
    for words in (
        "rfm3010", "figures0100", "cnn0001", "≈ close", "✗ different", "? impossible", "ab" * 32, "drand 42", FIGURE.in_words(),
        TOLERANCES["rfm"].in_words(), TOLERANCES["cnn"].in_words(), *(each.found for each in replays),
    ):  # fmt: skip
        assert words in shown
    assert "seed=1" not in shown


def test_measured_values_stand_beside_their_claim(project):
    html = render(project, **{PNG: (project / PNG).read_bytes()})
    figure = html[html.index('id="figure-fig05"') : html.index('id="figure-fig08"')]
    assert figure.index("data:image/png") < figure.index("feature learning overcomes noise")
    for shown in ("5.8 points", "[4.1, 7.5] over draws", "a 95 % interval above 0", "+4.1", "1 hold", "-- fig05"):
        assert shown in figure


def test_each_link_leads_somewhere_and_labels_name_what_is_there(project, full):
    parsed = Parsed(render(project))
    (project / RESULTS / "audit").mkdir()
    for file in ("audit/audit.json", "ro-crate-metadata.json"):
        (project / RESULTS / file).touch()
    # From a number to the record of its run.
    assert RECORD.replace(RESULTS, "..") in map(unquote, parsed.links)
    for link in (unquote(link) for link in parsed.links if not link.startswith("#")):
        assert (project / RESULTS / "audit" / link).is_file(), link
    for page in (parsed, full):
        ids = [attributes["id"] for _, attributes in page.tags if "id" in attributes]
        assert len(ids) == len(set(ids))
        assert {link[1:] for link in page.links if link.startswith("#")} <= set(ids)
        assert {a["aria-labelledby"] for _, a in page.tags if "aria-labelledby" in a} <= set(ids)
    levels = [int(tag[1]) for tag, _ in full.tags if tag in {"h1", "h2", "h3", "h4"}]
    assert (levels[0], levels.count(1), max(np.diff(levels))) == (1, 1, 1)


def test_hostile_text_stays_text_and_nothing_is_loaded_from_elsewhere(full):
    assert not {"script", "link", "iframe"} & {tag for tag, _ in full.tags}
    assert not [a for _, a in full.tags if any(name.startswith("on") for name in a)]
    assert all(image["src"].startswith("data:image/png;base64,") for image in full.named("img"))
    assert all(link.startswith(("#", "../", "./", "audit.json")) for link in full.links)
    for text in (outcomes.HOSTILE, "<script>alert(5)</script>"):
        assert text in full.text
    assert "default-src 'none'" in full.named("meta")[3]["content"]
    assert "@import" not in full.html
    assert "url(" not in full.html


def test_hostile_names_of_files_stay_names(project):
    name = "task=<img src=x onerror=alert(7)>,\"seed'=0"
    figure = project / FIGURES / "<b>fig.json"
    figure.write_bytes((project / FIGURES / "fig05.json").read_bytes())
    run = f"{RESULTS}/runs/rfm/published/{name}"
    (project / RUN).rename(project / run)
    found = outcomes.judgement(measurements=(outcomes.measurement(sources=(f"{run}/metrics.parquet",)),))
    parsed = Parsed(render(project, outcomes.audit(judgements=(found,))))
    assert not parsed.named("img")
    assert not parsed.named("b")
    assert name in parsed.text
    links = [unquote(link) for link in parsed.links]
    assert f"../runs/rfm/published/{name}/record.json" in links
    assert "../figures/published/<b>fig.json" in links


def test_pictures_are_those_that_were_drawn_here_and_no_others(project, rng):
    unshown = Parsed(render(project))
    assert not unshown.named("img")
    assert "It was not drawn again here, so no picture is shown" in unshown.words
    drawn = (project / PNG).read_bytes()
    (project / PNG).write_bytes(b"what came with the results")
    (image,) = Parsed(render(project, **{PNG: drawn})).named("img")
    assert base64.b64decode(image["src"].partition(",")[2]) == drawn
    assert (int(image["width"]), int(image["height"])) == Image.open(BytesIO(drawn)).size
    assert "Figure 5, local signal adaptivity" in image["alt"]
    large = BytesIO()
    Image.fromarray(rng.integers(0, 256, (900, 2800, 3), dtype=np.uint8)).save(large, "PNG")
    parsed = Parsed(render(project, **{PNG: large.getvalue()}))
    (image,) = parsed.named("img")
    assert (image["width"], image["height"]) == ("1400", "450")
    assert len(image["src"]) < len(large.getvalue()) / 2
    assert "drawn again by this audit and made smaller" in parsed.words


def test_a_caption_that_is_no_plain_file_or_too_long_is_not_read(project):
    caption = project / FIGURES / "fig05.md"
    assert "Test accuracy against the noise level" in Parsed(render(project)).words
    caption.write_text(caption.read_text() * 5000)
    assert "Test accuracy against the noise level" not in Parsed(render(project)).words
    caption.unlink()
    os.mkfifo(caption)
    render(project)


def test_a_gpu_that_could_not_be_used_is_remarked(project):
    remark = "had a GPU and could not use it: PyTorch <b>2</b> cannot use a GPU"
    assert remark not in Parsed(render(project)).text
    edit_record(project / RUN, gpu_unusable="PyTorch <b>2</b> cannot use a GPU")
    assert f"rfm/published/task=bars,sigma=2,seed=0 {remark}" in Parsed(render(project)).text


def test_an_empty_folder(tmp_path):
    text = Parsed(render(tmp_path, outcomes.audit(judgements=(), coverage=(), replays=(), checked={}))).text
    for shown in ("No claim was judged.", "There is no figure here", "nothing.", "Nothing was computed"):
        assert shown in text
