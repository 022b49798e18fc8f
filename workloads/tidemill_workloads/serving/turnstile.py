"""In what order held requests are offered to the engines: by priority, then by arrival.

Serve's router holds what no engine has room for, first come first served. So only a few requests stand with it at a
time; the others wait here, where a more urgent one can still overtake them.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

WIDTH = 16
"""Requests that stand with Serve's router at once. One passes in about 3 ms while engines have room, so that this lets
thousands a second through; and so many at most are not overtaken by a more urgent one."""


class Turnstile:
    """Lets `width` requests stand with the router at once; used from one event loop."""

    def __init__(self, width: int = WIDTH) -> None:
        self._free = width
        self._gone = 0
        self._order = itertools.count()
        self._queue: list[tuple[int, float, int, asyncio.Future[None]]] = []

    @asynccontextmanager
    async def offered(self, priority: int, arrived: float) -> AsyncIterator[Callable[[], None]]:
        """Waits for its turn; a lower number is more urgent, as in vLLM. Yields what to call once it is taken."""
        await self._enter(priority, arrived)
        left = False

        def leave() -> None:
            nonlocal left
            if not left:
                left = True
                self._leave()

        try:
            yield leave
        finally:
            leave()

    async def _enter(self, priority: int, arrived: float) -> None:
        if self._free:
            self._free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._queue, (priority, arrived, next(self._order), turn))
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._leave()  # its turn had just come: the next one gets it
            else:
                self._forget()
            raise

    def _forget(self) -> None:
        """Those that left before their turn go from the queue once they are more than half of it."""
        self._gone += 1
        if 2 * self._gone > len(self._queue):
            self._queue = [entry for entry in self._queue if not entry[-1].done()]
            heapq.heapify(self._queue)
            self._gone = 0

    def _leave(self) -> None:
        while self._queue:
            *_, turn = heapq.heappop(self._queue)
            if not turn.done():
                turn.set_result(None)
                return
            self._gone -= 1
        self._free += 1
