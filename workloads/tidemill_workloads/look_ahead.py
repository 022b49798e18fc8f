"""How many rows a lane holds beside those on its engine. Pure: it is told what happened, and when.

As many as the engine answers in twice the time that new work takes to come, so that it never drains, and no more, so
that workers which join late find work.
"""

from __future__ import annotations

from dataclasses import dataclass

LONGEST_SECONDS = 2.0
"""Work that takes longer than half of this to come is not waited for by holding more."""

MOST_ROWS = 8192
"""Where storage is slower than the engine, new work waits behind the work before it and comes the later the more of it
is asked for, which would feed itself and only take memory."""

MEASURED_SECONDS = 1.0
"""The engine's rate is that of a second or more."""


@dataclass(slots=True)
class LookAhead:
    """Learns the engine's rate and how long work takes to come. Times are monotonic seconds."""

    rows_per_second: float = 0.0
    delay_seconds: float = 0.01
    _measured_at: float = 0.0
    _answered_then: int = 0

    def answered(self, rows: int, now: float) -> None:
        """Notes how many rows the engine has answered in all."""
        elapsed = now - self._measured_at
        if elapsed >= MEASURED_SECONDS:
            self.rows_per_second = (rows - self._answered_then) / elapsed if self._measured_at else 0.0
            self._measured_at, self._answered_then = now, rows

    def came(self, seconds: float) -> None:
        """Notes how long a piece of work took from being asked for to the engine: a mean that forgets."""
        self.delay_seconds += (seconds - self.delay_seconds) / 4

    def rows(self, slots: int) -> int:
        """Rows to hold beside those in flight; `slots`: how many rows the engine is given at once."""
        ahead = self.rows_per_second * min(2 * self.delay_seconds, LONGEST_SECONDS)
        return max(1, slots // 4, min(int(ahead), MOST_ROWS))
