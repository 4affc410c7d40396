"""A web server on the loopback that plays mirrors, good ones and failing ones."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

HTML = b"<!DOCTYPE html><html><body>Too many users have viewed or downloaded this file.</body></html>"


@dataclass
class Mirror:
    """Files by path, and how each request is spoilt.

    `faults` are used up one by one, over all requests; afterwards all is well. A fault gets the handler and the content
    that should be sent.
    """

    address: str
    files: dict[str, bytes] = field(default_factory=dict)
    faults: list[Callable] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)
    released: threading.Event = field(default_factory=threading.Event)


def send(handler, content: bytes, *, length: int | None = None, status: int = 200, kind: str = "application/gzip") -> None:
    handler.send_response(status)
    handler.send_header("Content-Type", kind)
    handler.send_header("Content-Length", str(len(content) if length is None else length))
    handler.end_headers()
    handler.wfile.write(content)


def truncated(handler, content):
    """Half of the body, and the connection is closed."""
    send(handler, content[: len(content) // 2], length=len(content))


def cut_off(handler, content):
    """Half of the body, without a length that would give it away."""
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(content[: len(content) // 2])


def other_content(handler, content):
    send(handler, b"x" * len(content))


def not_found(handler, content):
    send(handler, b"no such file", status=404, kind="text/plain")


def server_error(handler, content):
    send(handler, b"sorry", status=500, kind="text/plain")


def page(handler, content):
    send(handler, HTML, kind="text/html; charset=utf-8")


def page_in_disguise(handler, content):
    send(handler, b"\n  " + HTML)


def dropped(handler, content):
    """The connection is gone before a word has been said."""
    handler.connection.close()


def empty(handler, content):
    send(handler, b"")


def stalled(handler, content):
    """Half of the body, and then nothing, while the connection stays open."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content[: len(content) // 2])
    handler.wfile.flush()
    handler.mirror.released.wait(20)


def trickling(handler, content):
    """Byte by byte: it never stalls, and never ends."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    for place in range(len(content)):
        handler.wfile.write(content[place : place + 1])
        if handler.mirror.released.wait(0.05):
            return


def slow_head(handler, content):
    """The same before the body begins."""
    handler.wfile.write(b"HTTP/1.0 200 OK\r\nX: ")
    while not handler.mirror.released.wait(0.05):
        handler.wfile.write(b"x")


def endless(handler, content):
    """More and more, of no length that was said."""
    handler.send_response(200)
    handler.end_headers()
    while not handler.mirror.released.is_set():
        handler.wfile.write(bytes(2**16))


def endless_redirect(handler, content):
    """To itself, and on the way there is no end."""
    handler.send_response(302)
    handler.send_header("Location", handler.path)
    handler.end_headers()
    while not handler.mirror.released.is_set():
        handler.wfile.write(bytes(2**16))


def too_long(handler, content):
    """Of a length that is no number, or none that anybody has."""
    handler.send_response(200)
    handler.send_header("Content-Length", "9" * 5000)
    handler.end_headers()
    handler.wfile.write(content)


def marked_as_compressed(handler, content):
    """Servers that say of a .gz file that its compression is one of the way: no fault, but a trap."""
    handler.send_response(200)
    handler.send_header("Content-Encoding", "gzip")
    handler.send_header("Content-Length", str(len(content)))
    handler.end_headers()
    handler.wfile.write(content)


@contextmanager
def mirror(files: dict[str, bytes], *faults: Callable) -> Iterator[Mirror]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            self.mirror = made
            made.requests.append(self.path)
            content = made.files.get(self.path.lstrip("/"))
            fault = made.faults.pop(0) if made.faults else (send if content is not None else not_found)
            fault(self, content or b"")

        def log_message(self, *arguments):
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request, client_address):
            """Broken connections are what is being played."""

    server = Server(("127.0.0.1", 0), Handler)
    made = Mirror(f"http://127.0.0.1:{server.server_port}", dict(files), list(faults))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield made
    finally:
        made.released.set()
        server.shutdown()
        server.server_close()
        thread.join()
