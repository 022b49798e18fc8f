"""From the simulated world to what an operator sees of it: the border between what is true and what is known."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill_operator.simulate.policy import EndpointView, JobView, Seen

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tidemill_operator.simulate.tenants import SimEndpoint, SimJob
    from tidemill_operator.simulate.trace import Trace


def seen_now(trace: Trace, now: float, jobs: Iterable[SimJob], endpoints: Iterable[SimEndpoint]) -> Seen:
    """One look at everything. Takes the jobs' samples: the next look sees what comes after."""
    return Seen(
        now=now,
        gpu_limit=trace.limits.gpu_limit,
        prices=trace.prices,
        jobs=[_job(sim) for sim in jobs],
        endpoints=[_endpoint(sim) for sim in endpoints],
    )


def _job(sim: SimJob) -> JobView:
    spec = sim.spec
    starting, pending = [], []
    for worker in sim.workers:
        if worker.held is None:
            pending.append(worker.ordered)
        elif worker.ready is None:
            starting.append(worker.held)
    progress = sim.progress
    view = JobView(
        name=spec.name,
        model=spec.model,
        gpus=spec.gpus,
        created=spec.arrival,
        target_time=spec.target_time,
        deadline=spec.deadline,
        late_start=spec.schedule == "LatestSafe",
        min_workers=spec.min_workers,
        max_workers=spec.max_workers,
        in_flight=spec.in_flight,
        prepared=sim.prepared,
        rows=spec.rows,
        rows_left=progress.rows_left,
        running=sim.ready_workers,
        starting=tuple(starting),
        pending=tuple(pending),
        sample_rows=progress.done - sim.sample_done,
        sample_seconds=sim.sample_seconds,
        sample_starts=tuple(sim.sample_starts),
    )
    sim.sample_done = progress.done
    sim.sample_seconds = 0.0
    if sim.sample_starts:
        sim.sample_starts = []
    return view


def _endpoint(sim: SimEndpoint) -> EndpointView:
    return EndpointView(
        spec=sim.spec,
        wanted=len(sim.workers),
        answering=sim.answering,
        waiting=sim.waiting,
        running=sim.running,
        oldest=sim.oldest,
        last_start=sim.last_start,
    )
