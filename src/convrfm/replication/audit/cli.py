"""`convrfm` on the command line: audits of results, and results of other machines."""

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from convrfm.errors import ConvRFMError, InputError
from convrfm.system.machine import how_to_install
from convrfm.system.terminal import INTERRUPTED, path_argument

__all__ = ["main"]

TRUSTED, NOT_TRUSTED, WRONG_USE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and give the exit status.

    It is 0 if the results can be trusted, 1 if not, 2 if the command could not be carried out, 130 after Ctrl-C.
    """
    given = _parser().parse_args(arguments)
    try:
        trusted: bool = given.command(given)
    except ConvRFMError as error:
        sys.stderr.write(f"error: {error}\n")
        return WRONG_USE
    except KeyboardInterrupt:
        return INTERRUPTED
    except ModuleNotFoundError as error:
        if (error.name or "convrfm").partition(".")[0] == "convrfm":
            raise
        needed = how_to_install("workflow", "audit")
        sys.stderr.write(
            f"error: {error.name} is not installed, and audits need it: {needed}, or `make environment` in a checkout.\n"
        )
        return WRONG_USE
    return TRUSTED if trusted else NOT_TRUSTED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="convrfm", description="Replication of arXiv 2309.00570: audits of its results.")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    audit = commands.add_parser(
        "audit",
        help="judge results, and check whether they can be trusted",
        description="Judge every claim of the paper by the results in a folder, check whether each file is what its record "
        "says, and compute a part of the runs again. None of the results is changed. The page is written to "
        "RESULTS/audit/index.html.",
        epilog="Exit status: 0 if the results can be trusted, whatever the verdicts; 1 if not; 2 if they could not be audited.",
    )
    audit.add_argument("folder", type=path_argument, metavar="RESULTS", help="a folder of results in a project: results/quick")
    imports = commands.add_parser(
        "import-results",
        help="check results of another machine, and take them in if nothing is wrong",
        description="Check a folder of results that was computed elsewhere, and take it into results/ of the project in the "
        "working folder if nothing is wrong with it. A file that exists there with other content is never replaced.",
        epilog="Exit status: 0 if everything was taken in; 1 if something is wrong and nothing was; 2 if it could not be read.",
    )
    imports.add_argument("folder", type=path_argument, metavar="FOLDER", help="what was results/<preset> on the other machine")
    seals = commands.add_parser(
        "seal",
        help="write the one hash that commits to all results, to be signed",
        description="Write RESULTS/seal.json, the Merkle tree over all records, and print its root. Sign and publish that: "
        "docs/audit.md says how. The audit reports every record that was changed, added or removed afterwards.",
    )
    seals.add_argument("results", type=path_argument, metavar="RESULTS", help="a folder of results: results/quick")
    seals.set_defaults(command=_seal)
    for command in (audit, imports):
        command.set_defaults(command=_audit, imports=command is imports)
        command.add_argument(
            "--replay",
            nargs="+",
            action=_Replay,
            default=(0, ()),
            metavar=("N|all|claim", "ID"),
            help="what to compute again beside draws, preparations, pictures of layers and figures: N runs of each claim "
            "(0 by default), `all`, or all runs of some claims, as in `claim A10`",
        )
        command.add_argument(
            "--beacon",
            default="",
            metavar="TEXT",
            help="a public random value, published after the results were sealed, that N runs are drawn with",
        )
        command.add_argument("--cores", type=_positive, metavar="N", help="processor cores to use; all by default")
    return parser


class _Replay(argparse.Action):
    """`N`, `all`, or `claim` with ids, as the number of runs of each claim (None for all) and the claims."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        word, *rest = values
        if word == "claim" and rest:
            namespace.replay = (0, tuple(rest))
        elif (word == "all" or word.isdecimal()) and not rest:
            namespace.replay = (None if word == "all" else int(word), ())
        else:
            parser.error(f"{option}: {' '.join(values)!r} is no number, `all`, or `claim` with ids such as A10")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        msg = "must be at least 1"
        raise argparse.ArgumentTypeError(msg)
    return number


# What follows imports late: `--help` does not wait.


def _audit(given: argparse.Namespace) -> bool:
    """Audit a folder where it is, or take it in from elsewhere."""
    from convrfm.replication.audit.auditing import audit_folder, import_folder
    from convrfm.replication.audit.replay import Choice
    from convrfm.replication.claims.claims import load_claims

    each, claims = given.replay
    known = {claim.id for claim in load_claims()}
    if wrong := sorted(set(claims) - known):
        msg = f"There is no claim {', '.join(wrong)}: the claims are {', '.join(sorted(known))}."
        raise InputError(msg)
    does = import_folder if given.imports else audit_folder
    return does(given.folder, Choice(each, claims, given.beacon), given.cores).trusted


def _seal(given: argparse.Namespace) -> bool:
    from convrfm.replication.audit.integrity import seal

    sys.stdout.write(f"{seal(given.results)}\n")
    return True
