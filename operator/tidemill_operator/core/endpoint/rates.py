"""How many requests an endpoint gets and answers in a second, from what its replicas counted at two looks. Pure.

The counts and the rates of the last look stand in the status, so nothing is remembered by the process. Refuses to make
a rate of counters that fell: a replica that has gone took its counts along; or of looks that missed a replica: all that
it ever counted would come back at once.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from tidemill_api.v1alpha1.realtime_endpoint_status import EndpointQueueStatus
    from tidemill_operator.core.endpoint.load import Load

SMOOTHING = timedelta(seconds=60)
"""A rate is an exponential mean of about so long."""

SETTLED = timedelta(seconds=120)
"""So long after the last replica began to answer, the requests answered in a second are those of the whole size."""

TOLERANCE = 0.1
"""More has to arrive by this share than is answered: either rate sways."""

LEAST_RATE = 0.01
"""Requests a second below which a rate is none, so that a queue without requests comes to rest."""


@dataclass(frozen=True)
class Counts:
    """Requests that ended, as every replica counted them together, and when that was; `time` None before the first."""

    answered: int = 0
    unanswered: int = 0
    time: datetime | None = None


@dataclass(frozen=True)
class Rates:
    """The load, the requests that came and were answered in a second, and the counts before this look."""

    load: Load
    arrived: float = 0.0
    completed: float = 0.0
    before: Counts = Counts()

    def counts(self, now: datetime) -> Counts:
        """The counts that stand after this look: the ones before it where a replica's are missing."""
        return Counts(self.load.answered, self.load.unanswered, now) if self.load.complete else self.before

    def largest(self, now: datetime, full: datetime | None, target_age_seconds: float) -> float | None:
        """What the largest size answers in a second at the most; None where nothing shows it.

        It is measured, while every replica that the spec allows answers (since `full`) and requests wait for longer
        than they should: with less to do, what is answered says nothing of what could be.
        """
        behind = self.load.complete and self.load.oldest_seconds >= target_age_seconds
        if full is None or now - full < SETTLED or not behind:
            return None
        return self.completed * (1 + TOLERANCE)


def rates_after(old: EndpointQueueStatus, load: Load, now: datetime) -> Rates:
    """The rates after this look; as they were where the counts of the two looks cannot be compared."""
    arrived, completed = float(old.arrived_per_second), float(old.completed_per_second)
    counted = Counts(old.answered, old.unanswered, old.counted_time)
    answered, unanswered = load.answered - counted.answered, load.unanswered - counted.unanswered
    whole = load.complete and is_whole(old)
    if not whole or counted.time is None or now <= counted.time or answered < 0 or unanswered < 0:
        return Rates(load, arrived, completed, counted)
    seconds = (now - counted.time).total_seconds()
    came = max(answered + unanswered + load.depth - old.depth, 0)
    share = 1 - math.exp(-seconds / SMOOTHING.total_seconds())
    return Rates(
        load,
        arrived + (came / seconds - arrived) * share,
        completed + (answered / seconds - completed) * share,
        counted,
    )


def is_whole(queue: EndpointQueueStatus) -> bool:
    """Whether these figures are those of every replica; their health does not tell, for late is late without them."""
    return queue.counted_time == queue.observed_time


def full_since(running: int, most: int, started: datetime | None) -> datetime | None:
    """Since when all replicas that the spec allows answer: the last one's start; None where fewer do."""
    return started if running >= most else None


def written(rate: float) -> str:
    """A rate as the status holds it."""
    return f"{min(rate, 999_999_999):.3f}" if rate >= LEAST_RATE else "0"
