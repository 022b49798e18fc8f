"""A file-like view over something that is read by byte ranges: for one streaming pass over an object.

Knows nothing of stores or servers: the function that it is given reads the ranges, and is patient.
"""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

if TYPE_CHECKING:
    from collections.abc import Callable

WINDOW_BYTES = 8 << 20
"""Bytes of one request: long enough that its latency is small beside its transfer, short enough to be repeated."""


@dataclass(slots=True)
class _Ranges(io.RawIOBase):
    read_range: Callable[[int, int], bytes]
    size: int
    position: int = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override] # the buffered reader passes a memoryview
        length = min(len(buffer), self.size - self.position)
        if length <= 0:
            return 0
        buffer[:length] = self.read_range(self.position, length)
        self.position += length
        return length


def reader(read_range: Callable[[int, int], bytes], size: int) -> BinaryIO:
    """A buffered stream over `size` bytes; `read_range(offset, length)` gives exactly `length` bytes."""
    return cast("BinaryIO", io.BufferedReader(_Ranges(read_range, size), buffer_size=WINDOW_BYTES))
