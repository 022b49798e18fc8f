"""People who edit running jobs while `control_plane.py` measures."""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from control_plane_jobs import JOBS, NAMESPACE, RUNNING

if TYPE_CHECKING:
    from devcluster.client import Client

EDIT_EVERY_SECONDS = 0.2


@dataclass
class Edits:
    """People who edit the window of running jobs, and wait for the status to know of it."""

    client: Client
    running: int
    seconds: list[float] = field(default_factory=list)
    _made: dict[str, tuple[int, float]] = field(default_factory=dict)  # by job: generation and when it was asked for
    _observed: dict[str, int] = field(default_factory=dict)  # by job: the generation that its status knows

    async def make(self) -> None:
        """Edits a job now and then, never one whose last edit is still unanswered."""
        for number in itertools.count():
            await asyncio.sleep(EDIT_EVERY_SECONDS)
            name = f"{RUNNING}-{random.randrange(self.running):05d}"  # noqa: S311 - any job will do
            if name in self._made:
                continue
            asked = time.monotonic()
            body = {"spec": {"completionWindow": f"{241 + number % 200}m"}}
            edited = await self.client.patch(JOBS, NAMESPACE, name, body)
            self._made[name] = (edited["metadata"]["generation"], asked)
            self._answered(name)

    async def watch(self) -> None:
        """Notes how long each edit took."""
        async for kind, job in self.client.watch(JOBS, NAMESPACE, f"bench={RUNNING}"):
            if kind == "MODIFIED":
                name = job["metadata"]["name"]
                self._observed[name] = (job.get("status") or {}).get("observedGeneration", 0)
                self._answered(name)

    def _answered(self, name: str) -> None:
        generation, asked = self._made.get(name, (sys.maxsize, 0.0))
        if self._observed.get(name, 0) >= generation:
            self.seconds.append(time.monotonic() - asked)
            del self._made[name]
