"""Fetching of one file over HTTP: it arrives whole and as published, or not at all."""

import logging
import queue
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import requests
import urllib3

from convrfm.datasets.entries import Remote
from convrfm.errors import AbsentDataError, refuse
from convrfm.system.storage import sha256, write_atomically

__all__ = ["Patience", "download"]

CHUNK = 2**20
SECONDS_BETWEEN_LINES = 10.0
TIMEOUTS_OF_A_HEAD = 4
MOST_DIGITS = 16
RETRIED = (408, 425, 429, 500, 502, 503, 504)

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """How long a download is tried."""

    tries: int = 4  # at each address, after errors that may pass: a lost connection, a stall, an overloaded server
    wait: float = 2.0  # seconds before the second try; each further wait is twice as long
    timeout: float = 30.0  # seconds without a byte after which a connection counts as stalled
    slowest: float = 2000.0  # average bytes a second below which a server is given up, after `timeout` seconds


class _Passing(Exception):  # noqa: N818 (never leaves this module)
    """This try has failed; another may succeed."""


class _Lasting(Exception):  # noqa: N818 (never leaves this module)
    """This address does not give the file."""


Check = Callable[[Path], str | None]
"""From a fetched file, what is wrong with it, as a sentence; None if nothing is."""


def download(
    remote: Remote, target: Path, addresses: tuple[str, ...], *, check: Check, patience: Patience, limit: float
) -> tuple[str, str]:
    """Fetch a file of at most `limit` bytes into a temporary one beside the target, check it, and move it there.

    Addresses are tried in order.

    Returns:
        the SHA-256, and the address that served it.

    Raises:
        AbsentDataError: no address served it; nothing is left. The message names each address with its reason.
        StorageError: the disk is full, or the folder read-only.
    """
    failures = []
    for address in addresses:
        try:
            return _with_retries(target, address, check, patience, limit), address
        except _Lasting as failure:
            log.warning("%s: %s", address, failure)
            failures.append(f"{address}: {failure}")
    msg = f"{remote.path} cannot be fetched. {' '.join(failures)}"
    raise AbsentDataError(msg)


def _with_retries(target: Path, address: str, check: Check, patience: Patience, limit: float) -> str:
    wait, attempt = patience.wait, 1
    while True:
        try:
            return _fetch(target, address, check, patience, limit)
        except _Passing as failure:
            if attempt >= patience.tries:
                msg = f"{failure} (tried {attempt} times)."
                raise _Lasting(msg) from failure
            log.info("%s: %s; next try in %g s", address, failure, wait)
        time.sleep(wait)
        wait, attempt = 2 * wait, attempt + 1


def _fetch(target: Path, address: str, check: Check, patience: Patience, limit: float) -> str:
    """One try; gives the SHA-256."""

    def write(temporary: Path) -> None:
        with temporary.open("wb") as file:
            for chunk in _chunks(address, temporary, patience, limit):
                file.write(chunk)
        problem = check(temporary)
        refuse(problem is not None, f"{problem} It was thrown away.", _Lasting)

    write_atomically(target, write)
    return sha256(target)


def _chunks(address: str, temporary: Path, patience: Patience, limit: float) -> Iterator[bytes]:
    """The body of an answer, as it is on the server: not decompressed, complete, and no web page."""
    # What requests and urllib3 raise are kinds of OSError, which would pass for errors of the disk.
    try:
        with _answer(address, patience.timeout) as answer:
            status = f"the server answers {answer.status_code} {answer.reason}"
            refuse(answer.status_code in RETRIED, status, _Passing)
            refuse(answer.status_code != requests.codes.ok, f"{status}.", _Lasting)
            # A body that is shorter than this is an error of urllib3's.
            announced = answer.headers.get("Content-Length", "")
            size = int(announced) if announced.isdecimal() and len(announced) < MOST_DIGITS else 0
            _check_size(size, limit)
            free = shutil.disk_usage(temporary.parent).free
            refuse(size > free, f"it has {size / 1e6:.0f} MB, and {free / 1e6:.0f} MB of the disk are free.", _Lasting)
            received, start = 0, time.monotonic()
            last = start
            # What there is, and not the whole chunk: a server that sends a byte now and then would never fill it.
            while chunk := answer.raw.read1(CHUNK, decode_content=False):
                page = "the answer is a web page, not the file; its quota may be used up, or a login is needed."
                refuse(received == 0 and _is_page(answer, chunk), page, _Lasting)
                yield chunk
                received += len(chunk)
                _check_size(received, limit)
                slow = received < patience.slowest * (time.monotonic() - start - patience.timeout)
                refuse(slow, f"it sends less than {patience.slowest:g} bytes a second", _Passing)
                if time.monotonic() - last > SECONDS_BETWEEN_LINES:
                    last = time.monotonic()
                    log.info("%s: %.0f of %.0f MB", address, received / 1e6, size / 1e6)
            refuse(received == 0, "the answer is empty", _Passing)
    except (requests.exceptions.InvalidSchema, requests.exceptions.MissingSchema, requests.exceptions.InvalidURL) as error:
        msg = f"this is no address ({error})."
        raise _Lasting(msg) from error
    except (requests.RequestException, urllib3.exceptions.HTTPError) as error:
        raise _Passing(_plain_reason(error, patience.timeout)) from error


def _answer(address: str, timeout: float) -> requests.Response:
    """The head of an answer, redirects followed; a server that sends it byte by byte is given up after some timeouts."""
    found: queue.SimpleQueue[requests.Response | Exception] = queue.SimpleQueue()

    def ask() -> None:
        try:
            # The body is asked for as it is: many servers would otherwise mark a .gz file as compressed on the way.
            headers = {"Accept-Encoding": "identity"}
            hooks = {"response": _without_body}
            found.put(requests.get(address, stream=True, timeout=timeout, headers=headers, hooks=hooks))
        except Exception as error:  # noqa: BLE001 (raised below)
            found.put(error)

    threading.Thread(target=ask, daemon=True).start()
    try:
        answer = found.get(timeout=TIMEOUTS_OF_A_HEAD * timeout)
    except queue.Empty:
        msg = f"the head of the answer has not come within {TIMEOUTS_OF_A_HEAD * timeout:g} s"
        raise _Passing(msg) from None
    if isinstance(answer, Exception):
        raise answer
    return answer


def _without_body(answer: requests.Response, **_: object) -> None:
    """Leave the body of a redirect: requests would read it into the memory, however long it is."""
    if answer.is_redirect:
        answer._content = b""


def _check_size(size: int, limit: float) -> None:
    most = f"{limit / 1e6:.3g} MB, twice what all of the data set has"
    refuse(size > limit, f"it has more than {most}: it is another file.", _Lasting)


def _is_page(answer: requests.Response, start: bytes) -> bool:
    kind = answer.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    head = start.lstrip()[:14].lower()
    return kind in ("text/html", "application/xhtml+xml") or head.startswith((b"<!doctype html", b"<html"))


def _plain_reason(error: Exception, timeout: float) -> str:
    if isinstance(error, requests.exceptions.Timeout | urllib3.exceptions.TimeoutError):
        return f"nothing came for {timeout:g} s"
    # urllib3 wraps it.
    for part in (error, *error.args):
        if isinstance(part, urllib3.exceptions.IncompleteRead):
            return f"the answer ends after {part.partial} bytes, with {part.expected} missing"
    if isinstance(error, requests.exceptions.SSLError):
        return f"the connection is not secure ({error})"
    return f"the connection failed ({type(error).__name__})"
