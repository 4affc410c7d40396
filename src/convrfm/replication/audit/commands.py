"""Calls that the audit tells people to make. They say preset and protocol, whatever `config.yaml` says."""

import shlex

from convrfm.replication.claims.claims import chosen

__all__ = ["rebuild", "remove"]


def rebuild(record_file: str) -> str:
    """The call that makes a run or figure anew, and nothing that is not missing beside it.

    What stands on it is another finding, if it was made from other bytes.

    Args:
        record_file: `results/<preset>/runs/<experiment>/<protocol>/<keys>/record.json`, or
            `results/<preset>/figures/<protocol>/<figure>.json`.
    """
    _, preset, part, *rest = record_file.split("/")
    options = chosen(preset, rest[1] if part == "runs" else rest[0])
    # The dashes end the list of settings: a target behind it would be taken for one of them.
    return f"snakemake -c2 --force {options} -- {shlex.quote(record_file)}"


def remove(files: str, *, beginning: bool = False) -> str:
    """The call that removes a file or folder, or all files whose names begin so and go on with a dot."""
    return f"rm -r {shlex.quote(files)}{'.*' if beginning else ''}"
