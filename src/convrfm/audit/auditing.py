"""One audit, from the files of a results folder to the page about them."""

import secrets
import sys
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

from convrfm.audit.crate import CRATE_FILE, crate_of
from convrfm.audit.currency import settings_of
from convrfm.audit.document import as_document
from convrfm.audit.importing import import_results
from convrfm.audit.integrity import check_integrity
from convrfm.audit.outcome import Audit
from convrfm.audit.page import render_page
from convrfm.audit.spot_checks import spot_check
from convrfm.audit.summary import summary
from convrfm.claims.judging import judge
from convrfm.errors import ConvRFMError, InputError
from convrfm.pipeline.config import Settings, load_settings
from convrfm.pipeline.session import Job
from convrfm.storage import write_bytes, write_json

__all__ = ["UntrustedError", "audit", "audit_folder", "audit_job", "import_folder", "write_audit"]

SEEDS = 2**32


# Here, as a change of convrfm.errors makes every run stale.
class UntrustedError(ConvRFMError):
    """An audit has found that results cannot be trusted."""


def audit(project: Path, settings: Settings, *, seed: int) -> Audit:
    """Judge the results of a preset, and check their integrity; nothing is built and nothing changed.

    Args:
        project: the folder of the project, with `results/`.
        settings: the configuration, whose preset is audited.
        seed: of the random choices of the spot checks.
    """
    preset = settings.config.preset
    results = project / "results" / preset
    findings, checked = check_integrity(project, settings)
    return Audit(
        preset=preset,
        results=f"results/{preset}",
        judgements=judge(results, preset, settings.protocols),
        findings=findings,
        spot_checks=spot_check(results, seed),
        checked=checked,
        seed=seed,
    )


def write_audit(project: Path, found: Audit) -> Path:
    """Write page, JSON and crate into the folder of the results, and give the path of the page.

    Raises:
        StorageError: the folder is read-only or the disk is full.
    """
    folder = project / found.results / "audit"
    made = datetime.now(UTC).replace(microsecond=0)
    page = folder / "index.html"
    write_bytes(page, render_page(project, found, made).encode("utf-8", "replace"))
    write_json(folder / "audit.json", as_document(found, made))
    # Last, since it lists the others.
    write_json(project / found.results / CRATE_FILE, crate_of(project, found, made))
    return page


def audit_folder(results: Path, seed: int | None) -> Audit:
    """Audit a folder of results by its path, write the page and print a summary: what `convrfm audit` does.

    Args:
        results: `results/<preset>` of a project.
        seed: of the spot checks; None draws one, so that nobody can know beforehand what is looked at.

    Raises:
        InputError: there is no such folder, or it does not lie in a project.
        ConfigError: the configuration of the project is wrong.
    """
    results = results.resolve()
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
    return _audit(project, settings_of(project, results.name), seed)


def import_folder(folder: Path, seed: int | None) -> Audit:
    """Take results of another machine into the project of the working folder: what `convrfm import-results` does.

    Args:
        folder: what was `results/<preset>` there.
        seed: of the spot checks; None draws one.

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
    found = import_results(folder, Path.cwd(), _seed(seed))
    _print(summary(found, None))
    return found


def _is_project(folder: Path) -> bool:
    return (folder / "config.yaml").is_file() and (folder / "workflow" / "presets").is_dir()


def _seed(seed: int | None) -> int:
    return secrets.randbelow(SEEDS) if seed is None else seed


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
    found = _audit(Path(), load_settings(job.settings["config"], presets), None)
    if not found.trusted:
        msg = f"{found.results} cannot be trusted: what was found stands above, and on the page."
        raise UntrustedError(msg)


def _audit(project: Path, settings: Settings, seed: int | None) -> Audit:
    found = audit(project, settings, seed=_seed(seed))
    _print(summary(found, str(write_audit(project, found))))
    return found
