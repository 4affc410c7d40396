"""One audit, from the files of a results folder to the page about them; and results of other machines, taken in after it."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import joblib

from convrfm.errors import ConfigError, ConvRFMError, InputError, StorageError
from convrfm.replication.audit.changes import deviations, find_release
from convrfm.replication.audit.crate import CODECHECK_FILE, CRATE_FILE, codecheck_of, crate_of
from convrfm.replication.audit.integrity import check_integrity
from convrfm.replication.audit.judging import judge
from convrfm.replication.audit.outcome import Audit, Finding, State, as_document, summary
from convrfm.replication.audit.page import render_page
from convrfm.replication.audit.records import PARTS, Product, files_in, remove, strange_file
from convrfm.replication.audit.replay import Choice, choose, coverage_of, replay
from convrfm.replication.config.validation import read_yaml
from convrfm.replication.plan.plan import Plan, recorded_state
from convrfm.replication.plan.presets import Settings, load_settings
from convrfm.replication.record.received import open_result, received_record
from convrfm.replication.record.record import figure_records, run_records
from convrfm.replication.record.session import Job
from convrfm.system.storage import explained_writes, sha256, write_bytes, write_json

__all__ = ["UntrustedError", "audit", "audit_folder", "audit_job", "import_folder", "write_audit"]


# Here, as a change of convrfm.errors makes every run stale.
class UntrustedError(ConvRFMError):
    """An audit has found that results cannot be trusted."""


def audit(
    project: Path, settings: Settings, choice: Choice, *, cores: int, place: Path | None = None
) -> tuple[Audit, tuple[Product, ...], dict[str, bytes]]:
    """Judge the results of a preset, check their integrity, and compute a part of them again; none of them is changed.

    Results that wait to be taken in lie in `place` instead of the project.

    Returns:
        What was found, the runs and figures, and the pictures of figures as drawn here, PNG by file.
    """
    preset = settings.config.preset
    plan = Plan(settings, recorded_state(settings, project))
    where = place or project
    checked = check_integrity(project, plan, place=place)
    judgements = judge(where / plan.results, preset, settings.protocols)
    chosen = choose(choice, judgements, checked.products, checked.sound, checked.root)
    replayed = list(replay(project, where, plan, chosen, cores))
    replays = tuple(each.replay for each in replayed)
    coverage = coverage_of(judgements, checked.products, replays)
    deviating = deviations(project, settings, checked.products)
    found = Audit(
        preset, plan.results, judgements, coverage, checked.findings, replays, deviating, find_release()[1], checked.checked,
        checked.root, choice.beacon,
    )  # fmt: skip
    pictures = {f"{each.replay.name}.png": each.picture for each in replayed if each.picture is not None}
    return found, checked.products, pictures


def write_audit(project: Path, found: Audit, products: Sequence[Product], pictures: Mapping[str, bytes]) -> Path:
    """Write page, JSON, CODECHECK and crate into the folder of the results; gives the path of the page.

    Raises:
        InputError: the folder of the page is a link.
        StorageError: the folder is read-only or the disk is full.
    """
    folder = project / found.results / "audit"
    if folder.is_symlink():
        msg = f"{folder} is a link, and nothing is written through links: remove it."
        raise InputError(msg)
    made = datetime.now(UTC).replace(microsecond=0)
    page = folder / "index.html"
    write_bytes(page, render_page(project, found, products, made, pictures).encode("utf-8", "replace"))
    write_json(folder / "audit.json", as_document(found, made))
    write_bytes(project / found.results / CODECHECK_FILE, codecheck_of(project, found, products, made).encode())
    # Last, since it lists the others.
    write_json(project / found.results / CRATE_FILE, crate_of(project, found, products, made))
    return page


def audit_folder(results: Path, choice: Choice, cores: int | None) -> Audit:
    """Audit a folder of results by its path, write the page and print a summary: `convrfm audit`; with all cores for None.

    Raises:
        InputError: no such folder, not in a project, or no such claim.
        ConfigError: the configuration of the project is wrong.
    """
    results = results.absolute()  # it may be a link to where there is room
    if not results.is_dir():
        msg = f"{results} is not a folder: name a folder of results, such as results/quick."
        raise InputError(msg)
    project = results.parents[1]
    if results.parent.name != "results" or not _is_project(project):
        msg = (
            f"{results} is not results/<preset> of a project with config.yaml and workflow/presets, which say what the "
            "results should be: move it there, or take in single runs of another machine with `convrfm import-results`."
        )
        raise InputError(msg)
    return _audit(project, _settings_of(project, results.name), choice, cores)


def audit_job(job: Job) -> None:
    """The same as a job of the workflow, in the folder that Snakemake works in.

    The page is no output of the job: Snakemake deletes what a failed job has written, and takes what exists for done.

    Raises:
        UntrustedError: the results cannot be trusted; the page is written, and the summary printed.
    """
    presets = Path(job.settings["root"]) / "workflow" / "presets"
    found = _audit(Path(), load_settings(job.settings["config"], presets), Choice(), job.threads)
    if not found.trusted:
        msg = f"{found.results} cannot be trusted: see the findings above, or on the page."
        raise UntrustedError(msg)


def _audit(project: Path, settings: Settings, choice: Choice, cores: int | None) -> Audit:
    found, products, pictures = audit(project, settings, choice, cores=cores or joblib.cpu_count())
    return _printed(found, str(write_audit(project, found, products, pictures)))


def _printed(found: Audit, page: str | None) -> Audit:
    sys.stdout.write("\n".join(summary(found, page)) + "\n")
    sys.stdout.flush()
    return found


def _is_project(folder: Path) -> bool:
    return (folder / "config.yaml").is_file() and (folder / "workflow" / "presets").is_dir()


def _settings_of(project: Path, preset: str) -> Settings:
    """The configuration of a project, with a preset that its `config.yaml` may not name itself."""
    path = project / "config.yaml"
    content = read_yaml(path, str(path))
    if not isinstance(content, dict):
        msg = f"{path} must be a mapping of keys to values; see docs/configuration.md."
        raise ConfigError(msg)
    return load_settings({**content, "preset": preset}, project / "workflow" / "presets")


# Results computed elsewhere, on a cluster or a GPU. None reaches `results/<preset>` before everything has been checked, in a
# copy beside it: what is checked is what is taken in.

METADATA = Path(".snakemake") / "metadata"  # where Snakemake keeps what it knows of the files that it has made


def import_folder(folder: Path, choice: Choice, cores: int | None) -> Audit:
    """Take what was `results/<preset>` on another machine into the project of the working folder: `convrfm import-results`.

    The configuration is that of the project but for the preset, which the records say. Files that the project has already with
    the same content are left alone; a file with other content is never replaced, but found. Times of files are set in the
    order in which they follow from each other, which is what Snakemake goes by.

    Returns:
        The audit of the folder. Everything was taken in if it is `trusted`, and nothing else; `checked` then says how many
        files were "taken in", and how many were "there already".

    Raises:
        InputError: no such folder, the working folder is no project, or the records say no preset, or one that it lacks.
        ConfigError: the configuration of the project is wrong.
        StorageError: the disk is full, or the folder may not be written to.
    """
    if not folder.is_dir():
        msg = f"{folder} is not a folder: name what was results/<preset> on the other machine."
        raise InputError(msg)
    if not _is_project(Path.cwd()):
        msg = f"{Path.cwd()} has no config.yaml and workflow/presets: run this in the folder of the project."
        raise InputError(msg)
    return _printed(_imported(folder, Path.cwd(), choice, cores or joblib.cpu_count()), None)


def _imported(folder: Path, project: Path, choice: Choice, cores: int) -> Audit:
    files = files_in(folder)
    strange = []
    if not any((folder / part).is_dir() and not (folder / part).is_symlink() for part in PARTS):
        lacks = f"It has neither of the folders {' and '.join(PARTS)}: it is not what results/<preset> was."
        strange.append(Finding(State.MISSING, folder.as_posix(), lacks, "Give the folder that holds them."))
    # Links may lead anywhere.
    for file in files:
        strange += strange_file(folder, file, "Put the file itself in its place, or remove it.")
    # Only after that is anything read: a pipe would never end.
    preset = folder.name if strange else _preset_of(folder, project / "workflow" / "presets")
    results = f"results/{preset}"
    refused = Audit(preset, results, (), (), tuple(strange), (), (), "nothing", {}, "", "")
    if strange:
        return refused
    settings = _settings_of(project, preset)
    with explained_writes(project / results):
        (project / results).mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".tmp-import-", dir=project / "results"))
    try:
        size, free = sum((folder / file).lstat().st_size for file in files), shutil.disk_usage(staging).free
        if size > free:
            msg = f"The files in {folder} have {size / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free in the project: free some."
            raise StorageError(msg)
        for file in files:
            _copy(folder, file, staging / results / file)
        if conflicts := tuple(_conflicts(staging, project, results)):
            return replace(refused, findings=conflicts)
        found, products, _ = audit(project, settings, choice, cores=cores, place=staging)
        taken = _take_in(staging, project, products) if found.trusted else {}
        # Remedies are for the machine that the results came from.
        remedy = "On the machine that computed it: {}. Then import it again."
        findings = [replace(each, remedy=remedy.format(each.remedy.rstrip("."))) for each in found.findings]
        return replace(found, findings=tuple(findings), checked=found.checked | taken)
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _preset_of(folder: Path, presets: Path) -> str:
    """The preset that most records name; those that name another are found to be of another place."""
    named = Counter[str]()
    for path in [*run_records(folder), *figure_records(folder)]:
        try:
            outputs = received_record(folder, path.relative_to(folder).as_posix())["outputs"].values()
            named.update({match[1] for file in outputs if (match := re.match(r"results/([^/]+)/", file["path"]))})
        except (OSError, ValueError, AttributeError, KeyError, TypeError):
            continue  # which the checks of the audit will say
    if not named:
        msg = f"No record in {folder} names its preset: there is nothing to take in."
        raise InputError(msg)
    ((preset, _),) = named.most_common(1)
    known = sorted(file.stem for file in presets.glob("*.yaml"))
    if preset not in known:
        msg = f"The records in {folder} are of the preset {preset!r}, but this project has {', '.join(known)}."
        raise InputError(msg)
    return preset


def _copy(folder: Path, file: str, target: Path) -> None:
    """Copy a file as it is now: not one that has just replaced it, and no more of it than it has."""
    with explained_writes(target), open_result(folder, file) as content:
        target.parent.mkdir(parents=True, exist_ok=True)
        left = os.fstat(content.fileno()).st_size
        with target.open("xb") as copy:
            while chunk := content.read(min(left, 2**20)):
                copy.write(chunk)
                left -= len(chunk)


def _conflicts(staging: Path, project: Path, results: str) -> Iterator[Finding]:
    """Find files that are in the project already, with other content."""
    for path in sorted((staging / results).rglob("*")):
        file = path.relative_to(staging).as_posix()
        own = project / file
        if path.is_file() and os.path.lexists(own) and not (own.is_file() and sha256(own) == sha256(path)):
            found = "It is in the project already, with other content; nothing was replaced."
            yield Finding(State.STALE, file, found, f"{remove(file)}, if it is not wanted, and import again.")


def _take_in(staging: Path, project: Path, products: Sequence[Product]) -> dict[str, int]:
    """Move checked files to their places, each in one step, the record of each run last."""
    first, taken, there = time.time() - len(products) - 1, list[str](), 0
    for number, product in enumerate(products):
        for file in (*product.files.values(), product.record_file):
            target = project / file
            if target.exists():
                there += 1
                continue
            with explained_writes(target):
                target.parent.mkdir(parents=True, exist_ok=True)
                os.utime(staging / file, (first + number, first + number))
                (staging / file).replace(target)
            taken.append(file)
    _forget(project, taken)
    return {"taken in": len(taken), "there already": there}


def _forget(project: Path, files: list[str]) -> None:
    """Have Snakemake forget what it knows of earlier files of these names, whose code and settings were others."""
    if not files or not (project / METADATA).is_dir():
        return
    command = [str(Path(sys.executable).with_name("snakemake")), "--cleanup-metadata", *files]
    done = subprocess.run(command, cwd=project, capture_output=True, encoding="utf-8", check=False)
    # It fails if it knows nothing of one of them, after it has forgotten the others.
    if done.returncode != 0 and "metadata was not present" not in done.stderr:
        reason = (done.stderr.strip().splitlines() or ["it did not say why"])[-1]
        msg = f"Snakemake remembers earlier files of the same names ({reason}): when it has ended, remove {METADATA}."
        raise StorageError(msg)
