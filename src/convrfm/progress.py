"""Progress of long work: a bar on a terminal, lines in a log."""

import logging
import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm

__all__ = ["track"]

Item = TypeVar("Item")

SECONDS_BETWEEN_LINES = 5.0

log = logging.getLogger(__name__)


def track(items: Iterable[Item], total: int, description: str, *, show: bool = True) -> Iterator[Item]:
    """Pass items on, showing how many of `total` are done.

    On a terminal this is a tqdm bar; elsewhere lines at level INFO, five seconds apart at least, and one at the end.
    """
    if not show:
        yield from items
        return
    if sys.stderr.isatty():
        yield from tqdm(items, total=total, desc=description, leave=False, dynamic_ncols=True)
        return
    start = last = time.monotonic()
    for done, item in enumerate(items, start=1):
        yield item
        now = time.monotonic()
        if now - last >= SECONDS_BETWEEN_LINES or done == total:
            log.info("%s: %d of %d done, %.0f s", description, done, total, now - start)
            last = now
