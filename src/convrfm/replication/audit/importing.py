"""Results computed elsewhere, on a cluster or a GPU: taken into the project after the checks of the audit.

Nothing reaches `results/<preset>` before everything has been checked, in a copy beside it: what is checked is what is taken.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

from convrfm.errors import InputError, StorageError
from convrfm.replication.audit.commands import remove
from convrfm.replication.audit.currency import settings_of
from convrfm.replication.audit.files import DEEPEST
from convrfm.replication.audit.outcome import Audit, Finding, State
from convrfm.replication.audit.records import find_products, in_order, strange_file
from convrfm.replication.config.presets import Settings
from convrfm.replication.record.received import open_result, received_record
from convrfm.replication.record.record import figure_records, run_records
from convrfm.system.plain_files import entries_below
from convrfm.system.storage import explained_writes, sha256

__all__ = ["import_results"]

PARTS = ("runs", "figures")
"""What is taken of a folder; logs and audits stay where they are."""

METADATA = Path(".snakemake") / "metadata"
"""Where Snakemake keeps what it knows of the files that it has made."""

OF_PRESET = re.compile(r"results/([^/]+)/")
"""How paths of results begin in records."""

UNKNOWN = "metadata was not present"
"""What it says of files that it knows nothing of."""


def import_results(folder: Path, project: Path, audit: Callable[[Settings, Path], Audit]) -> Audit:
    """Check a folder of results that was computed elsewhere, and take it in if nothing is wrong with it.

    Files that lie there already with the same content are left alone; a file with other content is never replaced, but found.
    Times of files are set in the order in which they follow from each other, which is what Snakemake goes by.

    Args:
        folder: what was `results/<preset>` elsewhere.
        project: the folder of the project. Its `config.yaml` counts but for the preset, which the records say.
        audit: audits what lies in a folder beside `results/<preset>`, which waits to be taken in.

    Returns:
        The audit of the folder. Everything was taken in if it is `trusted`, and nothing else; `checked` then says how many
        files were "taken in", and how many were "there already".

    Raises:
        InputError: the records say no preset, or one that the project does not have.
        ConfigError: the configuration of the project is wrong.
        StorageError: the disk is full, or the folder may not be written to.
    """
    files = [path.relative_to(folder).as_posix() for part in PARTS for path in entries_below(folder / part, DEEPEST)]
    strange = tuple(_strange_files(folder, files))
    # Only after that is anything read: a pipe would never end.
    preset = folder.name if strange else _preset_of(folder, project / "workflow" / "presets")
    results = f"results/{preset}"

    def refused(findings: tuple[Finding, ...]) -> Audit:
        return Audit(preset, results, (), (), findings, (), (), "nothing", {}, "", "")

    if strange:
        return refused(strange)
    settings = settings_of(project, preset)
    with explained_writes(project / results):
        (project / results).mkdir(parents=True, exist_ok=True)
        staging = Path(tempfile.mkdtemp(prefix=".tmp-import-", dir=project / "results"))
    try:
        copy = staging / results
        _check_room(folder, files, staging)
        for file in files:
            _copy(folder, file, copy / file)
        if conflicts := tuple(_conflicts(copy, project / results, results)):
            return refused(conflicts)
        found = audit(settings, staging)
        if found.trusted:
            found.checked.update(_take_in(staging, project, results))
        return replace(found, findings=tuple(map(_there, found.findings)))
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _preset_of(folder: Path, presets: Path) -> str:
    """The preset that most records say their files are of; those that say another are found to be of another place.

    Raises:
        InputError: no record says any, or it is none of the project's.
    """
    named = Counter[str]()
    for path in [*run_records(folder), *figure_records(folder)]:
        try:
            outputs = received_record(folder, path.relative_to(folder).as_posix())["outputs"].values()
            named.update({match[1] for file in outputs if (match := OF_PRESET.match(file["path"]))})
        except (OSError, ValueError, AttributeError, KeyError, TypeError):
            continue  # which the checks of the audit will say
    known = sorted(file.stem for file in presets.glob("*.yaml"))
    if not named:
        msg = f"No record in {folder} says which preset it is of: there is nothing that can be taken in."
        raise InputError(msg)
    ((preset, _),) = named.most_common(1)
    if preset not in known:
        msg = f"The records in {folder} are of the preset {preset!r}, but this project has {', '.join(known)}."
        raise InputError(msg)
    return preset


def _there(finding: Finding) -> Finding:
    """The same finding, to be remedied on the machine that the results came from, where their folder has its own name."""
    return replace(
        finding, remedy=f"On the machine that computed it: {finding.remedy.rstrip('.')}. Then import it again."
    )


def _strange_files(folder: Path, files: list[str]) -> Iterator[Finding]:
    """Find what is no plain file: links may lead anywhere. And whether there is anything at all."""
    names = [part for part in PARTS if (folder / part).is_dir() and not (folder / part).is_symlink()]
    if not names:
        found = f"It has neither of the folders {' and '.join(PARTS)}: it is not what results/<preset> was."
        yield Finding(State.MISSING, folder.as_posix(), found, "Give the folder that holds them.")
    for file in files:
        yield from strange_file(folder, file, "Put the file itself in its place, or take it out.")


def _check_room(folder: Path, files: list[str], staging: Path) -> None:
    """Refuse to copy more than the disk can hold.

    Raises:
        StorageError: there is not enough room.
    """
    size, free = sum((folder / file).lstat().st_size for file in files), shutil.disk_usage(staging).free
    if size > free:
        msg = f"The files in {folder} have {size / 1e6:.0f} MB, and {free / 1e6:.0f} MB are free in the project: free some."
        raise StorageError(msg)


def _copy(folder: Path, file: str, target: Path) -> None:
    """Copy a file as it is now: not one that was put in its place, and no more of it than it has.

    Raises:
        StorageError: it has just been replaced by something else; or see `explained_writes`.
    """
    with explained_writes(target), open_result(folder, file) as content:
        target.parent.mkdir(parents=True, exist_ok=True)
        left = os.fstat(content.fileno()).st_size
        with target.open("xb") as copy:
            while chunk := content.read(min(left, 2**20)):
                copy.write(chunk)
                left -= len(chunk)


def _conflicts(copy: Path, home: Path, results: str) -> Iterator[Finding]:
    """Find files that lie in the project already, with other content."""
    for path in sorted(copy.rglob("*")):
        own = home / path.relative_to(copy)
        if path.is_file() and os.path.lexists(own) and not (own.is_file() and sha256(own) == sha256(path)):
            file = f"{results}/{path.relative_to(copy).as_posix()}"
            found = "It lies in the project already, with other content; nothing was replaced."
            yield Finding(State.STALE, file, found, f"{remove(file)}, if it is not wanted, and import again.")


def _take_in(staging: Path, project: Path, results: str) -> dict[str, int]:
    """Move checked files to their places, each in one step, the record of each run last."""
    products = [product for product, _ in find_products(staging, results)]
    files = [file for product in in_order(products) for file in (*product.files.values(), product.record_file)]
    first = time.time() - len(products) - 1
    times = {
        file: first + number
        for number, product in enumerate(in_order(products))
        for file in (*product.files.values(), product.record_file)
    }
    taken = []
    for file in files:
        target = project / file
        if target.exists():
            continue
        with explained_writes(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            os.utime(staging / file, (times[file], times[file]))
            (staging / file).replace(target)
        taken.append(file)
    _forget(project, taken)
    return {"taken in": len(taken), "there already": len(files) - len(taken)}


def _forget(project: Path, files: list[str]) -> None:
    """Have Snakemake forget what it knows of earlier files of these names, whose code and settings were others.

    Raises:
        StorageError: Snakemake would not, for it is at work in this project.
    """
    if not files or not (project / METADATA).is_dir():
        return
    command = [str(Path(sys.executable).with_name("snakemake")), "--cleanup-metadata", *files]
    done = subprocess.run(command, cwd=project, capture_output=True, encoding="utf-8", check=False)
    # It fails where it knows nothing of one of them, after it has forgotten the others.
    if done.returncode != 0 and UNKNOWN not in done.stderr:
        reason = (done.stderr.strip().splitlines() or ["it did not say why"])[-1]
        msg = (
            f"All files were taken in, but Snakemake remembers earlier ones of the same names ({reason}): when it has ended, "
            f"remove {METADATA} in the project."
        )
        raise StorageError(msg)
