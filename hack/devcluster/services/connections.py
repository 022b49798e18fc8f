"""One accepted connection and the one to an endpoint, tied together until both have ended.

Bytes go across as they come, in both directions at once. What a program at one end sees is what it would see of
the other end itself: a closed direction closes that direction only, a broken connection is reset, and a reader
that does not keep up holds its writer back.
"""

import asyncio
import contextlib
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import cast

from devcluster.services.rules import Place

Outgoing = Callable[[], Awaitable[socket.socket]]

CONNECT_SECONDS = 10.0
RESET = struct.pack("ii", 1, 0)
"""SO_LINGER of no time: closing drops the connection with a reset (socket(7))."""


class Side(asyncio.Protocol):
    """One of the two connections; what it receives goes out at the `other`.

    One of them reads before the other has its transport: what arrives then is kept for it. `over` is done when
    the connection has ended.
    """

    other: "Side"

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._transport: asyncio.Transport | None = None
        self._early: list[bytes] = []
        self._received_all = False
        self._broken = False
        self.over: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Catch up with the other side."""
        self._transport = cast("asyncio.Transport", transport)
        for data in self._early:
            self._transport.write(data)
        self._early.clear()
        if self._broken:
            self.reset()
        elif self.other._received_all:
            self._transport.write_eof()

    def data_received(self, data: bytes) -> None:
        """Pass it on."""
        transport = self.other._transport
        if transport is None:
            self.other._early.append(data)
        else:
            transport.write(data)

    def eof_received(self) -> bool:
        """Pass the end of this direction on; the connections go when the other direction has ended too."""
        self._received_all = True
        if self.other._received_all:
            self.end()
            self.other.end()
        elif self.other._transport is not None and not self.other._transport.is_closing():
            self.other._transport.write_eof()
        return True

    def pause_writing(self) -> None:
        """Stop reading from the other side: this one's peer does not keep up."""
        if self.other._transport is not None and not self.other._transport.is_closing():
            self.other._transport.pause_reading()

    def resume_writing(self) -> None:
        """Read from the other side again."""
        if self.other._transport is not None and not self.other._transport.is_closing():
            self.other._transport.resume_reading()

    def connection_lost(self, exc: Exception | None) -> None:
        """End the other side too: after what is still to be sent, or with a reset if this one was broken."""
        if not self.over.done():
            self.over.set_result(None)
        if exc is None:
            self.other.end()
        else:
            self.other.reset()

    def end(self) -> None:
        """Close the connection once everything is sent."""
        if self._transport is not None:
            self._transport.close()

    def reset(self) -> None:
        """Drop the connection, so that the peer sees that it broke."""
        self._broken = True
        if self._transport is not None and not self.over.done():
            with contextlib.suppress(OSError):  # it is just ending
                self._connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
            self._transport.abort()


async def forward(client: socket.socket, target: Place, outgoing: Outgoing) -> None:
    """Tie an accepted connection to an endpoint; returns when both have ended. Owns `client` from now on.

    `outgoing` makes the socket towards the endpoint. An endpoint that cannot be reached shows at the client as a
    reset.
    """
    loop = asyncio.get_running_loop()
    try:
        server = await _connected(target, await outgoing())
    except (OSError, TimeoutError):
        refuse(client)
        return
    except asyncio.CancelledError:
        refuse(client)
        raise
    sides = Side(client), Side(server)
    sides[0].other, sides[1].other = sides[1], sides[0]
    try:
        await loop.create_connection(lambda: sides[0], sock=client)
        await loop.create_connection(lambda: sides[1], sock=server)
        await asyncio.gather(*(side.over for side in sides))
    finally:
        for side in sides:
            side.reset()


def refuse(client: socket.socket) -> None:
    """Reset an accepted connection that has nowhere to go."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    client.close()


async def _connected(target: Place, server: socket.socket) -> socket.socket:
    """A socket connected to an endpoint. Raises OSError or TimeoutError."""
    server.setblocking(False)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            await asyncio.get_running_loop().sock_connect(server, target)
    except BaseException:
        server.close()
        raise
    return server
