"""When a job with `schedule: LatestSafe` works: as late as is safe, and in the cheapest hours that are enough.

A plan is a set of spans and one number of workers. For each level of price the hours up to that price are taken, with
the fewest workers that do the work in them at the cautious rate, start-ups paid for in each span; the cheapest level
wins, and what it has too much is cut from its dearest hours. Before the work has begun that is cut at the front (it
starts later); once it has begun, at the end, so that a job at work goes on. Refuses to plan closer to the end than the
margin; where no plan fits, it is now, with everything.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from tidemill_operator.core.deadline.need import seconds_to_finish

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from tidemill_operator.core.deadline.load import Load

MARGIN_SECONDS = 60.0
MARGIN_SHARE = 0.05
"""The work is planned to end so much before the window does: seconds, and a share of the time that is planned."""

LATE_SHARE = 0.5
"""A late start is planned with at most this share of the workers allowed, where that is enough: others start late too,
and whoever counts on everything has nothing left to make good for a slow start."""

STOP_SAVING = 0.1
"""A job at work stops for cheaper hours only where they save at least this share of the cost."""

Span = tuple[float, float]
Segment = tuple[float, float, float]
"""Start, end and price factor."""


@dataclass(frozen=True, slots=True)
class CheapHours:
    """From `start` to `end` (seconds since the epoch) a worker costs `price` times what it costs otherwise."""

    start: float
    end: float
    price: float


@dataclass(frozen=True, slots=True)
class Schedule:
    """The spans (seconds since the epoch, in order) in which so many workers work; `finish` is the planned finish."""

    spans: tuple[Span, ...]
    workers: int

    @property
    def start(self) -> float:
        """When the work begins, or goes on."""
        return self.spans[0][0]

    @property
    def finish(self) -> float:
        """When the last row is planned to be done."""
        return self.spans[-1][1]

    def works_at(self, now: float) -> bool:
        """Whether this is a moment to work; after the planned finish too, for what is left then is late."""
        return now >= self.finish or any(start <= now < end for start, end in self.spans)

    def idle_seconds(self, now: float) -> float:
        """The seconds between now and the planned finish that are not worked."""
        worked = sum(max(end - max(start, now), 0.0) for start, end in self.spans)
        return max(self.finish - now - worked, 0.0)


def latest_safe(load: Load, now: float, hours: Iterable[CheapHours] = ()) -> Schedule:
    """When the job works, and with how many workers, so that it is done by `load.window_end` with a margin.

    `load.fleet` says whether it is at work. `load.target` and `load.idle_seconds` are not read: they follow from this.
    """
    job = _Job.of(load)
    end = load.window_end - load.tail_seconds - MARGIN_SECONDS
    priced = _priced(now, end, tuple(hours))
    plans = _plans(job, priced, now, math.ceil(job.most * LATE_SHARE)) or _plans(job, priced, now, job.most)
    if not plans:
        workers = job.most
        new = max(workers - load.fleet.size, 0)
        seconds = seconds_to_finish(load.rows, load.fleet, new, load.rate.value, load.startup.value)
        return Schedule(((now, now + min(max(seconds, 1.0), 1e9)),), workers)
    best = min(plans, key=lambda plan: (plan.cost, plan.workers))
    on = [plan for plan in (*plans, _on(job, priced, now)) if plan.spans[0][0] <= now] if job.at_work else []
    if on:
        going = min(on, key=lambda plan: (plan.cost, plan.workers))
        best = best if best.cost < going.cost * (1 - STOP_SAVING) else going
    return Schedule(best.spans, best.workers)


@dataclass(frozen=True, slots=True)
class _Job:
    """The work in worker-seconds with its margin, the bounds, and the workers it has, at work or on their way.

    A span begins with `startup` seconds, one that is going on with the `ready` seconds until the first worker works.
    """

    work: float
    startup: float
    ready: float
    least: int
    most: int
    size: int

    @property
    def at_work(self) -> bool:
        """Whether the work has begun: stopping a worker that starts wastes as much as stopping one that works."""
        return self.size > 0

    @classmethod
    def of(cls, load: Load) -> _Job:
        work = load.rows / load.cautious_rate * (1 + MARGIN_SHARE)
        ready = 0.0 if load.fleet.running else min(load.fleet.starting, default=0.0)
        return cls(work, load.startup.high(1.0), ready, max(load.least, 1), load.fillable, load.fleet.size)

    def usable(self, spans: Sequence[Span], now: float) -> float:
        """The seconds of these spans in which a worker works, the workers' starts taken off."""
        return sum(
            max(end - start - (self.ready if self.at_work and start <= now else self.startup), 0.0)
            for start, end in spans
        )


@dataclass(frozen=True, slots=True)
class _Plan:
    spans: tuple[Span, ...]
    workers: int
    cost: float


def _priced(now: float, end: float, hours: Sequence[CheapHours]) -> list[Segment]:
    """(start, end, price) from now to the end without a gap; where hours overlap, the cheapest counts."""
    edges = {now, end, *(edge for hour in hours for edge in (hour.start, hour.end) if now < edge < end)}
    cuts = sorted(edges) if end > now else []
    return [
        (start, stop, min((hour.price for hour in hours if hour.start <= start and stop <= hour.end), default=1.0))
        for start, stop in pairwise(cuts)
    ]


def _joined(segments: Iterable[Segment]) -> list[Span]:
    spans: list[Span] = []
    for start, end, _ in segments:
        if spans and spans[-1][1] == start:
            spans[-1] = (spans[-1][0], end)
        else:
            spans.append((start, end))
    return spans


def _plans(job: _Job, priced: list[Segment], now: float, most: int) -> list[_Plan]:
    """A plan for each price up to which the hours are enough for at most so many workers."""
    prices = sorted({price for _, _, price in priced})
    return [plan for price in prices if (plan := _plan(job, priced, price, now)) and plan.workers <= most]


def _plan(job: _Job, priced: list[Segment], price: float, now: float) -> _Plan | None:
    """The plan in the hours up to this price; None where they are not enough even with all workers."""
    chosen = [segment for segment in priced if segment[2] <= price]
    usable = job.usable(_joined(chosen), now)
    if usable <= 0 or job.work > usable * job.most:
        return None
    workers = max(math.ceil(job.work / usable - 1e-6), job.least)
    goes_on = job.at_work and chosen[0][0] <= now
    needed = job.work / workers
    for segment in sorted((segment for segment in chosen if segment[2] == price), reverse=goes_on):
        without = [one for one in chosen if one != segment]
        if without and job.usable(_joined(without), now) >= needed:
            chosen = without
        else:
            spare = job.usable(_joined(chosen), now) - needed
            short = _shortened(segment, spare, chosen, at_end=goes_on)
            cut = [short if one == segment else one for one in chosen]
            # A job at work that rests first has to start anew: the seconds to spare may not be enough for that.
            chosen = cut if job.usable(_joined(cut), now) >= needed - 1e-3 else chosen
    spans = tuple(_joined(chosen))
    cost = workers * sum((end - start) * factor for start, end, factor in chosen)
    return _Plan(spans, workers, cost)


def _on(job: _Job, priced: list[Segment], now: float) -> _Plan:
    """The plan of a job at work that goes on without a rest until it is done."""
    end = priced[-1][1]
    usable = max(end - now - job.ready, 1.0)
    workers = min(max(math.ceil(job.work / usable - 1e-6), job.size, job.least), job.most)
    finish = min(now + job.ready + job.work / workers, end)
    cost = sum(max(min(stop, finish) - start, 0.0) * price for start, stop, price in priced)
    return _Plan(((now, finish),), workers, workers * cost)


def _shortened(segment: Segment, spare: float, chosen: Sequence[Segment], *, at_end: bool) -> Segment:
    """The segment without the seconds to spare, cut where that parts it from no neighbour, rather at the end asked."""
    start, end, price = segment
    if not 0 < spare < end - start:
        return segment
    joined_before = any(one[1] == start for one in chosen)
    joined_after = any(one[0] == end for one in chosen)
    if joined_before and joined_after:
        return segment
    if joined_before or (at_end and not joined_after):
        return (start, end - spare, price)
    return (start + spare, end, price)
