"""Runs one chunk on one engine: reads its rows, answers those without a line, and makes the answers durable.

Lives on the engine's event loop; files are touched in threads. Rows of many chunks share the engine's slots in the
order in which chunks came, so that the engine never drains between two chunks. Knows nothing of Ray.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidemill_workloads.engine.interface import Answer
from tidemill_workloads.errors import EngineDead
from tidemill_workloads.output_lines import error_body, part_line
from tidemill_workloads.parts import RESULT, ChunkParts, PartLine
from tidemill_workloads.rows import chunk_lines, chunk_rows

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tidemill_workloads.engine.interface import Engine
    from tidemill_workloads.identity import Claim
    from tidemill_workloads.index import Chunk
    from tidemill_workloads.rows import Row
    from tidemill_workloads.storage import Input

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Tally:
    """What one writer has done since it started; counts are of lines that are durable."""

    in_flight: int = 0
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
class Feeder:
    """What all chunk runs of one engine share."""

    engine: Engine
    source: Input
    claim: Claim
    slots: asyncio.Semaphore
    tally: Tally = field(default_factory=Tally)
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)
    writer: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    stopping: bool = False
    _written: int = 0

    def part_name(self) -> str:
        """A new name for a part; starts with the attempt, so that earlier attempts' lines count first."""
        self._written += 1
        return f"{self.claim.number:06d}.{self.writer}-{self._written:06d}.jsonl"


@dataclass(slots=True)
class ChunkRun:
    """One chunk being run."""

    feeder: Feeder
    chunk: Chunk
    parts: ChunkParts
    answered: list[PartLine] = field(default_factory=list)
    flushing: asyncio.Lock = field(default_factory=asyncio.Lock)
    numbers: frozenset[int] = frozenset()
    flushed: bool = False

    async def run(self) -> int:
        """Leaves the chunk with one line for each row, folded into one part. The number of rows run here.

        Raises EngineDead, Superseded, JobRefused (InputChanged, OutputNotWritable); what was answered before is
        durable, but for the last one.
        """
        rows = await asyncio.to_thread(self._rows_without_line)
        try:
            await self._answer_all(rows)
        except* EngineDead as group:
            raise EngineDead(str(group.exceptions[0])) from group
        finally:
            await self.flush(last=True)
        return len(rows)

    def _rows_without_line(self) -> list[Row]:
        data = self.feeder.source.read_range(self.chunk.offset, self.chunk.length)
        self.numbers = frozenset(line for line, _ in chunk_lines(self.chunk, data))
        self.flushed = bool(self.parts.names())
        have = self.parts.answered(self.numbers) if self.flushed else {}
        return chunk_rows(self.chunk, data, set(have))

    async def _answer_all(self, rows: list[Row]) -> None:
        async with asyncio.TaskGroup() as group, self.feeder.turn:
            for row in rows:
                await self.feeder.slots.acquire()
                if self.feeder.stopping:
                    self.feeder.slots.release()
                    break
                self.feeder.tally.in_flight += 1
                # A callback, not a finally: a task cancelled before its first step runs no finally.
                group.create_task(self._answer(row)).add_done_callback(self._release)

    def _release(self, _: asyncio.Task[None]) -> None:
        self.feeder.tally.in_flight -= 1
        self.feeder.slots.release()

    async def _answer(self, row: Row) -> None:
        try:
            if row.fault:
                log.error("line %d: %s", row.line, row.fault)
                answer = Answer(400, error_body(row.fault, "BadRequestError", 400))
            else:
                answer = await self.feeder.engine.answer(row)
        except EngineDead:
            raise
        except Exception:  # a row must never take down its neighbours: the bug is logged loudly, the row fails
            log.exception("line %d: the engine's code failed on this row", row.line)
            message = "The engine failed on this request; see the worker's log."
            answer = Answer(500, error_body(message, "InternalServerError", 500))
        self.answered.append(part_line(row, answer))

    async def flush(self, last: bool = False) -> None:
        """Makes durable what was answered since the last flush. Raises Superseded, then nothing is written."""
        async with self.flushing:
            lines, self.answered = self.answered, []
            if lines or last:
                try:
                    await asyncio.to_thread(self._write, lines, last)
                except BaseException:
                    self.answered[:0] = lines  # for the next flush; a line that stands already is counted once
                    raise
                self.feeder.tally.add(lines)

    def _write(self, lines: list[PartLine], last: bool) -> None:
        self.feeder.claim.check()
        if not last or not self.flushed:
            if lines:
                self.parts.write(self.feeder.part_name(), sorted(lines))
                self.flushed = True
            return
        self._fold(lines)

    def _fold(self, lines: list[PartLine]) -> None:
        """The last write of a chunk that has parts already: one part in their place, if every row has a line."""
        names = self.parts.names()
        have = self.parts.answered(self.numbers)
        for line in lines:
            have.setdefault(line.line, line)
        if len(have) == self.chunk.rows and (lines or len(names) > 1):
            self.parts.fold(self.feeder.part_name(), have, names)
        elif lines:
            self.parts.write(self.feeder.part_name(), sorted(lines))
