"""What became of a trace: when each job ended, what was used, what was said on the way. `run` fills it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tidemill_operator.simulate.tenants import Bill

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tidemill_operator.simulate.policy import Said
    from tidemill_operator.simulate.tenants import SimEndpoint, SimJob
    from tidemill_operator.simulate.trace import Job, Trace

FORECAST_FROM = 0.25
"""A forecast is held to the truth from this share of the rows on."""

POINT_SECONDS = 120.0
"""Between two points of the plot."""


@dataclass(slots=True)
class JobRecord:
    """One job: its end (`finished` is None where its window ended first), its bill, its alerts, its forecasts."""

    job: Job
    finished: float | None = None
    bill: Bill = field(default_factory=Bill)
    alerts: dict[str, float] = field(default_factory=dict)  # what was said, and when first
    planned_finish: float | None = None
    forecasts: list[tuple[float, float]] = field(default_factory=list)  # (when, the finish that was said)

    def hear(self, now: float, done: float, said: Said) -> None:
        """Keeps what is said at a look."""
        if said.alert:
            self.alerts.setdefault(said.alert, now)
        if said.planned_finish is not None:
            self.planned_finish = said.planned_finish
        if said.finish is not None and done >= FORECAST_FROM * self.job.rows:
            self.forecasts.append((now, said.finish))

    @property
    def met(self) -> bool:
        """Whether the window was met."""
        return self.finished is not None

    @property
    def plan(self) -> float:
        """When the job was to be done: its planned finish where it waited for one, else its target."""
        return self.job.target_time if self.planned_finish is None else self.planned_finish

    @property
    def as_planned(self) -> bool:
        """Whether it was done by then."""
        return self.finished is not None and self.finished <= self.plan

    @property
    def false_alerts(self) -> int:
        """Alerts about a job that ran as planned: there must be none."""
        return len(self.alerts) if self.as_planned else 0

    def forecast_errors(self) -> list[float]:
        """Of each forecast, how far it was off, as a share of the job's time from its creation to its end."""
        if self.finished is None:
            return []
        length = self.finished - self.job.arrival
        return [abs(finish - self.finished) / length for _, finish in self.forecasts]


@dataclass(slots=True)
class Point:
    """The cluster at one moment, for the plot: GPUs held, rows waiting, endpoints' replicas, active jobs."""

    time: float
    job_gpus: int
    endpoint_gpus: int
    jobs: int
    requests_waiting: float


class Record:
    """All of a run."""

    def __init__(self, trace: Trace) -> None:
        self.trace = trace
        self.jobs: dict[str, JobRecord] = {}
        self.endpoints: dict[str, Bill] = {}
        self.requests = 0.0
        self.late_requests = 0.0
        self.points: list[Point] = []
        self.ended = 0

    def job_ended(self, sim: SimJob) -> None:
        """A job is done, or its window has ended."""
        self.ended += 1
        self.jobs[sim.name].finished = sim.ended if sim.progress.finished else None

    def endpoint_ended(self, sim: SimEndpoint) -> None:
        """The trace is over."""
        self.endpoints[sim.name] = sim.bill
        self.requests += sim.requests
        self.late_requests += sim.late

    def keep(self, now: float, jobs: Iterable[SimJob], endpoints: Iterable[SimEndpoint]) -> None:
        """Keeps a point for the plot, unless the last one was just now."""
        if self.points and now - self.points[-1].time < POINT_SECONDS:
            return
        jobs, endpoints = list(jobs), list(endpoints)
        held = [sum(w.gpus for s in sims for w in s.workers if w.held is not None) for sims in (jobs, endpoints)]
        waiting = sum(endpoint.waiting for endpoint in endpoints)
        self.points.append(Point(now, held[0], held[1], len(jobs), waiting))

    @property
    def gpu_hours(self) -> float:
        """GPU-hours of all jobs."""
        return sum(record.bill.gpu_seconds for record in self.jobs.values()) / 3600

    @property
    def cost(self) -> float:
        """What they cost."""
        return sum(record.bill.cost for record in self.jobs.values())

    @property
    def starts(self) -> int:
        """Workers of jobs that got a GPU."""
        return sum(record.bill.starts for record in self.jobs.values())

    @property
    def flaps(self) -> int:
        """Workers of jobs that were ordered soon after one was sent away."""
        return sum(record.bill.flaps for record in self.jobs.values())

    @property
    def met(self) -> int:
        """Windows met."""
        return sum(record.met for record in self.jobs.values())

    @property
    def on_target(self) -> int:
        """Jobs done by their target, or planned finish."""
        return sum(record.as_planned for record in self.jobs.values())

    @property
    def false_alerts(self) -> int:
        """Alerts about jobs that ran as planned."""
        return sum(record.false_alerts for record in self.jobs.values())
