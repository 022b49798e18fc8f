"""One queue of keys: coalescing, one reconcile at a time per key, delays, and back-off per key on faults.

Whoever adds a key asks for one look at it from now on; ten requests before that look are one look. A key that is
asked for while it is worked on is worked on once more afterwards. Holds keys only, never what happened to them.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidemill_operator.errors import ConflictError, LeadershipLostError, OperatorError, PassingError, RejectedError
from tidemill_operator.metrics import BUG, ERRORS, RECONCILE_SECONDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from tidemill_operator.cache import Key

log = logging.getLogger(__name__)

FIRST_RETRY_SECONDS = 0.5
LAST_RETRY_SECONDS = 60.0
BUG_RETRY_SECONDS = 600.0
"""After an error nobody planned for: retrying fast would only fill the log, never retrying would lose the job."""


@dataclass(frozen=True)
class Look:
    """What came of one look: the seconds until the next (None where a change must come), whether anything was said.

    `wakes` are other keys that waited for what was said.
    """

    again: float | None = None
    wrote: bool = False
    wakes: tuple[Key, ...] = ()


class WorkQueue:
    """Runs `work(key)` for each key that was asked for.

    Quiet keys, of which there may be ten thousands at once, have one worker of their own: neither do they keep the
    others waiting, nor the others them.
    """

    def __init__(self, work: Callable[[Key], Awaitable[Look]], concurrency: int) -> None:
        self._work = work
        self._concurrency = concurrency
        self._ready: asyncio.Queue[Key] = asyncio.Queue()
        self._quiet: asyncio.Queue[Key] = asyncio.Queue()
        self._queued: set[Key] = set()
        self._running: set[Key] = set()
        self._again: set[Key] = set()
        self._timers: dict[Key, asyncio.TimerHandle] = {}
        self._faults: dict[Key, int] = {}
        self._due: dict[Key, float] = {}  # since when a look has been due, for the figures

    def add(self, key: Key, *, quiet: bool = False) -> None:
        """Asks for a look at the key now."""
        self._cancel_timer(key)
        self._due.setdefault(key, asyncio.get_running_loop().time())
        if key in self._running:
            self._again.add(key)
        elif key not in self._queued:
            self._queued.add(key)
            (self._quiet if quiet else self._ready).put_nowait(key)

    def add_after(self, key: Key, seconds: float) -> None:
        """Asks for a look at the key later; an earlier request that stands wins."""
        if seconds <= 0:
            self.add(key)
            return
        if key in self._queued:
            return
        loop = asyncio.get_running_loop()
        standing = self._timers.get(key)
        if standing is not None and standing.when() <= loop.time() + seconds:
            return
        self._cancel_timer(key)
        self._timers[key] = loop.call_later(seconds, self.add, key)

    def clear(self) -> None:
        """Forgets what was asked for while nobody worked: who begins asks for everything, in an order of its own."""
        for lane in (self._ready, self._quiet):
            while not lane.empty():
                lane.get_nowait()
        self._queued.clear()
        self._due.clear()

    def forget(self, key: Key) -> None:
        """The key's object is gone: drops its timer and what is remembered of its faults."""
        self._cancel_timer(key)
        self._faults.pop(key, None)

    @property
    def length(self) -> int:
        """Keys that wait for a look that is due."""
        return self._ready.qsize() + self._quiet.qsize()

    async def run(self) -> None:
        """Works until it is cancelled."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._worker(self._quiet))
                for _ in range(self._concurrency):
                    tasks.create_task(self._worker(self._ready))
        finally:
            for key in list(self._timers):
                self._cancel_timer(key)

    async def _worker(self, lane: asyncio.Queue[Key]) -> None:
        while True:
            key = await lane.get()
            self._queued.discard(key)
            self._running.add(key)
            due = self._due.pop(key)
            try:
                delay = await self._one(key, due)
            finally:
                self._running.discard(key)
            if key in self._again:
                self._again.discard(key)
                self.add(key)
            elif delay is not None:
                self.add_after(key, delay)
            await asyncio.sleep(0)  # a look that waits for nothing would otherwise keep everything else from its turn

    async def _one(self, key: Key, due: float) -> float | None:
        outcome = "failed"
        try:
            look = await self._work(key)
            outcome = "written" if look.wrote else "unchanged"
        except LeadershipLostError as lost:  # the operator ends: the next leader looks at everything
            log.warning("%s", lost, extra={"key": str(key)})
            return None
        except (PassingError, RejectedError) as fault:  # a right or a quota that is missing may come
            ERRORS.labels(type(fault).__name__).inc()
            return self._back_off(key, fault)
        except Exception:
            # The boundary of a reconcile: whatever is wrong with one key must not stop the others.
            ERRORS.labels(BUG).inc()
            log.exception("bug while reconciling; tried again in %.0f s", BUG_RETRY_SECONDS, extra={"key": str(key)})
            return BUG_RETRY_SECONDS
        finally:
            RECONCILE_SECONDS.labels(outcome).observe(asyncio.get_running_loop().time() - due)
        self._faults.pop(key, None)
        for other in look.wakes:
            self.add(other)
        return look.again

    def _back_off(self, key: Key, fault: OperatorError) -> float:
        """Seconds until the next try. A first conflict is no trouble: somebody edits the job while it is looked at."""
        before = self._faults.get(key, 0)
        self._faults[key] = before + 1
        if before == 0 and isinstance(fault, ConflictError):
            log.info("%s; looked at again at once", fault, extra={"key": str(key)})
            return 0.0
        delay = min(FIRST_RETRY_SECONDS * 2.0 ** min(before, 16), LAST_RETRY_SECONDS)
        log.warning("%s; tried again in %.1f s", fault, delay, extra={"key": str(key)})
        return delay

    def _cancel_timer(self, key: Key) -> None:
        timer = self._timers.pop(key, None)
        if timer is not None:
            timer.cancel()
