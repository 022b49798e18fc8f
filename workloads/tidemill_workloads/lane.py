"""A lane: one engine's way through the job. Takes work from the ledger just in time, runs it and reports its end.

One lane runs on one engine actor at a time, for as long as there is work. It asks for no more rows than keep the
engine full, so that workers which join late find work, and holds to the ledger's word: what it is told to drop it
drops, and suspects run while nothing else is on the engine. Knows of the head only that it answers; nothing of Ray.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

from tidemill_workloads.chunk_run import PieceRun
from tidemill_workloads.coordinator import Message, Orders
from tidemill_workloads.errors import EngineDead, JobRefused, Superseded
from tidemill_workloads.ledger import Level, Suspect, Work
from tidemill_workloads.look_ahead import LookAhead
from tidemill_workloads.parts import STARTED
from tidemill_workloads.progress import REPORT_SECONDS, Report
from tidemill_workloads.suspects import marker_of
from tidemill_workloads.watchdog import StallClock, stall_seconds

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from tidemill_workloads.chunk_run import Desk
    from tidemill_workloads.pump import Pump
    from tidemill_workloads.rows import Row

log = logging.getLogger(__name__)

FLUSH_SECONDS = 10.0
"""Answers wait no longer than this to become durable: what a lost node costs."""

GRACE_SECONDS = 10.0
"""How long a lane that has to stop waits for the rows in flight, and for a store that is to take their answers; what
is not durable by then is left for another engine."""

EMPTY_LOOK_SECONDS = 0.05
"""How often a suspect looks whether the engine is empty yet; only rows of dropped work make it wait."""


class Head(Protocol):
    """The coordinator, from afar."""

    async def exchange(self, message: Message) -> Orders:
        """See Coordinator.exchange."""

    async def died(self, writer: str, in_flight: Mapping[int, Sequence[Suspect]]) -> None:
        """See Coordinator.died."""


class Leaving(Exception):  # noqa: N818 - not an error: the node is to go, and all that was held is handed back
    """The lane's node is being drained."""


@dataclass(slots=True)
class WorkRun:
    """One piece of work on its way; `marker` is its durable name while it is on the engine."""

    work: Work
    asked: float
    """When it was asked for, in monotonic seconds."""
    pieces: list[PieceRun]
    marker: str = ""
    fed: bool = False

    @property
    def whole(self) -> bool:
        """Whether every row got its answer."""
        return not any(run.dropped for run in self.pieces)

    def in_flight(self) -> list[Suspect]:
        """The rows on the engine now."""
        return [Suspect(run.piece.chunk, line) for run in self.pieces for line in sorted(run.in_flight)]


@dataclass(slots=True)
class Lane:
    """One engine's way. `run` raises what ends the worker: EngineDead, Leaving, JobRefused, Superseded."""

    desk: Desk
    pump: Pump
    head: Head
    node: str
    _works: dict[int, WorkRun] = field(default_factory=dict)
    _tasks: dict[int, asyncio.Task[None]] = field(default_factory=dict)
    _ended: list[int] = field(default_factory=list)
    _returned: list[int] = field(default_factory=list)
    _failure: BaseException | None = None
    _look_ahead: LookAhead = field(default_factory=LookAhead)

    async def run(self) -> int:
        """Works until the ledger is empty or a stop is asked for. The number of rows answered."""
        before = self.pump.answered
        background = [asyncio.create_task(self._keep_flushing()), asyncio.create_task(self._keep_watching())]
        try:
            await self._work()
        except Exception as error:
            await self._salvage(error)
            raise
        finally:
            for task in (*background, *self._tasks.values()):
                task.cancel()
        return self.pump.answered - before

    async def _work(self) -> None:
        while True:
            self.pump.low.clear()
            message, asked = self._message(), time.monotonic()
            orders = await self.head.exchange(message)
            for number in orders.dropped:
                self._drop(number)
            for work in orders.works:
                self._start(work, asked)
            self.pump.low_mark = 0 if message.want and not orders.works else self._rows_ahead()
            if orders.stop or orders.leave:
                await self._stop()
                if orders.leave:
                    raise Leaving
                return
            if orders.done and not self._works:
                return
            with suppress(TimeoutError):
                await asyncio.wait_for(self.pump.low.wait(), REPORT_SECONDS)
            self._raise_failure()

    def _raise_failure(self) -> None:
        if self.pump.dead is not None:
            raise self.pump.dead
        if self._failure is not None:
            raise self._failure

    def _message(self, stopped: bool = False) -> Message:
        ended, self._ended = tuple(self._ended), []
        returned, self._returned = tuple(self._returned), []
        return Message(self._report(stopped), ended, returned, tuple(self._works), 0 if stopped else self._want())

    def _report(self, stopped: bool) -> Report:
        tally = self.desk.tally
        return Report(
            writer=self.desk.writer,
            node=self.node,
            in_flight=self.pump.held,
            completed=tally.completed,
            failed=tally.failed,
            prompt_tokens=tally.prompt_tokens,
            completion_tokens=tally.completion_tokens,
            answered=self.pump.answered,
            stopped=stopped,
        )

    def _want(self) -> int:
        preparing = sum(entry.work.rows for entry in self._works.values() if not entry.fed)
        return max(0, self.pump.slots + self._rows_ahead() - self.pump.held - self.pump.unfed - preparing)

    def _rows_ahead(self) -> int:
        self._look_ahead.answered(self.pump.answered, time.monotonic())
        return self._look_ahead.rows(self.pump.slots)

    def _start(self, work: Work, asked: float) -> None:
        condemned = work.level == Level.CONDEMNED
        entry = WorkRun(work, asked, [PieceRun(self.desk, piece, condemned) for piece in work.pieces])
        others = list(self._tasks.values()) if work.exclusive else []
        self._works[work.number] = entry
        task = asyncio.create_task(self._run(entry, others))
        self._tasks[work.number] = task
        task.add_done_callback(lambda done: self._settle(work.number, done))

    async def _run(self, entry: WorkRun, others: list[asyncio.Task[None]]) -> None:
        if others:
            await asyncio.wait(others)
        if entry.work.exclusive:
            await self._engine_empty(entry)
        rows = await asyncio.to_thread(self._begin, entry)
        for run, found in zip(entry.pieces, rows, strict=True):
            run.begin([] if run.dropped else found)
            self.pump.add(run)
        entry.fed = True
        if not others:
            self._look_ahead.came(time.monotonic() - entry.asked)
        for run in entry.pieces:
            await run.finished.wait()
        await self._end(entry)

    async def _engine_empty(self, entry: WorkRun) -> None:
        """Waits for rows of dropped work, too: should they kill the engine, the suspect would be condemned for it."""
        while self.pump.held and entry.whole:  # noqa: ASYNC110 - rare, and an event would cost every row
            await asyncio.sleep(EMPTY_LOOK_SECONDS)

    def _begin(self, entry: WorkRun) -> list[list[Row]]:
        """In a thread: reads the rows, and marks the work as begun before an engine sees any of them.

        Work that was dropped while it waited for the thread is not read: answers wait to be written behind it.
        """
        rows = [[] if run.dropped else run.load() for run in entry.pieces]
        if any(rows) and entry.work.level != Level.CONDEMNED:
            marker = f"{STARTED}/{self.desk.file_name('json')}"
            self.desk.claim.folder.create(marker, marker_of(entry.work))
            entry.marker = marker
        return rows

    async def _end(self, entry: WorkRun) -> None:
        for run in entry.pieces:
            await run.flush(last=not run.dropped)
        if entry.marker:
            await asyncio.to_thread(self.desk.claim.folder.delete, entry.marker)

    def _settle(self, number: int, task: asyncio.Task[None]) -> None:
        del self._tasks[number]
        entry = self._works.pop(number, None)
        if task.cancelled():
            return
        error = task.exception()
        if error is not None:
            self._failure = self._failure or error
        elif entry is not None:
            (self._ended if entry.whole else self._returned).append(number)
        self.pump.low.set()

    def _drop(self, number: int) -> None:
        """Somebody else has the work now. What was answered here is flushed: the same row twice harms nobody."""
        entry = self._works.pop(number, None)
        if entry is not None:
            log.warning("work %d was given to another worker; it is dropped here", number)
            self._leave(entry)

    def _leave(self, entry: WorkRun) -> None:
        for run in entry.pieces:
            if not run.finished.is_set() or not entry.fed:
                self.pump.drop(run)
                run.finished.set()

    async def _stop(self) -> None:
        """Hands back all that is held, in order: answers durable, markers gone, rows in flight given a little time."""
        for entry in self._works.values():
            for run in entry.pieces:
                if not run.finished.is_set() or not entry.fed:
                    self.pump.drop(run)
        async with self._reporting():
            flush = asyncio.create_task(self._flush_in_time())
            if self._tasks:
                await asyncio.wait(self._tasks.values(), timeout=GRACE_SECONDS)
            await flush
            for entry in self._works.values():
                self._leave(entry)
            if self._tasks:
                await asyncio.wait(self._tasks.values(), timeout=GRACE_SECONDS)
        await self.head.exchange(self._message(stopped=True))

    async def _salvage(self, error: Exception) -> None:
        """The worker ends: what was answered is made durable, and the head learns which rows an engine died of."""
        with suppress(JobRefused, Superseded, OSError):
            async with self._reporting():
                await self._flush_in_time()
        if isinstance(error, JobRefused):
            await self.head.exchange(self._message(stopped=True))  # else the driver waits for our flush
        if self.pump.dead is not None:
            in_flight = {number: entry.in_flight() for number, entry in self._works.items()}
            await self.head.died(self.desk.writer, in_flight)

    @asynccontextmanager
    async def _reporting(self) -> AsyncIterator[None]:
        """Says each second that this lane still writes: a driver does not wait for a writer that is silent for 10 s."""
        over = asyncio.Event()
        reports = asyncio.create_task(self._report_until(over))
        try:
            yield
        finally:
            over.set()
            await asyncio.wait([reports], timeout=REPORT_SECONDS)
            reports.cancel()  # a head that does not answer

    async def _report_until(self, over: asyncio.Event) -> None:
        while not over.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(over.wait(), REPORT_SECONDS)
                return
            try:
                await self.head.exchange(Message(self._report(stopped=False)))
            except Exception:  # whatever became of the head, what was answered is made durable
                log.exception("the head did not hear that this worker still writes")
                return

    async def _flush_in_time(self) -> None:
        """One flush, which a store that is down may not hold up: rows without a durable line run again."""
        try:
            async with asyncio.timeout(GRACE_SECONDS):
                await self._flush_all()
        except TimeoutError:
            log.warning("not every answer was durable within %.0f s; such rows run again", GRACE_SECONDS)

    async def _flush_all(self) -> None:
        runs = [run for entry in self._works.values() for run in entry.pieces]
        for outcome in await asyncio.gather(*(run.flush() for run in runs), return_exceptions=True):
            if isinstance(outcome, JobRefused | Superseded):
                raise outcome
            if isinstance(outcome, BaseException):
                log.error("answers could not be made durable; they are tried again", exc_info=outcome)

    async def _keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            try:
                await self._flush_all()
            except (JobRefused, Superseded) as error:
                self._failure = self._failure or error
                self.pump.low.set()

    async def _keep_watching(self) -> None:
        clock = StallClock(stall_seconds())
        while True:
            await asyncio.sleep(min(REPORT_SECONDS, clock.limit / 4))
            waiting = sum(len(run.later) for entry in self._works.values() for run in entry.pieces)
            sign = (self.pump.answered, self.pump.engine.progress(), waiting)
            if clock.stalled(time.monotonic(), self.pump.held > waiting, sign):
                self.pump.fail(EngineDead(f"no row was answered and no token made for {clock.limit:.0f} s"))
