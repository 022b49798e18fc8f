"""The HTTP side of the ingress, as an ASGI application: who may come in, what is asked, and how the answer goes out.

Judges only what no engine is needed for (key, URL, model, bound); all else is passed to the engine as it came, and its
answer back as it came. `/v1/models` and `/health` are answered here, so that they are answered without any engine too.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidemill_api.endpoint_contract import CLIENT_GONE
from tidemill_workloads.serving import openai_errors
from tidemill_workloads.serving.api_keys import bearer
from tidemill_workloads.serving.dispatch import Request
from tidemill_workloads.serving.frames import Head
from tidemill_workloads.serving.leaving import Leaving
from tidemill_workloads.serving.openai_errors import Refusal
from tidemill_workloads.serving.request_body import read_body
from tidemill_workloads.serving.request_limits import (
    Bodies,
    ClientGone,
    NoRoom,
    header,
    read_whole,
    require_small_headers,
)
from tidemill_workloads.urls import CHAT, COMPLETIONS, EMBEDDINGS

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from tidemill_workloads.serving.admission import Admission
    from tidemill_workloads.serving.api_keys import ApiKeys
    from tidemill_workloads.serving.desk import Desk, Ticket
    from tidemill_workloads.serving.dispatch import Dispatcher
    from tidemill_workloads.serving.figures import IngressFigures
    from tidemill_workloads.serving.model_cards import ModelCards

log = logging.getLogger(__name__)

MODELS = "/v1/models"
HEALTH = "/health"
ANSWERED_BY_ENGINES = frozenset({CHAT, COMPLETIONS, EMBEDDINGS})

_PASSED_ON = frozenset({b"content-type", b"traceparent", b"tracestate"})
"""Headers that an engine gets to see. A key never leaves the ingress."""

_PASSED_BACK = frozenset({b"content-type", b"content-length"})
_JSON = (b"content-type", b"application/json")
_CLOSE = (b"connection", b"close")

LAST_WORD_SECONDS = 2.0
"""What saying an error may take: who does not read has had the time of the request already."""


@dataclass(slots=True)
class FrontSettings:
    """What changes while the ingress lives."""

    request_timeout_seconds: float = 3600.0
    leaving: Leaving = field(default_factory=Leaving)


@dataclass(frozen=True, slots=True)
class Front:
    """The ASGI application."""

    models: ModelCards
    keys: ApiKeys | None
    desk: Desk
    admission: Admission
    dispatcher: Dispatcher
    figures: IngressFigures
    settings: FrontSettings
    bodies: Bodies = field(default_factory=Bodies)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answers one request."""
        if scope["type"] != "http":
            await _refuse_other(scope, send)
            return
        ticket = self.desk.arrive(time.monotonic())
        self.settings.leaving.came_in(scope)
        out = _Out(send, self.settings.leaving)
        try:
            await self._within_the_time(scope, receive, out, ticket)
        except Refusal as refusal:
            self.figures.refused(refusal.status)
            await out.refuse(refusal)
        except ClientGone:
            out.status = CLIENT_GONE
        except asyncio.CancelledError:
            out.status = CLIENT_GONE
            raise
        except Exception:  # a bug of ours: loud in the log, and an answer in the shape that clients read
            log.exception("the ingress failed on a request for %s", scope["path"])
            await out.refuse(Refusal(500, "The ingress failed on this request.", kind=openai_errors.SERVER_ERROR))
        finally:
            self.desk.end(ticket)
            if scope["path"] != HEALTH:
                self.figures.ended(out.status, time.monotonic() - ticket.arrived)

    async def _within_the_time(self, scope: Scope, receive: Receive, out: _Out, ticket: Ticket) -> None:
        limit = self.settings.request_timeout_seconds
        try:
            async with asyncio.timeout(limit) as time_left:
                await self._route(scope, receive, out, ticket)
        except TimeoutError:
            if not time_left.expired():
                raise  # not the request's time: something beneath gave up, which is a fault of ours
            raise openai_errors.timed_out(limit) from None

    async def _route(self, scope: Scope, receive: Receive, out: _Out, ticket: Ticket) -> None:
        path, method = scope["path"], scope["method"]
        if path == HEALTH:
            await out.whole(200, b"")
            return
        require_small_headers(scope)
        self._require_key(scope)
        if path == MODELS or path.startswith(f"{MODELS}/"):
            _require_method(method, "GET", path)
            await out.whole(200, self._models(path))
        elif path in ANSWERED_BY_ENGINES:
            _require_method(method, "POST", path)
            await self._by_an_engine(scope, receive, out, ticket)
        else:
            raise openai_errors.unknown_url(method, path)

    def _require_key(self, scope: Scope) -> None:
        if self.keys is None:
            return
        key = bearer(header(scope, b"authorization"))
        if key is None:
            raise openai_errors.no_key()
        if self.keys.client_of(key) is None:
            raise openai_errors.wrong_key()

    def _models(self, path: str) -> bytes:
        asked = path.removeprefix(MODELS).lstrip("/")
        return self.models.one(asked) if asked else self.models.every()

    async def _by_an_engine(self, scope: Scope, receive: Receive, out: _Out, ticket: Ticket) -> None:
        with self.bodies.room() as room:
            try:
                body = await read_whole(scope, receive, room)
            except NoRoom:
                raise openai_errors.bodies_full(self.bodies.most, self._oldest_waiting()) from None
            await self._answer(scope, body, out, ticket)

    async def _answer(self, scope: Scope, body: bytes, out: _Out, ticket: Ticket) -> None:
        asked = read_body(body, self.models)
        if not await self.admission.admit(ticket):
            raise openai_errors.queue_full(self.admission.bound, self._oldest_waiting())
        headers = tuple((name, value) for name, value in scope["headers"] if name in _PASSED_ON)
        request = Request(scope["path"], headers, body, asked.priority, ticket)
        async with aclosing(self.dispatcher.answer(request)) as parts:
            async for part in parts:
                await (out.start(part) if isinstance(part, Head) else out.body(part))
        await out.end()

    def _oldest_waiting(self) -> float:
        return self.desk.oldest_waiting(time.monotonic())


class _Out:
    """The response to one client."""

    def __init__(self, send: Send, leaving: Leaving) -> None:
        self.status = 500
        self._send = send
        self._leaving = leaving
        self._started = False
        self._ended = False
        self._events = False

    async def start(self, head: Head) -> None:
        """Status and headers, as the engine gave them."""
        headers = [(name, value) for name, value in head.headers if name in _PASSED_BACK]
        self._events = any(value.startswith(b"text/event-stream") for name, value in headers if name == _JSON[0])
        if self._events:
            headers += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]  # proxies pass events at once
        await self._start(head.status, headers)

    async def body(self, part: bytes) -> None:
        """The next bytes."""
        await self._send({"type": "http.response.body", "body": part, "more_body": True})

    async def end(self) -> None:
        """The response is whole."""
        self._ended = True
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def whole(self, status: int, body: bytes, headers: tuple[tuple[bytes, bytes], ...] = ()) -> None:
        """A response of our own."""
        await self._start(status, [_JSON, (b"content-length", str(len(body)).encode()), *headers])
        self._ended = True
        await self._send({"type": "http.response.body", "body": body, "more_body": False})

    async def refuse(self, refusal: Refusal) -> None:
        """An error: the whole response, or the last event of a stream that has begun. Raises Refusal in between.

        A client that reads nothing is not waited for: its connection is cut. Nothing is said after a whole response, of
        which the client only has not read the end in time.
        """
        if self._ended:
            return
        self.status = refusal.status
        try:
            async with asyncio.timeout(LAST_WORD_SECONDS):
                if not self._started:
                    await self.whole(refusal.status, refusal.body, refusal.headers)
                elif self._events:
                    await self.body(refusal.event)
                    await self.end()
                else:
                    raise refusal  # half a JSON document: the connection is cut, so that nobody takes it for whole
        except TimeoutError:
            raise refusal from None

    async def _start(self, status: int, headers: list[tuple[bytes, bytes]]) -> None:
        self.status = status
        self._started = True
        headers = [*headers, _CLOSE] if self._leaving.now else headers
        await self._send({"type": "http.response.start", "status": status, "headers": headers})


async def _refuse_other(scope: Scope, send: Send) -> None:
    """A WebSocket is refused as HTTP knows it, with 403; what a server says of itself (lifespan) needs no answer."""
    if scope["type"] == "websocket":
        await send({"type": "websocket.close", "code": 1008})


def _require_method(method: str, allowed: str, path: str) -> None:
    if method != allowed:
        raise openai_errors.wrong_method(method, path, allowed)
