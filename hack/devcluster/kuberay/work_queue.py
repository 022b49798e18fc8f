"""A queue of keys: each key waits at most once and is worked on by one worker at a time."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from devcluster.client import Key


class KeyedQueue:
    """Keys in the order they were added. Adding a waiting key changes nothing; one at work runs again after."""

    def __init__(self) -> None:
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._waiting: set[Key] = set()
        self._working: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}

    def add(self, key: Key) -> None:
        """Have the key worked on now; an appointment for later is dropped, since the work makes a new one."""
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
        if key in self._working:
            self._again.add(key)
        elif key not in self._waiting:
            self._waiting.add(key)
            self._ready.put_nowait(key)

    def add_later(self, key: Key, seconds: float) -> None:
        """Have the key worked on after some time, unless it is waiting already."""
        if key in self._waiting or key in self._timers:
            return
        self._timers[key] = asyncio.get_running_loop().call_later(seconds, self.add, key)

    async def get(self) -> Key:
        """The next key; `done` must follow."""
        key = await self._ready.get()
        self._waiting.discard(key)
        self._working.add(key)
        return key

    def done(self, key: Key) -> None:
        """The work on a key is over; it goes back into the queue if it was added meanwhile."""
        self._working.discard(key)
        if key in self._again:
            self._again.discard(key)
            self.add(key)
