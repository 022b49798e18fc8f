"""Calls that may take long, one at a time for each key: whoever makes one waits a moment and then goes on.

Used for Serve's PUT, which answers after up to a minute on a head that has just started, while the revision that serves
wants to be looked at each second. Holds the calls that are under way and nothing of what came of them: that is seen.
"""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from tidemill_operator.errors import OperatorError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Hashable
    from typing import Any

log = logging.getLogger(__name__)


class Background:
    """The calls under way. `patience_seconds` is how long each is waited for."""

    def __init__(self, patience_seconds: float) -> None:
        self._patience = patience_seconds
        self._under_way: dict[Hashable, asyncio.Task[None]] = {}

    async def run(self, key: Hashable, call: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Makes the call, and raises what it raises while it is waited for; nothing where the one before still runs."""
        if key in self._under_way:
            log.info("the call before is still under way", extra={"key": str(key)})
            return
        task = asyncio.create_task(call(), name=f"background {key}")
        self._under_way[key] = task
        task.add_done_callback(lambda _: self._under_way.pop(key))
        done, _ = await asyncio.wait({task}, timeout=self._patience)
        if done:
            task.result()
        else:
            task.add_done_callback(lambda ended: _log_end(key, ended))


def _log_end(key: Hashable, ended: asyncio.Task[None]) -> None:
    error = None if ended.cancelled() else ended.exception()
    if isinstance(error, OperatorError):
        log.warning("%s", error, extra={"key": str(key)})
    elif error is not None:
        log.error("bug in a call in the background", exc_info=error, extra={"key": str(key)})
