"""What a user gives on a command line or in the configuration, and how a command ends. Standard library only."""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from convrfm.errors import ConvRFMError, InputError

__all__ = ["INTERRUPTED", "ending_in_a_sentence", "expand_home", "path_argument", "user_path"]

FAILED, INTERRUPTED = 1, 130
"""Exit statuses of commands; the second is that of shells after Ctrl-C."""


def expand_home(path: str) -> str:
    """Replace a leading `~` or `~user` by the home folder, as a shell does where nothing is quoted.

    Args:
        path: as it was given; without a leading `~` it is given back unchanged.

    Raises:
        InputError: there is no home folder for it.
    """
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        msg = f"{path!r} begins with the home folder of a user who is not known here: write the path in full, or ./{path}."
        raise InputError(msg) from None


def user_path(path: str | Path) -> Path:
    """Give a path as it was given, with the home folder in the place of a leading `~`.

    Raises:
        InputError: see `expand_home`.
    """
    return Path(expand_home(str(path)))


def path_argument(text: str) -> Path:
    """Give the path that an argument names, for `type=` of argparse.

    Raises:
        ArgumentTypeError: see `expand_home`.
    """
    try:
        return user_path(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


@contextmanager
def ending_in_a_sentence(parser: argparse.ArgumentParser) -> Iterator[None]:
    """End a command with one sentence instead of a traceback.

    The exit status is 2 for errors of ours, 1 where the system or the memory fails, 130 after Ctrl-C.

    Args:
        parser: of the command.

    Raises:
        SystemExit: with one of these.
    """
    try:
        yield
    except ConvRFMError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except MemoryError as error:
        reason = f" ({error})" if str(error) else ""
        parser.exit(
            FAILED, f"{parser.prog}: error: the memory does not suffice{reason}: use fewer or smaller images.\n"
        )
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        parser.exit(FAILED, f"{parser.prog}: error: {place}{error.strerror or error}.\n")
