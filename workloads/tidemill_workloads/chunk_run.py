"""Rows of one chunk on one engine: which of them have no line yet, and how their answers become durable.

Files are touched in threads, never on the engine's event loop; which row goes to the engine when is the pump's affair.
Knows nothing of Ray.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import deque
from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from tidemill_workloads.engine.interface import Answer
from tidemill_workloads.output_lines import error_body, error_payload, part_line
from tidemill_workloads.parts import ERROR, RESULT, ChunkParts, PartLine
from tidemill_workloads.rows import chunk_lines, chunk_rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tidemill_workloads.identity import Claim
    from tidemill_workloads.ledger import Piece
    from tidemill_workloads.rows import Row
    from tidemill_workloads.storage import Input

log = logging.getLogger(__name__)

DEADLY_CODE = "engine_died"
DEADLY_MESSAGE = (
    "This request ended the engine each time it was run, at last alone on it; it is not tried again. "
    "Check it for what the model cannot take, such as media or lengths at the engine's limits."
)


@dataclass(slots=True)
class Tally:
    """What one writer has made durable since it started."""

    completed: int = 0
    failed: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, lines: Iterable[PartLine]) -> None:
        """Counts lines that were made durable."""
        for line in lines:
            if line.kind == RESULT:
                self.completed += 1
            else:
                self.failed += 1
            self.prompt_tokens += line.prompt_tokens
            self.completion_tokens += line.completion_tokens


@dataclass(slots=True)
class Desk:
    """What all runs of one writer share: where rows come from, where lines go to, and its name."""

    source: Input
    claim: Claim
    tally: Tally = field(default_factory=Tally)
    writer: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    _written: Iterator[int] = field(default_factory=lambda: count(1))

    def file_name(self, kind: str) -> str:
        """A new name; starts with the attempt, so that earlier attempts' lines count first."""
        return f"{self.claim.number:06d}.{self.writer}-{next(self._written):06d}.{kind}"


@dataclass(slots=True)
class PieceRun:
    """One piece of work being run. `load` and `store` are for threads, all else is for the loop."""

    desk: Desk
    piece: Piece
    condemned: bool = False
    rows: deque[Row] = field(default_factory=deque)
    in_flight: set[int] = field(default_factory=set)
    later: dict[int, asyncio.TimerHandle] = field(default_factory=dict)
    tries: dict[int, int] = field(default_factory=dict)
    answered: list[PartLine] = field(default_factory=list)
    finished: asyncio.Event = field(default_factory=asyncio.Event)
    flushing: asyncio.Lock = field(default_factory=asyncio.Lock)
    numbers: frozenset[int] = frozenset()
    added: bool = False
    dropped: bool = False
    flushed: bool = False

    @property
    def parts(self) -> ChunkParts:
        """The parts of the chunk."""
        return ChunkParts(self.desk.claim.folder, self.piece.chunk.number)

    def load(self) -> list[Row]:
        """The rows of the piece that have no durable line. Raises JobRefused(InputChanged)."""
        chunk = self.piece.chunk
        data = self.desk.source.read_range(chunk.offset, chunk.length)
        if chunk.contiguous:
            self.numbers = frozenset(chunk.line_range)
        else:
            self.numbers = frozenset(line for line, _ in chunk_lines(chunk, data))
        self.flushed = bool(self.parts.names())
        skip = set(self.parts.answered(self.numbers)) if self.flushed else set()
        if self.piece.lines is not None:
            skip |= self.numbers - set(self.piece.lines)
        return chunk_rows(chunk, data, skip.union(self.piece.without))

    def begin(self, rows: Iterable[Row]) -> None:
        """Notes the rows to feed; those that need no engine are answered here."""
        for row in rows:
            if self.condemned:
                log.error("line %d: the request ended the engine when it was run alone", row.line)
                payload = error_payload(uuid.uuid4().hex, row.custom_id or None, DEADLY_CODE, DEADLY_MESSAGE)
                self.answered.append(PartLine(row.line, ERROR, 0, 0, time.time_ns() // 1_000_000, payload))
            elif row.fault:
                log.error("line %d: %s", row.line, row.fault)
                self.answered.append(part_line(row, Answer(400, error_body(row.fault, "BadRequestError", 400))))
            else:
                self.rows.append(row)
        self.settle()

    def take(self, row: Row, answer: Answer) -> None:
        """The final answer of a row that was in flight."""
        self.answered.append(part_line(row, answer))
        if not self.rows and not self.in_flight:
            self.settle()

    def settle(self) -> None:
        """Finished, where no row is left to wait for."""
        if not (self.rows or self.in_flight or self.later):
            self.finished.set()

    async def flush(self, last: bool = False) -> None:
        """Makes durable what was answered since the last flush. Raises Superseded, then nothing is written.

        The `last` flush of a chunk that has parts already folds them into one, if every row has a line now.
        """
        async with self.flushing:
            lines, self.answered = self.answered, []
            if lines or last:
                try:
                    await asyncio.to_thread(self._store, lines, last)
                except BaseException:
                    self.answered[:0] = lines  # for the next flush; a line that stands already is counted once
                    raise
                self.desk.tally.add(lines)

    def _store(self, lines: list[PartLine], last: bool) -> None:
        self.desk.claim.check()
        if last and self.flushed:
            self._fold(lines)
        elif lines:
            self.parts.write(self.desk.file_name("jsonl"), sorted(lines))
            self.flushed = True

    def _fold(self, lines: list[PartLine]) -> None:
        names = self.parts.names()
        have = self.parts.answered(self.numbers)
        for line in lines:
            have.setdefault(line.line, line)
        if len(have) == self.piece.chunk.rows and (lines or len(names) > 1):
            self.parts.fold(self.desk.file_name("jsonl"), have, names)
        elif lines:
            self.parts.write(self.desk.file_name("jsonl"), sorted(lines))
