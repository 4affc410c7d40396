"""Whether records are of today's project: its configuration, its code and its environment."""

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from convrfm.datasets.places import STATE as DATA_STATE
from convrfm.errors import ConfigError
from convrfm.replication.audit.outcome import Finding, State
from convrfm.replication.audit.records import Product, Record
from convrfm.replication.config.presets import Settings, load_settings, read_yaml
from convrfm.replication.plan.plan import Plan
from convrfm.replication.plan.table import FIGURES, RUNS, FigureKind, asked_figures
from convrfm.replication.record.closure import closure_hash, import_closure
from convrfm.replication.record.record import CHECKOUT, ask_git, run_keys
from convrfm.replication.runs.kinds import RunKind

__all__ = [
    "LOCK", "Expected", "asked_for", "changed_modules", "check_currency", "differences", "expected_of", "listed", "lock_of",
    "locked_versions", "settings_of",
]  # fmt: skip

LOCK = "envs/lock.txt"

MOST_NAMED = 6
"""Names of modules or keys in one sentence."""


def settings_of(project: Path, preset: str) -> Settings:
    """The configuration of a project, with a preset that its `config.yaml` may not name itself.

    Raises:
        ConfigError: it is wrong, or there is no such preset.
    """
    path = project / "config.yaml"
    content = read_yaml(path, str(path))
    if not isinstance(content, dict):
        msg = f"{path} must be a mapping of keys to values; see docs/configuration.md."
        raise ConfigError(msg)
    return load_settings({**content, "preset": preset}, project / "workflow" / "presets")


class Expected:
    """What a plan asks of one run or figure.

    Attributes:
        job: the library function.
        settings: its slice of the configuration.
        names: of its inputs, those without files as well.
        inputs: files by name, numbered as records do.
    """

    def __init__(self, of: RunKind | FigureKind, plan: Plan, keys: Mapping[str, str]) -> None:
        self.job = of.job
        self.names = tuple(of.inputs)
        self.settings = of.settings(plan, keys)
        self.inputs = {
            f"{name}/{i}": path for name, files in of.inputs.items() for i, path in enumerate(files(plan, keys))
        }


def expected_of(product: Product, plan: Plan) -> Expected | None:
    """What a plan asks of a run or figure; None where it knows no such thing."""
    of = (FIGURES if product.is_figure else RUNS).get(product.kind)
    if of is None:
        return None
    try:
        return Expected(of, plan, product.keys)
    except (KeyError, ValueError, StopIteration, IndexError):
        # A task, a network or a number that the configuration does not have.
        return None


def asked_for(plan: Plan) -> set[str]:
    """Names of the runs and figures that a plan asks for: its figures, and all that they stand on, built or not.

    The figure that `all` leaves out in some presets, and that is built by its name, counts as asked for.
    """
    figures = set(asked_figures(plan)) | {("beyond", protocol) for protocol in plan.settings.protocols}
    waiting: list[tuple[str, RunKind | FigureKind, Mapping[str, str]]] = [
        (f"{plan.results}/figures/{protocol}/{figure}", FIGURES[figure], {"protocol": protocol})
        for figure, protocol in sorted(figures)
    ]
    found: set[str] = set()
    while waiting:
        name, of, keys = waiting.pop()
        if name in found:
            continue
        found.add(name)
        for file in Expected(of, plan, keys).inputs.values():
            folder = Path(file).parent
            if folder.is_relative_to(plan.results):
                own = run_keys(folder)
                waiting.append((folder.as_posix(), RUNS[own["experiment"]], own))
    return found


def check_currency(product: Product, expected: Expected, locked: Mapping[str, set[str]]) -> Iterator[Finding]:
    """Compare the record of a run or figure with configuration, code and environment.

    Args:
        product: whose record.
        expected: what the plan asks of it.
        locked: from `locked_versions`.
    """
    record = product.record
    if record is None:
        return
    for found in (
        _settings(record, expected), _inputs(record, expected), _code(record, expected), _packages(record, locked),
    ):  # fmt: skip
        if found is not None:
            yield Finding(State.STALE, product.record_file, found)


def _settings(record: Record, expected: Expected) -> str | None:
    found = list(differences(record.settings, expected.settings))
    return f"The configuration has changed: {listed(found)}." if found else None


def _plain(value: Any) -> Any:
    """A value as it comes back from JSON."""
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, (list, tuple)) else value


def differences(before: Any, now: Any, where: str = "") -> Iterator[str]:
    """Each key that differs between two values that may be nested, with both values.

    Args:
        before: one of them.
        now: the other.
        where: key that both are of; empty at the top.
    """
    before, now = _plain(before), _plain(now)
    lists = isinstance(before, list) and isinstance(now, list) and len(before) == len(now)
    if lists and now and isinstance(now[0], dict):
        for number, pair in enumerate(zip(before, now, strict=True)):
            yield from differences(*pair, f"{where}[{number}]")
    elif isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            inner = f"{where}.{key}" if where else key
            if key not in before:
                yield f"{inner} was not there, and is {now[key]!r}"
            elif key not in now:
                yield f"{inner} was {before[key]!r}, and is no longer there"
            else:
                yield from differences(before[key], now[key], inner)
    elif before != now or isinstance(before, bool) != isinstance(now, bool):
        yield f"{where} was {before!r}, and is {now!r}"


def _inputs(record: Record, expected: Expected) -> str | None:
    """What it was made from, by path; states of data come and go with each look at them."""
    recorded = {(name, described.path) for name, described in record.made_from.items()}
    asked = {(name, path) for name, path in expected.inputs.items() if Path(path).name != DATA_STATE}
    changes = [f"without {path} as {name!r}" for name, path in sorted(asked - recorded)]
    changes += [f"from {path} as {name!r}, which it does not need" for name, path in sorted(recorded - asked)]
    return f"It was made {listed(changes)}." if changes else None


def _code(record: Record, expected: Expected) -> str | None:
    if record.job != expected.job:
        return f"It was made by {record.job}, and is made by {expected.job} now."
    module = expected.job.partition(":")[0]
    if record.code.closure == closure_hash(module):
        return None
    own = set(import_closure(module))
    changed = sorted(own & changed_modules(CHECKOUT, record.code.commit)) if record.code.commit else []
    if not changed:
        return f"The code of {module}, or what it imports, has changed."
    doubt = ", beside changes that were not committed" if record.code.dirty else ""
    return f"Code has changed since commit {str(record.code.commit)[:8]}{doubt}: {listed(changed)}."


@cache
def changed_modules(checkout: Path, commit: str, until: str | None = None) -> frozenset[str]:
    """Modules of a checkout that differ between a commit and another, or the files there; none where git knows no such commit.

    Args:
        checkout: the folder.
        commit: from a record, hex.
        until: the other commit; None for the files as they lie there.
    """
    commits = [commit] if until is None else [commit, until]
    names = ask_git(checkout, "diff", "--name-only", *commits, "--", "src") or ""
    parts = [Path(line).with_suffix("").parts[1:] for line in names.splitlines() if line.endswith(".py")]
    return frozenset(".".join(part[:-1] if part[-1] == "__init__" else part) for part in parts)


def _packages(record: Record, locked: Mapping[str, set[str]]) -> str | None:
    """A build of the same version for other hardware, such as `2.11.0+cpu`, is the same version."""
    changes = [
        f"{name} was {version}, and is locked to {' or '.join(sorted(locked[name]))}"
        for name, version in sorted(record.packages.items())
        if name in locked and version.partition("+")[0] not in locked[name]
    ]
    return f"The environment has changed: {listed(changes)}." if changes else None


def lock_of(project: Path) -> Path | None:
    """The lock of a project; where it has none, as with `snakemake --directory`, that of the checkout whose code this is."""
    return next((root / LOCK for root in (project, CHECKOUT) if (root / LOCK).exists()), None)


def locked_versions(lock: Path | None) -> dict[str, set[str]]:
    """Read the versions of `envs/lock.txt`, by package; several where they depend on the Python, none without a lock."""
    versions: dict[str, set[str]] = {}
    if lock is None:
        return versions
    for line in lock.read_text().splitlines():
        if match := re.match(r"([A-Za-z0-9_.-]+)==([^\s;\\]+)", line):
            versions.setdefault(match[1].lower().replace("_", "-"), set()).add(match[2].partition("+")[0])
    return versions


def listed(parts: Sequence[str]) -> str:
    """Names or sentences, the first few of them, and how many more there are."""
    more = len(parts) - MOST_NAMED
    return "; ".join(parts[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")
