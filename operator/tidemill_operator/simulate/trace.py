"""What a trace says: jobs, endpoints and their requests, the GPUs there are, what they cost, and what is lost when.

Every time is in seconds since the start of the trace, every length of time in seconds. A line of a trace file is one
of these types; `trace_reader` reads them. They hold the truth: what of it the law may see is `views`' to say.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

TARGET_SHARE = 1 / 3
"""A job's target completion as a share of its window, where the trace says none: the default of the API."""

_SPAN = re.compile(r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s)?")
_SPAN_SECONDS = (86400, 3600, 60, 1)


def _seconds(value: object) -> object:
    """Turns '1h30m' into 5400.0; a number is seconds already. Anything else is pydantic's to refuse."""
    if not isinstance(value, str):
        return value
    found = _SPAN.fullmatch(value.strip())
    if found is None or not any(found.groups()):
        return value
    return sum(float(part) * unit for part, unit in zip(found.groups(), _SPAN_SECONDS, strict=True) if part)


Span = Annotated[float, BeforeValidator(_seconds), Field(ge=0, le=400 * 86400)]
"""Seconds, or a text like `45s`, `30m`, `1h30m`, `2d`."""


class Line(BaseModel):
    """A line of a trace file."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Job(Line):
    """A BatchInferenceJob. `rows_per_second` is what the fastest worker answers, on average over all the job's rows."""

    kind: Literal["job"] = "job"
    name: str = Field(min_length=1)
    arrival: Span = Field(description="when it is created")
    rows: int = Field(ge=1)
    window: Span = Field(gt=0, description="completionWindow")
    target: Span | None = Field(default=None, gt=0, description="targetCompletion; else a third of the window")
    model: str = Field(default="model", description="what is measured of a model helps the next job of it")
    rows_per_second: float = Field(gt=0, description="of the fastest worker, on average")
    row_spread: float = Field(default=0.2, ge=0, le=2, description="how much the work of parts of the input differs")
    worker_spread: float = Field(default=0.05, ge=0, le=0.5, description="the slowest worker is slower by this share")
    prepare: Span = Field(default=45.0, description="from creation until the rows are validated; needs no GPU")
    start_up: Span = Field(default=120.0, gt=0, description="the shortest start-up of a worker, its GPU held")
    start_up_spread: float = Field(default=0.1, ge=0, le=5, description="how much longer it takes on average")
    losses_per_hour: float = Field(default=0.0, ge=0, le=60, description="how often a worker is lost (spot)")
    in_flight: int = Field(default=256, ge=1, description="rows that a full worker holds")
    min_workers: int = Field(default=0, ge=0, description="workers.min")
    max_workers: int = Field(default=8, ge=1, description="workers.max")
    gpus: int = Field(default=1, ge=1, description="GPUs of a worker")
    schedule: Literal["Asap", "LatestSafe"] = Field(
        default="Asap", description="LatestSafe waits, for cheaper hours too"
    )

    @model_validator(mode="after")
    def _fits(self) -> Job:
        if self.target is not None and self.target > self.window:
            raise ValueError(f"target is longer than window ({self.target:g} s > {self.window:g} s): make it shorter")
        if self.min_workers > self.max_workers:
            raise ValueError("min_workers is larger than max_workers: lower it")
        return self

    @property
    def work(self) -> float:
        """Seconds that one worker of the fastest kind is at work on all the rows."""
        return self.rows / self.rows_per_second

    @property
    def target_time(self) -> float:
        """When the job is to be done by its target. A job that may wait has the whole window where none is given."""
        if self.target is not None:
            return self.arrival + self.target
        return self.deadline if self.schedule == "LatestSafe" else self.arrival + self.window * TARGET_SHARE

    @property
    def deadline(self) -> float:
        """When the job's window ends."""
        return self.arrival + self.window


class Endpoint(Line):
    """A RealtimeEndpoint; its requests come in lines of the kind `load`. A replica needs one GPU."""

    kind: Literal["endpoint"] = "endpoint"
    name: str = Field(min_length=1)
    min_replicas: int = Field(default=1, ge=0, description="replicas.min")
    max_replicas: int = Field(default=4, ge=1, description="replicas.max")
    target_depth: int = Field(default=8, ge=1, description="scaling.targetQueueDepth")
    target_age: Span = Field(default=2.0, gt=0, description="scaling.targetQueueAgeMilliseconds")
    slots: int = Field(default=16, ge=1, description="requests that a replica answers at once")
    seconds_per_request: Span = Field(default=4.0, gt=0)
    start_up: Span = Field(default=90.0, gt=0)


class Load(Line):
    """So many requests a second reach an endpoint from `time` on, until its next such line."""

    kind: Literal["load"] = "load"
    endpoint: str
    time: Span
    requests_per_second: float = Field(ge=0)


class Capacity(Line):
    """The GPUs that the cluster really has from `time` on. The operator does not know: pods beyond it stay pending."""

    kind: Literal["capacity"] = "capacity"
    time: Span
    gpus: int = Field(ge=0)


class Loss(Line):
    """A share of all workers that hold a GPU at `time` is lost at once, as when a spot pool is reclaimed."""

    kind: Literal["loss"] = "loss"
    time: Span
    share: float = Field(gt=0, le=1)


class Price(Line):
    """From `start` to `end` a GPU costs `factor` times the price; where such hours overlap, the first line counts."""

    kind: Literal["price"] = "price"
    start: Span
    end: Span
    factor: float = Field(ge=0)

    @model_validator(mode="after")
    def _runs_forward(self) -> Price:
        if self.end <= self.start:
            raise ValueError(f"end ({self.end:g} s) is not after start ({self.start:g} s): give the end of these hours")
        return self


class Limits(Line):
    """What holds for the whole trace; at most one such line. `gpu_limit` is the budget that the operator knows."""

    kind: Literal["limits"] = "limits"
    gpu_limit: int = Field(default=64, ge=1, description="the namespace's budget of GPUs")
    price_per_gpu_hour: float = Field(default=2.0, ge=0)


NO_LIMITS = Limits()
AnyLine = Job | Endpoint | Load | Capacity | Loss | Price | Limits


@dataclass(frozen=True)
class Trace:
    """All lines of a trace by kind, in order of time, and the seed of what chance decides (noise, spot losses)."""

    name: str
    jobs: tuple[Job, ...]
    endpoints: tuple[Endpoint, ...] = ()
    loads: tuple[Load, ...] = ()
    capacities: tuple[Capacity, ...] = ()
    losses: tuple[Loss, ...] = ()
    prices: tuple[Price, ...] = ()
    limits: Limits = NO_LIMITS
    seed: int = 0

    @classmethod
    def of(cls, name: str, lines: list[AnyLine], seed: int = 0) -> Trace:
        """Sorts lines into a trace. Raises ValueError with the fix where they do not go together."""
        trace = cls(
            name=name,
            jobs=tuple(sorted((line for line in lines if isinstance(line, Job)), key=lambda job: job.arrival)),
            endpoints=tuple(line for line in lines if isinstance(line, Endpoint)),
            loads=tuple(sorted((line for line in lines if isinstance(line, Load)), key=lambda load: load.time)),
            capacities=tuple(sorted((line for line in lines if isinstance(line, Capacity)), key=lambda c: c.time)),
            losses=tuple(sorted((line for line in lines if isinstance(line, Loss)), key=lambda loss: loss.time)),
            prices=tuple(line for line in lines if isinstance(line, Price)),
            limits=next((line for line in lines if isinstance(line, Limits)), NO_LIMITS),
            seed=seed,
        )
        _check(trace, sum(isinstance(line, Limits) for line in lines))
        return trace

    @property
    def horizon(self) -> float:
        """When the last thing that the trace knows of is over: the last window, the last change of a load."""
        ends = [job.deadline for job in self.jobs] + [load.time for load in self.loads]
        return max(ends, default=0.0)


def _check(trace: Trace, limits: int) -> None:
    if not trace.jobs and not trace.endpoints:
        raise ValueError("it has neither a job nor an endpoint: add a line with name, arrival, rows and window")
    if limits > 1:
        raise ValueError(f"it has {limits} lines of the kind limits: keep one")
    names: set[str] = set()
    for name in (*(job.name for job in trace.jobs), *(endpoint.name for endpoint in trace.endpoints)):
        if name in names:
            raise ValueError(f"the name {name!r} stands twice: names must differ")
        names.add(name)
    known = {endpoint.name for endpoint in trace.endpoints}
    for load in trace.loads:
        if load.endpoint not in known:
            raise ValueError(f"a load is for the endpoint {load.endpoint!r}, which has no line of its own: add one")
