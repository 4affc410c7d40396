"""What differs from the tagged release, and what makes results other than they seem: shown, and no proof of anything wrong."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from importlib.metadata import version
from pathlib import Path
from tempfile import TemporaryDirectory

import yaml

from convrfm.errors import ConfigError
from convrfm.replication.audit.currency import LOCK, changed_modules, differences, listed, lock_of, locked_versions
from convrfm.replication.audit.outcome import Deviation
from convrfm.replication.audit.records import Product, Record
from convrfm.replication.config.presets import Config, Settings, load_settings
from convrfm.replication.plan.table import DRAWS, FIGURES, RUNS
from convrfm.replication.record.closure import import_closure
from convrfm.replication.record.record import CHECKOUT, CODE, ask_git, commit_of, uncommitted_code

__all__ = ["compared_with", "deviations"]

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

CLAIMS = "claims.yaml"


def compared_with() -> str:
    """Say what `deviations` compares with: the release, HEAD where the checkout knows no tag of it, or nothing outside git."""
    tag, commit = f"v{version('convrfm')}", _release()
    if commit is None:
        return "nothing, as the code lies outside git"
    if _tagged():
        return f"the release {tag}"
    return f"commit {commit[:8]} (HEAD), as this checkout has no tag {tag}"


def deviations(project: Path, settings: Settings, products: Iterable[Product]) -> tuple[Deviation, ...]:
    """Find what differs from the release, and which results are other than they seem.

    Args:
        project: the folder of the project, with its presets and its lock unless these are those of the checkout.
        settings: the configuration in force, overrides included.
        products: runs and figures of the results.
    """
    recorded = [(product, product.record) for product in products if product.record is not None]
    release = _release()
    if release is None:
        found = [Deviation("code", "The code lies outside git: nothing could be compared with a release.")]
    else:
        with TemporaryDirectory() as folder:
            released = Path(folder)
            for file in ("config.yaml", f"workflow/presets/{settings.config.preset}.yaml", LOCK):
                if (text := ask_git(CHECKOUT, "show", f"{release}:{file}")) is not None:
                    (released / file).parent.mkdir(parents=True, exist_ok=True)
                    (released / file).write_text(text, encoding="utf-8")
            found = [*_of_settings(released, project, settings), *_of_lock(released, project)]
        found += [*_of_code(release), *_of_commits(release, recorded)]
    return (*found, *_resumed(recorded), *_equal_draws(recorded))


def _tagged() -> str | None:
    tag = f"refs/tags/v{version('convrfm')}^{{commit}}"
    return (ask_git(CHECKOUT, "rev-parse", "--verify", "--quiet", tag) or "").strip() or None


def _release() -> str | None:
    """The commit to compare with; None outside git."""
    head = commit_of(CHECKOUT)
    return None if head is None else _tagged() or head


def _of_settings(released: Path, project: Path, settings: Settings) -> Iterator[Deviation]:
    """The configuration of the release, the same with today's preset, and the one in force, each against the next."""
    presets = Path("workflow") / "presets"
    own = project if (project / presets).is_dir() else CHECKOUT
    try:
        config = {**yaml.safe_load((released / "config.yaml").read_text()), "preset": settings.config.preset}
        today = load_settings(config, own / presets)
        before = load_settings(config, released / presets) if (released / presets).is_dir() else None
    except (ConfigError, OSError) as error:
        yield Deviation("configuration", f"The configuration of the release means nothing to this code: {error}")
        return
    if before is None:
        yield Deviation("preset", f"The release has no preset {settings.config.preset!r}.")
    elif changed := list(_of_presets(before, today)):
        yield Deviation("preset", f"The preset has changed: {listed(changed)}.")
    changed = [*differences(_compared(today.config), _compared(settings.config)), *_of_presets(today, settings)]
    if changed:
        yield Deviation("configuration", f"The configuration differs: {listed(changed)}.")
    asked, given = today.config.seeds, settings.config.seeds
    if asked != given:
        fewer = ", so that intervals rest on fewer draws" if len(given) < len(asked) else ""
        yield Deviation("seeds", f"Seeds were {asked}, and are {given}{fewer}.")


def _compared(config: Config) -> dict[str, object]:
    return config.model_dump(exclude=NO_NUMBER)


def _of_presets(before: Settings, now: Settings) -> Iterator[str]:
    old, new = (each.preset.model_dump(exclude=NO_NUMBER_OF_PRESET) for each in (before, now))
    return differences(old, new)


def _of_lock(released: Path, project: Path) -> Iterator[Deviation]:
    before = released / LOCK
    old, new = (
        {name: " or ".join(sorted(versions)) for name, versions in locked_versions(lock).items()}
        for lock in (before if before.is_file() else None, lock_of(project))
    )
    if changed := list(differences(old, new)):
        yield Deviation("lock", f"Locked versions have changed: {listed(changed)}.")


def _of_code(release: str) -> Iterator[Deviation]:
    """Claims, judges and other code as they lie in the checkout, committed or not."""
    changed = (ask_git(CHECKOUT, "diff", "--name-only", "--no-renames", "-z", release, "--", *CODE) or "").split("\0")
    loose = uncommitted_code(CHECKOUT) or []
    files = sorted({*changed, *loose} - {""})
    for file in files:
        if file.endswith(f"/{CLAIMS}"):
            before = _claims(ask_git(CHECKOUT, "show", f"{release}:{file}"))
            found = list(differences(before, _claims(_text(CHECKOUT / file))))
            yield Deviation("claims", f"{file} has changed: {listed(found) or 'in its words or its order'}.")
    judges = [file for file in files if "/judges/" in file]
    others = [file for file in files if file not in judges and not file.endswith(f"/{CLAIMS}")]
    for what, opening, chosen in (("claims", "Judges that differ", judges), ("code", "Code that differs", others)):
        if chosen:
            names = listed([f"{file} (not committed)" if file in loose else file for file in chosen])
            yield Deviation(what, f"{opening}: {names}.")


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


def _claims(text: str | None) -> dict[str, object]:
    """Claims by their ids; none where they cannot be read, of which the audit itself complains."""
    try:
        return {str(claim["id"]): claim for claim in yaml.safe_load(text or "") or ()}
    except (yaml.YAMLError, KeyError, TypeError):
        return {}


def _of_commits(release: str, recorded: Sequence[tuple[Product, Record]]) -> Iterator[Deviation]:
    """Commits that records name, as far as modules that their jobs import differ there."""
    commits: dict[str | None, list[tuple[Product, Record]]] = defaultdict(list)
    for product, record in recorded:
        commits[record.code.commit].append((product, record))
    for commit, own in sorted(commits.items(), key=lambda item: item[0] or ""):
        named = _counted([product.title for product, _ in own])
        if commit is None:
            yield Deviation("code", f"Made outside git, known by the hash of its code alone: {named}.")
            continue
        if dirty := [product.title for product, record in own if record.code.dirty]:
            yield Deviation("code", f"Made with changes that were not committed, at {commit[:8]}: {_counted(dirty)}.")
        if ask_git(CHECKOUT, "cat-file", "-e", f"{commit}^{{commit}}") is None:
            yield Deviation("code", f"Made at commit {commit[:8]}, which this checkout does not know: {named}.")
            continue
        kinds = [(FIGURES if product.is_figure else RUNS).get(product.kind) for product, _ in own]
        imported = {
            name for job in {kind.job for kind in kinds if kind} for name in import_closure(job.partition(":")[0])
        }
        if modules := sorted(imported & changed_modules(CHECKOUT, commit, release)):
            yield Deviation("code", f"Made at commit {commit[:8]}, where {listed(modules)} differ: {named}.")


def _resumed(recorded: Sequence[tuple[Product, Record]]) -> Iterator[Deviation]:
    if resumed := [product.title for product, record in recorded if record.resumed_from]:
        yield Deviation("resumed", f"Continued from the checkpoints of a job that was stopped: {_counted(resumed)}.")


def _equal_draws(recorded: Sequence[tuple[Product, Record]]) -> Iterator[Deviation]:
    """Draws of several seeds with the same images."""
    draws: dict[tuple[str, str], set[str]] = defaultdict(set)
    for product, record in recorded:
        if product.kind in DRAWS and "arrays" in record.outputs and "seed" in product.keys:
            rest = ",".join(
                f"{key}={value}" for key, value in product.keys.items() if key not in ("seed", "experiment")
            )
            draws[f"{product.kind} ({rest})", record.outputs["arrays"].sha256].add(product.keys["seed"])
    for (what, _), seeds in sorted(draws.items()):
        if len(seeds) > 1:
            yield Deviation("equal draws", f"The draws of seeds {', '.join(sorted(seeds))} are one: {what}.")


def _counted(names: Sequence[str]) -> str:
    return f"{len(names)} of the runs and figures, {listed(names)}"
