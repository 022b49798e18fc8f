"""The engine actor: the async UDF that Ray Data maps over chunk descriptors, one actor and one engine a worker pod.

Owns an event loop in a thread of its own: the engine and all rows live there, so that nothing of Ray's can hold them
up. Ray restarts the actor when its process dies, and runs its unfinished chunks again; a chunk knows from its parts
which rows are left. So a dead engine ends the process, on purpose and at once.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
import uvloop

from tidemill_workloads.chunk_run import ChunkRun, Feeder
from tidemill_workloads.engine.interface import EngineSettings, create_engine
from tidemill_workloads.errors import EngineDead, JobRefused, Superseded
from tidemill_workloads.index import Chunk
from tidemill_workloads.logs import set_up_logging
from tidemill_workloads.parts import ChunkParts
from tidemill_workloads.progress import REPORT_SECONDS, Report

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidemill_workloads.identity import Claim
    from tidemill_workloads.storage import Input

log = logging.getLogger(__name__)

FLUSH_SECONDS = 10.0
"""Answers wait no longer than this to become durable: what a lost node costs."""


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What every engine actor of an attempt is told."""

    settings: EngineSettings
    source: Input
    claim: Claim

    @property
    def rows_in_flight(self) -> int:
        """Rows that one engine is given at once: twice what it decodes, so that it never drains."""
        return 2 * self.settings.max_num_seqs


class EngineWorker:
    """Callable class for `Dataset.map_batches`: each call runs one chunk and returns how many rows it ran."""

    def __init__(self, setup: WorkerSetup, board: Any) -> None:
        set_up_logging()
        self._board = board
        self._node: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call] # Ray has no types
        self._runs: dict[int, ChunkRun] = {}
        self._loop = uvloop.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="engine-loop", daemon=True).start()
        try:
            asyncio.run_coroutine_threadsafe(self._start(setup), self._loop).result()
        except JobRefused as refusal:
            ray.get(board.refuse.remote(refusal.reason.value, refusal.message))
            raise

    async def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[int]]:
        """Runs the one chunk of `batch`, whose columns are the fields of `Chunk`."""
        chunk = Chunk(**{name: int(values[0]) for name, values in batch.items()})
        rows = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._run(chunk), self._loop))
        return {"number": [chunk.number], "rows": [rows]}

    async def _start(self, setup: WorkerSetup) -> None:
        engine = create_engine(setup.settings)
        await engine.start()
        self._feeder = Feeder(engine, setup.source, setup.claim, asyncio.Semaphore(setup.rows_in_flight))
        self._background = [asyncio.create_task(self._keep_reporting()), asyncio.create_task(self._keep_flushing())]

    async def _run(self, chunk: Chunk) -> int:
        run = ChunkRun(self._feeder, chunk, ChunkParts(self._feeder.claim.folder, chunk.number))
        self._runs[chunk.number] = run
        try:
            rows = await run.run()
        except EngineDead:
            log.exception("the engine is dead; this worker ends, and Ray starts another")
            await self._flush_all()
            os.kill(os.getpid(), signal.SIGKILL)
            raise
        except JobRefused as refusal:
            await asyncio.wrap_future(self._board.refuse.remote(refusal.reason.value, refusal.message).future())
            raise
        finally:
            del self._runs[chunk.number]
        await self._tell(self._report_of_now())  # so that the board is complete when the last chunk is
        return rows

    async def _keep_flushing(self) -> None:
        while True:
            await asyncio.sleep(FLUSH_SECONDS)
            await self._flush_all()

    async def _flush_all(self) -> None:
        outcomes = await asyncio.gather(*(run.flush() for run in self._runs.values()), return_exceptions=True)
        for outcome in outcomes:
            if isinstance(outcome, Superseded):  # a newer attempt: each run meets it again at its own end
                self._feeder.stopping = True
            elif isinstance(outcome, BaseException):
                log.error("answers could not be made durable; they are tried again", exc_info=outcome)

    async def _keep_reporting(self) -> None:
        """Tells the board what is in flight; the board's answer may be that it is time to stop."""
        said: Report | None = None
        while said is None or not said.stopped:
            report = self._report_of_now()
            if report != said or report.in_flight:
                stop = await self._tell(report)
                said = report
                if stop and not self._feeder.stopping:
                    self._feeder.stopping = True
                    await self._flush_all()
                    continue
            await asyncio.sleep(REPORT_SECONDS)

    async def _tell(self, report: Report) -> bool:
        stop: bool = await asyncio.wrap_future(self._board.report.remote(report).future())
        return stop

    def _report_of_now(self) -> Report:
        tally = self._feeder.tally
        return Report(
            writer=self._feeder.writer,
            node=self._node,
            in_flight=tally.in_flight,
            completed=tally.completed,
            failed=tally.failed,
            prompt_tokens=tally.prompt_tokens,
            completion_tokens=tally.completion_tokens,
            stopped=self._feeder.stopping,
        )
