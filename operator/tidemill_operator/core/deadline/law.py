"""The size of a job by its deadlines: the target first, then the window's end, then everything it may have.

- The window's end is hard: as many workers as make it at the cautious rate, and all where not even they do; workers
  that the rows do not fill among them, down to one row each.
- The target (`targetCompletion`, or the planned finish) is soft: it is planned for at about the expected rate, and no
  worker is started for it that would work for less time than it takes to start. A target that cannot be met any more
  is still worked for within that rule: late is late, and later is worse.
- GPU time: the work is the same with any number of workers, only starts are paid for each. So as few as make it, and a
  worker that works is kept to the end: stopping it saves nothing, its rows are left to others. At the end of the rows
  those without any leave, and so do workers still starting that a cautious look finds in excess.
- An alert's boost multiplies what comes of the target, past it too: whoever set the alert pays for those starts.
- While the speed is unknown a few workers start and measure, as long as that leaves time to do without a good one.

Refuses to size a job whose figures are missing: its size is held as it is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from tidemill_operator.core.deadline.need import Due, Fleet, seconds_to_finish, work_done, workers_needed
from tidemill_operator.core.deadline.pace import Pace, first_wave

if TYPE_CHECKING:
    from tidemill_operator.core.deadline.load import Load

TARGET_DEVIATIONS = 0.5
"""The target is planned for at a rate this many deviations below the expected one."""

TOLERANCE = 0.05
"""A fleet at work grows for its target only for a need that is above it by this share: noise starts no worker."""

SURE_DEVIATIONS = 1.5
"""A starting worker leaves where the target is met without it even at a rate this many deviations below."""

SURPLUS = 0.15
"""And where it is in excess by this share: a need that sways around a whole number sends nobody away."""

SUNK_SHARE = 0.5
"""It stays where less than this share of its start-up is still to come: most of it is paid for."""

WORTH_STARTS = 1.0
"""A worker is started for the target only where it will work for so many start-up times."""

WAITING_SHARE = 0.75
"""Of a worker that is needed for no more than this share of the time the job can wait."""

SPARE_SECONDS = 60.0
"""What the window needs is kept for it, and given to it, as if it ended a start-up time and so many seconds sooner."""

MANY = 10**9
"""Workers, where no number of them is enough."""


class Why(StrEnum):
    """What made the size; for events, metrics and logs."""

    TARGET = "target"  # what the target needs
    WINDOW = "window"  # what the window's end needs
    ALL = "all"  # everything the bounds allow, and that may be too little
    KEPT = "kept"  # those that work: to stop them would save nothing
    LEAST = "least"  # workers.min
    DONE = "done"  # no row is left
    HELD = "held"  # figures are missing: as it is


@dataclass(frozen=True, slots=True)
class Size:
    """`workers` wanted, within the bounds; `must` of them make the window's end with time to spare.

    `urgent` of those that must be there cannot wait for others to be done: a job that needs a third of a worker's time
    may have it later, one that needs three workers from now on may not. `why` is what made the size.
    """

    workers: int
    must: int
    why: Why
    urgent: int = 0


def size_of(load: Load, now: float) -> Size:
    """The size of a validated job with live figures at this moment, before it is cut to its share of the budget."""
    if load.rows_waiting <= 0 and load.busy == 0:
        return Size(0, 0, Why.DONE)
    most = load.fillable
    staying = kept(load, now)
    must = min(_whole(window_need(load, now)), load.reach, _useful(load, staying))
    soft = min(_whole(_boosted(load, staying, _tolerated(load, target_need(load, now)))), most)
    pace = Pace(load.cautious_rate, load.rate.low(TARGET_DEVIATIONS), most)
    paced = first_wave(load, pace, max(must, soft), now)
    wanted = max(paced, min(staying, load.most), min(load.least, load.most))
    early = window_need(load, now, load.startup.value + SPARE_SECONDS)
    spared = min(max(must, _whole(early)), wanted)
    return Size(wanted, spared, _why(load, wanted, must, soft), min(_whole(early - WAITING_SHARE), spared))


def held(size: int) -> Size:
    """The size of a job whose figures are missing: as it is, and all of it needed. What cannot be seen is no calm."""
    return Size(size, size, Why.HELD, size)


def window_need(load: Load, now: float, early: float = 0.0) -> float:
    """Workers with which the last row is done by the window's end, or `early` seconds before, at the cautious rate.

    math.inf: no number of them makes it.
    """
    due = Due(load.rows, load.seconds_to_window(now) - early)
    return workers_needed((due,), load.fleet, load.cautious_rate, load.startup.high(1.0))


def target_need(load: Load, now: float, deviations: float = TARGET_DEVIATIONS) -> float:
    """Workers with which the last row is done by the target at about the expected rate; math.inf: no number does."""
    due = Due(load.rows, load.seconds_to_target(now))
    return workers_needed((due,), load.fleet, load.rate.low(deviations), load.startup.value)


def kept(load: Load, now: float) -> int:
    """Those of the fleet that stay whatever is needed: those at work, and those on their way that will be of use.

    With no row waiting only those that hold rows stay. A worker that is starting leaves where it would come after the
    last row, and where the target and the window's end are met without it by a cautious look.
    """
    if load.rows_waiting <= 0:
        return load.busy
    if not load.fleet.starting:
        return max(load.fleet.running, load.busy)
    sure = _whole(max(target_need(load, now, SURE_DEVIATIONS), window_need(load, now)) * (1 + SURPLUS))
    staying = Fleet(load.fleet.running)
    for ready in sorted(load.fleet.starting):
        too_late = seconds_to_finish(load.rows, staying, 0, load.rate.value, 0.0) <= ready
        if too_late or (staying.size >= sure and ready > load.startup.value * SUNK_SHARE):
            break
        staying = Fleet(staying.running, (*staying.starting, ready))
    return max(staying.size, load.busy)


def _tolerated(load: Load, need: float) -> float:
    """The need of the target, or the fleet's size where the need is above it by no more than the tolerance."""
    size = load.fleet.size
    return float(size) if size < need <= size * (1 + TOLERANCE) else need


def _boosted(load: Load, staying: int, need: float) -> float:
    """The need as far as it is worth its starts, multiplied by an alert's boost.

    Those that stay anyway are not multiplied: a boost that counted the workers which it had brought itself would grow
    with every look.
    """
    worth = _worthwhile(load)
    return max(min(need, max(worth, staying)), min(need, worth) * load.boost)


def _worthwhile(load: Load) -> int:
    """Workers of which each further one works for at least `WORTH_STARTS` start-up times; one at the least."""
    startup = load.startup.value
    left = load.rows / load.rate.value - work_done(load.fleet, 0, startup, startup)
    return max(math.ceil(left / (WORTH_STARTS * startup)), 1)


def _useful(load: Load, staying: int) -> int:
    """Workers that can still do something: no new one where those at work are done before it would be ready."""
    alone = seconds_to_finish(load.rows, Fleet(load.fleet.running), 0, load.cautious_rate, 0.0)
    return staying if alone <= load.startup.value else MANY


def _whole(need: float) -> int:
    return math.ceil(need - 1e-6) if need < MANY else MANY


def _why(load: Load, wanted: int, must: int, soft: int) -> Why:
    need = max(must, soft)
    if wanted == load.most and need >= wanted:
        return Why.ALL
    if wanted > need:
        return Why.LEAST if wanted == load.least and load.fleet.size < wanted else Why.KEPT
    return Why.WINDOW if must > soft else Why.TARGET
