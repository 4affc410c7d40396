"""What users see and type: progress, paths on a command line, and how a command ends."""

import argparse
import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TypeVar

from convrfm.errors import ConvRFMError, InputError

__all__ = ["INTERRUPTED", "ending_in_a_sentence", "expand_home", "path_argument", "track", "user_path"]

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 5.0

FAILED, INTERRUPTED = 1, 130
"""Exit statuses of commands; the second is that of shells after Ctrl-C."""

log = logging.getLogger(__name__)

_shown: ContextVar[bool] = ContextVar("shown", default=False)


def track(
    items: Iterable[Item], total: int | None, description: str, *, show: bool | None = None, delay: float = 0
) -> Iterator[Item]:
    """Pass items on, showing how many of `total` are done.

    On a terminal this is a tqdm bar; elsewhere lines at level INFO, at least five seconds apart, and one at the end.
    The lines go to stderr where logging is not set up, as in a notebook.

    Args:
        items: what to pass on.
        total: how many there are; None if unknown.
        description: what they are.
        show: whether to show anything; None does as the enclosing `track`, and shows nothing without one.
        delay: seconds before anything is shown, for work that is usually short.
    """
    outer = _shown.get()
    visible = outer if show is None else show
    if not visible:
        yield from items
        return
    _shown.set(True)
    try:
        if sys.stderr.isatty():
            from tqdm import tqdm

            yield from tqdm(items, total=total, desc=description, leave=False, dynamic_ncols=True, delay=delay)
        else:
            yield from _with_lines(items, total, description, delay)
    finally:
        _shown.set(outer)


def _with_lines(items: Iterable[Item], total: int | None, description: str, delay: float) -> Iterator[Item]:
    start = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - start >= delay and (now - last >= SECONDS_BETWEEN_LINES or done == total):
            of = "" if total is None else f" of {total}"
            line, last = f"{description}: {done}{of} done, {now - start:.0f} s", now
            if log.isEnabledFor(logging.INFO):
                log.info("%s", line)
            else:
                sys.stderr.write(f"{line}\n")


def expand_home(path: str) -> str:
    """Replace a leading `~` or `~user` by the home folder, as a shell does; other paths are returned unchanged.

    Raises:
        InputError: unknown home folder.
    """
    if not path.startswith("~"):
        return path
    try:
        return str(Path(path).expanduser())
    except RuntimeError:
        msg = f"{path!r} begins with the home folder of an unknown user: write the path in full, or ./{path}."
        raise InputError(msg) from None


def user_path(path: str | Path) -> Path:
    """Give a path with a leading `~` replaced; errors as `expand_home`."""
    return Path(expand_home(str(path)))


def path_argument(text: str) -> Path:
    """Give the path that an argument names, for `type=` of argparse; an unknown home folder is an ArgumentTypeError."""
    try:
        return user_path(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


@contextmanager
def ending_in_a_sentence(parser: argparse.ArgumentParser) -> Iterator[None]:
    """End a command with one sentence instead of a traceback.

    Raises:
        SystemExit: status 2 for the package's own errors, 1 where the system or the memory fails, 130 after Ctrl-C.
    """
    try:
        yield
    except ConvRFMError as error:
        parser.error(str(error))
    except KeyboardInterrupt:
        raise SystemExit(INTERRUPTED) from None
    except MemoryError as error:
        reason = f" ({error})" if str(error) else ""
        parser.exit(FAILED, f"{parser.prog}: error: out of memory{reason}: use fewer or smaller images.\n")
    except OSError as error:
        place = f"{error.filename}: " if error.filename else ""
        parser.exit(FAILED, f"{parser.prog}: error: {place}{error.strerror or error}.\n")
