"""Real HTTP servers for inputs: Python's own without byte ranges, and one with ranges and ETags on top of it."""

from __future__ import annotations

import contextlib
import hashlib
import re
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class PlainHandler(SimpleHTTPRequestHandler):
    """`python -m http.server`: whole files with Last-Modified, no ranges. Notes what it was asked."""

    server: WebServer

    def do_GET(self) -> None:
        self.server.seen.append(f"GET {self.path} {self.headers.get('Range', '')}".strip())
        status = self.server.answers.get(self.path.partition("?")[0])
        if isinstance(status, str):
            self.send_response(302)
            self.send_header("Location", status)
            self.send_header("Content-Length", "0")
            self.end_headers()
        elif status or (self.server.failures and self.server.failures.pop()):
            self.send_error(status or 503)
        else:
            self.give()

    def give(self) -> None:
        super().do_GET()

    def log_message(self, *_: object) -> None:
        """Quiet."""


class RangeHandler(PlainHandler):
    """Ranges, ETag, If-Range as in RFC 9110: what nginx or a presigned URL offers. `?weak` gives weak ETags."""

    def give(self) -> None:
        data = (self.server.folder / self.path.partition("?")[0].lstrip("/")).read_bytes()
        etag = ("W/" if "weak" in self.path else "") + f'"{hashlib.sha256(data).hexdigest()[:16]}"'
        span = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", ""))
        if span and self.headers.get("If-Range", etag) == etag:
            first, last = int(span[1]), min(int(span[2]), len(data) - 1)
            if first >= len(data):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(data)}")
                data = b""
            else:
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{last}/{len(data)}")
                data = data[first : last + 1]
        else:
            self.send_response(200)
        self.send_header("ETag", etag)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with contextlib.suppress(ConnectionError):  # a first look reads eight bytes and leaves
            self.wfile.write(data)


class WebServer(ThreadingHTTPServer):
    """Serves `folder` at `host`. `answers`: a status or a redirect for a path; `failures`: true ones give 503."""

    daemon_threads = True

    def __init__(self, folder: Path, handler: type[PlainHandler], host: str = "127.0.0.1") -> None:
        self.folder = folder
        self.host = host
        self.answers: dict[str, int | str] = {}
        self.failures: list[bool] = []
        self.seen: list[str] = []
        super().__init__((host, 0), lambda *args: handler(*args, directory=str(folder)))

    def handle_error(self, *_: object) -> None:
        """A client that went away is no news."""

    @property
    def url(self) -> str:
        """Of the folder, with a slash."""
        return f"http://{self.host}:{self.server_address[1]}/"


@contextlib.contextmanager
def web_server(folder: Path, handler: type[PlainHandler], host: str = "127.0.0.1") -> Iterator[WebServer]:
    """A server that runs until the block ends."""
    with WebServer(folder, handler, host) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield server
        server.shutdown()
