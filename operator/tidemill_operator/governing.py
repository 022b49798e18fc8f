"""Decides for as long as this process leads: both kinds of owners are followed all the time, and served meanwhile.

Sits between `startup.py`, which makes the parts, and `election.py`. A standby keeps its caches warm, so that it decides
within a second of being elected; what it was told meanwhile it looks at then, since nobody worked on its queues.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidemill_operator.errors import LeadershipLostError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import Any, Protocol

    from tidemill_operator.election import Election

    class Follower(Protocol):
        """One kind of owner: its cache, and what is decided by it."""

        @property
        def name(self) -> str:
            """The owners' plural."""

        async def fill(self) -> None:
            """Returns once the cache holds what stands."""

        async def follow(self) -> None:
            """Keeps the cache true for ever."""

        async def serve(self) -> None:
            """Looks at everything that the cache holds, and then at every change, for ever."""


log = logging.getLogger(__name__)

COLLECTOR_THRESHOLD = 20_000
"""New objects before Python's collector looks at the young ones (700 by default): a few answers of the API server."""


@dataclass(frozen=True)
class Government:
    """What decides. `stop` ends it in order; `released` is set when nothing is decided any more and another may."""

    election: Election
    followers: tuple[Follower, ...]
    stop: asyncio.Event
    released: asyncio.Event = field(default_factory=asyncio.Event)

    async def run(self) -> None:
        """Runs until `stop` is set. Raises LeadershipLostError where it has to end by itself."""
        full, leads = asyncio.Event(), asyncio.Event()
        works: tuple[Coroutine[Any, Any, Any], ...] = (
            self._lead(full, leads),
            _all(lambda follower: _serve(follower, full, leads), self.followers),
            self.stop.wait(),
        )
        tasks = [asyncio.create_task(work) for work in works]
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        finally:
            ended = await ended_all(*tasks)  # no more decisions first, and only then another may begin
            await self.election.release()
            self.released.set()
        errors = [error for error in ended if isinstance(error, Exception)]
        for error in sorted(errors, key=lambda one: not isinstance(one, LeadershipLostError)):
            raise error

    async def _lead(self, full: asyncio.Event, leads: asyncio.Event) -> None:
        """Stands for election once a cache is full: who cannot see anything yet would only keep others from it."""
        await full.wait()
        await self.election.win()
        leads.set()
        await self.election.keep()


async def _serve(follower: Follower, full: asyncio.Event, leads: asyncio.Event) -> None:
    """Decides nothing before the cache is full: a cluster that is not known yet would look like one that is lost.

    One whose CRD is missing, or may not be read, does not keep the other waiting.
    """
    await follower.fill()
    _spare_the_collector()
    full.set()
    log.info("the cache is full, %s are followed", follower.name)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(follower.follow())
        await leads.wait()
        log.info("%s are served from now on", follower.name)
        tasks.create_task(follower.serve())


async def _all(work: Callable[[Follower], Coroutine[Any, Any, None]], followers: tuple[Follower, ...]) -> None:
    async with asyncio.TaskGroup() as tasks:
        for follower in followers:
            tasks.create_task(work(follower))


async def ended_all(*tasks: asyncio.Task[Any]) -> list[Any]:
    """Stops these tasks and waits until they have ended: what came of each, an error as a value."""
    for task in tasks:
        task.cancel()
    return await asyncio.gather(*tasks, return_exceptions=True)


def _spare_the_collector() -> None:
    """Takes what stands out of the garbage collector's rounds, and makes these rarer.

    The cache is a million small objects without cycles, which reference counting frees by itself; going through them
    again and again stops every reconcile for as long as that takes (0.3 s with ten thousand jobs).
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(COLLECTOR_THRESHOLD, 20, 20)
