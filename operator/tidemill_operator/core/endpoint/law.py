"""The scaling law of endpoints: how many replicas there are to be. Depth gives the size in one jump, age corrects it.

A pure function of the load, the size as it is, and what the last decisions left in the status. It never remembers
anything itself. In words:
- Up: as many replicas as give each its target depth, at once, as soon as the depth is a tolerance above what the size
  is for. Replicas that are starting count as capacity: what is on its way is not asked for again.
- Age: where a request has waited longer than the target although the depth is met, requests are longer than the target
  depth takes them to be: more replicas, by the share that the age is over its target, at most twice as many, and never
  more than there are requests: one that is slow by itself is not made quicker by replicas that have none. Only once
  nothing is starting, and only for a request that came after the last replica began to answer: what had queued before
  is being worked off, and was answered by that very replica. But not for ever: one old request hides all others.
- Down: when a smaller size would hold the load with a margin, for the whole stabilization, to the most that was needed
  in that time; the end of a burst is thus paid for at most twice that long. While a request waits too long, never below
  a replica for each request, and never on a load that is not complete: missing figures are no calm.
- Zero: after the delay without any request, where the least size is 0. The first request wakes a replica.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from tidemill_api.v1alpha1.realtime_endpoint import RealtimeEndpointSpec
    from tidemill_operator.core.endpoint.load import Load

TOLERANCE = 0.10
"""The endpoint grows once its depth is by this share above its target: one request more is no new size."""

MARGIN = 0.20
"""A smaller size has to hold the load with this share to spare. Depth may sway by a factor of 1 / (1 - MARGIN) = 1.25
without ever making the size turn, even without stabilization: what was grown for at n replicas is more than n - 1 hold,
and n - 1 replicas come back only below that by the margin."""

MOST_GROWTH_BY_AGE = 1.0
"""Age adds at most this share of the size at a time: it says that there is too little, not how much too little."""

BACKLOG_AGES = 10
"""For so many times the target age after a replica began to answer, what came before it is taken for a backlog that is
being worked off. What is not worked off by then is too much for the size."""


@dataclass(frozen=True)
class Law:
    """What the spec says about size. Depths in requests, the age in seconds."""

    least: int
    most: int
    target_depth: int
    target_age_seconds: float
    stabilization: timedelta
    to_zero_after: timedelta
    max_step_down: int | None = None
    max_starting: int | None = None

    @classmethod
    def of(cls, spec: RealtimeEndpointSpec) -> Law:
        """The law of this spec."""
        scaling = spec.scaling
        return cls(
            least=spec.replicas.min,
            most=spec.replicas.max,
            target_depth=scaling.target_queue_depth,
            target_age_seconds=scaling.target_queue_age_milliseconds / 1000,
            stabilization=timedelta(seconds=scaling.scale_down.stabilization_seconds),
            to_zero_after=timedelta(seconds=scaling.scale_to_zero_after_seconds),
            max_step_down=scaling.scale_down.max_step,
            max_starting=scaling.scale_up.max_starting,
        )

    def boosted(self, factor: float) -> Law:
        """The law while a boost lasts: each replica is given so many times less depth, within the same bounds."""
        return replace(self, target_depth=max(math.floor(self.target_depth / factor), 1))

    def clamp(self, replicas: int) -> int:
        """The size within the bounds."""
        return min(max(replicas, self.least), self.most)


@dataclass(frozen=True)
class Memory:
    """What the status keeps of the past for the law; see `ScalingStatus`."""

    last_start: datetime | None = None
    lower_since: datetime | None = None
    lower_peak: int = 0
    idle_since: datetime | None = None

    def calm_over(self) -> Memory:
        """The same, with nothing in it that speaks for a smaller size."""
        return replace(self, lower_since=None, lower_peak=0, idle_since=None)


@dataclass(frozen=True)
class Size:
    """Replicas wanted so far, those of them that answer, and those that should have begun to long ago."""

    wanted: int
    running: int
    stuck: int = 0

    @property
    def starting(self) -> int:
        """Replicas that are on their way."""
        return max(self.wanted - self.running - self.stuck, 0)


class Why(StrEnum):
    """What made the size; for events and logs."""

    HELD = "held"
    BOUNDS = "bounds"
    DEPTH = "depth"
    AGE = "age"
    CALM = "calm"
    IDLE = "idle"


@dataclass(frozen=True)
class Sized:
    """The size there is to be, why, and what is to be remembered where it is put into force."""

    replicas: int
    why: Why
    memory: Memory


def next_size(load: Load, size: Size, law: Law, memory: Memory, now: datetime) -> Sized:
    """The size for this load at this moment."""
    bounded = law.clamp(size.wanted)
    if bounded != size.wanted:
        return Sized(bounded, Why.BOUNDS, memory.calm_over())
    grown, why = _grown(load, size, law, memory, now)
    if grown > size.wanted:
        return Sized(grown, why, memory.calm_over())
    if not load.complete:
        return Sized(size.wanted, Why.HELD, memory.calm_over())
    return _calmed(load, size, law, memory, now)


def _grown(load: Load, size: Size, law: Law, memory: Memory, now: datetime) -> tuple[int, Why]:
    """The larger of what depth and age ask for, within the bounds and the replicas that may start at a time."""
    by_depth = size_by_depth(load.depth, size.wanted, law)
    by_age = size_by_age(load, size, law, memory, now)
    grown, why = (by_age, Why.AGE) if by_age > by_depth else (by_depth, Why.DEPTH)
    grown = min(grown, law.most)
    if law.max_starting is not None:
        grown = min(grown, size.wanted + max(law.max_starting - size.starting, 0))
    return grown, why


def size_by_depth(depth: int, wanted: int, law: Law) -> int:
    """ceil(depth / target depth), or the size as it is where the depth is within the tolerance above it."""
    if depth <= wanted * law.target_depth * (1 + TOLERANCE):
        return wanted
    return max(math.ceil(depth / law.target_depth), wanted)


def size_by_age(load: Load, size: Size, law: Law, memory: Memory, now: datetime) -> int:
    """The size as it is, and more by the share that the oldest age is above its target, where the age counts."""
    over = load.oldest_seconds / law.target_age_seconds - 1
    if over <= 0 or size.wanted == 0 or size.starting or load.oldest_arrival is None:
        return size.wanted
    if _is_backlog(load.oldest_arrival, memory.last_start, law, now):
        return size.wanted
    grown = size.wanted + max(math.floor(size.wanted * min(over, MOST_GROWTH_BY_AGE)), 1)
    return min(grown, max(size.wanted, load.depth))


def _is_backlog(oldest_arrival: datetime, last_start: datetime | None, law: Law, now: datetime) -> bool:
    """Whether what waits came before the last replica began to answer, and that was just now."""
    if last_start is None or oldest_arrival >= last_start:
        return False
    return timedelta(0) <= now - last_start <= BACKLOG_AGES * timedelta(seconds=law.target_age_seconds)


def _calmed(load: Load, size: Size, law: Law, memory: Memory, now: datetime) -> Sized:
    """The size for a load that asks for no more: the same, a smaller one, or none."""
    may_sleep = law.least == 0 and size.wanted > 0
    idle = (memory.idle_since or now) if load.depth == 0 and may_sleep else None
    memory = replace(memory, idle_since=idle)
    if idle is not None and now - idle >= law.to_zero_after:
        return Sized(0, Why.IDLE, memory.calm_over())
    needed = _needed(load, size, law)
    if needed >= size.wanted:
        return Sized(size.wanted, Why.HELD, replace(memory, lower_since=None, lower_peak=0))
    since, peak = now, needed
    # A peak that is no smaller size was that of another size: nobody wrote its end, and the calm begins anew.
    if memory.lower_since is not None and memory.lower_peak < size.wanted:
        since, peak = memory.lower_since, max(needed, memory.lower_peak)
    if now - since < law.stabilization:
        return Sized(size.wanted, Why.HELD, replace(memory, lower_since=since, lower_peak=peak))
    smaller = max(peak, size.wanted - law.max_step_down) if law.max_step_down else peak
    return Sized(smaller, Why.CALM, replace(memory, lower_since=None, lower_peak=0))


def _needed(load: Load, size: Size, law: Law) -> int:
    """The least size that holds this load with the margin: at least 1, for only the delay leads to zero."""
    holding = math.ceil(load.depth / (law.target_depth * (1 - MARGIN)))
    if load.oldest_seconds > law.target_age_seconds:
        holding = max(holding, min(size.wanted, load.depth))
    return max(holding, law.least, min(size.wanted, 1))
