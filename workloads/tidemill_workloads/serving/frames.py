"""The frames in which an engine replica sends an answer to the ingress that asked. Pure: bytes in, values out.

One TCP connection joins an engine replica and an ingress replica; the frames of all their requests share it, so that
what one step of the engine says to many requests is one write and one read. The request itself does not come this
way: Serve carries it, chooses the replica and counts it.
"""

from __future__ import annotations

import struct
from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MAX_PAYLOAD = 256 * 1024 * 1024
"""A longer frame is a fault of the other side: no answer is near it."""

_HEADER = struct.Struct("!BQI")


class Kind(IntEnum):
    """What a frame says. All but HELLO and GONE go from the engine to the ingress."""

    HELLO = 0  # first on a connection: the secret of the ingress that is called, so that nobody else answers for it
    TAKEN = 1  # the engine has the request
    FIRST = 2  # the engine has made the first token of the answer
    HEAD = 3  # status and headers of the answer
    BODY = 4  # bytes of the answer
    END = 5  # the answer is whole; what it used
    FAILED = 6  # the engine can answer no more; the payload says why
    GONE = 7  # to the engine: nobody waits for this answer any more


class Frame(NamedTuple):
    """One frame; `stream` is the number that the ingress gave the request."""

    kind: Kind
    stream: int
    payload: bytes = b""


class FrameError(ValueError):
    """Bytes that are no frame: the connection is of no use any more."""


class Head(msgspec.Struct, frozen=True, array_like=True):
    """Payload of a HEAD: an HTTP status and headers, names in lower case."""

    status: int
    headers: list[tuple[bytes, bytes]]


class Usage(msgspec.Struct, frozen=True, array_like=True):
    """Payload of an END: tokens as the engine counted them."""

    prompt_tokens: int = 0
    completion_tokens: int = 0


_ENCODER = msgspec.msgpack.Encoder()
_HEAD = msgspec.msgpack.Decoder(Head)
_USAGE = msgspec.msgpack.Decoder(Usage)


def encode(frame: Frame) -> bytes:
    """The bytes of one frame."""
    return _HEADER.pack(frame.kind, frame.stream, len(frame.payload)) + frame.payload


def head_payload(status: int, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The payload of a HEAD."""
    return _ENCODER.encode(Head(status, list(headers)))


def read_head(payload: bytes) -> Head:
    """A HEAD's payload. Raises msgspec.DecodeError."""
    return _HEAD.decode(payload)


def usage_payload(usage: Usage) -> bytes:
    """The payload of an END."""
    return _ENCODER.encode(usage)


def read_usage(payload: bytes) -> Usage:
    """An END's payload. Raises msgspec.DecodeError."""
    return _USAGE.decode(payload)


class FrameReader:
    """Cuts the bytes of a connection, however they arrive, into frames."""

    def __init__(self, most: int = MAX_PAYLOAD) -> None:
        self.most = most
        self._rest = bytearray()
        self._needed = 0

    def feed(self, data: bytes) -> Iterator[Frame]:
        """The frames that `data` completes. Raises FrameError for a payload above `most` bytes and for what is none."""
        if self._rest:
            self._rest += data
            if len(self._rest) < self._needed:
                return  # a large frame comes in many pieces: each is looked at once
            data, self._rest = bytes(self._rest), bytearray()
        start, end = 0, len(data)
        while end - start >= _HEADER.size:
            kind, stream, length = _HEADER.unpack_from(data, start)
            if kind > Kind.GONE or length > self.most:
                raise FrameError(f"no frame begins with kind {kind} and length {length}")
            stop = start + _HEADER.size + length
            if stop > end:
                self._needed = stop - start
                break
            yield Frame(Kind(kind), stream, data[start + _HEADER.size : stop])
            start = stop
        else:
            self._needed = _HEADER.size
        self._rest += data[start:]
