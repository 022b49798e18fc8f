"""One request on its way to an engine: what the ingress hands to Serve, and how the engine's server is run with it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tidemill_workloads.serving.asgi import post_scope
from tidemill_workloads.serving.engine import REQUEST_ID_HEADER
from tidemill_workloads.serving.frames import Frame, Kind, head_payload

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from tidemill_workloads.serving.engine import ServingEngine
    from tidemill_workloads.serving.links import Link
    from tidemill_workloads.serving.replies import ReplyAddress

ABORT_SECONDS = 2.0
"""What stopping an engine's work on one request may take."""


@dataclass(frozen=True, slots=True)
class Call:
    """A POST to an OpenAI URL, and where its answer goes."""

    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes = field(repr=False)
    request_id: str
    stream: int
    reply_to: ReplyAddress


class Answering:
    """Runs the engine's server for one call and sends what it says as frames."""

    def __init__(self, call: Call, engine: ServingEngine, link: Link) -> None:
        self._call = call
        self._engine = engine
        self._link = link
        self._asked = False
        self._started = False
        self._gone = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self.whole = False
        """Whether the server has said its last word: only then is what went out an answer."""

    async def run(self) -> None:
        """Until the answer is whole or nobody wants it. Raises whatever the server raises."""
        headers = [*self._call.headers, (REQUEST_ID_HEADER, self._call.request_id.encode())]
        self._task = asyncio.create_task(self._serve(post_scope(self._call.path, headers)))
        try:
            # vLLM stops its work on a request when its client disconnects, not when its server's task is cancelled
            await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if not self._gone.is_set():
                self.gone()
                await asyncio.wait({self._task}, timeout=ABORT_SECONDS)
                raise

    def gone(self) -> None:
        """Nobody waits for the answer: the server sees its client disconnect and stops the engine's work on it."""
        self._gone.set()
        if self._started and self._task is not None:
            self._task.cancel()  # a stream looks for its client only when it has something to say

    async def _serve(self, scope: MutableMapping[str, Any]) -> None:
        await self._engine.app(scope, self._receive, self._send)

    async def _receive(self) -> MutableMapping[str, Any]:
        if not self._asked:
            self._asked = True
            return {"type": "http.request", "body": self._call.body, "more_body": False}
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: MutableMapping[str, Any]) -> None:
        if self._engine.dead:  # what a dead engine's server says is no answer: another gives it
            return
        if self._gone.is_set():
            if self._task is not None:
                self._task.cancel()  # it began to answer when its client was gone already: nobody else would stop it
            return
        if message["type"] == "http.response.start":
            self._started = True
            payload = head_payload(message["status"], message.get("headers", ()))
            self._link.send(Frame(Kind.HEAD, self._call.stream, payload))
            return
        if body := message.get("body", b""):
            self._link.send(Frame(Kind.BODY, self._call.stream, body))
        self.whole |= not message.get("more_body", False)
