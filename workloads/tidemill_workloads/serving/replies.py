"""The ingress side of the frames: a listener that engine replicas connect to, and the answers that come in over it.

Its port is the operating system's choice and stays inside the cluster; a connection that does not open with the secret
of this listener is closed. The secret travels with each call through Serve, and nowhere else.
"""

from __future__ import annotations

import asyncio
import hmac
import itertools
import logging
import secrets
import socket
from collections import deque
from dataclasses import dataclass
from typing import cast

from tidemill_workloads.serving.frames import MAX_PAYLOAD, Frame, FrameError, FrameReader, Kind, encode

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class ReplyAddress:
    """Where an engine sends the frames of one ingress replica's requests."""

    host: str
    port: int
    secret: bytes

    def __repr__(self) -> str:
        return f"ReplyAddress({self.host}:{self.port})"


class Reply:
    """The frames of one answer, in their order, as they come in."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.engine: _EngineConnection | None = None
        self.begun = asyncio.Event()
        """Set once a frame has come, or nobody waits for one any more."""
        self._frames: deque[Frame] = deque()
        self._news = asyncio.Event()

    def put(self, frame: Frame) -> None:
        """Another frame has come."""
        self.begun.set()
        self._frames.append(frame)
        self._news.set()

    async def get(self) -> Frame:
        """The next frame. Bodies that stand in a row are one, so that a slow client costs few writes."""
        while not self._frames:
            self._news.clear()
            await self._news.wait()
        frame = self._frames.popleft()
        if frame.kind is Kind.BODY and self._frames and self._frames[0].kind is Kind.BODY:
            bodies = [frame.payload]
            while self._frames and self._frames[0].kind is Kind.BODY:
                bodies.append(self._frames.popleft().payload)
            frame = Frame(Kind.BODY, frame.stream, b"".join(bodies))
        return frame


class ReplyListener:
    """Takes the connections of engine replicas and hands each frame to the answer that it belongs to."""

    def __init__(self, host: str) -> None:
        self._host = host
        self._secret = secrets.token_bytes(16)
        self._numbers = itertools.count(1)
        self._replies: dict[int, Reply] = {}
        self._server: asyncio.Server | None = None

    async def start(self) -> ReplyAddress:
        """Listens, and says where."""
        loop = asyncio.get_running_loop()
        self._server = await loop.create_server(lambda: _EngineConnection(self), self._host, 0)
        port: int = self._server.sockets[0].getsockname()[1]
        return ReplyAddress(self._host, port, self._secret)

    def close(self) -> None:
        """Takes no more connections; those that stand go on."""
        if self._server is not None:
            self._server.close()

    def open(self) -> Reply:
        """The place of a new answer."""
        reply = Reply(next(self._numbers))
        self._replies[reply.number] = reply
        return reply

    def forget(self, reply: Reply, *, ended: bool) -> None:
        """Nobody waits for this answer any more; the engine that is still at it is told."""
        self._replies.pop(reply.number, None)
        reply.begun.set()
        if not ended and reply.engine is not None:
            reply.engine.send(Frame(Kind.GONE, reply.number))

    def is_secret(self, presented: bytes) -> bool:
        """Whether it is the secret of this listener."""
        return hmac.compare_digest(self._secret, presented)

    def received(self, frame: Frame, engine: _EngineConnection) -> None:
        """A frame of an engine; where nobody waits for it any more, the engine is told."""
        reply = self._replies.get(frame.stream)
        if reply is None:
            if frame.kind not in (Kind.END, Kind.FAILED):
                engine.send(Frame(Kind.GONE, frame.stream))
            return
        reply.engine = engine
        reply.put(frame)

    def lost(self, engine: _EngineConnection) -> None:
        """A connection is gone, and with it what its engine had taken."""
        for reply in list(self._replies.values()):
            if reply.engine is engine:
                reply.engine = None
                reply.put(Frame(Kind.FAILED, reply.number, b"the connection to the engine was lost"))


MOST_BEFORE_HELLO = 256
"""Bytes of the first frame: a secret, and nothing that a stranger could have held in memory."""


class _EngineConnection(asyncio.Protocol):
    """One engine replica's connection."""

    def __init__(self, listener: ReplyListener) -> None:
        self._listener = listener
        self._frames = FrameReader(most=MOST_BEFORE_HELLO)
        self._known = False
        self._transport: asyncio.Transport | None = None

    def send(self, frame: Frame) -> None:
        """To the engine, where it is still there."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(frame))

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        keep_prompt_and_alive(self._transport)

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        try:
            for frame in self._frames.feed(data):
                self._received(frame)
        except FrameError as error:
            log.warning("a connection to the reply port is closed: %s", error)
            self._close()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._transport = None
        self._listener.lost(self)

    def _received(self, frame: Frame) -> None:
        if self._known:
            self._listener.received(frame, self)
        elif frame.kind is Kind.HELLO and self._listener.is_secret(frame.payload):
            self._known = True
            self._frames.most = MAX_PAYLOAD
        else:
            raise FrameError("it does not know the secret")

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()


SILENT_PEER = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 3),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 5),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 30_000),  # milliseconds, for what was sent and not acknowledged
)
"""A node that loses its power says nothing: after 20 to 30 s without a sign of its kernel the connection is lost, and
its requests are tried elsewhere. Ray itself notices after minutes only."""


def keep_prompt_and_alive(transport: asyncio.Transport) -> None:
    """Small frames go out at once, and a peer that vanished is noticed."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        for level, option, value in ((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), *SILENT_PEER):
            connection.setsockopt(level, option, value)
