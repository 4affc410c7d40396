"""The import closure of a module inside this package, and its hash, which stands for the code of a job.

The closure is read from the source text; nothing is imported. Modules named in string literals count as imported, since
backends and jobs are imported by name. The lazy exports of package `__init__` files and imports for type checkers do not.
"""

import ast
import hashlib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import convrfm

__all__ = ["closure_hash", "executed", "import_closure"]

PACKAGE = "convrfm"
ROOT = Path(convrfm.__file__).parent


def _file_of(module: str) -> Path | None:
    """The file of a module of this package; None for everything else."""
    parts = module.split(".")
    if parts[0] != PACKAGE or not module.isprintable() or " " in module:
        return None
    base = ROOT.joinpath(*parts[1:])
    return next((path for path in (base / "__init__.py", base.with_suffix(".py")) if path.is_file()), None)


def executed(node: ast.AST) -> Iterator[ast.AST]:
    """The nodes of a syntax tree, without blocks under `TYPE_CHECKING`."""
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    yield node
    for child in ast.iter_child_nodes(node):
        yield from executed(child)


def _mentioned(path: Path) -> Iterator[str]:
    """Dotted names that a file may import."""
    lazy = path.name == "__init__.py"
    for node in executed(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            yield node.module
            yield from (f"{node.module}.{name.name}" for name in node.names)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and not lazy:
            yield node.value.partition(":")[0]


class _Source(NamedTuple):
    """A module: SHA-256 (hex) of its file, and the modules of this package that it may import, its own package included."""

    sha256: str
    needs: frozenset[str]


@cache
def _source_of(module: str) -> _Source:
    path = _file_of(module)
    if path is None:
        msg = f"{module} is not a module of {PACKAGE}."
        raise ModuleNotFoundError(msg)
    names = {*_mentioned(path), module.rpartition(".")[0]}
    needs = frozenset(name for name in names if _file_of(name) is not None)
    return _Source(hashlib.sha256(path.read_bytes()).hexdigest(), needs)


def import_closure(module: str) -> tuple[str, ...]:
    """The modules of this package that a module needs, itself included, sorted.

    Raises:
        ModuleNotFoundError: there is no such module.
    """
    found: set[str] = set()
    waiting = {module}
    while waiting:
        name = waiting.pop()
        found.add(name)
        waiting |= _source_of(name).needs - found
    return tuple(sorted(found))


def closure_hash(*modules: str) -> str:
    """One SHA-256 (hex) of the source files in the closures of some modules."""
    digest = hashlib.sha256()
    for name in sorted({name for module in modules for name in import_closure(module)}):
        digest.update(f"{name}\0{_source_of(name).sha256}\n".encode())
    return digest.hexdigest()
