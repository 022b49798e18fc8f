"""The fence: every write of the operator asks it first whether the operator still leads.

A Lease by itself fences nothing: its holder may be stopped for a minute and then go on with a write that it decided on
long ago. So each write asks by this machine's own clock, and one to the API server is waited for no longer than that
allows. What slips through between the question and the network is harmless, since it carries a version, a test or a
deterministic name (`cluster.py`). Refuses to talk to anybody.
"""

from __future__ import annotations

import asyncio
import math
import time
from typing import TYPE_CHECKING, Protocol

from tidemill_operator.core.lease import Candidate, may_write, seconds_left
from tidemill_operator.errors import LeadershipLostError

if TYPE_CHECKING:
    from collections.abc import Callable


def since_boot() -> float:
    """Seconds of a clock that is never set and goes on while the machine sleeps, where there is one (Linux)."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


class Fence(Protocol):
    """What stands before every write."""

    @property
    def open(self) -> bool:
        """Whether writes are let through now."""

    def check(self) -> float:
        """Seconds for which nobody else can decide yet. Raises LeadershipLostError where another may by now."""


class NoFence:
    """For an operator without an election, and for writes that only ask: the boost of an alert, the Lease itself."""

    open = True

    def check(self) -> float:
        """Lets everything through, for ever."""
        return math.inf


NO_FENCE = NoFence()


class Leadership:
    """What this process knows of the Lease, and the fence that follows from it. Written by `election.py` alone."""

    def __init__(self, identity: str, clock: Callable[[], float] = since_boot) -> None:
        self.candidate = Candidate(identity)
        self.clock = clock
        self.broken = asyncio.Event()
        """Set by the first write that was not let through: the operator has to end."""

    @property
    def open(self) -> bool:
        """Whether this process leads now."""
        return may_write(self.candidate, self.clock())

    def check(self) -> float:
        """Seconds for which nobody else can lead yet. Raises LeadershipLostError where another may by now."""
        left = seconds_left(self.candidate, self.clock())
        if left <= 0:
            self.broken.set()
            raise LeadershipLostError("this operator leads no more: another one decides by now, nothing was written")
        return left
