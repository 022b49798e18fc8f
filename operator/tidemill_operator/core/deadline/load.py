"""A job as the deadline law sees it: rows, deadlines, bounds, workers, and what is known of their speed.

Holds values and what follows from them alone; refuses to decide anything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tidemill_operator.core.deadline.estimates import Estimate
    from tidemill_operator.core.deadline.need import Fleet

WINDOW_DEVIATIONS = 2.0
"""The window's end is planned for at a rate this many deviations below the expected one."""

MOST_CAUTION = 3.0
"""However unsure the rate is, it is taken to be no worse than so many times below the expected one."""


@dataclass(frozen=True, slots=True)
class Load:
    """A job at work: its rows, its deadlines, its bounds, its fleet and what is known of the workers' speed.

    `rows` have no line yet; `rows_waiting` of them are with no engine, and a full worker holds `rows_per_worker`.
    `busy` workers hold at least one. `target` and `window_end` are seconds since the epoch, `window_end` not before
    `target`. `idle_seconds` of the time until then are planned not to be worked (`hours.py`). `tail_seconds` pass from
    the last row to the end of the job. `boost` (1.0 to 2.0) multiplies what the target needs.
    """

    rows: float
    rows_waiting: float
    rows_per_worker: float
    busy: int
    target: float
    window_end: float
    least: int
    most: int
    fleet: Fleet
    rate: Estimate
    startup: Estimate
    boost: float = 1.0
    tail_seconds: float = 0.0
    idle_seconds: float = 0.0

    @property
    def cautious_rate(self) -> float:
        """Rows a second of one worker that the window's end counts on."""
        return max(self.rate.low(WINDOW_DEVIATIONS), self.rate.value / MOST_CAUTION)

    @property
    def fillable(self) -> int:
        """The workers of the bounds that the rows fill: an engine is full with half of what a worker holds."""
        filled = max(math.ceil(self.rows_waiting * 2 / max(self.rows_per_worker, 1)), self.busy, 1)
        return min(self.most, max(filled, self.least))

    @property
    def reach(self) -> int:
        """The workers of the bounds that can hold a row at all: what the window's end may ask for, and count on."""
        return max(self.fillable, min(self.most, self.busy + math.ceil(self.rows_waiting)))

    def seconds_to_target(self, now: float) -> float:
        """The seconds that can be worked until the target."""
        return self.target - now - self.tail_seconds - self.idle_seconds

    def seconds_to_window(self, now: float) -> float:
        """The seconds that can be worked until the window's end."""
        return self.window_end - now - self.tail_seconds - self.idle_seconds
