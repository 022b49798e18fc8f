"""The join: from parts to `results.jsonl` and `errors.jsonl`, one line for each row, in the order of the input.

This is where "exactly once" is made: however often a row was run, the first line in the parts' order counts, and a
row without one stops the join, unless the caller has lines for such rows. Streams chunk by chunk, reading a few ahead;
memory does not grow with the input, which is not read: the index tells how many rows a chunk has.
"""

from __future__ import annotations

import gc
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidemill_workloads.errors import RowsMissing
from tidemill_workloads.parts import RESULT, ChunkParts, PartLine

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator

    from tidemill_workloads.index import Chunk, Index
    from tidemill_workloads.storage import Folder, Writing

    Fill = Callable[[Chunk, Collection[int]], Iterable[PartLine]]
    """Lines for the rows of a chunk that are not among the line numbers given."""

RESULTS_FILE = "results.jsonl"
ERRORS_FILE = "errors.jsonl"

READ_AHEAD = 4
"""Chunks read at once: hides an object store's delay, and four of the longest chunks fit into a small head."""


@dataclass(slots=True)
class Totals:
    """Counts over rows that have a line; times in milliseconds since 1970, 0 where there is none.

    `failed` includes `unanswered`: rows that were never run and got their line at the end of the job.
    """

    completed: int = 0
    failed: int = 0
    unanswered: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    first_answer_ms: int = 0
    last_answer_ms: int = 0

    @property
    def rows(self) -> int:
        """Rows that have a line."""
        return self.completed + self.failed

    def add(self, lines: Collection[PartLine]) -> None:
        """Counts answered rows; a time of 0 is unknown."""
        if not lines:
            return
        # Column by column: half the time of a generator over the lines for each sum.
        _, kinds, prompt_tokens, completion_tokens, times, _ = zip(*lines, strict=True)
        completed = kinds.count(RESULT)
        self.completed += completed
        self.failed += len(lines) - completed
        self.prompt_tokens += sum(prompt_tokens)
        self.completion_tokens += sum(completion_tokens)
        if known := tuple(filter(None, times)):
            self.first_answer_ms = min(self.first_answer_ms or known[0], *known)
            self.last_answer_ms = max(self.last_answer_ms, *known)

    def add_unanswered(self, rows: int) -> None:
        """Counts rows that were never run."""
        self.failed += rows
        self.unanswered += rows


@dataclass(slots=True)
class Survey:
    """Where a job stands by its output folder alone."""

    totals: Totals = field(default_factory=Totals)
    unfinished: list[Chunk] = field(default_factory=list)


def survey(folder: Folder, index: Index) -> Survey:
    """Counts the rows that have a line and names the chunks that have rows without one."""
    found = Survey()
    with _no_cycles_to_collect():
        for chunk, answered in _answered(folder, index.chunks):
            found.totals.add(answered.values())
            if len(answered) < chunk.rows:
                found.unfinished.append(chunk)
    return found


def join(folder: Folder, index: Index, results: Writing, errors: Writing, fill: Fill | None = None) -> Totals:
    """Writes every row's line to one of the two files; a row without one gets the line that `fill` has for it.

    Raises RowsMissing, naming all chunks that lack a line.
    """
    totals = Totals()
    lacking: list[int] = []
    with _no_cycles_to_collect():
        for chunk, answered in _answered(folder, index.chunks):
            totals.add(answered.values())
            lines = answered
            if fill is not None and len(answered) < chunk.rows:
                lines = answered | {line.line: line for line in fill(chunk, answered.keys())}
                totals.add_unanswered(len(lines) - len(answered))
            if len(lines) < chunk.rows:
                lacking.append(chunk.number)
            in_order = [lines[number] for number in sorted(lines)]
            results.write(b"".join([line.payload + b"\n" for line in in_order if line.kind == RESULT]))
            errors.write(b"".join([line.payload + b"\n" for line in in_order if line.kind != RESULT]))
    if totals.rows != index.rows:
        raise RowsMissing(lacking, index.rows - totals.rows)
    return totals


@contextmanager
def _no_cycles_to_collect() -> Iterator[None]:
    """Without the garbage collector, which would look at millions of tuples again and again: they hold no cycles."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def _answered(folder: Folder, chunks: Iterable[Chunk]) -> Iterator[tuple[Chunk, dict[int, PartLine]]]:
    """The line that counts for each row of each chunk that has one, chunk by chunk in order."""

    def read(chunk: Chunk) -> dict[int, PartLine]:
        parts = ChunkParts(folder, chunk.number)
        names = parts.names()
        return parts.answered(chunk.line_range, names) if names else {}

    with ThreadPoolExecutor(READ_AHEAD, "join") as pool:
        ahead = deque[tuple["Chunk", Future[dict[int, PartLine]]]]()
        for chunk in chunks:
            ahead.append((chunk, pool.submit(read, chunk)))
            if len(ahead) == READ_AHEAD:
                first, reading = ahead.popleft()
                yield first, reading.result()
        for first, reading in ahead:
            yield first, reading.result()
