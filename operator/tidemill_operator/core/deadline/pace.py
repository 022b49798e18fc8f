"""How fast workers come: a few first while the speed is unknown, and bounded steps a minute where the deadline allows.

A wave is held back only where what is left to start later still makes both deadlines, and at about the same price.
Nothing is remembered: who has just been started is seen by how long it still needs.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidemill_operator.core.deadline.need import Due, Fleet, work_done, workers_needed

if TYPE_CHECKING:
    from tidemill_operator.core.deadline.load import Load

UNSURE = 0.5
"""A rate with a larger spread than this is measured by a few workers before the others start."""

MEASURING_SECONDS = 60.0
"""What a first worker works before its speed says something."""

STEP = 4
STEP_SECONDS = 60.0
"""In so many seconds at most `STEP` workers start, or as many as there were before."""

LATER_MARGIN = 1.1
"""Starting later may cost at most this many times the workers that starting now would."""


@dataclass(frozen=True, slots=True)
class Pace:
    """What a later start is judged by: cautious and expected rate (rows/s of a worker), and the most workers."""

    cautious: float
    expected: float
    most: int


def first_wave(load: Load, pace: Pace, wanted: int, now: float) -> int:
    """How many of the workers wanted are to be there from now on; the others start later, or never have to."""
    size = load.fleet.size
    if wanted <= size:
        return wanted
    if load.rate.spread > UNSURE:
        lucky = workers_needed((Due(load.rows, load.target - now),), load.fleet, load.rate.high(1.0), 0.0)
        wave = max(math.ceil(min(lucky, wanted)), size, 1)
        soonest = 0.0 if load.fleet.running else min(load.fleet.starting, default=load.startup.value)
        wait = soonest + MEASURING_SECONDS
    else:
        fresh = sum(ready > load.startup.value - STEP_SECONDS for ready in load.fleet.starting)
        wave = size + max(max(STEP, size - fresh) - fresh, 0)
        wait = STEP_SECONDS
    if wave >= wanted:
        return wanted
    return wave if _may_wait(load, pace, wave, now, wait) else wanted


def _may_wait(load: Load, pace: Pace, wave: int, now: float, wait: float) -> bool:
    """Whether a wave now and the rest `wait` seconds later still make both deadlines, at about the same price."""
    startup = load.startup.value
    new = wave - load.fleet.size
    starting = (*load.fleet.starting, *((startup,) * new))
    there = sum(ready <= wait for ready in starting)
    later = Fleet(load.fleet.running + there, tuple(ready - wait for ready in starting if ready > wait))
    done = work_done(load.fleet, new, startup, wait)
    to_target = load.seconds_to_target(now)
    rest = Due(load.rows - done * pace.cautious, load.seconds_to_window(now) - wait)
    if workers_needed((rest,), later, pace.cautious, load.startup.high(1.0)) > pace.most:
        return False
    at_once = workers_needed((Due(load.rows, to_target),), load.fleet, pace.expected, startup)
    rest = Due(load.rows - done * pace.expected, to_target - wait)
    return at_once < math.inf and workers_needed((rest,), later, pace.expected, startup) <= at_once * LATER_MARGIN
