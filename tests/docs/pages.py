"""The pages of the documentation, and what stands in them: blocks of code, links, anchors, names."""

import html
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token
from pymdownx.slugs import slugify

ROOT = Path(__file__).parents[2]
FRONT = [ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "results/README.md")]
# Captions of published figures are quoted by the page of the results.
PAGES = [*FRONT, *sorted(set((ROOT / "docs").rglob("*.md")) - set((ROOT / "docs/results").glob("*/figures/*/*.md")))]

_SLUG = slugify(case="lower")  # what mkdocs.yml asks for; GitHub's anchors are the same


@dataclass(frozen=True)
class Block:
    """A fenced block of code.

    Attributes:
        language: as in "python"; "" without one.
        title: file that it belongs to; "" without one.
        text: its lines.
        line: of the page that its first line stands in, from 1.
    """

    language: str
    title: str
    text: str
    line: int


def name_of(page: Path) -> str:
    """A page in messages."""
    return page.relative_to(ROOT).as_posix() if page.is_relative_to(ROOT) else page.name


def _tokens(text: str) -> Iterator[Token]:
    """All tokens of a page, those inside of paragraphs and tables too."""
    for token in MarkdownIt("commonmark").enable("table").parse(text):
        yield token
        yield from token.children or ()


def blocks(text: str, *languages: str) -> list[Block]:
    """The fenced blocks of a page in some languages, in order."""
    found = []
    for token in _tokens(text):
        if token.type == "fence":
            language, *rest = shlex.split(token.info) or [""]
            title = next((part.removeprefix("title=") for part in rest if part.startswith("title=")), "")
            assert token.map is not None
            found.append(Block(language, title, token.content, token.map[0] + 2))
    return [block for block in found if block.language in languages]


def inline_code(text: str) -> list[str]:
    """What stands between backticks."""
    return [token.content for token in _tokens(text) if token.type == "code_inline"]


def links(text: str) -> list[str]:
    """Targets of links and pictures."""
    found = [token.attrGet("href") or token.attrGet("src") for token in _tokens(text) if token.type in ("link_open", "image")]
    return [html.unescape(str(target)) for target in found]


@cache
def anchors(page: Path) -> frozenset[str]:
    """Names of the headings of a page."""
    found: list[str] = []
    tokens = list(MarkdownIt("commonmark").enable("table").parse(page.read_text(encoding="utf-8")))
    for before, token in pairwise(tokens):
        if before.type == "heading_open":
            words = "".join(child.content for child in token.children or () if child.type in ("text", "code_inline"))
            slug = re.sub(r"-+$", "", _SLUG(words, "-"))
            found.append(slug if slug not in found else f"{slug}_{found.count(slug)}")
    return frozenset(found)


def commands(text: str) -> list[list[str]]:
    """The commands in the `sh` blocks of a page, in words: one for each part of a line between `&&` and `|`."""
    found = []
    for block in blocks(text, "sh"):
        for line in block.text.replace("\\\n", " ").splitlines():
            words: list[str] = []
            lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;<>")
            lexer.whitespace_split = True
            for word in [*lexer, "&&"]:
                if word in ("&&", "||", "|", ";"):
                    found += [words] if words else []
                    words = []
                else:
                    words.append(word)
    return found
