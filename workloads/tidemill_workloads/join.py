"""The join: from parts to `results.jsonl` and `errors.jsonl`, one line for each row, in the order of the input.

This is where "exactly once" is made: however often a row was run, the first line in the parts' order counts, and a
row without one stops the join. Streams chunk by chunk; memory does not grow with the input.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidemill_workloads.errors import RowsMissing
from tidemill_workloads.parts import RESULT, ChunkParts, PartLine
from tidemill_workloads.rows import chunk_lines

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tidemill_workloads.index import Chunk, Index
    from tidemill_workloads.storage import Folder, Input, Writing

RESULTS_FILE = "results.jsonl"
ERRORS_FILE = "errors.jsonl"


@dataclass(slots=True)
class Totals:
    """Counts over answered rows; times in milliseconds since 1970, 0 where there is none."""

    completed: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_answer_ms: int = 0
    last_answer_ms: int = 0

    @property
    def rows(self) -> int:
        """Rows that have a line."""
        return self.completed + self.failed

    def add(self, line: PartLine) -> None:
        """Counts one row."""
        if line.kind == RESULT:
            self.completed += 1
        else:
            self.failed += 1
        self.prompt_tokens += line.prompt_tokens
        self.completion_tokens += line.completion_tokens
        self.first_answer_ms = min(self.first_answer_ms or line.answered_ms, line.answered_ms)
        self.last_answer_ms = max(self.last_answer_ms, line.answered_ms)


@dataclass(slots=True)
class Survey:
    """Where a job stands by its output folder alone."""

    totals: Totals = field(default_factory=Totals)
    unfinished: list[Chunk] = field(default_factory=list)


def survey(folder: Folder, source: Input, index: Index) -> Survey:
    """Counts the rows that have a line and names the chunks that have rows without one."""
    found = Survey()
    for chunk in index.chunks:
        parts = ChunkParts(folder, chunk.number)
        answered = parts.answered(line_numbers(source, chunk)) if parts.names() else {}
        for line in answered.values():
            found.totals.add(line)
        if len(answered) < chunk.rows:
            found.unfinished.append(chunk)
    return found


def line_numbers(source: Input, chunk: Chunk) -> Iterable[int]:
    """The line numbers of a chunk's rows. Reads the input only where blank lines stand between them."""
    if chunk.contiguous:
        return range(chunk.first_line, chunk.first_line + chunk.rows)
    return [line for line, _ in chunk_lines(chunk, source.read_range(chunk.offset, chunk.length))]


def join(folder: Folder, source: Input, index: Index, results: Writing, errors: Writing) -> Totals:
    """Writes every row's line to one of the two files. Raises RowsMissing, naming all chunks that lack a line."""
    totals = Totals()
    lacking: list[int] = []
    for chunk in index.chunks:
        answered = ChunkParts(folder, chunk.number).answered(line_numbers(source, chunk))
        if len(answered) < chunk.rows:
            lacking.append(chunk.number)
        for number in sorted(answered):
            line = answered[number]
            (results if line.kind == RESULT else errors).write(line.payload + b"\n")
            totals.add(line)
    if totals.rows != index.rows:
        raise RowsMissing(lacking, index.rows - totals.rows)
    return totals
