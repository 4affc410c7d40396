"""The page as text: what it says, that all links lead somewhere, and that nothing in it comes alive."""

import base64
import json
from datetime import UTC, datetime
from html.parser import HTMLParser
from urllib.parse import unquote

import numpy as np
import pytest
from PIL import Image

from audit import outcomes
from convrfm.audit import page as pages
from convrfm.audit.outcome import State, Verdict
from convrfm.audit.page import LOOKS, render_page

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
    return render_page(project, outcomes.every_kind(), MADE)


def test_every_verdict_and_state_is_there_in_words(full):
    text = " ".join(Parsed(full).text.split())
    for verdict in Verdict:
        number = sum(each.verdict is verdict for each in outcomes.every_kind().judgements)
        assert f"{LOOKS[verdict].symbol} {number} {verdict}" in text
        assert f"claim that is {verdict}" in text
    for state in State:
        assert f"✗ {state}" in text
    assert "Not trusted. 5 findings on the files, and 1 spot check fails" in text
    assert "seed 7" in text


def test_a_clean_tree_is_called_trusted(project):
    text = " ".join(Parsed(render_page(project, outcomes.audit(), MADE)).text.split())
    assert "✓ Trusted." in text
    assert "No file is tampered with, stale, orphaned or missing." in text
    assert "Not trusted" not in text


def test_measured_values_stand_beside_their_claim(project):
    html = render_page(project, outcomes.audit(), MADE)
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
    parsed = Parsed(render_page(project, outcomes.audit(), MADE))
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
    figure = project / outcomes.RESULTS / "figures/published/<b>fig.png"
    figure.write_bytes((figure.parent / "fig05.png").read_bytes())
    parsed = Parsed(render_page(project, outcomes.audit(), MADE))
    assert len(parsed.named("img")) == 2
    assert not parsed.named("b")
    assert name in parsed.text
    links = [unquote(attributes["href"]) for attributes in parsed.named("a")]
    assert f"../runs/rfm/published/{name}/record.json" in links
    assert "../figures/published/<b>fig.png" in links


def test_nothing_is_loaded_from_elsewhere(full):
    parsed = Parsed(full)
    assert not parsed.named("link")
    assert not parsed.named("iframe")
    assert "@import" not in full
    assert "url(" not in full


def test_pictures_are_inside(project):
    (image,) = Parsed(render_page(project, outcomes.audit(), MADE)).named("img")
    content = base64.b64decode(image["src"].partition(",")[2])
    assert content == (project / outcomes.RESULTS / "figures/published/fig05.png").read_bytes()
    assert (image["width"], image["height"]) == ("640", "360")
    assert "Figure 5, local signal adaptivity" in image["alt"]


def test_large_pictures_are_made_smaller(project, rng):
    path = project / outcomes.RESULTS / "figures/published/fig05.png"
    Image.fromarray(rng.integers(0, 256, (900, 2800, 3), dtype=np.uint8)).save(path)
    html = render_page(project, outcomes.audit(), MADE)
    (image,) = Parsed(html).named("img")
    assert (image["width"], image["height"]) == ("1400", "450")
    assert len(image["src"]) < path.stat().st_size / 2
    assert "made smaller here" in html


@pytest.mark.parametrize("content", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_a_broken_picture_is_said_to_be_broken(project, content):
    path = project / outcomes.RESULTS / "figures/published/fig05.png"
    path.write_bytes(content)
    assert "is not there, or cannot be read" in Parsed(render_page(project, outcomes.audit(), MADE)).text


@pytest.mark.parametrize(
    "content", ["", "[]", "{", "null", '{"job": 5}', '{"job": "x", "outputs": [1]}', "[" * 100_000]
)
def test_a_broken_record_is_said_to_be_broken(project, content):
    (project / outcomes.RUN / "record.json").write_text(content)
    text = Parsed(render_page(project, outcomes.audit(), MADE)).text
    assert "task=bars,sigma=1,seed=0 (its record cannot be read)" in text


def test_a_gpu_that_a_run_could_not_use_is_remarked(project):
    path = project / outcomes.RUN / "record.json"
    remark = "It had a GPU and could not use it: PyTorch <b>2</b> cannot use a GPU"
    assert remark not in Parsed(render_page(project, outcomes.audit(), MADE)).text
    record = {**json.loads(path.read_text()), "gpu_unusable": "PyTorch <b>2</b> cannot use a GPU"}
    path.write_text(json.dumps(record))
    assert remark in Parsed(render_page(project, outcomes.audit(), MADE)).text


def test_a_run_shows_its_record_and_its_command(project):
    text = " ".join(Parsed(render_page(project, outcomes.audit(), MADE)).text.split())
    for shown in (
        "convrfm.pipeline.jobs.rfm:fit_task",
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
    html = render_page(project, outcomes.audit(), MADE)
    assert "sigma=9" not in html
    assert "1 more have records" in html
    assert 'id="run-rfm-published-task-bars-sigma-1-seed-0"' in html


def test_an_empty_folder(tmp_path):
    found = outcomes.audit(judgements=(), spot_checks=(), checked={})
    text = Parsed(render_page(tmp_path, found, MADE)).text
    for shown in ("No claim was judged.", "There is no figure here", "There is no record of any run.", "nothing."):
        assert shown in text
