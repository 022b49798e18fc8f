"""Engines for tests that are about the driver, not about answers: they stand for vLLM behind the engine interface.

Named by TIDEMILL_ENGINE=engines:<factory>; the tests put this folder on PYTHONPATH of the Ray cluster they start.
"""

from __future__ import annotations

import asyncio
import os
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tidemill_api.conditions import Reason
from tidemill_workloads.engine.interface import Answer
from tidemill_workloads.errors import EngineDead, JobRefused
from tidemill_workloads.output_lines import error_body

if TYPE_CHECKING:
    from tidemill_workloads.engine.interface import EngineSettings
    from tidemill_workloads.rows import Row


@dataclass
class NoOpEngine:
    """Answers at once, or after `seconds`; a row whose custom_id says so fails in the named way."""

    seconds: float = 0.0

    async def start(self) -> None:
        """Nothing to load."""

    async def answer(self, row: Row) -> Answer:
        """A fixed answer, unless the custom_id starts with `bad-` (400), `bug-` (raises), `die-`."""
        if self.seconds:
            await asyncio.sleep(self.seconds)
        if row.custom_id.startswith("bad-"):
            return Answer(400, error_body("made to fail", "BadRequestError", 400), 1, 0)
        if row.custom_id.startswith("bug-"):
            raise RuntimeError("made to raise")
        if row.custom_id.startswith("die-"):
            self._die_once(row)
        return Answer(200, b'{"object":"chat.completion","usage":{}}', 3, 2)

    def _die_once(self, row: Row) -> None:
        marker = Path(os.environ["TIDEMILL_TEST_FOLDER"], f"died-{row.custom_id}")
        if not marker.exists():
            marker.touch()
            raise EngineDead("made to die")

    def progress(self) -> int:
        """It makes no steps that can be seen."""
        return 0

    async def close(self) -> None:
        """Nothing to end."""


def no_op(settings: EngineSettings) -> NoOpEngine:
    """Answers at once."""
    return NoOpEngine()


def slow(settings: EngineSettings) -> NoOpEngine:
    """Answers after TIDEMILL_TEST_SECONDS, half a second unless set."""
    return NoOpEngine(float(os.environ.get("TIDEMILL_TEST_SECONDS", "0.5")))


class CountingEngine(NoOpEngine):
    """Appends each answered custom_id to a file of its process in TIDEMILL_TEST_FOLDER, and its start to `starts`.

    A row `kill-...` ends the process, one `hang-...` never ends.
    """

    async def start(self) -> None:
        """Notes that an engine was started."""
        folder = Path(os.environ["TIDEMILL_TEST_FOLDER"])
        self._append(folder / "starts", str(os.getpid()))
        self._answers = folder / f"answers-{os.getpid()}"

    async def answer(self, row: Row) -> Answer:
        """As its parent, and written down."""
        if row.custom_id.startswith("kill-"):
            await asyncio.sleep(self.seconds / 2)
            os.kill(os.getpid(), signal.SIGKILL)
        if row.custom_id.startswith("hang-"):
            await asyncio.Event().wait()
        answer = await super().answer(row)
        self._append(self._answers, row.custom_id)
        return answer

    @staticmethod
    def _append(path: Path, line: str) -> None:
        with path.open("a") as file:
            file.write(line + "\n")


def counting(settings: EngineSettings) -> CountingEngine:
    """Answers after TIDEMILL_TEST_SECONDS and writes down what it answered."""
    return CountingEngine(float(os.environ.get("TIDEMILL_TEST_SECONDS", "0.02")))


class RefusingEngine(NoOpEngine):
    """Stands for an engine whose arguments do not fit its model."""

    async def start(self) -> None:
        """Refuses."""
        raise JobRefused(Reason.INVALID_SPEC, "spec.model.engineArgs: made to be refused")


def refusing(settings: EngineSettings) -> RefusingEngine:
    """Refuses to start."""
    return RefusingEngine()
