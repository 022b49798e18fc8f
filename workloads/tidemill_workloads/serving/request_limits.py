"""How much of a request the ingress takes in: headers, one body, and all bodies together.

The HTTP server before the ingress has read the headers by then (`slow_clients` bounds that); a body is read here and
nowhere else.
"""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidemill_workloads.serving import openai_errors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Receive, Scope

LARGEST_BODY = 64 * 1024 * 1024
"""Bytes of a body: far above any prompt, and what an ingress can hold of several at once."""

ALL_BODIES = 4 * LARGEST_BODY
"""Bytes of the bodies that one ingress holds at once. On its way to an engine a body is copied two or three times, so
this is some 0.75 GiB at the worst; 1000 waiting requests may have 260 KiB each."""

BODY_PAUSE_SECONDS = 30.0
"""A client that sends nothing more of a body for so long is not waited for: it holds what it has sent."""

LARGEST_HEADERS = 64 * 1024
"""Bytes of all headers: what common proxies take at most."""


class ClientGone(Exception):  # noqa: N818 - named for what happened
    """The client closed its connection before its request was read."""


class NoRoom(Exception):  # noqa: N818 - named for what happened
    """The ingress holds as many bytes of bodies as it may."""


@dataclass(slots=True)
class Bodies:
    """The bytes of all bodies that an ingress holds, of `most` at once; used from one event loop."""

    most: int = ALL_BODIES
    held: int = 0

    @contextmanager
    def room(self) -> Iterator[Room]:
        """For one body, until the block ends."""
        room = Room(self)
        try:
            yield room
        finally:
            self.held -= room.taken


@dataclass(slots=True)
class Room:
    """What one body takes of it."""

    of: Bodies
    taken: int = 0

    def require(self, size: int) -> None:
        """Raises NoRoom where so many bytes have none now. Takes nothing: a length is soon said."""
        if self.of.held + size > self.of.most:
            raise NoRoom

    def take(self, size: int) -> None:
        """So many bytes have come. Raises NoRoom."""
        self.require(size)
        self.taken += size
        self.of.held += size


def header(scope: Scope, wanted: bytes) -> bytes:
    """The value of a header, empty where it is missing."""
    return next((value for name, value in scope["headers"] if name == wanted), b"")


def require_small_headers(scope: Scope) -> None:
    """Raises Refusal (431) where they are beyond any use."""
    if sum(len(name) + len(value) for name, value in scope["headers"]) > LARGEST_HEADERS:
        raise openai_errors.headers_too_large(LARGEST_HEADERS)


async def read_whole(scope: Scope, receive: Receive, room: Room) -> bytes:
    """The whole body, which takes its room as it comes.

    Raises Refusal: 413 where it is or says to be too large, 408 where it stops coming; NoRoom; ClientGone.
    """
    told = header(scope, b"content-length")
    if told.isdigit():
        if int(told) > LARGEST_BODY:
            raise openai_errors.too_large(LARGEST_BODY)
        room.require(int(told))
    parts: list[bytes] = []
    size = 0
    more = True
    while more:
        message = await _next_part(receive)
        if message["type"] == "http.disconnect":
            raise ClientGone
        parts.append(message.get("body", b""))
        size += len(parts[-1])
        if size > LARGEST_BODY:
            raise openai_errors.too_large(LARGEST_BODY)
        room.take(len(parts[-1]))
        more = message.get("more_body", False)
    return b"".join(parts) if len(parts) > 1 else parts[0]


async def _next_part(receive: Receive) -> Any:
    try:
        async with asyncio.timeout(BODY_PAUSE_SECONDS):
            return await receive()
    except TimeoutError:
        raise openai_errors.body_too_slow(BODY_PAUSE_SECONDS) from None
