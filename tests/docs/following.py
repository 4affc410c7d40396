"""Doing what a page says: writing the files that it shows, and changing lines of others."""

from pathlib import Path

from docs.pages import Block, blocks

HOWTO = ("figure", "claim", "data", "backend")
"""Pages that are followed, in this order: the claim is about the figure."""


def follow(page: Path, root: Path) -> list[str]:
    """Write the files of a page, and apply its changes, below a folder; gives their names.

    A block with a title is a file, or a change of it. A change holds lines that stay, lines with a plus and lines with a
    minus, and no line numbers: what stays and what goes has to stand in the file exactly once.
    """
    done = []
    for block in blocks(page.read_text(encoding="utf-8"), "python", "rst", "diff"):
        if block.title:
            path = root / block.title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_changed(block, path.read_text()) if block.language == "diff" else block.text)
            done.append(block.title)
    return done


def _changed(block: Block, text: str) -> str:
    lines = block.text.splitlines(keepends=True)
    before = "".join(line[1:] or "\n" for line in lines if line[0] in " -\n")
    after = "".join(line[1:] or "\n" for line in lines if line[0] in " +\n")
    assert text.count(before) == 1, f"line {block.line}: this stands {text.count(before)} times in {block.title}:\n{before}"
    return text.replace(before, after)
