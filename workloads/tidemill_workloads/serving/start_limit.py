"""Bounds the start of an engine: one that hangs fails, in words, and is tried anew as any other that cannot start.

vLLM 0.32 waits for the process of its engine core without an end, and keeps the event loop meanwhile. So the clock is a
thread: it ends the processes that were started here, which vLLM takes for a failed start. What hangs in another way is
left to the caller's own time-out, and where not even that comes through, this process ends.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

log = logging.getLogger(__name__)

GRACE_SECONDS = 60.0
"""After the limit: what a start that has failed may take to say so."""


@contextmanager
def start_limit(seconds: float) -> Iterator[None]:
    """Whatever is inside has ended, well or not, `seconds` and a grace from now: or else this process has."""
    clocks = [threading.Timer(seconds, _end_children), threading.Timer(seconds + GRACE_SECONDS, _end_this)]
    for clock in clocks:
        clock.daemon = True
        clock.start()
    try:
        yield
    finally:
        for clock in clocks:
            clock.cancel()


def _end_children() -> None:
    children = multiprocessing.active_children()
    log.error("the engine does not start; its %d processes are ended", len(children))
    for child in children:
        child.kill()


def _end_this() -> None:
    log.error("the start of the engine hangs still; this replica ends, and Serve starts another")
    os.kill(os.getpid(), signal.SIGKILL)
