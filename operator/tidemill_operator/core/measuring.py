"""What a look at a working job adds to what it has measured of its workers: one sample of rate, each start once.

The measure is kept in the status (`status.measured`), so an operator that restarts loses nothing, and other jobs of the
same model and resources plan with it. Refuses to measure what says nothing of a full worker: a queue that has run dry,
but for workers that still hold enough.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tidemill_operator.core.deadline.estimates import observed_rate, observed_startup
from tidemill_operator.core.job_load import busy_nodes, own_measures, rows_per_worker

if TYPE_CHECKING:
    from tidemill_api.v1alpha1.queue_status import MeasuredStatus
    from tidemill_operator.core.snapshot import DriverMetrics, Snapshot

LONGEST_SAMPLE = timedelta(minutes=5)
"""Two looks farther apart say nothing of who worked between them: the operator was away."""

LONGEST_START = timedelta(hours=1)
"""A worker that took longer to its first row was kept from it by something else than its start."""

MOST_WORKERS = 1000
"""What the schema of the status takes."""


def measured_after(seen: Snapshot, before: MeasuredStatus) -> MeasuredStatus:
    """The measure after this look; as it was where there are no live figures of rows that are being answered."""
    metrics = seen.metrics
    if metrics is None or metrics.phase != "processing" or metrics.rows_total is None or metrics.rows_completed is None:
        return before
    busy = busy_nodes(seen)
    changes = _sampled(seen, metrics, before, _full(seen, metrics, busy)) | _started(seen, before, busy)
    return before.model_copy(update=changes)


def _full(seen: Snapshot, metrics: DriverMetrics, busy: dict[str, int]) -> int:
    """The workers with rows, if all of them are full: while rows wait, and while each still holds half of its part.

    Its part is what a worker holds, or what there is for it of a job too small to fill its workers: that is as full as
    they will ever be, and a slow one is found out only so.
    """
    if not busy or seen.job.spec is None or metrics.rows_total is None:
        return 0
    if metrics.rows_total - metrics.rows_answered - sum(busy.values()) > 0:
        return len(busy)
    part = min(metrics.rows_per_worker or rows_per_worker(seen.job.spec), metrics.rows_total / len(busy))
    return len(busy) if min(busy.values()) >= part / 2 else 0


def _sampled(seen: Snapshot, metrics: DriverMetrics, before: MeasuredStatus, full: int) -> dict[str, object]:
    """The rate with the rows that the workers full at the last mark answered since then, and a mark at this look.

    Where one was not full then, or is not now, nothing is said of the time between: the mark alone moves.
    """
    mark: dict[str, object] = {
        "observed_time": seen.now,
        "observed_rows": metrics.rows_answered,
        "observed_workers": min(full, MOST_WORKERS),
    }
    rows = metrics.rows_answered - before.observed_rows
    if before.observed_time is None or rows < 0 or not 0 < before.observed_workers <= full:
        return mark
    elapsed = seen.now - before.observed_time
    if not timedelta(0) < elapsed <= LONGEST_SAMPLE:
        return mark
    rate = observed_rate(own_measures(before)[0], rows, before.observed_workers * elapsed.total_seconds())
    if rate is None:
        return mark
    return mark | {"rows_per_second_per_worker": f"{min(rate.value, 999_999_999):.6f}", "rows": round(rate.weight)}


def _started(seen: Snapshot, before: MeasuredStatus, busy: dict[str, int]) -> dict[str, object]:
    """The start-up time with those workers that hold rows for the first time, told by when they were created."""
    newest = before.newest_worker_time
    created = [worker.created for worker in seen.workers if worker.ip in busy and worker.created is not None]
    fresh = sorted(moment for moment in created if newest is None or moment > newest)
    measure = own_measures(before)[1]
    for moment in fresh:
        if timedelta(0) <= seen.now - moment <= LONGEST_START:
            measure = observed_startup(measure, (seen.now - moment).total_seconds())
    if measure is None or not fresh:
        return {}
    return {
        "newest_worker_time": fresh[-1],
        "startup_seconds": round(measure.value),
        "startups": round(measure.weight),
    }
