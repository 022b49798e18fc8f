"""Is an engine that has rows in flight still moving? Pure: the clock is a parameter."""

from __future__ import annotations

import os
from dataclasses import dataclass

STALL_SECONDS = 600.0
"""An engine that answers no row and makes no token for so long is taken for dead. The longest step of a healthy one is
the first pass over its longest prompt or the compilation that a new shape needs: minutes at worst, while an engine
whose device hangs never comes back and would hold its rows until the window ends."""

DRIVER_STALL_SECONDS = 3600.0
"""No engine actor that says a word for so long, though workers are there: this attempt ends itself, so that the next
one starts its actors anew. Loading reports every few seconds, so no slow model is taken for a stall; but an actor whose
engine loads for so long ends itself, since it hangs and its reports would hide that from the driver for ever."""


def stall_seconds() -> float:
    """STALL_SECONDS, which tests shorten."""
    return float(os.environ.get("TIDEMILL_TEST_STALL_SECONDS", STALL_SECONDS))


def driver_stall_seconds() -> float:
    """DRIVER_STALL_SECONDS, which tests shorten."""
    return float(os.environ.get("TIDEMILL_TEST_DRIVER_STALL_SECONDS", DRIVER_STALL_SECONDS))


@dataclass(slots=True)
class StallClock:
    """How long the same sign of progress has been seen while there was something to do.

    With `idle_forgives` (the default) a moment with nothing to do begins the time anew; without, busy times add up
    until there is progress: clients that give up on a hung engine must not excuse it.
    """

    limit: float
    idle_forgives: bool = True
    _sign: object = None
    _since: float | None = None
    _idle_at: float | None = None  # the last look, where there was nothing to do

    def stalled(self, now: float, busy: bool, sign: object) -> bool:
        """Whether `sign` (any value that changes with each step forward) stood still for `limit` busy seconds."""
        if self._since is None or sign != self._sign or (self.idle_forgives and not busy):
            self._sign, self._since = sign, now
        elif self._idle_at is not None and not self.idle_forgives:
            self._since += now - self._idle_at
        self._idle_at = None if busy else now
        return now - self._since > self.limit
