"""The engine side of the frames: one connection to each ingress replica that has asked something of this engine.

What many requests have to say in one turn of the event loop goes out in one write.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, cast

from tidemill_workloads.serving.frames import Frame, FrameReader, Kind, encode
from tidemill_workloads.serving.replies import keep_prompt_and_alive

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill_workloads.serving.replies import ReplyAddress

CONNECT_SECONDS = 5.0


class IngressGone(ConnectionError):  # noqa: N818 - named for what happened
    """The ingress replica that asked cannot be reached: nobody waits for the answer."""


class Link(asyncio.Protocol):
    """The connection to one ingress replica."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret
        self._frames = FrameReader()
        self._unsent: list[bytes] = []
        self._gone: dict[int, Callable[[], None]] = {}
        self._transport: asyncio.Transport | None = None

    @property
    def open(self) -> bool:
        """Whether what is sent has a way to go."""
        return self._transport is not None and not self._transport.is_closing()

    def take(self, stream: int, gone: Callable[[], None]) -> None:
        """The request of that number is taken here; `gone` is called once nobody waits for its answer any more."""
        self._gone[stream] = gone
        self.send(Frame(Kind.TAKEN, stream))

    def release(self, stream: int) -> None:
        """That request is over here."""
        self._gone.pop(stream, None)

    def send(self, frame: Frame) -> None:
        """Goes out with everything else of this turn of the event loop."""
        if not self._unsent:
            asyncio.get_running_loop().call_soon(self.flush)
        self._unsent.append(encode(frame))

    def flush(self) -> None:
        """Writes what was sent so far."""
        unsent, self._unsent = self._unsent, []
        if unsent and self._transport is not None:
            self._transport.write(b"".join(unsent))

    def close(self) -> None:
        """Ends the connection, once what was sent is written."""
        self.flush()
        if self._transport is not None:
            self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """See asyncio.Protocol."""
        self._transport = cast("asyncio.Transport", transport)
        keep_prompt_and_alive(self._transport)
        self._transport.write(encode(Frame(Kind.HELLO, 0, self._secret)))

    def data_received(self, data: bytes) -> None:
        """See asyncio.Protocol."""
        for frame in self._frames.feed(data):
            if frame.kind is Kind.GONE and (gone := self._gone.pop(frame.stream, None)) is not None:
                gone()

    def connection_lost(self, exc: Exception | None) -> None:
        """See asyncio.Protocol."""
        self._transport = None
        waiting, self._gone = list(self._gone.values()), {}
        for gone in waiting:
            gone()


class Links:
    """The connections to all ingress replicas, made when they are first needed."""

    def __init__(self) -> None:
        self._links: dict[ReplyAddress, Link] = {}
        self._making = asyncio.Lock()

    async def to(self, address: ReplyAddress) -> Link:
        """The connection to that ingress replica. Raises IngressGone."""
        link = self._links.get(address)
        if link is None or not link.open:
            async with self._making:
                link = self._links.get(address)
                if link is None or not link.open:
                    link = self._links[address] = await self._connect(address)
        return link

    def flush(self) -> None:
        """Writes what all connections have to send, now."""
        for link in self._links.values():
            link.flush()

    def close(self) -> None:
        """Ends all connections, once what was sent is written."""
        for link in self._links.values():
            link.close()

    async def _connect(self, address: ReplyAddress) -> Link:
        self._links = {other: link for other, link in self._links.items() if link.open}
        loop = asyncio.get_running_loop()
        try:
            made = loop.create_connection(lambda: Link(address.secret), address.host, address.port)
            _, link = await asyncio.wait_for(made, CONNECT_SECONDS)
        except OSError as error:  # TimeoutError is one
            raise IngressGone(f"no way to {address}: {error}") from error
        return link
