"""Small HTTP proxies in front of the S3 server of the tests: one fails on demand, one speaks Google's dialect.

`FaultyProxy` stands for a store, or the network before it, in a bad minute. `GoogleDialect` stands for Google's XML API
where it differs from S3's, as its documentation describes it: `x-goog-if-generation-match: 0` for create-only writes,
`x-goog-meta-*` metadata, 404 for the removal of what is not there, no bulk removal. What is kept, and what is atomic,
is the real server's work. Nothing here has met Google itself.
"""

from __future__ import annotations

import http.client
import socket
import struct
import threading
import time
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Self
from urllib.parse import quote, unquote

HOP_HEADERS = {"connection", "transfer-encoding", "keep-alive"}


@dataclass
class Answer:
    """What the real server said."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    proxy: Proxy

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that went away is no news in tests about clients that go away."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_any(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.server.proxy.serve(self, self.rfile.read(length))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = do_any  # noqa: N815 - names of http.server

    def log_message(self, *_: object) -> None:
        """Quiet."""


@dataclass
class Proxy:
    """Hands every request on to the server at `port`."""

    port: int
    seen: list[str] = field(default_factory=list)

    def __enter__(self) -> Self:
        self.server = _Server(("127.0.0.1", 0), _Handler)
        self.server.proxy = self
        threading.Thread(target=self.server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()

    @property
    def url(self) -> str:
        """Where the proxy listens."""
        return f"http://127.0.0.1:{self.server.server_address[1]}"

    def serve(self, handler: _Handler, body: bytes) -> None:
        """Answers one request."""
        self.seen.append(f"{handler.command} {handler.path}")
        headers = [(name, value) for name, value in handler.headers.items() if name.lower() not in HOP_HEADERS]
        self.say(handler, self.ask(handler.command, handler.path, headers, body))

    def ask(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> Answer:
        """The real server's answer."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for name, value in headers:
                connection.putheader(name, value)
            connection.endheaders(body)
            response = connection.getresponse()
            return Answer(response.status, response.getheaders(), response.read())
        finally:
            connection.close()

    def say(self, handler: _Handler, answer: Answer, cut: int = 0) -> None:
        """Passes the answer on; with `cut`, ends the connection so many bytes before its end."""
        handler.send_response(answer.status)
        length = len(answer.body)
        for name, value in answer.headers:
            if name.lower() == "content-length":
                length = int(value)  # of a HEAD: without its body
            elif name.lower() not in HOP_HEADERS:
                handler.send_header(name, value)
        handler.send_header("Content-Length", str(length))
        handler.end_headers()
        handler.wfile.write(answer.body[: len(answer.body) - cut])
        if cut:
            reset(handler)


def reset(handler: _Handler) -> None:
    """Ends the connection as a crashed peer would: with RST."""
    handler.wfile.flush()
    handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    handler.close_connection = True
    handler.connection.close()


@dataclass
class FaultyProxy(Proxy):
    """Fails requests on demand. `faults` are taken one for a request, from the front; then `lasting` holds."""

    faults: list[str] = field(default_factory=list)
    lasting: str = ""
    silent_seconds: float = 0.8

    def serve(self, handler: _Handler, body: bytes) -> None:
        fault = self.faults.pop(0) if self.faults else self.lasting
        if fault == "silence":
            time.sleep(self.silent_seconds)
        elif fault in ("500", "503"):
            self.seen.append(f"{handler.command} {handler.path} -> {fault}")
            code = "SlowDown" if fault == "503" else "InternalError"
            text = f"<Error><Code>{code}</Code><Message>Please reduce your request rate.</Message></Error>".encode()
            self.say(handler, Answer(int(fault), [], b"" if handler.command == "HEAD" else text))
            return
        elif fault == "reset":
            self.seen.append(f"{handler.command} {handler.path} -> reset")
            reset(handler)
            return
        headers = [(name, value) for name, value in handler.headers.items() if name.lower() not in HOP_HEADERS]
        self.seen.append(f"{handler.command} {handler.path}")
        answer = self.ask(handler.command, handler.path, headers, body)
        if fault == "lost answer":
            reset(handler)
        else:
            self.say(handler, answer, cut=len(answer.body) // 2 if fault == "cut" else 0)


@dataclass
class GoogleDialect(Proxy):
    """Google's XML API over the S3 server, whose anonymous user may do everything in the bucket."""

    def ask(self, method: str, path: str, headers: list[tuple[str, str]], body: bytes) -> Answer:
        before, mark, query = path.partition("?")
        path = quote(unquote(before)) + mark + query
        if method == "DELETE" and not query:
            there = super().ask("HEAD", path, [("Host", "s3")], b"")
            if there.status == 404:
                return Answer(404, [], b"<Error><Code>NoSuchKey</Code></Error>")
        answer = super().ask(method, path, [self._to_s3(*header) for header in headers], body)
        return Answer(answer.status, [self._to_google(*header) for header in answer.headers], answer.body)

    @staticmethod
    def _to_s3(name: str, value: str) -> tuple[str, str]:
        if name.lower() == "x-goog-if-generation-match":
            assert value == "0"
            return "If-None-Match", "*"
        if name.lower() == "authorization":
            return "X-Token", value
        return name.lower().replace("x-goog-meta-", "x-amz-meta-"), value

    @staticmethod
    def _to_google(name: str, value: str) -> tuple[str, str]:
        return name.lower().replace("x-amz-meta-", "x-goog-meta-"), value
