"""Why a job may not meet its window, and what would help: one measured cause, found by asking what would save it.

Each cause is tried in turn: would the job be safe if it were away? Refuses to warn on a guess: while the rate rests on
a prior alone, only a job that very likely misses its window is at risk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from tidemill_operator.core.deadline.forecast import chance_of

if TYPE_CHECKING:
    from tidemill_operator.core.deadline.estimates import Estimate
    from tidemill_operator.core.deadline.forecast import Forecast
    from tidemill_operator.core.deadline.load import Load

AT_RISK = 0.8
SAFE_AGAIN = 0.9
"""A job is at risk below the one chance, and no longer above the other."""

AT_RISK_UNMEASURED = 0.2
"""The chance below which a job is at risk whose rate was never measured: models differ tenfold, and minutes later one
knows."""

BAD_SHARE = 0.2
"""Share of tries that fail from which on bad rows are said to slow a job down."""


class Cause(StrEnum):
    """Why a window is at risk; constant, the reason of the condition `WindowAtRisk`."""

    SUSPENDED = "Suspended"
    QUOTA_REACHED = "QuotaReached"
    NO_CAPACITY = "NoCapacity"
    BAD_ROWS = "BadRows"
    SLOW_START = "SlowStart"
    SLOW_RATE = "SlowRate"
    TOO_FEW_WORKERS = "TooFewWorkers"


@dataclass(frozen=True, slots=True)
class Circumstances:
    """What holds a job up. `usual` is the rate of other jobs of the model and resources, None where there are none.

    `quota`: its share of the GPU budget is below what it wants. `no_room`: no node takes its pods. `failed_share` of
    the tries of its rows failed (0 to 1).
    """

    suspended: bool = False
    quota: bool = False
    no_room: bool = False
    failed_share: float = 0.0
    usual: Estimate | None = None


@dataclass(frozen=True, slots=True)
class Risk:
    """Why the window is at risk, and what would help, as one sentence for people."""

    cause: Cause
    help: str


def risk(load: Load, seen: Forecast, held_up: Circumstances, now: float, *, standing: bool) -> Risk | None:
    """Why the job is at risk of missing its window, None where it is not. `standing`: it was at risk until now."""
    line = SAFE_AGAIN if standing else AT_RISK if load.rate.weight > 0 else AT_RISK_UNMEASURED
    if load.rows <= 0 or seen.chance >= line:
        return None
    cause = _cause(load, seen, held_up, now)
    return Risk(cause, _help(cause, load, seen.workers_needed))


def _cause(load: Load, seen: Forecast, held_up: Circumstances, now: float) -> Cause:
    """The first of the causes in their order that holds."""
    short = seen.workers_needed is None or seen.workers_needed > load.fleet.running
    at_once = replace(load, startup=replace(load.startup, value=1.0))
    usual = held_up.usual.value if held_up.usual is not None else 0.0
    as_usual = replace(load, rate=replace(load.rate, value=max(usual, load.rate.value)))
    checks = (
        (Cause.SUSPENDED, held_up.suspended),
        (Cause.QUOTA_REACHED, held_up.quota and short),
        (Cause.NO_CAPACITY, held_up.no_room and short),
        (Cause.BAD_ROWS, held_up.failed_share >= BAD_SHARE),
        (Cause.SLOW_START, _safe(at_once, now)),
        (Cause.SLOW_RATE, _safe(as_usual, now)),
    )
    return next((cause for cause, holds in checks if holds), Cause.TOO_FEW_WORKERS)


def _safe(load: Load, now: float) -> bool:
    return chance_of(load, load.seconds_to_window(now), load.reach) >= AT_RISK


def _help(cause: Cause, load: Load, needed: int | None) -> str:
    workers = f" (needed: {needed} workers)" if needed is not None else ""
    if cause is Cause.TOO_FEW_WORKERS:
        minutes = math.ceil(load.rows / (load.rate.value * load.reach) / 60)
        if needed is not None and needed > load.reach and load.reach < load.most:
            held = f"Workers that can have a row of those left: {load.reach}, which takes about {minutes} minutes"
            return f"{held}. Allow a longer window; with a lower engineArgs.maxNumSeqs more workers share a job's rows."
        if needed is not None and needed > load.most:
            return f"Raise workers.max from {load.most} to at least {needed}, or allow a longer window."
        return f"Allow a longer window: all {load.reach} workers take about {minutes} minutes for the rows left."
    return {
        Cause.SUSPENDED: "Set suspend to false: the window goes on while the job is suspended.",
        Cause.QUOTA_REACHED: f"Raise the GPU budget of the namespace{workers}, or let other jobs wait.",
        Cause.NO_CAPACITY: f"No node takes the workers{workers}: add nodes, or widen the template's nodeSelector.",
        Cause.BAD_ROWS: "Many tries of rows fail: look at the error lines, or lower retry.maxAttempts of a new job.",
        Cause.SLOW_START: f"Workers take {load.startup.value:.0f} s to start: use a smaller or pre-pulled image, or "
        "allow a longer window.",
        Cause.SLOW_RATE: "Rows take longer than those of other jobs of this model: allow more workers or a longer "
        "window.",
    }[cause]
