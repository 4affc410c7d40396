"""The page as text: what it says, that all links lead somewhere, and that nothing in it comes alive."""

import base64
import json
import os
from datetime import UTC, datetime
from html.parser import HTMLParser
from io import BytesIO
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from audit import outcomes
from convrfm.replication.audit import page as pages
from convrfm.replication.audit.comparing import FIGURE, TOLERANCES
from convrfm.replication.audit.outcome import (
    Coverage,
    Deviation,
    Replay,
    Result,
    State,
    coverage_in_words,
    summary,
    trust,
)
from convrfm.replication.audit.page import LOOKS, render_page
from convrfm.replication.claims.verdicts import Verdict

MADE = datetime(2026, 11, 21, 20, 30, tzinfo=UTC)
EMPTY = {"meta", "img", "link", "br", "hr", "input"}


class Parsed(HTMLParser):
    """Tags with their attributes, and the text of the page without its style."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.text, self.open = [], "", []
        self.feed(html)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if tag not in EMPTY:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open:
            self.text += data

    def named(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


@pytest.fixture
def project(tmp_path):
    outcomes.lay_out(tmp_path)
    return tmp_path


@pytest.fixture
def full(project):
    return render(project, outcomes.every_kind())


PNG = f"{outcomes.RESULTS}/figures/published/fig05.png"
COVERED = "12 of 120 runs recomputed; a single forged run would have been found with probability 0.1, a tenth of them forged with 0.71"


def render(project, found=None, **pictures):
    return render_page(project, found or outcomes.audit(), MADE, pictures)


def words(html):
    return " ".join(Parsed(html).text.split())


def test_every_verdict_and_state_is_there_in_words(full):
    text = words(full)
    for verdict in Verdict:
        number = sum(each.verdict is verdict for each in outcomes.every_kind().judgements)
        assert f"{LOOKS[verdict].symbol} {number} {verdict}" in text
        assert f"claim that is {verdict}" in text
    for state in State:
        assert f"✗ {state}" in text
    assert (
        "Not trusted. 5 findings on the files, and 2 of 5 runs and figures computed again came out different." in text
    )


def test_no_verdict_stands_without_its_recomputed_share(full):
    judged = outcomes.every_kind().judgements
    # In the table of claims, and at each claim.
    assert words(full).count(COVERED) == 2 * len(judged)
    lines = list(summary(outcomes.every_kind(), "page"))
    assert sum(line.endswith(f"({COVERED})") for line in lines) == len(judged)
    for line in lines:
        assert not any(f": {verdict}" in line for verdict in Verdict) or COVERED in line


@pytest.mark.parametrize(
    ("one", "tenth", "shown"),
    [
        (1.0, 1.0, "probability 1, a tenth of them forged with 1"),
        (0.29, 0.9999, "0.29, a tenth of them forged with 0.99"),
    ],
)
def test_probabilities_are_never_rounded_up(one, tenth, shown):
    assert coverage_in_words(Coverage("A1", None, 3, 1, one, tenth)).endswith(shown)
    assert coverage_in_words(Coverage("A1", None, 0, 0, 0.0, 0.0)) == "no run behind it"


def test_a_clean_tree_is_called_trusted(project):
    text = words(render(project))
    assert "✓ Trusted. Nothing wrong was found in these files, and nothing came out different" in text
    assert "No file is tampered with, stale, orphaned or missing." in text
    assert "Compared with the release v0.1.0." in text
    assert "Not trusted" not in text


def test_deviations_stand_in_the_headline_and_in_a_section(project):
    seeds = Deviation("seeds", "Seeds were [0, 1, 2], and are [0].")
    found = outcomes.audit(deviations=(seeds,))
    html = render(project, found)
    assert "✓ Trusted, with 1 deviation." in words(html)
    assert "<title>Audit of results/quick: trusted, with 1 deviation</title>" in html
    assert seeds.found in html[html.index('id="deviations"') :]
    assert trust(found).startswith("Trusted, with 1 deviation: ")
    part = outcomes.audit(deviations=(seeds,), checked={"records": 9})
    assert trust(part).startswith("Trusted as far as recomputed (1 of 9 runs and figures), with 1 deviation: ")
    close = outcomes.audit(replays=(Replay(outcomes.RUN, Result.CLOSE, "as its processor was another", 1.0),))
    assert "(1 run or figure, 1 of them close by the tolerance of their kind, not equal)" in trust(close)
    two = outcomes.audit(deviations=(seeds, seeds))
    assert trust(two).startswith("Trusted, with 2 deviations: ")


def test_what_was_recomputed_is_counted_by_kind_and_what_is_not_equal_named(project):
    fits = [Replay(f"{outcomes.RESULTS}/runs/rfm/published/seed={i}", Result.EQUAL, "", 1.0) for i in range(3)]
    found = outcomes.audit(
        replays=(
            *fits,
            Replay(f"{outcomes.RESULTS}/figures/published/fig05", Result.CLOSE, "1e-9, and 1e-6 is allowed", 1.0),
            Replay(outcomes.RUN, Result.DIFFERENT, "accuracy is 0.999, not 0.708", 1.0),
            Replay(f"{outcomes.RESULTS}/runs/cnn/published/seed=0", Result.IMPOSSIBLE, "no GPU here", 0.0),
        ),
        beacon="drand 42",
    )
    html = render(project, found)
    section = words(
        html[html.index('<section aria-labelledby="recomputed"') : html.index('<section aria-labelledby="deviations"')]
    )
    for shown in ("rfm3010", "figures0100", "cnn0001", "≈ close", "✗ different", "? impossible", "ab" * 32, "drand 42"):
        assert shown in section, shown
    for kind in ("rfm", "cnn"):
        assert TOLERANCES[kind].in_words() in section
    assert FIGURE.in_words() in section
    for shown in ("1e-6 is allowed", "0.999, not 0.708", "no GPU here"):
        assert shown in section
    assert "seed=1" not in section
    assert "✗ Not trusted." in words(html)


def test_measured_values_stand_beside_their_claim(project):
    html = render(project, **{PNG: (project / PNG).read_bytes()})
    figure = html[html.index('id="figure-fig05"') : html.index('id="integrity"')]
    assert figure.index("data:image/png") < figure.index("feature learning overcomes noise")
    for shown in ("5.8 points", "[4.1, 7.5] over draws", "a 95 % interval above 0", "+4.1", "1 hold", "-- fig05"):
        assert shown in figure


def test_numbers_that_are_none(full):
    text = Parsed(full).text
    assert "not a number" in text
    assert "[-infinite, infinite]" in text
    assert "undecided" in text


def test_each_link_leads_somewhere(project):
    parsed = Parsed(render(project))
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    for folder in ("audit.json", "../ro-crate-metadata.json"):
        (project / outcomes.RESULTS / "audit").mkdir(exist_ok=True)
        (project / outcomes.RESULTS / "audit" / folder).write_text("{}")
    (project / "data/mnist").mkdir(parents=True)
    (project / "data/mnist/state.json").write_text("{}")
    links = [attributes["href"] for attributes in parsed.named("a")]
    assert f"../{outcomes.RUN.removeprefix('results/quick/')}/record.json" in map(unquote, links)
    for link in links:
        if link.startswith("#"):
            assert link[1:] in ids
        else:
            assert (project / outcomes.RESULTS / "audit" / unquote(link)).is_file(), link


def test_labels_name_what_is_there(full):
    parsed = Parsed(full)
    ids = {attributes["id"] for _, attributes in parsed.tags if "id" in attributes}
    assert {a["aria-labelledby"] for _, a in parsed.tags if "aria-labelledby" in a} <= ids
    levels = [int(tag[1]) for tag, _ in parsed.tags if tag in {"h1", "h2", "h3", "h4"}]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(np.diff(levels)) <= 1


def test_hostile_text_stays_text(full):
    parsed = Parsed(full)
    assert not parsed.named("script")
    assert not [a for _, a in parsed.tags if any(name.startswith("on") for name in a)]
    assert all(image["src"].startswith("data:image/png;base64,") for image in parsed.named("img"))
    for link in parsed.named("a"):
        assert link["href"].startswith(("#", "../", "./", "audit.json")), link
    assert outcomes.HOSTILE in parsed.text
    assert "<script>alert(5)</script>" in parsed.text
    assert "default-src 'none'" in parsed.named("meta")[3]["content"]


def test_hostile_names_of_files_stay_names(project):
    name = "task=<img src=x onerror=alert(7)>,\"seed'=0"
    folder = project / outcomes.RESULTS / "runs/rfm/published" / name
    folder.mkdir()
    (folder / "record.json").write_bytes((project / outcomes.RUN / "record.json").read_bytes())
    figure = project / outcomes.RESULTS / "figures/published/<b>fig.json"
    figure.write_bytes((figure.parent / "fig05.json").read_bytes())
    parsed = Parsed(render(project))
    assert not parsed.named("img")
    assert not parsed.named("b")
    assert name in parsed.text
    links = [unquote(attributes["href"]) for attributes in parsed.named("a")]
    assert f"../runs/rfm/published/{name}/record.json" in links
    assert "../figures/published/<b>fig.json" in links


def test_nothing_is_loaded_from_elsewhere(full):
    parsed = Parsed(full)
    assert not parsed.named("link")
    assert not parsed.named("iframe")
    assert "@import" not in full
    assert "url(" not in full


def test_pictures_are_those_that_were_drawn_here_and_no_others(project, rng):
    unshown = render(project)
    assert not Parsed(unshown).named("img")
    assert "It was not drawn again here, so no picture is shown" in words(unshown)
    drawn = (project / PNG).read_bytes()
    (project / PNG).write_bytes(b"what came with the results")
    (image,) = Parsed(render(project, **{PNG: drawn})).named("img")
    assert base64.b64decode(image["src"].partition(",")[2]) == drawn
    assert (image["width"], image["height"]) == ("640", "360")
    assert "Figure 5, local signal adaptivity" in image["alt"]
    large = BytesIO()
    Image.fromarray(rng.integers(0, 256, (900, 2800, 3), dtype=np.uint8)).save(large, "PNG")
    html = render(project, **{PNG: large.getvalue()})
    (image,) = Parsed(html).named("img")
    assert (image["width"], image["height"]) == ("1400", "450")
    assert len(image["src"]) < len(large.getvalue()) / 2
    assert "drawn again by this audit and made smaller" in html


def test_a_caption_that_is_no_plain_file_or_too_long_is_not_read(project):
    caption = (project / PNG).with_suffix(".md")
    assert "CNTK" in words(render(project))
    caption.write_text("CNTK " * 500_000)
    assert "CNTK" not in words(render(project)).replace("ConvRFM over CNTK", "").replace("above CNTK", "")
    caption.unlink()
    os.mkfifo(caption)
    render(project)


@pytest.mark.parametrize(
    "content", ["", "[]", "{", "null", '{"job": 5}', '{"job": "x", "outputs": [1]}', "[" * 100_000]
)
def test_a_broken_record_is_said_to_be_broken(project, content):
    (project / outcomes.RUN / "record.json").write_text(content)
    text = Parsed(render(project)).text
    assert "task=bars,sigma=1,seed=0 (its record cannot be read)" in text


def test_a_gpu_that_could_not_be_used_and_a_checkpoint_are_remarked(project):
    path = project / outcomes.RUN / "record.json"
    assert "It continued from" not in words(render(project))
    remark = "It had a GPU and could not use it: PyTorch <b>2</b> cannot use a GPU"
    assert remark not in Parsed(render(project)).text
    noted = {"gpu_unusable": "PyTorch <b>2</b> cannot use a GPU", "resumed_from": ["checkpoint-1.safetensors"]}
    record = {**json.loads(path.read_text()), **noted}
    path.write_text(json.dumps(record))
    assert remark in Parsed(render(project)).text
    assert "It continued from checkpoint-1.safetensors" in words(render(project))


def test_a_run_shows_its_record_and_its_command(project):
    text = words(render(project))
    for shown in (
        "convrfm.replication.jobs.rfm:fit_task",
        "commit " + "e" * 40,
        "2026-11-21 19:09:55 UTC, for 7.9 s, on a processor",
        f"snakemake -c2 --force --config preset=quick protocol=published -- {outcomes.RUN}/record.json",
    ):
        assert shown in text


def test_of_many_runs_those_are_shown_that_matter(project, monkeypatch):
    other = project / outcomes.RESULTS / "runs/rfm/published/task=bars,sigma=9,seed=0"
    other.mkdir()
    (other / "record.json").write_bytes((project / outcomes.RUN / "record.json").read_bytes())
    monkeypatch.setattr(pages, "MOST_RUNS", 1)
    html = render(project)
    assert "sigma=9" not in html
    assert "1 more have records" in html
    assert 'id="run-rfm-published-task-bars-sigma-1-seed-0"' in html


def test_an_empty_folder(tmp_path):
    found = outcomes.audit(judgements=(), coverage=(), replays=(), checked={})
    text = Parsed(render(tmp_path, found)).text
    for shown in (
        "No claim was judged.",
        "There is no figure here",
        "There is no record of any run.",
        "nothing.",
        "Nothing was computed",
    ):
        assert shown in text
