"""From the bytes of the input to rows, in one way for everybody: validation, index and engine count alike.

Lines end with a newline and nothing else: U+2028 inside a string, a carriage return or a missing last newline change
no number. Physical line numbers start at 1; blank lines count and are no rows.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from tidemill_workloads.index import Chunk
    from tidemill_workloads.storage import Input

BLANK = b" \t\r\n\v\f"
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


class Row(msgspec.Struct, frozen=True):
    """One request as the user wrote it, with the line it stands on."""

    line: int
    custom_id: str
    url: str
    body: dict[str, Any]
    fault: str = ""
    """Why the line cannot be read as a request, which is then this row's answer; empty for every other row."""


_DECODER = msgspec.json.Decoder()


def content(raw: bytes, line: int) -> bytes:
    """A physical line without byte order mark and white space at its ends: what is judged, and what is run."""
    if line == 1:
        raw = raw.removeprefix(BYTE_ORDER_MARK)
    return raw.strip(BLANK)


def decode(stripped: bytes) -> Any:
    """The JSON value of a line's `content`. Raises ValueError or RecursionError.

    Validation and workers both call this one: two decoders would differ on lines such as one with a key twice.
    """
    return _DECODER.decode(stripped)


def chunk_lines(chunk: Chunk, data: bytes) -> Iterator[tuple[int, bytes]]:
    """Line number and content of each row in `data`, the chunk's byte range; blank lines are counted and left out."""
    for line, raw in enumerate(data.split(b"\n"), start=chunk.first_line):
        if stripped := content(raw, line):
            yield line, stripped


def line_numbers(source: Input, chunk: Chunk) -> Collection[int]:
    """The line numbers of a chunk's rows. Reads the input only where blank lines stand between them."""
    if chunk.contiguous:
        return chunk.line_range
    return {line for line, _ in chunk_lines(chunk, source.read_range(chunk.offset, chunk.length))}


def chunk_rows(chunk: Chunk, data: bytes, skip: set[int]) -> list[Row]:
    """The rows of a validated chunk but for those on the lines in `skip`.

    A line that validation should have refused is a row with a `fault`: it costs itself, never its chunk.
    """
    return [_row(line, stripped) for line, stripped in chunk_lines(chunk, data) if line not in skip]


def _row(line: int, stripped: bytes) -> Row:
    custom_id = ""
    try:
        match decode(stripped):
            case {"custom_id": str(custom_id), "url": str(url), "body": dict(body)}:
                return Row(line, custom_id, url, body)
        fault = "custom_id, url or body is missing or of another type"
    except (ValueError, RecursionError) as error:
        fault = str(error)
    return Row(line, custom_id, "", {}, fault=f"Line {line} of the input cannot be read as a request: {fault}")
