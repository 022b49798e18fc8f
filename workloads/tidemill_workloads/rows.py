"""From the bytes of the input to rows, in one way for everybody: validation, index and engine count alike.

Lines end with a newline and nothing else: U+2028 inside a string, a carriage return or a missing last newline change
no number. Physical line numbers start at 1; blank lines count and are no rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tidemill_workloads.index import Chunk

BLANK = b" \t\r\n\v\f"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Row(msgspec.Struct, frozen=True):
    """One request as the user wrote it, with the line it stands on."""

    line: int
    custom_id: str
    url: str
    body: dict[str, Any]


class _Line(msgspec.Struct):
    custom_id: str
    url: str
    body: dict[str, Any]


_DECODER = msgspec.json.Decoder(_Line)


def chunk_lines(chunk: Chunk, data: bytes) -> Iterator[tuple[int, bytes]]:
    """Line number and bytes of each row in `data`, the chunk's byte range; blank lines are counted and left out."""
    for line, raw in enumerate(data.split(b"\n"), start=chunk.first_line):
        if line == 1:
            raw = raw.removeprefix(BYTE_ORDER_MARK)  # noqa: PLW2901 - the same line without its mark
        if raw.strip(BLANK):
            yield line, raw


def chunk_rows(chunk: Chunk, data: bytes, skip: set[int]) -> list[Row]:
    """The rows of a validated chunk but for those on the lines in `skip`. Raises ValueError on a bad line."""
    rows = []
    for line, raw in chunk_lines(chunk, data):
        if line not in skip:
            request = _DECODER.decode(raw)
            rows.append(Row(line, request.custom_id, request.url, request.body))
    return rows
