"""Calls of Snakemake that the audit tells people to make."""

import shlex

__all__ = ["DEFAULTS", "chosen", "rebuild"]

DEFAULTS = {"preset": "quick", "protocol": "published"}
"""Of `config.yaml`: what a call need not say."""


def chosen(preset: str, protocol: str) -> list[str]:
    """The options that choose a preset and a protocol; none for those that are chosen without them."""
    wanted = {"preset": preset, "protocol": protocol}
    settings = [f"{key}={value}" for key, value in wanted.items() if value != DEFAULTS[key]]
    return ["--config", *settings] if settings else []


def rebuild(record_file: str) -> str:
    """The call that makes a run or figure anew, and what stands on it.

    Deleting a file is not enough: Snakemake does not miss what nothing unfinished asks for.

    Args:
        record_file: `results/<preset>/runs/<experiment>/<protocol>/<keys>/record.json`, or
            `results/<preset>/figures/<protocol>/<figure>.json`.
    """
    _, preset, part, *rest = record_file.split("/")
    protocol = rest[1] if part == "runs" else rest[0]
    return " ".join(["snakemake -c2", *chosen(preset, protocol), "--forcerun", shlex.quote(record_file)])
