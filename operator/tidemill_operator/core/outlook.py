"""What is left of a job, how old it is and when it will be done: the figures of its queue, plan and forecast. Pure.

Every row of a job is as old as the job, so the oldest row left is as old as the job itself, or as the planned start of
its work. The figures are coarse on purpose: a status that changes with every second would be written at every look.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tidemill_api.v1alpha1.queue_status import ForecastStatus, QueueStatus
from tidemill_operator.core.deadline.turns import Turn, forecast_in_turn
from tidemill_operator.core.job_load import load_of
from tidemill_operator.core.job_schedule import timetable
from tidemill_operator.core.measuring import measured_after
from tidemill_operator.core.queue_health import CRITICAL_RATIO, WARNING_RATIO, Queue, health

if TYPE_CHECKING:
    from tidemill_api.v1alpha1.batch_inference_job_status import BatchInferenceJobStatus
    from tidemill_operator.core.deadline.forecast import Forecast
    from tidemill_operator.core.deadline.load import Load
    from tidemill_operator.core.snapshot import Snapshot

STEP_SECONDS = 10
REFRESH_SECONDS = 60
"""How far the age may move before it is written although nothing else did: a queue that stands still shows its age."""

IDLE_SHARE = 100
"""While nothing works, the age is written each hundredth of the window (no sooner): a step of `ageRatio`."""

FARTHEST = timedelta(days=365)
"""A forecast beyond it says no more than this."""

MOST_RATIO = 999_999_999.0


@dataclass(frozen=True)
class Prospect:
    """A status with the figures of its queue in it, and what the law says of the job where it can say anything."""

    status: BatchInferenceJobStatus
    load: Load | None = None
    forecast: Forecast | None = None


def prospect(seen: Snapshot, new: BatchInferenceJobStatus) -> Prospect:
    """The status with queue, plan, measure and forecast. `new` is the status but for these figures.

    The forecast stays while the driver's figures are missing for a moment.
    """
    if new.completion_time is not None:
        return Prospect(new.model_copy(update={"queue": QueueStatus(), "forecast": None}))
    new = new.model_copy(update={"measured": measured_after(seen, new.measured)})
    plan = timetable(seen, new)
    new = new.model_copy(update={"planned": plan.planned if plan is not None else None})
    new = new.model_copy(update={"queue": queue_of(seen, new)})
    at_work = new.driver.attempt > new.driver.ended_attempt and new.driver.suspend_time is None
    load = load_of(seen, new, plan.idle_seconds if plan is not None else 0.0)
    if load is None or load.rows <= 0:
        return Prospect(new.model_copy(update={"forecast": None}))
    if at_work and seen.metrics is None:
        return Prospect(new, load)
    seen_so = _forecast(seen, new, load)
    return Prospect(new.model_copy(update={"forecast": forecast_status(seen, seen_so)}), load, seen_so)


def _forecast(seen: Snapshot, new: BatchInferenceJobStatus, load: Load) -> Forecast:
    """What the law foresees with the workers wanted now, and those that the job may have when its turn comes."""
    counted = seen.job.status.rows.total > 0  # rows that were just counted have no turn yet
    turn = seen.turn if seen.turn is not None and counted else Turn(load.most, 0.0)
    if seen.cluster is not None and seen.cluster.no_room:
        turn = replace(turn, workers=min(turn.workers, load.fleet.running))
    so = forecast_in_turn(load, seen.now.timestamp(), new.workers.desired, turn)
    waits = new.planned is not None and new.driver.suspend_time is None and seen.now < new.planned.start_time
    return replace(so, finish=new.planned.finish_time.timestamp()) if waits and new.planned is not None else so


def forecast_status(seen: Snapshot, so: Forecast) -> ForecastStatus:
    """The forecast as it is written: the finish rounded up to 10 s, the chance to whole percents."""
    finish = None
    if so.finish < math.inf:
        latest = (seen.now + FARTHEST).timestamp()
        finish = datetime.fromtimestamp(-(-min(so.finish, latest) // STEP_SECONDS) * STEP_SECONDS, UTC)
    meets = finish is not None and seen.deadline is not None and finish <= seen.deadline
    needed = None if so.workers_needed is None else min(so.workers_needed, 10**9)
    chance = min(max(math.floor(so.chance * 100 + 0.5), 0), 100)
    return ForecastStatus(finish_time=finish, meets_window=meets, chance_percent=chance, workers_needed=needed)


def settled(seen: Snapshot, new: BatchInferenceJobStatus, calm: BatchInferenceJobStatus) -> BatchInferenceJobStatus:
    """The status to write: the old one where only what moves with every look is new, and that by little.

    `calm` is the new status with the old figures. A health that changed is written at once, and so is another number of
    workers that are full: the next sample of their speed begins there.
    """
    old = seen.job.status
    moved = new.queue.oldest_age_seconds - old.queue.oldest_age_seconds
    same_level = (new.queue.health, new.queue.reason) == (old.queue.health, old.queue.reason)
    same = same_level and new.measured.observed_workers == old.measured.observed_workers
    little = not new.queue.depth or 0 <= moved < refresh_seconds(seen)
    return old if calm == old and same and little else new


def refresh_seconds(seen: Snapshot) -> int:
    """How far the age of the queue may move before it is written for itself."""
    if seen.metrics is not None or seen.job.spec is None:
        return REFRESH_SECONDS
    share = int(seen.job.spec.window.total_seconds()) // IDLE_SHARE
    return max(REFRESH_SECONDS, share - share % STEP_SECONDS)


def next_look(seen: Snapshot, new: BatchInferenceJobStatus, after: timedelta | None) -> timedelta | None:
    """When to look again: as decided, and in time for the age of rows that nothing works on, and its next level."""
    if new.completion_time is not None or seen.job.spec is None:
        return after
    since, target = _since_and_target(seen, new)
    levels = [since + target * ratio - seen.now for ratio in (WARNING_RATIO, CRITICAL_RATIO)]
    moments = [level for level in levels if level > timedelta(0)]
    moments += [timedelta(seconds=refresh_seconds(seen))] if new.queue.depth else []
    moments += [after] if after is not None else []
    return min(moments, default=None)


def queue_of(seen: Snapshot, status: BatchInferenceJobStatus) -> QueueStatus:
    """Rows without a line, waiting or in flight, how old they are, that age by the target, and what to think of it.

    A job whose rows are not counted yet grows old all the same; one whose rows all have a line does not.
    """
    if seen.job.spec is None or (status.rows.total > 0 and status.rows.remaining <= 0):
        return QueueStatus()
    since, target = _since_and_target(seen, status)
    age = max((seen.now - since) // timedelta(seconds=1), 0)
    depth = status.rows.remaining
    rate = seen.metrics.rows_per_second if seen.metrics is not None else None
    so = health(Queue(max(depth, 1), float(age), target.total_seconds()))
    return QueueStatus(
        depth=depth,
        oldest_age_seconds=age - age % STEP_SECONDS,
        age_ratio=f"{min(so.age_ratio, MOST_RATIO):.2f}",
        health=so.level.value,
        reason=so.reason.value,
        completed_per_second=f"{min(rate, MOST_RATIO):.2f}" if rate else "0",
    )


def _since_and_target(seen: Snapshot, status: BatchInferenceJobStatus) -> tuple[datetime, timedelta]:
    """From when the age counts, and the target that it is measured by."""
    spec = seen.job.spec
    if status.planned is not None:
        return status.planned.start_time, status.planned.finish_time - status.planned.start_time
    if spec is None or seen.deadline is None:
        return seen.job.created, timedelta(seconds=1)
    waits = spec.schedule == "LatestSafe" and not spec.target_completion
    return seen.job.created, spec.window if waits else spec.target
