"""When a job is planned to work: from its creation, or with `schedule: LatestSafe` as late and as cheaply as is safe.

Before the work begins the plan follows what is known of the speed; from then on it stands in the status, so that the
age of the rows counts from one moment. Pure; hours of the day become moments by the time zone's own rules.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tidemill_api.v1alpha1.queue_status import PlannedStatus
from tidemill_operator.core.deadline.hours import CheapHours, latest_safe
from tidemill_operator.core.job_load import load_of

if TYPE_CHECKING:
    from tidemill_api.v1alpha1.batch_inference_job import BatchInferenceJobSpec
    from tidemill_api.v1alpha1.batch_inference_job_status import BatchInferenceJobStatus
    from tidemill_operator.core.deadline.estimates import Estimate
    from tidemill_operator.core.deadline.hours import Schedule
    from tidemill_operator.core.deadline.load import Load
    from tidemill_operator.core.snapshot import Snapshot

LEAD = timedelta(minutes=2)
"""The cluster is made so long before the planned start: its head starts and the driver reads the input's index."""

STEP = timedelta(minutes=1)
"""A planned moment that moves by less is left as it is: the plan is made anew at each look."""

UNMEASURED_DEVIATIONS = 2.0
"""A speed that nobody has measured is taken to be so many deviations below the prior, beside the usual caution."""

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Timetable:
    """When the job works: the planned start and finish, whether now is a moment to work, and what is left idle."""

    planned: PlannedStatus
    works_now: bool = True
    idle_seconds: float = 0.0


def timetable(seen: Snapshot, status: BatchInferenceJobStatus) -> Timetable | None:
    """The plan for the rows of this status; None while it cannot be made, for want of a spec or of counted rows.

    A target that was over before a plan could be made is no measure of what is left: the job works at once, and its
    target is the window's end.
    """
    spec, deadline = seen.job.spec, seen.deadline
    if spec is None or deadline is None:
        return None
    if spec.schedule == "Asap":
        return Timetable(PlannedStatus(start_time=seen.job.created, finish_time=seen.job.created + spec.target))
    ready_by = min(seen.job.created + spec.target, deadline) if spec.target_completion else deadline
    if ready_by < deadline and _too_late_for(ready_by, seen, status):
        at_once = PlannedStatus(start_time=seen.now, finish_time=max(deadline, seen.now + timedelta(seconds=1)))
        return Timetable(_kept(seen, status, at_once))
    load = load_of(seen, status)
    if load is None or status.rows.remaining <= 0:
        return Timetable(status.planned) if status.planned is not None else None
    load = replace(load, window_end=ready_by.timestamp(), rate=_safe_rate(load.rate))
    hours = cheap_hours(spec, seen.now, ready_by)
    schedule = latest_safe(load, seen.now.timestamp(), hours)
    idle = schedule.idle_seconds(seen.now.timestamp())
    planned = _kept(seen, status, _planned(schedule, ready_by))
    works = schedule.works_at(seen.now.timestamp()) or _goes_on(seen, planned, load)
    return Timetable(planned, works, idle)


def _too_late_for(target: datetime, seen: Snapshot, status: BatchInferenceJobStatus) -> bool:
    """Whether no plan stands that was made for this target, and none can be made that leaves time for a start."""
    if status.rows.total <= 0 or (status.planned is not None and status.planned.finish_time <= target):
        return False
    return seen.now >= target - LEAD


def _safe_rate(rate: Estimate) -> Estimate:
    """The rate that waiting rests on: a low one of a model that nobody has measured, or waiting would not be safe."""
    return rate if rate.weight > 0 else replace(rate, value=rate.low(UNMEASURED_DEVIATIONS))


def not_begun(status: BatchInferenceJobStatus) -> bool:
    """Whether no worker of this job has held a row yet; rows that it took over from an earlier job are no work."""
    return status.measured.newest_worker_time is None


def _goes_on(seen: Snapshot, planned: PlannedStatus, load: Load) -> bool:
    """Whether work that has begun is not put off again: only for cheaper hours, and not while workers are starting."""
    if seen.job.spec is None or seen.now < planned.start_time:
        return False
    return not seen.job.spec.cheaper_hours or bool(load.fleet.starting)


def _planned(schedule: Schedule, ready_by: datetime) -> PlannedStatus:
    start = datetime.fromtimestamp(int(schedule.start), UTC)
    finish = datetime.fromtimestamp(min(math.ceil(schedule.finish), int(ready_by.timestamp())), UTC)
    return PlannedStatus(start_time=start, finish_time=max(finish, start + timedelta(seconds=1)))


def _kept(seen: Snapshot, status: BatchInferenceJobStatus, new: PlannedStatus) -> PlannedStatus:
    """The plan that stands once its time has come, while the spec is the same; a new one keeps the start of work."""
    old = status.planned
    if old is None:
        return new
    same_spec = seen.job.status.observed_generation == seen.job.generation
    begun = seen.now >= old.start_time - LEAD
    if begun and same_spec:
        return old
    if not not_begun(status):
        return PlannedStatus(
            start_time=old.start_time, finish_time=max(new.finish_time, old.start_time + timedelta(seconds=1))
        )
    moved = max(abs(new.start_time - old.start_time), abs(new.finish_time - old.finish_time))
    return old if same_spec and moved < STEP else new


def cheap_hours(spec: BatchInferenceJobSpec, now: datetime, until: datetime) -> tuple[CheapHours, ...]:
    """The cheaper hours of each day from now until then, as moments; the night that has begun yesterday among them."""
    found = []
    for hours in spec.cheaper_hours:
        start, end = hours.times
        day = now.astimezone(hours.zone).date() - DAY
        while (begins := datetime.combine(day, start, hours.zone)) < until:
            ends = datetime.combine(day if start < end else day + DAY, end, hours.zone)
            if ends > now:
                found.append(CheapHours(begins.timestamp(), ends.timestamp(), hours.factor))
            day += DAY
    return tuple(found)
