"""Generated files: schemas, pages on configuration, data, claims and results, the drawing of the rooms, the conda environment.

python -m convrfm.replication.pages.generate            writes them
python -m convrfm.replication.pages.generate --check    fails if one has drifted from its source
"""

import argparse
import ast
import json
import re
import sys
import tomllib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from textwrap import wrap
from typing import Any, Literal, get_args, get_origin

import yaml
from packaging.requirements import Requirement

from convrfm.datasets.entries import Entry
from convrfm.datasets.registry import CIFAR_WEIGHTS, IMAGE_SETS, WEIGHTS
from convrfm.replication.audit.outcome import document_schema
from convrfm.replication.claims.claims import Claim, load_claims, rebuild_command
from convrfm.replication.claims.evidence import Condition
from convrfm.replication.config.models import Model, as_yaml
from convrfm.replication.config.validation import section_in
from convrfm.replication.figures.printed import PRINTED
from convrfm.replication.figures.style import markdown_table
from convrfm.replication.pages.quoted_numbers import published_builds, quoted, results_page
from convrfm.replication.plan.presets import Config, Preset
from convrfm.replication.record.closure import executed
from convrfm.system.storage import write_bytes

__all__ = ["claims_page", "generated_files", "main"]


def claims_page(claims: Sequence[Claim], header: str) -> str:
    """Write the page on claims, in their order, in Markdown; a header says where it comes from."""
    rows = (
        [claim.id, claim.title, claim.figure or "-", ", ".join(claim.protocols) or "no difference", ", ".join(claim.presets)]
        for claim in claims
    )
    lines = [
        "# Claims",
        "",
        f"<!-- {header} -->",
        "",
        "What the paper says, in our words, and what has to hold for each of its claims to count as reproduced. Bounds were",
        "set before anything was measured; later changes of a condition are listed with its claim. For all claims, since",
        "2026-11-29, a measurement fails only if its whole interval falls short of the bound; before, one whose interval",
        "contained 0 failed. Soft conditions are reported and decide nothing. [audit.md](audit.md) says how verdicts follow.",
        "",
        *markdown_table(["claim", "title", "figure", "protocols", "decidable with"], rows),
    ]
    for claim in claims:
        lines += ["", *_claim_section(claim)]
    return "\n".join(lines) + "\n"


def _claim_section(claim: Claim) -> list[str]:
    lines = [
        f"## {claim.id}: {claim.title}",
        "",
        f"{claim.sentence} ({claim.where})",
        "",
        f"**Condition.** {claim.condition_in_words()}",
        "",
        *markdown_table(["measured", "required", ""], map(_condition_row, claim.conditions.values())),
        "",
        f"**If it fails.** {claim.failure_means}",
        "",
        *(line for change in claim.changes for line in (f"**Changed.** {change}", "")),
        # By the first preset that can decide it.
        f"A decision takes {claim.needs}. Built by `{rebuild_command(claim, claim.presets[0], None)}`.",
    ]
    if claim.printed:
        run = PRINTED[claim.printed]
        rows = (("printed, %", run.accuracy), ("tolerance, points", run.tolerance))
        cells = ([name, *(f"{number:g}" for number in numbers)] for name, numbers in rows)
        lines += ["", *markdown_table(["round", *range(run.rounds)], cells)]
    return lines


def _condition_row(condition: Condition) -> tuple[str, ...]:
    required = "reported only" if condition.soft and condition.bound == "printed" else condition.in_words()
    return condition.quantity, required, "soft" if condition.soft else ""


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
        room = _room_of(".".join(("convrfm", *path.relative_to(package).with_suffix("").parts)))
        for node in executed(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("convrfm."):
                found.add((room, _room_of(node.module or "")))
    return {(a, b) for a, b in found if a != b}


def _room_of(module: str) -> str:
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


HEADER = "Generated by `python -m convrfm.replication.pages.generate`; do not edit."
ENVIRONMENT_PYTHON = "3.12"


def generated_files(root: Path) -> dict[Path, str]:
    """Path and content of every generated file of a checkout."""
    tables: dict[str, Iterable[str]] = {"config": _keys(Config), "preset": _keys(Preset), **_data()}
    return {
        root / "workflow/schemas/config.schema.json": _schema(Config),
        root / "workflow/schemas/preset.schema.json": _schema(Preset),
        root / "workflow/schemas/audit.schema.json": _dumped(document_schema()),
        root / "docs/claims.md": claims_page(load_claims(), HEADER),
        **{folder / "index.md": results_page(folder, HEADER) for folder in published_builds(root)},
        root / "envs/convrfm.yaml": _environment((root / "envs/lock.txt").read_text()),
        root / "docs/images/house.svg": drawing(root),
        # An empty line before and after keeps tables apart from the marks.
        **quoted(root, **{name: "\n".join(("", *lines, "")) for name, lines in tables.items()}),
    }


def _schema(model: type[Model]) -> str:
    return _dumped({"$schema": "https://json-schema.org/draft/2020-12/schema", **model.model_json_schema()})


def _dumped(schema: dict[str, Any]) -> str:
    return json.dumps(schema, indent=2) + "\n"


def _keys(model: type[Model]) -> list[str]:
    return markdown_table(["key", "type", "default", "meaning"], _rows(model, ""))


def _rows(model: type[Model], prefix: str) -> Iterator[tuple[object, ...]]:
    """Rows of the table for all keys of a section; equal sections are shown once, at the first of them."""
    shown: dict[type[Model], str] = {}
    for name, info in model.model_fields.items():
        inner = section_in(info.annotation)
        many = "[]" if inner is not None and info.annotation is not inner else ""
        kind = "section" if inner is not None else _kind(info.annotation)
        if inner in shown:
            kind = f"as `{prefix}{shown[inner]}`"
        default = "required" if info.is_required() else ""
        if not info.is_required() and inner is None:
            default = f"`{as_yaml(info.get_default(call_default_factory=True))}`"
        yield f"`{prefix}{name}{many}`", kind, default, info.description
        if inner is not None and inner not in shown:
            shown[inner] = f"{name}{many}"
            yield from _rows(inner, f"{prefix}{name}{many}.")


def _kind(annotation: Any) -> str:
    """A type in the words of a user."""
    arguments, origin = get_args(annotation), get_origin(annotation)
    if not arguments:
        return {bool: "true / false", int: "integer", float: "number", str: "text"}[annotation]
    if origin is Literal:
        return " / ".join(str(value) for value in arguments)
    if origin is dict:
        return "mapping"
    kind = _kind(arguments[0])
    if origin is not list:  # annotated or optional
        return kind
    return f"list of {kind}" if " / " in kind else f"list of {kind}s"


def _data() -> dict[str, Iterable[str]]:
    images = ["name", "data set", "images", "classes", "shape", "MB", "obtained", "figures", "licence", "source"]
    layouts = ["name", "official layout", "others", "folder of the system", "checksums of"]
    weights = ([e.name, e.required[0], f"{e.megabytes:.0f}", ", ".join(e.figures)] for e in WEIGHTS)
    cifar = ([e.name, e.required[0], f"{e.megabytes:g}", f"{e.accuracy:.2f}", e.source] for e in CIFAR_WEIGHTS)
    return {
        "images": markdown_table(images, map(_data_row, IMAGE_SETS)),
        "layouts": markdown_table(layouts, (_layout_row(entry) for entry in IMAGE_SETS if entry.has_files)),
        "remarks": (f"- **{entry.title}** {entry.notes}" for entry in IMAGE_SETS if entry.notes),
        "steps": (f"- **{e.title}**, into `data_dir/{e.name}/`: {e.steps}" for e in IMAGE_SETS if e.steps),
        "weights": markdown_table(["name", "file", "MB", "figures"], weights),
        "weights-cifar10": markdown_table(["name", "file", "MB", "test accuracy, %", "source"], cifar),
    }


def _data_row(entry: Entry) -> tuple[object, ...]:
    images = ", ".join(f"{split}{'*' * (split in entry.class_sorted)} {n}" for split, n in entry.splits.items())
    size = f"{entry.megabytes:.0f}" if entry.has_files else "-"
    return (
        entry.name, entry.title, images or "as drawn", entry.classes, entry.shape, size, entry.obtained,
        ", ".join(entry.figures) or "-", entry.licence, entry.source,
    )  # fmt: skip


def _layout_row(entry: Entry) -> tuple[str, ...]:
    folders: dict[str, list[str]] = {}
    for path in entry.required:
        folder, _, name = path.rstrip("/").rpartition("/")
        folders.setdefault(f"{folder}/" if folder else "", []).append(name + "/" * path.endswith("/"))
    official = "; ".join(f"`{folder}` {_listed(names)}" if folder else _listed(names) for folder, names in folders.items())
    archives = [remote.checksum for remote in entry.remotes if remote.unpacking is not None]
    known = ["files"] if set(entry.published) == set(entry.required) else ["some files"] if entry.published else []
    known += ["archives"] if archives and all(archives) else []
    known += ["number of images"] if any(path.endswith("/") for path in entry.contents) else []
    others = "; ".join(f"`{layout.form}`" for layout in entry.layouts)
    system = ", ".join(f"`{folder}`" for folder in entry.system_folders)
    return entry.name, official, others or "-", system or "-", ", ".join(known) or "-"


def _listed(names: list[str]) -> str:
    """Names of files; of many that are numbered, the first and the last."""
    numbered = [name for name in names if name.startswith(names[0].rstrip("0123456789"))]
    if len(numbered) > 4:
        names = [f"{numbered[0]} ... {numbered[-1]}", *names[len(numbered) :]]
    return ", ".join(names)


def _environment(lock: str) -> str:
    """The conda environment with the lock's pins, for Python 3.12 on Linux x86-64."""
    target = {
        "python_full_version": f"{ENVIRONMENT_PYTHON}.0", "python_version": ENVIRONMENT_PYTHON, "sys_platform": "linux",
        "platform_machine": "x86_64", "platform_python_implementation": "CPython", "implementation_name": "cpython",
    }  # fmt: skip
    found = [Requirement(line.rstrip(" \\")) for line in lock.splitlines() if line[:1].isalnum()]
    pins = [f"{each.name}{each.specifier}" for each in found if each.marker is None or each.marker.evaluate(target)]
    content = {
        "channels": ["conda-forge", "nodefaults"],
        "dependencies": [f"python={ENVIRONMENT_PYTHON}", "pip", {"pip": pins}],
    }
    return f"# {HEADER}\n# Source: envs/lock.txt.\n" + yaml.safe_dump(content, sort_keys=False)


def main(arguments: list[str] | None = None) -> int:
    """Write the generated files, or check them; returns the exit status."""
    parser = argparse.ArgumentParser(description="Write the generated files of the project.")
    parser.add_argument("--check", action="store_true", help="fail if a file differs from what would be written")
    check = parser.parse_args(arguments).check
    root = Path(__file__).parents[4]
    drifted = {path: text for path, text in generated_files(root).items() if not path.exists() or path.read_text() != text}
    for path, text in ({} if check else drifted).items():
        write_bytes(path, text.encode())
    if drifted:
        names = ", ".join(path.relative_to(root).as_posix() for path in drifted)
        sys.stdout.write(f"{'out of date' if check else 'written'}: {names}\n")
    return 1 if check and drifted else 0


if __name__ == "__main__":
    sys.exit(main())
