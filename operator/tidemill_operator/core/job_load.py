"""A job as the deadline law sees it, made from a snapshot: seconds and floats out of moments and statuses. Pure.

The one edge between the rules of a job and `core/deadline/`. Refuses to guess rows: without a counted input there is no
load. Speeds are never unknown: what nobody has measured yet is a prior with a wide spread.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidemill_operator.core.deadline.estimates import (
    Estimate,
    Measure,
    rate_estimate,
    rate_prior,
    remaining_start,
    startup_estimate,
    startup_prior,
)
from tidemill_operator.core.deadline.load import Load
from tidemill_operator.core.deadline.need import Fleet

if TYPE_CHECKING:
    from tidemill_api.v1alpha1.batch_inference_job import BatchInferenceJobSpec
    from tidemill_api.v1alpha1.batch_inference_job_status import BatchInferenceJobStatus
    from tidemill_api.v1alpha1.queue_status import MeasuredStatus
    from tidemill_operator.core.snapshot import Elsewhere, Snapshot, WorkerPod

DEFAULT_SEQUENCES = 128
"""Rows an engine decodes at once where neither the job nor the driver says."""

ROWS_PER_SEQUENCE = 2
"""A worker holds about twice its engine's sequences in flight, so that the engine never drains."""

TAIL_SECONDS = 5.0
"""What the join of the results takes after the last row of a small job; a large one's is little beside its rows."""


@dataclass(frozen=True)
class Speed:
    """What is known of one worker: rows a second and seconds to start; `usual` is the rate of other jobs, if any."""

    rate: Estimate
    startup: Estimate
    usual: Estimate | None = None


def own_measures(measured: MeasuredStatus) -> tuple[Measure | None, Measure | None]:
    """The rate and the start-up time that a job measured itself, None for what it has not."""
    rate = float(measured.rows_per_second_per_worker)
    return (
        Measure(rate, float(measured.rows)) if rate > 0 and measured.rows else None,
        Measure(float(measured.startup_seconds), float(measured.startups)) if measured.startups else None,
    )


def speed_of(spec: BatchInferenceJobSpec, measured: MeasuredStatus, elsewhere: Elsewhere) -> Speed:
    """The speed of this job's workers: a prior, what others measured, and what it measures itself."""
    rate, startup = own_measures(measured)
    gpu = spec.resources.gpu
    usual = rate_estimate(rate_prior(gpu), elsewhere.rates) if elsewhere.rates else None
    return Speed(
        rate_estimate(rate_prior(gpu), elsewhere.rates, rate),
        startup_estimate(startup_prior(gpu), elsewhere.startups, startup),
        usual,
    )


def busy_nodes(seen: Snapshot) -> dict[str, int]:
    """Rows in flight by address, of workers that exist: what a driver counts on a node that is gone is to run again."""
    addresses = {worker.ip for worker in seen.workers}
    flying = seen.metrics.in_flight if seen.metrics is not None else {}
    return {node: rows for node, rows in flying.items() if node in addresses and rows > 0}


def load_of(seen: Snapshot, status: BatchInferenceJobStatus, idle_seconds: float = 0.0) -> Load | None:
    """The job's load by the rows and the plan in this status; None while its rows are not counted.

    `idle_seconds` until the planned finish are planned not to be worked.
    """
    spec, deadline = seen.job.spec, seen.deadline
    if spec is None or deadline is None or status.rows.total <= 0:
        return None
    speed = speed_of(spec, status.measured, seen.elsewhere)
    busy = busy_nodes(seen)
    finish = status.planned.finish_time if status.planned is not None else seen.job.created + spec.target
    per_worker = seen.metrics.rows_per_worker if seen.metrics is not None else None
    least, most = bounds_of(seen, spec)
    boost = seen.job.boost.factor_at(seen.now) if seen.job.boost is not None else 1.0
    return Load(
        rows=float(status.rows.remaining),
        rows_waiting=float(max(status.rows.remaining - sum(busy.values()), 0)),
        rows_per_worker=float(per_worker or rows_per_worker(spec)),
        busy=len(busy),
        target=min(finish, deadline).timestamp(),
        window_end=deadline.timestamp(),
        least=least,
        most=most,
        fleet=_fleet(seen, busy, speed.startup),
        rate=speed.rate,
        startup=speed.startup,
        boost=boost,
        tail_seconds=TAIL_SECONDS,
        idle_seconds=idle_seconds,
    )


def bounds_of(seen: Snapshot, spec: BatchInferenceJobSpec) -> tuple[int, int]:
    """The least and the most workers that the job may have now: of a cluster of a fixed size, those that it has."""
    if seen.cluster is not None and seen.cluster.fixed:
        size = seen.cluster.replicas or spec.workers.max
        return size, size
    return spec.workers.min, spec.workers.max


def rows_per_worker(spec: BatchInferenceJobSpec) -> int:
    """Rows that one worker holds in flight when it is full."""
    return ROWS_PER_SEQUENCE * (spec.model.engine_args.max_num_seqs or DEFAULT_SEQUENCES)


def _fleet(seen: Snapshot, busy: dict[str, int], startup: Estimate) -> Fleet:
    """Workers with rows work; the others are on their way, those asked for and not seen yet among them.

    Without live figures those work that have had the time to start.
    """
    alive = [worker for worker in seen.workers if not worker.deleting]
    coming = [worker for worker in alive if worker.ip not in busy and not _up_unseen(seen, worker, startup)]
    starting = [_remaining(seen, worker, startup) for worker in coming]
    running = len(alive) - len(starting)
    asked = seen.cluster.replicas if seen.cluster is not None and not seen.cluster.deleting else 0
    starting += [startup.value] * max(asked - len(alive), 0)
    return Fleet(running, tuple(starting))


def _up_unseen(seen: Snapshot, worker: WorkerPod, startup: Estimate) -> bool:
    if seen.metrics is not None or not worker.ready or worker.created is None:
        return False
    return (seen.now - worker.created).total_seconds() >= startup.value


def _remaining(seen: Snapshot, worker: WorkerPod, startup: Estimate) -> float:
    """Seconds until a worker takes rows; one that no node takes has its whole start before it."""
    unplaced = seen.cluster is not None and seen.cluster.no_room and not worker.ip
    if worker.created is None or unplaced:
        return startup.value
    return remaining_start((seen.now - worker.created).total_seconds(), startup)
