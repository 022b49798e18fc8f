"""When a job ends, how likely that is within its window, and how many workers that takes. Pure arithmetic.

The chance comes from what is not known: the spread of the rate and of the start-up time. It counts on every worker that
the job may have, since the law asks for them as soon as they are needed. Refuses to be sure: 0 and 1 are said only
where no spread could change them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING

from tidemill_operator.core.deadline.need import Due, Fleet, seconds_to_finish, work_done, workers_needed

if TYPE_CHECKING:
    from tidemill_operator.core.deadline.load import Load

_NORMAL = NormalDist()

LOST_CHANCE = 0.05
"""A job with a smaller chance than this to meet its window with all that it may have has lost it."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """When, how likely, and with how many workers.

    `finish` in seconds since the epoch (math.inf: never as it is), the `chance` to be done by the window's end (0.0 to
    1.0), and the workers that this needs at the expected rate (None: no number makes it).
    """

    finish: float
    chance: float
    workers_needed: int | None


def forecast(load: Load, now: float, planned: int, allowed: int) -> Forecast:
    """The end of a job that is given `planned` workers now, and that may have `allowed` at the most.

    `allowed` is what it can really get: its bounds, its share, and where no node takes a further pod, what runs. A job
    that waits for its turn (`planned` 0) is foretold as if one worker of those allowed were started now.
    """
    planned = max(planned, min(allowed, 1))
    rate, startup = load.rate.value, load.startup.value
    fleet = _cut_to(load.fleet, planned)
    seconds = seconds_to_finish(load.rows, fleet, planned - fleet.size, rate, startup)
    left = load.seconds_to_window(now)
    need = workers_needed((Due(load.rows, left),), load.fleet, rate, startup)
    return Forecast(
        finish=now + seconds + (load.tail_seconds + load.idle_seconds if load.rows > 0 else 0.0),
        chance=chance_of(load, left, max(planned, allowed)),
        workers_needed=math.ceil(need - 1e-6) if need < math.inf else None,
    )


def window_lost(load: Load, now: float) -> bool:
    """Whether the job can no longer meet its window: past it, or not even with every worker that its rows reach."""
    return load.rows > 0 and chance_of(load, load.seconds_to_window(now), load.reach) < LOST_CHANCE


def chance_of(load: Load, seconds: float, workers: int) -> float:
    """The chance that the rows left are done within so many seconds from now by a fleet of that size."""
    if load.rows <= 0:
        return 1.0
    fleet = _cut_to(load.fleet, workers)
    new = workers - fleet.size
    startup = load.startup.value
    work = work_done(fleet, new, startup, seconds) if seconds > 0 else 0.0
    if work <= 0:
        return 0.0
    in_time = (new if startup < seconds else 0) + sum(ready < seconds for ready in fleet.starting)
    coming = in_time * startup * load.startup.spread / work
    spread = math.hypot(load.rate.spread, coming)
    sure = math.log(load.rate.value * work / load.rows)
    return _NORMAL.cdf(sure / spread) if spread > 0 else float(sure >= 0)


def _cut_to(fleet: Fleet, size: int) -> Fleet:
    """The fleet with no more than so many workers: those that come last are not waited for."""
    starting = tuple(sorted(fleet.starting))
    return Fleet(min(fleet.running, size), starting[: max(size - fleet.running, 0)])
