"""Engines for tests of what is lost and run again: they stand for vLLM and write down every row they touch.

Named by TIDEMILL_ENGINE=chaos_engines:<factory>. Each process appends to a file of its own in TIDEMILL_TEST_FOLDER,
`<pod>-<process>.notes`, one line an event: `<what> <seconds since 1970> <custom_id>`; `chaos_notes` reads them.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import socket
import time
from pathlib import Path
from typing import TYPE_CHECKING

from engines import NoOpEngine

from tidemill_workloads.errors import EngineDead

if TYPE_CHECKING:
    from tidemill_workloads.engine.interface import Answer, EngineSettings
    from tidemill_workloads.rows import Row


SLOW_ROW_SECONDS = 20.0
STRIKE_SECONDS = 0.25
"""After the first process, a deadly row strikes where so long no more rows came."""

DEADLY_COMPANY = 64


class NotingEngine(NoOpEngine):
    """Answers after TIDEMILL_TEST_SECONDS on average, and notes when it started, began a row and answered it."""

    def __init__(self) -> None:
        super().__init__()
        self._mean = float(os.environ.get("TIDEMILL_TEST_SECONDS", "0.3"))
        self._file = -1

    async def start(self) -> None:
        """Opens the notes of this process."""
        name = f"{socket.gethostname()}-{os.getpid()}-{time.time_ns()}.notes"
        self._file = os.open(Path(os.environ["TIDEMILL_TEST_FOLDER"], name), os.O_CREAT | os.O_APPEND | os.O_WRONLY)
        self.note("start", "-")

    def note(self, what: str, custom_id: str) -> None:
        """One event, in the file before anything else happens."""
        os.write(self._file, f"{what} {time.time():.3f} {custom_id}\n".encode())

    async def answer(self, row: Row) -> Answer:
        """Takes between half and one and a half of the mean, so that rows end out of order as real ones do.

        A row named `slow-...` takes 20 s: longer than a worker that goes waits for it.
        """
        self.note("begin", row.custom_id)
        slow = row.custom_id.startswith("slow-")
        await asyncio.sleep(SLOW_ROW_SECONDS if slow else self._mean * random.uniform(0.5, 1.5))
        answer = await super().answer(row)
        self.note("answer", row.custom_id)
        return answer


class PoisonedEngine(NotingEngine):
    """A row named `kill-...` ends the process without a word, one named `dead-...` ends the engine alone.

    In the first process no row ends before the deadly one has struck, which waits until DEADLY_COMPANY rows are held.
    """

    def __init__(self) -> None:
        super().__init__()
        self._held = 0
        self._is_first = not list(Path(os.environ["TIDEMILL_TEST_FOLDER"]).glob("*.notes"))

    async def answer(self, row: Row) -> Answer:
        """The deadly rows strike while all others are in flight."""
        self._held += 1
        try:
            if row.custom_id.startswith(("kill-", "dead-")):
                await self._strike(row)
            if self._is_first:
                self.note("begin", row.custom_id)
                await asyncio.Event().wait()
            return await super().answer(row)
        finally:
            self._held -= 1

    async def _strike(self, row: Row) -> None:
        self.note("begin", row.custom_id)
        seen = 0
        while self._held < DEADLY_COMPANY if self._is_first else seen < self._held:
            seen = self._held
            await asyncio.sleep(STRIKE_SECONDS)
        if row.custom_id.startswith("kill-"):
            os.kill(os.getpid(), signal.SIGKILL)
        raise EngineDead("made to die")


def noting(settings: EngineSettings) -> NotingEngine:
    """Writes down what it does."""
    return NotingEngine()


def poisoned(settings: EngineSettings) -> PoisonedEngine:
    """Dies of certain rows."""
    return PoisonedEngine()
