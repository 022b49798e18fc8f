"""How far one job is, in rows, while workers come and go: exact between two events, since speeds are steady there.

A job's input is not even: it is cut into PARTS of equal rows, each with its own work a row, drawn once. All parts
together are the work that the trace gives, so that whoever knows the trace knows the total, and a law has to measure.
What it leaves out: the last rows of a job, when an engine's batch is no longer full, are as fast as the others.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import random

    from tidemill_operator.simulate.trace import Job

PARTS = 20
"""Pieces of an input whose rows differ in work: enough for the rate to move all the time, few enough to be quick."""

EPSILON_ROWS = 1e-6
LEAST_SECONDS = 1e-6
"""Time moves on by at least so much: a float of a year of seconds still tells it from none."""


class Progress:
    """The rows of a job that have a line, and those that run `again` first. `speed`: in fastest workers, 0 for none."""

    __slots__ = ("_difficulty", "_part_rows", "again", "at", "done", "rate", "rows", "speed")

    def __init__(self, job: Job, rng: random.Random) -> None:
        self.rows = float(job.rows)
        self.rate = job.rows_per_second
        self.done = 0.0
        self.again = 0.0
        self.speed = 0.0
        self.at = job.arrival
        self._part_rows = self.rows / PARTS
        drawn = [math.exp(rng.gauss(0.0, job.row_spread)) for _ in range(PARTS)]
        mean = sum(drawn) / PARTS
        self._difficulty = [value / mean for value in drawn]

    @property
    def rows_left(self) -> int:
        """Rows without a line, whole ones, as a driver counts."""
        return math.ceil(self.rows - self.done - EPSILON_ROWS)

    @property
    def finished(self) -> bool:
        """Whether every row has its line."""
        return self.done >= self.rows - EPSILON_ROWS

    def rows_per_second(self) -> float:
        """What is answered right now."""
        return self.speed * self.rate / self._difficulty[self._part()]

    def advance(self, now: float) -> None:
        """Lets time pass. Never past `next_change`: the rate is the same all the way."""
        if self.speed > 0.0 and now > self.at:
            answered = self.rows_per_second() * (now - self.at)
            repeated = min(answered, self.again)
            self.again -= repeated
            self.done = min(self.done + answered - repeated, self.rows)
        self.at = now

    def next_change(self) -> float:
        """When the rate changes by itself or the job is done; infinity while nobody works."""
        rate = self.rows_per_second()
        if rate <= 0.0:
            return math.inf
        edge = min((self._part() + 1) * self._part_rows, self.rows)
        return self.at + max((self.again + max(edge - self.done, EPSILON_ROWS)) / rate, LEAST_SECONDS)

    def lose(self, seconds: float, speed: float) -> None:
        """A worker of this speed went: what it had in hand, so many seconds of its work, has no line and runs again."""
        self.again += seconds * speed * self.rate / self._difficulty[self._part()]

    def _part(self) -> int:
        return min(int((self.done + EPSILON_ROWS) / self._part_rows), PARTS - 1)
