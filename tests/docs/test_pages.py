"""What the pages say is there: links, anchors, files and names of the library."""

import importlib
import re
from pathlib import Path

import pytest
import yaml

from docs.pages import PAGES, ROOT, anchors, blocks, commands, inline_code, links, name_of

FOLDERS = "src|docs|workflow|tests|envs|examples|benchmarks|profiles|slurm"
FILE = re.compile(
    rf"(?:{FOLDERS})/[\w./-]*\w/?|[A-Z]\w+\.(?:md|cff)|mkdocs\.yml|config\.yaml|pyproject\.toml|Makefile|Snakefile"
)
NAME = re.compile(r"convrfm(?:\.\w+)+")
SECTIONS = re.compile(r"!!python/\S+")
"""Tags in mkdocs.yml that only MkDocs reads."""


def broken_links(page: Path, text: str) -> list[str]:
    """Links of a page to files or headings that are not there, and links that are neither relative nor https."""
    wrong = []
    for target in links(text):
        if target.startswith("https://"):
            continue
        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        if ":" in target or path.startswith("/") or not file.exists():
            wrong.append(target)
        elif anchor and anchor not in anchors(file):
            # Headings of the API are made when the site is built, which checks them.
            wrong += [] if anchor.startswith("convrfm.") else [target]
    return wrong


def missing_files(text: str, made: set[str]) -> list[str]:
    """Files named in backticks that are not there, nor made by a page."""
    return [name for name in inline_code(text) if FILE.fullmatch(name) and name not in made and not (ROOT / name).exists()]


def missing_names(text: str, made: set[str]) -> list[str]:
    """Names of the library in backticks that cannot be imported, nor are made by a page."""
    return [name for name in inline_code(text) if NAME.fullmatch(name) and name not in made and not _is_there(name)]


def _is_there(name: str) -> bool:
    module, names = name, []
    while module:
        try:
            found = importlib.import_module(module)
        except ModuleNotFoundError:
            module, _, last = module.rpartition(".")
            names.insert(0, last)
            continue
        for part in names:
            fields = getattr(found, "__dataclass_fields__", {})
            if not hasattr(found, part) and part not in fields:
                return False
            found = getattr(found, part, None)
        return True
    return False


@pytest.fixture(scope="module")
def made() -> set[str]:
    """Files that pages make or copy, and their modules."""
    texts = [page.read_text() for page in PAGES]
    files = {block.title for text in texts for block in blocks(text, "python", "rst") if block.title}
    files |= {words[2] for text in texts for words in commands(text) if words[0] == "cp" and (ROOT / words[1]).exists()}
    return files | {file.removeprefix("src/").removesuffix(".py").replace("/", ".") for file in files}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_links_lead_somewhere(page):
    assert broken_links(page, page.read_text()) == []


@pytest.mark.parametrize("page", PAGES, ids=name_of)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # raised inside JAX and TensorFlow
def test_files_and_names_are_there(page, made):
    text = page.read_text()
    assert missing_files(text, made) == []
    assert missing_names(text, made) == []


def test_every_page_is_in_the_navigation_once():
    navigation = yaml.safe_load(SECTIONS.sub("", (ROOT / "mkdocs.yml").read_text()))["nav"]

    def files(part) -> list[str]:
        if isinstance(part, str):
            return [part]
        return [file for each in (part.values() if isinstance(part, dict) else part) for file in files(each)]

    assert sorted(files(navigation)) == sorted(
        page.relative_to(ROOT / "docs").as_posix() for page in PAGES if page.is_relative_to(ROOT / "docs")
    )


def test_what_is_broken_is_found(tmp_path):
    page = tmp_path / "page.md"
    other = tmp_path / "other.md"
    other.write_text("# One `thing` & another\n## Numbers\n## Numbers\n")
    text = (
        "[a](other.md) [b](other.md#one-thing--another) [c](other.md#numbers_1) [d](https://example.org) [e](#own)\n"
        "[f](gone.md) [g](other.md#gone) ![h](gone.png) [i](http://example.org) [j](/etc/hosts)\n\n# Own\n"
    )
    page.write_text(text)
    assert anchors(other) == {"one-thing--another", "numbers", "numbers_1"}
    assert broken_links(page, text) == [
        "gone.md", "other.md#gone", "gone.png", "http://example.org", "/etc/hosts",
    ]  # fmt: skip
    names = "`src/convrfm/gone.py` `src/convrfm/rfm/rounds.py` `docs/made.md` `convrfm.gone` `convrfm.rfm.rounds.gone` `convrfm.rfm.rounds.RFMSettings`"
    assert missing_files(names, {"docs/made.md"}) == ["src/convrfm/gone.py"]
    assert missing_names(names, set()) == ["convrfm.gone", "convrfm.rfm.rounds.gone"]
