"""The health of a queue, one definition for jobs and endpoints: depth, age, rates, and whether it will ever clear.

Healthy below twice the target, Warning from twice, Critical from thrice. Every held, queued or running row counts once
in `depth`, by the caller's count. Pure; refuses to read a missing figure as calm: a queue whose depth is not known is
Unknown at best, and as late as the oldest age that is known all the same.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

WARNING_RATIO = 2.0
CRITICAL_RATIO = 3.0


class Level(StrEnum):
    """How a queue is."""

    HEALTHY = "Healthy"
    UNKNOWN = "Unknown"
    WARNING = "Warning"
    CRITICAL = "Critical"


class HealthReason(StrEnum):
    """What made the level; constant, for conditions and labels."""

    WITHIN_TARGET = "WithinTarget"
    TWICE_TARGET = "TwiceTarget"
    THRICE_TARGET = "ThriceTarget"
    NEVER_CLEARS = "NeverClears"
    SOURCE_MISSING = "SourceMissing"


@dataclass(frozen=True, slots=True)
class Queue:
    """What is known of a queue.

    `depth` in rows or requests, None while a source of it is missing; `oldest_age` in seconds, of a job from its
    creation or planned start; `target` in seconds, above 0; rates in rows or requests a second, None where they are not
    known: what arrives, and what the largest size that the spec allows would complete.
    """

    depth: int | None
    oldest_age: float
    target: float
    arrival_rate: float | None = None
    largest_rate: float | None = None


@dataclass(frozen=True, slots=True)
class Health:
    """`level` with its `reason`, and the `age_ratio`: oldest age / target, 0 for an empty queue."""

    level: Level
    reason: HealthReason
    age_ratio: float


def health(queue: Queue) -> Health:
    """The health of a queue by these figures."""
    ratio = 0.0 if queue.depth == 0 else max(queue.oldest_age, 0.0) / queue.target
    if ratio >= CRITICAL_RATIO:
        return Health(Level.CRITICAL, HealthReason.THRICE_TARGET, ratio)
    if _never_clears(queue):
        return Health(Level.WARNING, HealthReason.NEVER_CLEARS, ratio)
    if ratio >= WARNING_RATIO:
        return Health(Level.WARNING, HealthReason.TWICE_TARGET, ratio)
    if queue.depth is None:
        return Health(Level.UNKNOWN, HealthReason.SOURCE_MISSING, ratio)
    return Health(Level.HEALTHY, HealthReason.WITHIN_TARGET, ratio)


def _never_clears(queue: Queue) -> bool:
    """Whether more arrives than the largest size would complete, and something waits."""
    if queue.arrival_rate is None or queue.largest_rate is None or queue.depth == 0:
        return False
    return queue.arrival_rate > queue.largest_rate
