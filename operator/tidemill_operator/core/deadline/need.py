"""How many workers a backlog needs by its deadlines, and when a number of workers is done with it.

The model of a fleet: those that run work from now on, each that is starting from its expected readiness, new ones after
the start-up time. Refuses to add caution: the caller passes a cautious rate and a late start-up where it wants them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


@dataclass(frozen=True, slots=True)
class Fleet:
    """The workers there are: `running` work now, `starting` holds the seconds from now until each is expected to.

    A pod that no node takes has its whole start-up time before it.
    """

    running: int = 0
    starting: tuple[float, ...] = ()

    @property
    def size(self) -> int:
        """All workers, at work or on their way."""
        return self.running + len(self.starting)


@dataclass(frozen=True, slots=True)
class Due:
    """`rows` in all have to be done within `seconds` from now, those of earlier deadlines among them."""

    rows: float
    seconds: float


def workers_needed(dues: Iterable[Due], fleet: Fleet, rate: float, startup: float) -> float:
    """The least size of the fleet, as a fraction of workers, with which every due is done in time.

    The maximum over the dues of rows / (`rate` rows a second of a worker x the seconds each of them has to work), the
    workers taken in the order in which they are ready. math.inf where no number of them makes it.
    """
    return max((_needed(due, fleet, rate, startup) for due in dues), default=0.0)


def _needed(due: Due, fleet: Fleet, rate: float, startup: float) -> float:
    if due.rows <= 0:
        return 0.0
    if due.seconds <= 0 or rate <= 0:
        return math.inf
    work = due.rows / rate
    if work <= fleet.running * due.seconds:
        return work / due.seconds
    work -= fleet.running * due.seconds
    count = fleet.running
    for ready in sorted(fleet.starting):
        usable = due.seconds - ready
        if usable <= 0:
            break
        if work <= usable:
            return count + work / usable
        work -= usable
        count += 1
    usable = due.seconds - startup
    return fleet.size + work / usable if usable > 0 else math.inf


def work_done(fleet: Fleet, new: int, startup: float, seconds: float) -> float:
    """Worker-seconds of work that the fleet, with so many new workers started now, does within `seconds` from now."""
    done = fleet.running * seconds + new * max(seconds - startup, 0.0)
    return done + sum(seconds - ready for ready in fleet.starting if ready < seconds)


def seconds_to_finish(rows: float, fleet: Fleet, new: int, rate: float, startup: float) -> float:
    """Seconds from now until the last row is done, with so many new workers started now. math.inf: never."""
    if rows <= 0:
        return 0.0
    if rate <= 0:
        return math.inf
    work, count, since = rows / rate, fleet.running, 0.0
    for ready in sorted((*fleet.starting, *((startup,) * new))):
        if work <= count * (ready - since):
            break
        work -= count * (ready - since)
        count, since = count + 1, ready
    return since + work / count if count else math.inf
