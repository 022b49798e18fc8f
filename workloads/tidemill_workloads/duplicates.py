"""Which custom_ids stand on more than one line? In 16 bytes a row, exact for every practical purpose.

Each custom_id is kept as 12 bytes of its BLAKE2b digest beside its line number: two of 50 million different ones
share a digest with a probability below 1e-13.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterator

    Column = np.ndarray[tuple[int], np.dtype[np.unsignedinteger]]


def digest(custom_id: str) -> tuple[int, int]:
    """The first 8 and the other 4 bytes of a custom_id's digest, as numbers."""
    data = blake2b(custom_id.encode("utf-8"), digest_size=12).digest()
    return int.from_bytes(data[:8], "little"), int.from_bytes(data[8:], "little")


@dataclass(slots=True)
class CustomIds:
    """All custom_ids of an input by digest and line."""

    high: array[int] = field(default_factory=lambda: array("Q"))
    low: array[int] = field(default_factory=lambda: array("I"))
    line: array[int] = field(default_factory=lambda: array("I"))

    def add(self, custom_id: str, line: int) -> None:
        """Notes one line. Lines come in rising order and stay below 2**32."""
        high, low = digest(custom_id)
        self.high.append(high)
        self.low.append(low)
        self.line.append(line)

    def columns(self) -> tuple[Column, Column, Column]:
        """Both parts of the digests, and the lines, in the order of the lines. Views: add nothing while they live."""
        high, low = np.frombuffer(self.high, np.uint64), np.frombuffer(self.low, np.uint32)
        return high, low, np.frombuffer(self.line, np.uint32)

    def duplicates(self) -> Iterator[tuple[int, int]]:
        """(line, first line with the same custom_id) of every later line, in line order."""
        if not self.line:
            return
        high, low, line = self.columns()
        order = np.argsort(high, kind="stable")
        candidate = high[order][1:] == high[order][:-1]
        if not candidate.any():
            return
        order = np.lexsort((line, low, high))  # only where something is amiss: sorts by digest, then by line
        same = (high[order][1:] == high[order][:-1]) & (low[order][1:] == low[order][:-1])
        begins = np.concatenate(([True], ~same))
        first = line[order][np.maximum.accumulate(np.where(begins, np.arange(len(begins)), 0))]
        later = ~begins
        by_line = np.argsort(line[order][later])
        pairs = zip(line[order][later][by_line].tolist(), first[later][by_line].tolist(), strict=True)
        yield from pairs
