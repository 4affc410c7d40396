"""Progress of long work: a bar on a terminal, lines in a log."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from contextvars import ContextVar
from typing import TypeVar

from tqdm import tqdm

__all__ = ["track"]

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 5.0

log = logging.getLogger(__name__)

_shown: ContextVar[bool] = ContextVar("shown", default=False)


def track(
    items: Iterable[Item], total: int | None, description: str, *, show: bool | None = None, delay: float = 0
) -> Iterator[Item]:
    """Pass items on, showing how many of `total` are done.

    On a terminal this is a tqdm bar; elsewhere lines at level INFO, five seconds apart at least, and one at the end. They go
    to stderr, as in a notebook, where nothing has been set up that would log them.

    Args:
        items: what to pass on.
        total: how many there are; None if nobody knows.
        description: what they are.
        show: whether to show anything; None does as the loop around this one does, and nothing where there is none.
        delay: seconds before anything is shown, for work that is short as a rule.
    """
    outer = _shown.get()
    visible = outer if show is None else show
    if not visible:
        yield from items
        return
    _shown.set(True)
    try:
        if sys.stderr.isatty():
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
            _say(f"{description}: {done}{of} done, {now - start:.0f} s")
            last = now


def _say(line: str) -> None:
    if log.isEnabledFor(logging.INFO):
        log.info("%s", line)
    else:
        sys.stderr.write(f"{line}\n")
