"""What is left of a job and when it will be done: the figures of its queue and a plain forecast. Pure arithmetic.

Every row of a job is as old as the job, so the oldest row left is as old as the job itself. The figures are coarse on
purpose: a status that changes with every second would be written at every look.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tidemill_api.v1alpha1.batch_inference_job_status import ForecastStatus, QueueStatus

if TYPE_CHECKING:
    from tidemill_api.v1alpha1.batch_inference_job_status import BatchInferenceJobStatus
    from tidemill_operator.core.snapshot import Snapshot

STEP_SECONDS = 10
REFRESH_SECONDS = 60
"""How far the age may move before it is written although nothing else did: a queue that stands still shows its age."""

IDLE_SHARE = 100
"""While nothing works, the age is written each hundredth of the window (no sooner): a step of `ageRatio`."""

FARTHEST = timedelta(days=365)
"""A forecast beyond it says no more than this."""


def outlook(seen: Snapshot, new: BatchInferenceJobStatus) -> BatchInferenceJobStatus:
    """The status with the figures of its queue; as it was where they alone moved, and by little.

    `new` is the status but for these figures. The forecast stays while the driver's figures are missing for a moment.
    """
    if new.completion_time is not None:
        return new.model_copy(update={"queue": QueueStatus(), "forecast": None})
    queue = queue_of(seen, new.rows.remaining)
    moved = queue.oldest_age_seconds - new.queue.oldest_age_seconds
    if new == seen.job.status and moved < refresh_seconds(seen):
        return new
    at_work = new.driver.attempt > new.driver.ended_attempt and new.driver.suspend_time is None
    standing = new.forecast if at_work and seen.metrics is None else None
    return new.model_copy(update={"queue": queue, "forecast": forecast_of(seen, new.rows.remaining) or standing})


def refresh_seconds(seen: Snapshot) -> int:
    """How far the age of the queue may move before it is written for itself."""
    if seen.metrics is not None or seen.job.spec is None:
        return REFRESH_SECONDS
    share = int(seen.job.spec.window.total_seconds()) // IDLE_SHARE
    return max(REFRESH_SECONDS, share - share % STEP_SECONDS)


def next_look(seen: Snapshot, new: BatchInferenceJobStatus, after: timedelta | None) -> timedelta | None:
    """When to look again: as decided, and in time for the age of rows that nothing is done about."""
    if new.completion_time is not None or not new.queue.depth:
        return after
    refresh = timedelta(seconds=refresh_seconds(seen))
    return refresh if after is None else min(after, refresh)


def queue_of(seen: Snapshot, left: int) -> QueueStatus:
    """Rows without a line, waiting or in flight, how old they are, and that age as a share of the completion window."""
    if left <= 0 or seen.job.spec is None:
        return QueueStatus()
    age = max((seen.now - seen.job.created) // timedelta(seconds=1), 0)
    ratio = age / seen.job.spec.window.total_seconds()
    return QueueStatus(depth=left, oldest_age_seconds=age - age % STEP_SECONDS, age_ratio=f"{ratio:.2f}")


def forecast_of(seen: Snapshot, left: int) -> ForecastStatus | None:
    """When the last row is done: now + rows left / rows a second, rounded up to 10 s; None where no rate is known."""
    rate = seen.metrics.rows_per_second if seen.metrics is not None else None
    if not rate or left <= 0 or seen.deadline is None:
        return None
    finish = _rounded_up(seen.now + timedelta(seconds=min(left / rate, FARTHEST.total_seconds())))
    return ForecastStatus(finish_time=finish, meets_window=finish <= seen.deadline)


def _rounded_up(moment: datetime) -> datetime:
    return datetime.fromtimestamp(-(-moment.timestamp() // STEP_SECONDS) * STEP_SECONDS, UTC)
