"""The chunk index: where in the input each chunk of rows lies. Written once, by the validation that passed.

A chunk is the unit of work, of retry and of folding. Chunks are small enough that workers which join late still find
work, and never cut a line. The index belongs to one state of the input, which it names.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tidemill_workloads.storage import Folder

INDEX_FILE = "index/chunks.jsonl"
MAX_ROWS_PER_CHUNK = 512
CHUNKS_PER_WORKER = 32
"""Share of the input that a worker takes at a time: 1/32 of its fair share, so late joiners find work."""

MAX_BYTES_PER_CHUNK = 8 << 20
"""A chunk of more than one row holds no more: an engine actor has several chunks in memory at once."""

_VERSION = 1


class Chunk(msgspec.Struct, frozen=True, array_like=True):
    """A run of whole lines of the input. `lines` counts blank ones too, `rows` does not."""

    number: int
    offset: int
    length: int
    first_line: int
    lines: int
    rows: int

    @property
    def line_range(self) -> range:
        """The numbers of its lines, blank ones too."""
        return range(self.first_line, self.first_line + self.lines)

    @property
    def contiguous(self) -> bool:
        """Whether every line of the chunk is a row, so that line numbers need no look at the input."""
        return self.lines == self.rows


class Index(msgspec.Struct, frozen=True):
    """All chunks of one state of an input, in order; together they hold every row exactly once.

    `invalid` counts the rows that validation gave an error line of their own, `taken_over` those whose line comes from
    the job that this one resubmits: both have their line before the first row is run.
    """

    size: int
    mtime_ns: int
    rows: int
    chunks: tuple[Chunk, ...]
    invalid: int = 0
    taken_over: int = 0
    etag: str = ""

    @property
    def state(self) -> tuple[int, int, str]:
        """The state of the input that the index belongs to, to be compared with `InputIdentity.state`."""
        return self.size, self.mtime_ns, self.etag


class _Header(msgspec.Struct, frozen=True):
    version: int
    size: int
    mtime_ns: int
    rows: int
    chunks: int
    invalid: int = 0
    taken_over: int = 0
    etag: str = ""


class _Mark(NamedTuple):
    """The place before a row: its line begins at `offset`, `row` rows come before it."""

    offset: int
    line: int
    row: int


@dataclass(slots=True)
class ChunkMarks:
    """Remembers where rows begin, finely for small inputs, more coarsely the longer the input turns out to be.

    The number of rows is only known at the end of the pass, while rows per chunk depend on it. So a mark is kept for
    each `step` rows, and `step` doubles when marks become many: memory stays within 128 marks a worker, or one mark
    for 512 rows (more where rows are long).
    """

    workers_max: int
    step: int = 1
    marks: list[_Mark] = field(default_factory=list)

    def row(self, offset: int, line: int, row: int) -> None:
        """Notes that row number `row` (from 0) is on line `line` (from 1), which begins at byte `offset`."""
        if self.marks:
            last = self.marks[-1]
            if row - last.row < self.step and offset - last.offset < MAX_BYTES_PER_CHUNK // 4:
                return
        self.marks.append(_Mark(offset, line, row))
        if len(self.marks) > 4 * CHUNKS_PER_WORKER * self.workers_max and self.step < MAX_ROWS_PER_CHUNK:
            self.step *= 2
            self.marks = _thin(self.marks, self.step)

    def alone(self, offset: int, line: int, row: int, length: int) -> None:
        """Notes a row whose line, of `length` bytes, nobody shall read: a chunk of its own where it is a long one."""
        begin = _Mark(offset, line, row)
        if self.marks[-1:] != [begin]:
            self.marks.append(begin)
        self.marks.append(_Mark(offset + length, line + 1, row + 1))

    def chunks(self, offset: int, line: int, rows: int) -> tuple[Chunk, ...]:
        """The chunks of an input of `rows` rows that ends at byte `offset`, before line `line`."""
        end = _Mark(offset, line, rows)
        marks = [mark for mark in self.marks if mark.row < rows]  # none without a row after it
        borders = _thin([*marks, end], rows_per_chunk(rows, self.workers_max))
        return tuple(
            Chunk(
                number=number,
                offset=begin.offset,
                length=until.offset - begin.offset,
                first_line=begin.line,
                lines=until.line - begin.line,
                rows=until.row - begin.row,
            )
            for number, (begin, until) in enumerate(pairwise(borders))
        )


def _thin(marks: list[_Mark], rows: int) -> list[_Mark]:
    """First and last mark, and between them as few as keep neighbours within `rows` rows and the bytes of a chunk."""
    kept = marks[:1]
    for mark, following in pairwise(marks[1:]):
        if following.row - kept[-1].row > rows or following.offset - kept[-1].offset > MAX_BYTES_PER_CHUNK:
            kept.append(mark)
    return [*kept, *marks[1:][-1:]]


def rows_per_chunk(rows: int, workers_max: int) -> int:
    """Rows of a chunk: total / (workers_max * 32), within 1..512."""
    return max(1, min(MAX_ROWS_PER_CHUNK, rows // (workers_max * CHUNKS_PER_WORKER)))


def write_index(folder: Folder, index: Index) -> None:
    """Writes the index durably and create-only: of two attempts at once, both read the first one's."""
    header = _Header(
        version=_VERSION,
        size=index.size,
        mtime_ns=index.mtime_ns,
        rows=index.rows,
        chunks=len(index.chunks),
        invalid=index.invalid,
        taken_over=index.taken_over,
        etag=index.etag,
    )
    folder.create(INDEX_FILE, b"".join(msgspec.json.encode(item) + b"\n" for item in (header, *index.chunks)))


def read_index(folder: Folder) -> Index | None:
    """The index in the folder, or None. Raises ValueError for a file that is not whole."""
    data = folder.read(INDEX_FILE)
    if data is None:
        return None
    first, *rest = data.splitlines()
    header = msgspec.json.decode(first, type=_Header)
    chunks = tuple(_decode_chunks(rest))
    if len(chunks) != header.chunks or sum(chunk.rows for chunk in chunks) != header.rows:
        raise ValueError(f"{folder.uri(INDEX_FILE)} is not whole")
    return Index(
        size=header.size,
        mtime_ns=header.mtime_ns,
        rows=header.rows,
        chunks=chunks,
        invalid=header.invalid,
        taken_over=header.taken_over,
        etag=header.etag,
    )


def _decode_chunks(lines: Iterable[bytes]) -> Iterable[Chunk]:
    decoder = msgspec.json.Decoder(Chunk)
    return (decoder.decode(line) for line in lines)
