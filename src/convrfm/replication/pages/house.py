"""The drawing of the rooms of this package, their floors, subjects and imports, as SVG."""

import ast
import re
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import wrap

from convrfm.replication.record.closure import executed

__all__ = ["drawing"]

STEP, HEIGHT, MARGIN = 80, 62, 12
"""Pixels from floor to floor, of a room's height, and around the drawing."""

WIDTHS = {"replication": 330, "library": 210}
GAP, BETWEEN = 12, 70
"""Pixels between rooms of a floor, and between the replication and the library."""


@dataclass
class Room:
    """One room: its subject, how many modules it has, and where its box is drawn."""

    name: str
    subject: str
    modules: int
    x: int
    y: int
    width: int


def drawing(root: Path) -> str:
    """The drawing: the replication on the left, the library on the right, upper floors above what they import.

    A line is an import that no chain of other lines implies.

    Args:
        root: of the checkout, with `pyproject.toml` and `src/convrfm`.
    """
    package = root / "src/convrfm"
    left, right = _floors(root / "pyproject.toml")
    start = MARGIN + WIDTHS["replication"] + BETWEEN
    rooms = {
        name: _room(package, name, x + column * (WIDTHS[part] + GAP), MARGIN + STEP * row, WIDTHS[part])
        for part, x, floors in (("replication", MARGIN, left), ("library", start, right))
        for row, floor in enumerate(floors, max(0, len(left) - len(floors)))
        for column, name in enumerate(floor)
    }
    imports = {pair for pair in _imports(package) if set(pair) <= rooms.keys()}
    lines = [_line(rooms[a], rooms[b]) for a, b in sorted(_reduced(imports))]
    boxes = [text for room in rooms.values() for text in _box(room)]
    width = max(room.x + room.width for room in rooms.values()) + MARGIN
    height = max(room.y for room in rooms.values()) + HEIGHT + MARGIN
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" role="img">'
    title = "<title>Rooms of convrfm by floor; lines are imports, which go downwards</title>"
    ground = f'<rect width="{width}" height="{height}" fill="white"/>'
    return "\n".join([head, title, ground, *lines, *boxes, "</svg>\n"])


def _floors(contracts: Path) -> tuple[list[list[str]], list[list[str]]]:
    """Names of the rooms of each floor, from top to bottom, of the replication and of the library."""
    found = tomllib.loads(contracts.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    library, replication = (each["layers"] for each in found if each["type"] == "layers")
    floors = [[room.strip() for room in layer.split("|")] for layer in library]
    return [[f"replication.{room}"] for room in replication], [f for f in floors if not {"__main__", "replication"} & set(f)]


def _room(package: Path, name: str, x: int, y: int, width: int) -> Room:
    path = package.joinpath(*name.split("."))
    file = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    modules = [each for each in path.rglob("*.py") if each.name != "__init__.py"]
    subject = (ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or "").partition("\n")[0]
    return Room(name, re.split(r"[.:;]( |$)", subject)[0], len(modules) or 1, x, y, width)


def _imports(package: Path) -> set[tuple[str, str]]:
    """Pairs of rooms of which the first one imports the second one."""
    found = set()
    for path in package.rglob("*.py"):
        room = _name(".".join(("convrfm", *path.relative_to(package).with_suffix("").parts)))
        for node in executed(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("convrfm."):
                found.add((room, _name(node.module or "")))
    return {(a, b) for a, b in found if a != b}


def _name(module: str) -> str:
    parts = module.split(".")[1:]
    return ".".join(parts[: 2 if parts[0] == "replication" else 1])


def _reduced(pairs: set[tuple[str, str]]) -> set[tuple[str, str]]:
    """The pairs that no chain of others implies; there are no circles."""
    below: dict[str, set[str]] = {a: {b for c, b in pairs if c == a} for a, _ in pairs}

    def reach(room: str) -> set[str]:
        return {far for near in below.get(room, ()) for far in (near, *reach(near))}

    return {(a, b) for a, b in pairs if not any(b in reach(other) for other in below[a] if other != b)}


def _line(upper: Room, lower: Room) -> str:
    """From the lower edge of one room to the upper edge of another one, or from the right edge to the left one."""
    if upper.x < lower.x and upper.width != lower.width:
        ends = (upper.x + upper.width, upper.y + HEIGHT // 2, lower.x, lower.y + HEIGHT // 2)
    else:
        ends = (upper.x + upper.width // 2, upper.y + HEIGHT, lower.x + lower.width // 2, lower.y)
    return '<line x1="{}" y1="{}" x2="{}" y2="{}" stroke="#7d8ab0"/>'.format(*ends)


def _box(room: Room) -> Iterator[str]:
    fill = "#e8ecf7" if room.name.startswith("replication") else "#eef5ea"
    middle = room.x + room.width // 2
    yield (
        f'<rect x="{room.x}" y="{room.y}" width="{room.width}" height="{HEIGHT}" rx="4" fill="{fill}" stroke="#555"/>'
        f'<text x="{middle}" y="{room.y + 15}" text-anchor="middle" font-size="12">{room.name} ({room.modules})</text>'
    )
    for row, text in enumerate(wrap(room.subject, room.width // 6)):
        place = f'x="{middle}" y="{room.y + 30 + 12 * row}"'
        yield f'<text {place} text-anchor="middle" font-size="9.5" fill="#444">{escape(text)}</text>'
