"""The drawing of the rooms of this package: their floors, sizes, and imports, as SVG."""

import ast
import tomllib
from collections import Counter
from collections.abc import Iterator
from html import escape
from pathlib import Path

from convrfm.replication.record.closure import executed

__all__ = ["drawing"]

BOX, GAP, LEFT = (148, 34), (14, 20), 12
"""Width and height of a room, the space between rooms and between floors, and the margin, in pixels."""


def drawing(root: Path) -> str:
    """The drawing: a floor for each layer of the contracts on imports, a line for each room that another one imports.

    Args:
        root: of the checkout, with `pyproject.toml` and `src/convrfm`.
    """
    floors = list(_floors(root / "pyproject.toml"))
    sizes, imports = _rooms(root / "src/convrfm")
    step = BOX[0] + GAP[0]
    places = {
        room: (LEFT + step * column, LEFT + (BOX[1] + GAP[1]) * row)
        for row, floor in enumerate(floors)
        for column, room in enumerate(floor)
    }
    width = 2 * LEFT + step * max(map(len, floors)) - GAP[0]
    height = 2 * LEFT + (BOX[1] + GAP[1]) * len(floors) - GAP[1]
    lines = [_line(places[a], places[b]) for a, b in sorted(imports) if a in places and b in places]
    boxes = [text for room, place in places.items() for text in _box(room, place, sizes[room])]
    return "\n".join(
        [
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" role="img">',
            "<title>Rooms of convrfm by floor; lines are imports, which go downwards</title>",
            f'<rect width="{width}" height="{height}" fill="white"/>',
            *lines,
            *boxes,
            "</svg>\n",
        ]
    )


def _floors(contracts: Path) -> Iterator[list[str]]:
    """Rooms of each floor from top to bottom, those of the replication as `replication.figures`."""
    found = tomllib.loads(contracts.read_text(encoding="utf-8"))["tool"]["importlinter"]["contracts"]
    library, replication = (each["layers"] for each in found if each["type"] == "layers")
    yield from ([f"replication.{room}"] for room in replication)
    for layer in library:
        rooms = [room.strip() for room in layer.split("|")]
        if not {"__main__", "replication"} & set(rooms):
            yield rooms


def _rooms(package: Path) -> tuple[Counter[str], set[tuple[str, str]]]:
    """Modules of each room, and the pairs of rooms of which the first one imports the second one."""
    sizes: Counter[str] = Counter()
    imports = set()
    for path in sorted(package.rglob("*.py")):
        room = _room(".".join(("convrfm", *path.relative_to(package).with_suffix("").parts)))
        sizes[room] += path.name != "__init__.py"
        for node in executed(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("convrfm."):
                imports.add((room, _room(node.module or "")))
    return sizes, {(a, b) for a, b in imports if a != b}


def _room(module: str) -> str:
    parts = module.split(".")[1:]
    return ".".join(parts[:2]) if parts[0] == "replication" and len(parts) > 1 else parts[0]


def _line(start: tuple[int, int], end: tuple[int, int]) -> str:
    (x1, y1), (x2, y2) = ((x + BOX[0] // 2, y + BOX[1] // 2) for x, y in (start, end))
    bend = x1 + (abs(y2 - y1) // 3 if x1 == x2 else 0)
    return f'<path d="M{x1} {y1} Q{bend} {(y1 + y2) // 2} {x2} {y2}" fill="none" stroke="#9aa5c4" stroke-width="0.8"/>'


def _box(room: str, place: tuple[int, int], modules: int) -> Iterator[str]:
    (x, y), fill = place, "#e8ecf7" if room.startswith("replication") else "#eef5ea"
    middle = x + BOX[0] // 2
    yield f'<rect x="{x}" y="{y}" width="{BOX[0]}" height="{BOX[1]}" rx="4" fill="{fill}" stroke="#555"/>'
    yield f'<text x="{middle}" y="{y + 15}" text-anchor="middle" font-size="12">{escape(room)}</text>'
    size = f"{modules} module{'s' * (modules != 1)}"
    yield f'<text x="{middle}" y="{y + 28}" text-anchor="middle" font-size="9.5" fill="#555">{size}</text>'
