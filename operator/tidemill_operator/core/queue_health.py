"""The health of a queue, one definition for jobs and endpoints: depth, age, rates, and whether it will clear.

Healthy below twice the target, Warning from twice, Critical from thrice. Every held, queued or running row counts once
in `depth`, by the caller's count. Pure; refuses to read a missing figure as calm: a source that is missing keeps the
last known level, and where none is known that is a Warning by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum

WARNING_RATIO = 2.0
CRITICAL_RATIO = 3.0


class Level(StrEnum):
    """How a queue is, in the order of how bad it is."""

    HEALTHY = "Healthy"
    WARNING = "Warning"
    CRITICAL = "Critical"


class HealthReason(StrEnum):
    """What made the level; constant, for conditions and labels."""

    WITHIN_TARGET = "WithinTarget"
    TWICE_TARGET = "TwiceTarget"
    THRICE_TARGET = "ThriceTarget"
    NEVER_CLEARS = "NeverClears"
    SOURCE_MISSING = "SourceMissing"


_ORDER = (Level.HEALTHY, Level.WARNING, Level.CRITICAL)


@dataclass(frozen=True, slots=True)
class Queue:
    """What is known of a queue; None for a figure whose source is missing.

    `depth` in rows or requests; `oldest_age` in seconds, of a job from its creation or planned start; `target` in
    seconds, above 0; rates in rows or requests a second: what arrives, what is completed now, and what the largest size
    that the spec allows would complete. `last` is the level that was known last.
    """

    depth: int | None
    oldest_age: float | None
    target: float
    arrival_rate: float | None = None
    completion_rate: float | None = None
    largest_rate: float | None = None
    last: Level | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """`level` with its `reason`; `source_missing`: a figure was missing; `age_ratio`: oldest age / target.

    `never_clears`: more arrives than the largest size completes. `clears_in` are the seconds until the queue is empty
    at the present rates: math.inf where it grows or stands still, None where the rates are not known.
    """

    level: Level
    reason: HealthReason
    source_missing: bool
    age_ratio: float | None
    clears_in: float | None
    never_clears: bool


def health(queue: Queue) -> Health:
    """The health of a queue by these figures."""
    missing = queue.depth is None
    ratio = _ratio(queue)
    never = _never_clears(queue)
    level, reason = _by_age(ratio)
    if never and level is not Level.CRITICAL:
        level, reason = Level.WARNING, HealthReason.NEVER_CLEARS
    if ratio is None or (missing and queue.oldest_age is None):
        level, reason = worse(queue.last or Level.WARNING, level), HealthReason.SOURCE_MISSING
    elif missing and level is Level.HEALTHY:
        reason = HealthReason.SOURCE_MISSING
    return Health(level, reason, missing or ratio is None, ratio, math.inf if never else _clears_in(queue), never)


def worse(one: Level, other: Level) -> Level:
    """The worse of two levels."""
    return max(one, other, key=_ORDER.index)


def _ratio(queue: Queue) -> float | None:
    """Oldest age / target; 0 for an empty queue, None where the age is not known."""
    if queue.depth == 0:
        return 0.0
    return None if queue.oldest_age is None else max(queue.oldest_age, 0.0) / queue.target


def _by_age(ratio: float | None) -> tuple[Level, HealthReason]:
    if ratio is None or ratio < WARNING_RATIO:
        return Level.HEALTHY, HealthReason.WITHIN_TARGET
    if ratio < CRITICAL_RATIO:
        return Level.WARNING, HealthReason.TWICE_TARGET
    return Level.CRITICAL, HealthReason.THRICE_TARGET


def _never_clears(queue: Queue) -> bool:
    """Whether more arrives than the largest size would complete, and something waits."""
    if queue.arrival_rate is None or queue.largest_rate is None or queue.depth == 0:
        return False
    return queue.arrival_rate > queue.largest_rate


def _clears_in(queue: Queue) -> float | None:
    """Seconds until the queue is empty as it goes now; math.inf where it grows or stands still."""
    if queue.depth == 0:
        return 0.0
    if queue.depth is None or queue.completion_rate is None or queue.arrival_rate is None:
        return None
    falling = queue.completion_rate - queue.arrival_rate
    return queue.depth / falling if falling > 0 else math.inf
