"""What has changed: records against today's project (findings), and the project against the tagged release (deviations)."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import yaml
from pydantic_core import to_jsonable_python

from convrfm.errors import ConfigError
from convrfm.replication.audit.judging import all_judges
from convrfm.replication.audit.outcome import Deviation, Finding, State
from convrfm.replication.audit.records import Product, Record
from convrfm.replication.plan.plan import DRAWS, FIGURES, RUNS, FigureKind, Plan, asked_figures
from convrfm.replication.plan.presets import Settings, load_settings
from convrfm.replication.record.closure import closure_hash, import_closure
from convrfm.replication.record.data_states import STATE as DATA_STATE
from convrfm.replication.record.record import CHECKOUT, CODE, ask_git, commit_of, run_keys, uncommitted_code
from convrfm.replication.runs import RunKind

__all__ = [
    "Expected", "asked_for", "changed_modules", "check_currency", "deviations", "expected_of", "find_release", "lock_of",
    "locked_versions",
]  # fmt: skip

LOCK = "envs/lock.txt"
CLAIMS = "/claims.yaml"

MOST_NAMED = 6  # names of modules or keys in one sentence


def differences(before: Any, now: Any, where: str = "") -> Iterator[str]:
    """Each key that differs between two values that may be nested, with both values; `where` is the key that both are of."""
    before, now = to_jsonable_python((before, now))
    lists = isinstance(before, list) and isinstance(now, list) and len(before) == len(now)
    if lists and now and isinstance(now[0], dict):
        for number, pair in enumerate(zip(before, now, strict=True)):
            yield from differences(*pair, f"{where}[{number}]")
    elif isinstance(before, dict) and isinstance(now, dict):
        for key in sorted(before.keys() | now.keys()):
            inner = f"{where}.{key}" if where else key
            if key not in before:
                yield f"{inner} was absent, and is {now[key]!r}"
            elif key not in now:
                yield f"{inner} was {before[key]!r}, and is absent"
            else:
                yield from differences(before[key], now[key], inner)
    elif before != now or isinstance(before, bool) != isinstance(now, bool):
        yield f"{where} was {before!r}, and is {now!r}"


def _listed(parts: Sequence[str]) -> str:
    """Names or sentences, the first few of them, and how many more there are."""
    more = len(parts) - MOST_NAMED
    return "; ".join(parts[:MOST_NAMED]) + (f"; and {more} more" if more > 0 else "")


class Expected:
    """What a plan asks of a run or figure: its job, its settings, its files by input, and `inputs` by name as in records."""

    def __init__(self, of: RunKind | FigureKind, plan: Plan, keys: Mapping[str, str]) -> None:
        self.job = of.job
        self.settings = of.settings(plan, keys)
        self.files = {name: files(plan, keys) for name, files in of.inputs.items()}
        self.inputs = {f"{name}/{i}": path for name, paths in self.files.items() for i, path in enumerate(paths)}


def expected_of(product: Product, plan: Plan) -> Expected | None:
    """What a plan asks of a run or figure; None if it knows no such thing."""
    of = (FIGURES if product.is_figure else RUNS).get(product.kind)
    try:
        return None if of is None else Expected(of, plan, product.keys)
    except (KeyError, ValueError, StopIteration, IndexError):
        # A task, a network or a number that the configuration does not have.
        return None


def asked_for(plan: Plan) -> set[str]:
    """Names of the runs and figures that a plan asks for: its figures, and all runs behind them, built or not.

    Figures that `all` leaves out, and that are built by their names, count as asked for.
    """
    waiting: list[tuple[str, RunKind | FigureKind, Mapping[str, str]]] = []
    for figure, protocol in asked_figures(plan, by_name=True):
        waiting.append((f"{plan.results}/figures/{protocol}/{figure}", FIGURES[figure], {"protocol": protocol}))
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


def check_currency(file: str, record: Record, expected: Expected, locked: Mapping[str, set[str]]) -> Iterator[Finding]:
    """Compare the record in a file with configuration, code and environment."""
    # States of data change with each look at the data.
    recorded = {(name, described.path) for name, described in record.made_from.items()}
    asked = {(name, path) for name, path in expected.inputs.items() if Path(path).name != DATA_STATE}
    inputs = [f"without {path} as {name!r}" for name, path in sorted(asked - recorded)]
    inputs += [f"from {path} as {name!r}, which it does not need" for name, path in sorted(recorded - asked)]
    # A build of the same version for other hardware, such as `2.11.0+cpu`, is the same version.
    packages = [
        f"{name} was {found}, and is locked to {' or '.join(sorted(locked[name]))}"
        for name, found in sorted(record.packages.items())
        if name in locked and found.partition("+")[0] not in locked[name]
    ]
    settings = list(differences(record.settings, expected.settings))
    for opening, changes in (
        ("The configuration has changed: ", settings), ("It was made ", inputs), ("", list(_code(record, expected))),
        ("The environment has changed: ", packages),
    ):  # fmt: skip
        if changes:
            yield Finding(State.STALE, file, f"{opening}{_listed(changes)}.")


def _code(record: Record, expected: Expected) -> Iterator[str]:
    module = expected.job.partition(":")[0]
    if record.job != expected.job:
        yield f"It was made by {record.job}, and is made by {expected.job} now"
    elif record.code.closure != closure_hash(module):
        commit = record.code.commit
        changed = sorted({*import_closure(module)} & changed_modules(CHECKOUT, commit)) if commit else []
        doubt = ", beside changes that were not committed" if record.code.dirty else ""
        named = f"Code has changed since commit {str(commit)[:8]}{doubt}: {_listed(changed)}"
        yield named if changed else f"The code of {module}, or what it imports, has changed"


@cache
def changed_modules(checkout: Path, commit: str, until: str | None = None) -> frozenset[str]:
    """Modules of a checkout that differ between a commit and another, or the files as they are; none if git lacks it."""
    commits = [commit] if until is None else [commit, until]
    names = ask_git(checkout, "diff", "--name-only", *commits, "--", "src") or ""
    parts = [Path(line).with_suffix("").parts[1:] for line in names.splitlines() if line.endswith(".py")]
    return frozenset(".".join(part[:-1] if part[-1] == "__init__" else part) for part in parts)


def lock_of(project: Path) -> str:
    """The lock of a project; if it has none, as with `snakemake --directory`, that of the checkout whose code this is."""
    return next(((root / LOCK).read_text() for root in (project, CHECKOUT) if (root / LOCK).exists()), "")


def locked_versions(lock: str) -> dict[str, set[str]]:
    """Read the versions of a lock, by package; several where they depend on the Python."""
    versions: dict[str, set[str]] = defaultdict(set)
    for line in lock.splitlines():
        if match := re.match(r"([A-Za-z0-9_.-]+)==([^\s;\\]+)", line):
            versions[match[1].lower().replace("_", "-")].add(match[2].partition("+")[0])
    return dict(versions)


# Deviations.

NO_NUMBER = {
    "preset",  # stands at the top of every page; its content is compared
    "protocol",  # stands beside every verdict
    "memory_mb",  # sizes of tiles, which change no bit
    "data_dir", "data_mirror", "data_folders", "assume_data",  # places; files are known by their hashes
    "seeds", "overrides",  # compared by themselves
}  # fmt: skip
"""Keys of `config.yaml` that are not compared as such."""

NO_NUMBER_OF_PRESET = {"costs", "split"}
"""What jobs ask a scheduler for, and over how many jobs a fit is spread, to the same bits."""

Recorded = Sequence[tuple[Product, Record]]


def find_release() -> tuple[str | None, str]:
    """The commit to compare with, and what it is in words: the release, HEAD if it has no tag here, or None outside git."""
    tag, head = f"v{version('convrfm')}", commit_of(CHECKOUT)
    if head is None:
        return None, "nothing, as the code lies outside git"
    tagged = ask_git(CHECKOUT, "rev-parse", "--verify", "--quiet", f"refs/tags/{tag}^{{commit}}")
    if tagged:
        return tagged.strip(), f"the release {tag}"
    return head, f"commit {head[:8]} (HEAD), as this checkout has no tag {tag}"


def deviations(project: Path, settings: Settings, products: Iterable[Product]) -> tuple[Deviation, ...]:
    """Find what differs from the release, and which results are other than they seem.

    The settings are those in force, overrides included. A project without presets or lock has those of the checkout.
    """
    recorded = [(product, product.record) for product in products if product.record is not None]
    release, _ = find_release()
    if release is None:
        found = [Deviation("code", "The code lies outside git: nothing could be compared with a release.")]
    else:
        with TemporaryDirectory() as folder:
            released = Path(folder)
            for file in ("config.yaml", f"workflow/presets/{settings.config.preset}.yaml"):
                if (text := ask_git(CHECKOUT, "show", f"{release}:{file}")) is not None:
                    (released / file).parent.mkdir(parents=True, exist_ok=True)
                    (released / file).write_text(text, encoding="utf-8")
            found = [*_of_settings(released, project, settings)]
            old, new = (
                {name: " or ".join(sorted(versions)) for name, versions in locked_versions(lock or "").items()}
                for lock in (ask_git(CHECKOUT, "show", f"{release}:{LOCK}"), lock_of(project))
            )
        if changed := list(differences(old, new)):
            found.append(Deviation("lock", f"Locked versions have changed: {_listed(changed)}."))
        found += [*_of_code(release), *_of_commits(release, recorded)]
    if resumed := [product.title for product, record in recorded if record.resumed_from]:
        text = f"Continued from the checkpoints of a job that was stopped: {_counted(resumed)}."
        found.append(Deviation("resumed", text))
    return (*found, *_equal_draws(recorded))


def _of_settings(released: Path, project: Path, settings: Settings) -> Iterator[Deviation]:
    """The configuration of the release, the same with today's preset, and the one in force, each against the next."""
    presets = Path("workflow") / "presets"
    own = project if (project / presets).is_dir() else CHECKOUT
    try:
        config = {**yaml.safe_load((released / "config.yaml").read_text()), "preset": settings.config.preset}
        today = load_settings(config, own / presets)
        before = load_settings(config, released / presets) if (released / presets).is_dir() else None
    except (ConfigError, OSError) as error:
        yield Deviation("configuration", f"The configuration of the release is invalid for this code: {error}")
        return
    if before is None:
        yield Deviation("preset", f"The release has no preset {settings.config.preset!r}.")
    elif changed := list(_of_presets(before, today)):
        yield Deviation("preset", f"The preset has changed: {_listed(changed)}.")
    old, new = (each.config.model_dump(exclude=NO_NUMBER) for each in (today, settings))
    if changed := [*differences(old, new), *_of_presets(today, settings)]:
        yield Deviation("configuration", f"The configuration differs: {_listed(changed)}.")
    asked, given = today.config.seeds, settings.config.seeds
    if asked != given:
        fewer = ": intervals rest on fewer draws" if len(given) < len(asked) else ""
        yield Deviation("seeds", f"Seeds were {asked}, and are {given}{fewer}.")


def _of_presets(before: Settings, now: Settings) -> Iterator[str]:
    old, new = (each.preset.model_dump(exclude=NO_NUMBER_OF_PRESET) for each in (before, now))
    return differences(old, new)


def _of_code(release: str) -> Iterator[Deviation]:
    """Claims, judges and other code as they are in the checkout, committed or not."""
    changed = (ask_git(CHECKOUT, "diff", "--name-only", "--no-renames", "-z", release, "--", *CODE) or "").split("\0")
    loose = uncommitted_code(CHECKOUT) or []
    files = sorted({*changed, *loose} - {""})
    for file in [file for file in files if file.endswith(CLAIMS)]:
        now = (CHECKOUT / file).read_text(encoding="utf-8") if (CHECKOUT / file).is_file() else None
        found = list(differences(_claims(ask_git(CHECKOUT, "show", f"{release}:{file}")), _claims(now)))
        yield Deviation("claims", f"{file} has changed: {_listed(found) or 'in its words or its order'}.")
    modules = {judge.__module__ for judges in all_judges().values() for judge in judges.functions.values()}
    judging = {f"src/{module.replace('.', '/')}.py" for module in modules}
    judges = [file for file in files if file in judging]
    others = [file for file in files if file not in judging and not file.endswith(CLAIMS)]
    for what, opening, chosen in (("claims", "Modules with judges that differ", judges), ("code", "Code that differs", others)):
        if chosen:
            names = _listed([f"{file} (not committed)" if file in loose else file for file in chosen])
            yield Deviation(what, f"{opening}: {names}.")


def _claims(text: str | None) -> dict[str, object]:
    """Claims by their ids; none if they cannot be read, of which the audit itself complains."""
    try:
        return {str(claim["id"]): claim for claim in yaml.safe_load(text or "") or ()}
    except (yaml.YAMLError, KeyError, TypeError):
        return {}


def _of_commits(release: str, recorded: Recorded) -> Iterator[Deviation]:
    """Commits that records name, as far as modules that their jobs import differ there."""
    commits: dict[str, list[tuple[Product, Record]]] = defaultdict(list)
    for product, record in recorded:
        commits[record.code.commit or ""].append((product, record))
    for commit, own in sorted(commits.items()):
        named = _counted([product.title for product, _ in own])
        if not commit:
            yield Deviation("code", f"Made outside git, known by the hash of its code alone: {named}.")
            continue
        if dirty := [product.title for product, record in own if record.code.dirty]:
            yield Deviation("code", f"Made with changes that were not committed, at {commit[:8]}: {_counted(dirty)}.")
        if ask_git(CHECKOUT, "cat-file", "-e", f"{commit}^{{commit}}") is None:
            yield Deviation("code", f"Made at commit {commit[:8]}, which this checkout does not know: {named}.")
            continue
        kinds = [(FIGURES if product.is_figure else RUNS).get(product.kind) for product, _ in own]
        jobs = {kind.job.partition(":")[0] for kind in kinds if kind}
        imported = {name for job in jobs for name in import_closure(job)}
        if modules := sorted(imported & changed_modules(CHECKOUT, commit, release)):
            yield Deviation("code", f"Made at commit {commit[:8]}, where {_listed(modules)} differ: {named}.")


def _equal_draws(recorded: Recorded) -> Iterator[Deviation]:
    draws: dict[tuple[str, str], set[str]] = defaultdict(set)
    for product, record in recorded:
        if product.kind in DRAWS and "arrays" in record.outputs and "seed" in product.keys:
            rest = [f"{key}={value}" for key, value in product.keys.items() if key not in ("seed", "experiment")]
            what = f"{product.kind} ({','.join(rest)})"
            draws[what, record.outputs["arrays"].sha256].add(product.keys["seed"])
    for (what, _), seeds in sorted(draws.items()):
        if len(seeds) > 1:
            yield Deviation("equal draws", f"The draws of seeds {', '.join(sorted(seeds))} are one: {what}.")


def _counted(names: Sequence[str]) -> str:
    return f"{len(names)} of the runs and figures, {_listed(names)}"
