"""One audit, from the files of a results folder to the page about them."""

import sys
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path

import joblib

from convrfm.errors import ConvRFMError, InputError
from convrfm.replication.audit.coverage import Choice, choose, coverage_of
from convrfm.replication.audit.crate import CODECHECK_FILE, CRATE_FILE, codecheck_of, crate_of
from convrfm.replication.audit.currency import settings_of
from convrfm.replication.audit.deviations import compared_with, deviations
from convrfm.replication.audit.document import as_document
from convrfm.replication.audit.importing import import_results
from convrfm.replication.audit.integrity import check_integrity
from convrfm.replication.audit.outcome import Audit
from convrfm.replication.audit.page import render_page
from convrfm.replication.audit.replay import replay
from convrfm.replication.audit.summary import summary
from convrfm.replication.claims.claims import load_claims
from convrfm.replication.claims.judging import judge
from convrfm.replication.config.presets import Settings, load_settings
from convrfm.replication.plan.plan import Plan, recorded_state
from convrfm.replication.record.session import Job
from convrfm.system.storage import write_bytes, write_json

__all__ = ["UntrustedError", "audit", "audit_folder", "audit_job", "import_folder", "write_audit"]


# Here, as a change of convrfm.errors makes every run stale.
class UntrustedError(ConvRFMError):
    """An audit has found that results cannot be trusted."""


def audit(
    project: Path, settings: Settings, choice: Choice, *, cores: int, place: Path | None = None
) -> tuple[Audit, dict[str, bytes]]:
    """Judge the results of a preset, check their integrity, and compute a part of them again; nothing of them is changed.

    Args:
        project: the folder of the project, with `results/`.
        settings: the configuration, whose preset is audited.
        choice: what is computed again.
        cores: processor cores to use for that.
        place: the folder that holds `results/<preset>`, where that is not the project: results that wait to be taken in.

    Returns:
        What was found, and the pictures of figures as they were drawn here, PNG by file relative to the project.
    """
    preset = settings.config.preset
    plan = Plan(settings, recorded_state(settings, project))
    where = place or project
    checked = check_integrity(project, plan, place=place)
    judgements = judge(where / plan.results, preset, settings.protocols)
    chosen = choose(choice, judgements, checked.products, checked.sound, checked.root)
    replayed = list(replay(project, where, plan, chosen, cores))
    replays = tuple(each.replay for each in replayed)
    found = Audit(
        preset=preset,
        results=plan.results,
        judgements=judgements,
        coverage=coverage_of(judgements, checked.products, replays),
        findings=checked.findings,
        replays=replays,
        deviations=deviations(project, settings, checked.products),
        compared=compared_with(),
        checked=checked.checked,
        root=checked.root,
        beacon=choice.beacon,
    )
    return found, {f"{each.replay.name}.png": each.picture for each in replayed if each.picture is not None}


def write_audit(project: Path, found: Audit, pictures: Mapping[str, bytes]) -> Path:
    """Write page, JSON and crate into the folder of the results, and give the path of the page.

    Args:
        project: the folder of the project.
        found: from `audit`.
        pictures: likewise.

    Raises:
        InputError: the folder of the page is a link.
        StorageError: the folder is read-only or the disk is full.
    """
    folder = project / found.results / "audit"
    if folder.is_symlink():
        msg = f"{folder} is a link, and nothing is written through it: remove it."
        raise InputError(msg)
    made = datetime.now(UTC).replace(microsecond=0)
    page = folder / "index.html"
    write_bytes(page, render_page(project, found, made, pictures).encode("utf-8", "replace"))
    write_json(folder / "audit.json", as_document(found, made))
    write_bytes(project / found.results / CODECHECK_FILE, codecheck_of(project, found, made).encode())
    # Last, since it lists the others.
    write_json(project / found.results / CRATE_FILE, crate_of(project, found, made))
    return page


def audit_folder(results: Path, choice: Choice, cores: int | None) -> Audit:
    """Audit a folder of results by its path, write the page and print a summary: what `convrfm audit` does.

    Args:
        results: `results/<preset>` of a project.
        choice: what is computed again.
        cores: processor cores to use for that; None for all.

    Raises:
        InputError: there is no such folder, it does not lie in a project, or there is no such claim.
        ConfigError: the configuration of the project is wrong.
    """
    results = results.absolute()  # it may be a link to where there is room
    if not results.is_dir():
        msg = f"{results} is not a folder: name a folder of results, such as results/quick."
        raise InputError(msg)
    project = results.parents[1]
    if results.parent.name != "results" or not _is_project(project):
        msg = (
            f"{results} is not results/<preset> of a project with its config.yaml and workflow/presets, which say what the "
            "results should be: put it there, or bring single runs of another machine with `convrfm import-results`."
        )
        raise InputError(msg)
    return _audit(project, settings_of(project, results.name), choice, cores)


def import_folder(folder: Path, choice: Choice, cores: int | None) -> Audit:
    """Take results of another machine into the project of the working folder: what `convrfm import-results` does.

    Args:
        folder: what was `results/<preset>` there.
        choice: what is computed again.
        cores: processor cores to use for that; None for all.

    Raises:
        InputError: there is no such folder, or the working folder is no project.
        ConfigError: the configuration of the project is wrong.
    """
    if not folder.is_dir():
        msg = f"{folder} is not a folder: name what was results/<preset> on the other machine."
        raise InputError(msg)
    if not _is_project(Path.cwd()):
        msg = f"{Path.cwd()} has no config.yaml and workflow/presets: run this in the folder of the project."
        raise InputError(msg)
    found = import_results(
        folder, Path.cwd(), lambda settings, place: _audited(Path.cwd(), settings, choice, cores, place)[0]
    )
    _print(summary(found, None))
    return found


def _is_project(folder: Path) -> bool:
    return (folder / "config.yaml").is_file() and (folder / "workflow" / "presets").is_dir()


def _print(lines: Iterable[str]) -> None:
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()


def audit_job(job: Job) -> None:
    """The same as a job of the workflow, in the folder that Snakemake works in.

    The page is no output of the job, as Snakemake deletes what a failed job has written, and takes what is there for done.

    Raises:
        UntrustedError: the results cannot be trusted; the page is there, and the summary printed.
    """
    presets = Path(job.settings["root"]) / "workflow" / "presets"
    found = _audit(Path(), load_settings(job.settings["config"], presets), Choice(), job.threads)
    if not found.trusted:
        msg = f"{found.results} cannot be trusted: what was found stands above, and on the page."
        raise UntrustedError(msg)


def _audit(project: Path, settings: Settings, choice: Choice, cores: int | None) -> Audit:
    found, pictures = _audited(project, settings, choice, cores)
    _print(summary(found, str(write_audit(project, found, pictures))))
    return found


def _audited(
    project: Path, settings: Settings, choice: Choice, cores: int | None, place: Path | None = None
) -> tuple[Audit, dict[str, bytes]]:
    known = {claim.id for claim in load_claims()}
    if wrong := sorted(set(choice.claims) - known):
        msg = f"There is no claim {', '.join(wrong)}: the claims are {', '.join(sorted(known))}."
        raise InputError(msg)
    return audit(project, settings, choice, cores=cores or joblib.cpu_count(), place=place)
