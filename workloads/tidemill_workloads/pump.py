"""The pump: keeps an engine's slots full with rows of whatever work there is, in the order in which work came.

Each slot is a task that answers one row after another for as long as there are rows, so that a row costs neither a
task nor a lock. Slots start one another, which keeps an engine that answers at once from starting tasks for nothing. A
row whose fault can pass waits for its next try outside of its slot. Lives on the engine's event loop; no files here.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections import deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidemill_workloads.engine.interface import Answer
from tidemill_workloads.errors import EngineDead
from tidemill_workloads.output_lines import error_body

if TYPE_CHECKING:
    from collections.abc import Callable

    from tidemill_workloads.chunk_run import PieceRun
    from tidemill_workloads.engine.interface import Engine
    from tidemill_workloads.retries import RetryPolicy
    from tidemill_workloads.rows import Row

log = logging.getLogger(__name__)

ROWS_PER_TURN = 64
"""Rows that one slot may answer before others on the loop get their turn, where the engine never waits itself."""


@dataclass(slots=True)
class Pump:
    """Rows in, answers out. `held` counts rows between the two that an engine has or had; `unfed` those before it."""

    engine: Engine
    slots: int
    retry: RetryPolicy
    low: asyncio.Event = field(default_factory=asyncio.Event)
    """Set when fewer than `low_mark` rows are left to feed, and when the engine died."""
    low_mark: int = 0
    held: int = 0
    unfed: int = 0
    answered: int = 0
    dead: EngineDead | None = None
    chance: Callable[[], float] = random.random
    _runs: deque[PieceRun] = field(default_factory=deque)
    _tasks: set[asyncio.Task[None]] = field(default_factory=set)
    _turn: int = 0

    def add(self, run: PieceRun) -> None:
        """Feeds the rows of a run after those of earlier ones."""
        if run.rows:
            run.added = True
            self._runs.append(run)
            self.unfed += len(run.rows)
            self._start_slot()

    def drop(self, run: PieceRun) -> None:
        """Feeds no further row of a run; those in flight are awaited as before."""
        if run.added:
            self.unfed -= len(run.rows)
        run.dropped = True
        run.rows.clear()
        for timer in run.later.values():
            timer.cancel()
        self.held -= len(run.later)
        run.later.clear()
        run.settle()

    def fail(self, error: EngineDead) -> None:
        """The engine is dead: no further row is fed, and the rows in flight stay noted as they are."""
        self.dead = self.dead or error
        self.low.set()

    def close(self) -> None:
        """Gives up what is still in flight."""
        for task in self._tasks:
            task.cancel()

    def _start_slot(self) -> None:
        if self.unfed and len(self._tasks) < self.slots and self.dead is None:
            task = asyncio.create_task(self._slot())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _slot(self) -> None:
        alone = True
        while self.dead is None and (run := self._next()) is not None:
            row = run.rows.popleft()
            self.unfed -= 1
            self.held += 1
            if self.unfed < self.low_mark:
                self.low.set()
            run.in_flight.add(row.line)
            if alone:
                alone = False
                self._start_slot()
            try:
                answer = await self.engine.answer(row)
            except EngineDead as error:
                self.fail(error)
                return
            except Exception:  # a row must never take down its neighbours: the bug is logged loudly, the row fails
                log.exception("line %d: the engine's code failed on this row", row.line)
                answer = _FAILED
            self._take(run, row, answer)
            self._turn += 1
            if self._turn % ROWS_PER_TURN == 0:
                await asyncio.sleep(0)

    def _next(self) -> PieceRun | None:
        runs = self._runs
        while runs:
            if runs[0].rows:
                return runs[0]
            runs.popleft()
        return None

    def _take(self, run: PieceRun, row: Row, answer: Answer) -> None:
        run.in_flight.discard(row.line)
        if not answer.succeeded:
            tries = run.tries.get(row.line, 1)
            wait = self.retry.wait(answer.status_code, tries, self.chance)
            if wait is not None and not run.dropped:
                run.tries[row.line] = tries + 1
                run.later[row.line] = asyncio.get_running_loop().call_later(wait, self._again, run, row)
                return
        self.held -= 1
        self.answered += 1
        run.take(row, answer)

    def _again(self, run: PieceRun, row: Row) -> None:
        """A row's next try: before all others, since its chunk waits for it."""
        del run.later[row.line]
        run.rows.appendleft(row)
        self._runs.appendleft(run)
        self.held -= 1
        self.unfed += 1
        self._start_slot()


_FAILED = Answer(
    500, error_body("The engine failed on this request; see the worker's log.", "InternalServerError", 500)
)
