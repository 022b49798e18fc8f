"""The HTTP server of an ingress replica with bounds for clients that never come to the point.

uvicorn reads a request's head for as long as it takes and of whatever size: `timeout_keep_alive` runs only after an
answer and ends with the next byte, and `h11_max_incomplete_event_size` is not for httptools, which Serve's servers use.
So some thousand connections that send a header a minute would cost an ingress its memory and its files, without a key.
Here a head has a time and a size, and a connection that asks nothing is as idle as one that asks nothing more. Bodies
are read, and bounded, by the front (`request_limits`).
"""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from tidemill_workloads.serving import openai_errors
from tidemill_workloads.serving.request_limits import LARGEST_HEADERS

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    from tidemill_workloads.serving.openai_errors import Refusal

HEAD_SECONDS = 20.0
"""From the first byte of a request to the end of its headers: what common servers allow, and far above any need."""

MOST_OF_A_HEAD = 4 * LARGEST_HEADERS
"""Bytes that are kept of a head that has no end. The front refuses what is larger than it allows, in words that arrive:
here more may be on its way, and then the connection is reset over the answer."""


class BoundedHttp(HttpToolsProtocol):
    """One connection."""

    _awaits_head = True  # the head of the next request is not whole: nothing of it has come, or a part
    _heads = 0
    _head_bytes = 0
    _clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override] # as in uvicorn itself
        """See asyncio.Protocol."""
        super().connection_made(transport)
        self._set_clock(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def leave_if_idle(self) -> None:
        """Ends a connection on which nothing of a next request has come: its client asks over another one."""
        answered = self.cycle is None or self.cycle.response_complete
        if answered and self._awaits_head and not self._head_bytes:
            self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        in_head, heads = self._awaits_head, self._heads
        super().data_received(data)
        if in_head and heads == self._heads and not self.transport.is_closing():
            self._more_of_a_head(len(data))

    def on_headers_complete(self) -> None:
        """The parser's word: a head is whole."""
        self._stop_clock()
        self._awaits_head, self._heads, self._head_bytes = False, self._heads + 1, 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """The parser's word: a request is whole."""
        self._awaits_head = True
        super().on_message_complete()

    def _more_of_a_head(self, size: int) -> None:
        if not self._head_bytes:
            self._set_clock(HEAD_SECONDS, self._too_slow)
        self._head_bytes += size
        if self._head_bytes > MOST_OF_A_HEAD:
            self._refuse(openai_errors.headers_too_large(LARGEST_HEADERS))

    def _too_slow(self) -> None:
        self._refuse(openai_errors.head_too_slow(HEAD_SECONDS))

    def _refuse(self, refusal: Refusal) -> None:
        """Answers and closes; where an answer to an earlier request is still on its way, only closes."""
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_response(refusal))
        self.transport.close()

    def _set_clock(self, seconds: float, then: Callable[[], None]) -> None:
        self._stop_clock()
        self._clock = self.loop.call_later(seconds, then)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()
            self._clock = None


def _response(refusal: Refusal) -> bytes:
    """The refusal as HTTP, closing."""
    headers = [*refusal.headers, (b"content-type", b"application/json"), (b"connection", b"close")]
    headers.append((b"content-length", str(len(refusal.body)).encode()))
    first = f"HTTP/1.1 {refusal.status} {HTTPStatus(refusal.status).phrase}".encode()
    return b"\r\n".join([first, *(name + b": " + value for name, value in headers), b"", refusal.body])
