"""The figures of one job or endpoint at this moment, from its object as it stands. Pure; the clock is an argument.

Ages and what is left of a window are exact, since they come from `now`; everything else is as the status says it. The
object is read as it is, field by field: parsing a thousand statuses at each scrape would cost the operator a second.
Refuses to decide: a health is the one that the status carries.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tidemill_api.conditions import Reason
from tidemill_api.labels import SCALING_BOOST
from tidemill_api.v1alpha1 import realtime_endpoint
from tidemill_api.v1alpha1.batch_inference_job import KIND, TARGET_SHARE
from tidemill_api.v1alpha1.windows import parse_target, parse_window
from tidemill_operator.core.boost import read_boost

if TYPE_CHECKING:
    from collections.abc import Iterator

    Json = dict[str, Any]

OBJECT = ("kind", "namespace", "name")
"""Labels of every figure of one object."""

DEFAULT_WINDOW = "8h"

MISSING_REASONS = frozenset({Reason.FIGURES_MISSING, Reason.RAY_UNREACHABLE})
"""Reasons of Progressing under which nothing is known of what works now."""


@dataclass(frozen=True)
class Gauge:
    """A family of figures: its name, what it is, and its labels beside those of the object."""

    name: str
    text: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Figure:
    """One value of a family, with the values of the family's own labels."""

    gauge: Gauge
    value: float
    labels: tuple[str, ...] = ()


DEPTH = Gauge(
    "tidemill_queue_depth", "A job's rows without a line, or an endpoint's requests that are not answered yet."
)
AGE = Gauge(
    "tidemill_queue_oldest_age_seconds",
    "Age of the oldest row without a line, from creation or the planned start; or of the oldest waiting request.",
)
TARGET = Gauge("tidemill_queue_target_seconds", "What that age is measured against: target completion or queue age.")
RATIO = Gauge("tidemill_queue_age_ratio", "Oldest age by its target: 2 is late, 3 is too late.")
HEALTH = Gauge("tidemill_queue_health", "Always 1: health and its reason are labels.", ("health", "reason"))
SOURCE_MISSING = Gauge(
    "tidemill_source_missing", "1 while figures of driver or replicas are missing; no size falls for want of them."
)
ARRIVED = Gauge("tidemill_queue_arrived_per_second", "An endpoint's requests, over about the last minute.")
COMPLETED = Gauge(
    "tidemill_queue_completed_per_second",
    "A job's rows over the last minute of work, an endpoint's answered requests over about the last minute; 0 unknown.",
)
DESIRED = Gauge("tidemill_workers_desired", "Worker pods, or replicas, that the scaling law wants.")
READY = Gauge("tidemill_workers_ready", "Worker pods that are ready, or replicas that answer.")
MOST = Gauge("tidemill_workers_max", "The bound that the spec sets: workers.max or replicas.max.")
GPUS = Gauge("tidemill_gpus_ready", "GPUs of the workers that are ready.")
BOOST = Gauge(
    "tidemill_scaling_boost_factor",
    "By what an alert multiplies what a job's target needs, or divides a replica's target depth, now; 1 without.",
)
ROWS = Gauge("tidemill_job_rows", "Rows by what became of them.", ("state",))
TOKENS = Gauge("tidemill_job_tokens", "Tokens of the answered rows.", ("type",))
FORECAST = Gauge(
    "tidemill_job_forecast_seconds",
    "Seconds from now until the last row is answered, as forecast; absent where it gets no worker.",
)
CHANCE = Gauge("tidemill_job_forecast_chance", "Chance, 0 to 1, that the job is done within its window.")
NEEDED = Gauge(
    "tidemill_job_workers_needed",
    "Workers it takes to be done within the window, also above workers.max; absent where no number is enough.",
)
WINDOW_LEFT = Gauge(
    "tidemill_job_window_remaining_seconds", "Seconds from now until the completion window ends; below zero after it."
)
AT_RISK = Gauge("tidemill_job_window_at_risk", "1 while the window will probably not be met, by cause.", ("reason",))

OBJECT_GAUGES = (
    *(DEPTH, AGE, TARGET, RATIO, HEALTH, SOURCE_MISSING, ARRIVED, COMPLETED, DESIRED, READY, MOST, GPUS, BOOST),
    *(ROWS, TOKENS, FORECAST, CHANCE, NEEDED, WINDOW_LEFT, AT_RISK),
)


def deadline_of(job: Json) -> datetime:
    """When the completion window of a job ends; raises ValueError for a window that cannot be read."""
    window = parse_window((job.get("spec") or {}).get("completionWindow") or DEFAULT_WINDOW)
    return _moment(job["metadata"]["creationTimestamp"]) + window


def job_figures(job: Json, now: datetime) -> Iterator[Figure]:
    """The figures of a job that has not ended. One without a readable spec has fewer."""
    status = job.get("status") or {}
    yield from _shared(job, now)
    yield Figure(DESIRED, _of(status, "workers", "desired"))
    yield Figure(READY, ready := _of(status, "workers", "ready"))
    yield Figure(MOST, _of(job.get("spec") or {}, "workers", "max", default=1))
    yield Figure(GPUS, ready * _of(job.get("spec") or {}, "resources", "gpu"))
    for state in ("completed", "failed", "remaining"):
        yield Figure(ROWS, _of(status, "rows", state), (state,))
    for kind in ("prompt", "completion"):
        yield Figure(TOKENS, _of(status, "tokens", kind), (kind,))
    yield from _job_age(job, now)
    yield from _forecast(status.get("forecast"), now)
    for condition in status.get("conditions") or ():
        if condition["type"] == "WindowAtRisk":
            at_risk = condition["status"] == "True"
            yield Figure(AT_RISK, float(at_risk), (condition["reason"] if at_risk else "",))


def _job_age(job: Json, now: datetime) -> Iterator[Figure]:
    """Every row of a job is as old as the job, or as the planned start of its work; no row left has no age."""
    status = job.get("status") or {}
    planned = status.get("planned")
    try:
        begins, target = _planned(planned) if planned else _unplanned(job)
        left = (deadline_of(job) - now).total_seconds()
    except ValueError:
        return
    yield Figure(WINDOW_LEFT, left)
    waits = _of(status, "rows", "remaining") > 0 or not _of(status, "rows", "total")
    age = max((now - begins).total_seconds(), 0.0) if waits else 0.0
    seconds = max((target - begins).total_seconds(), 1.0)
    yield Figure(AGE, age)
    yield Figure(TARGET, seconds)
    yield Figure(RATIO, age / seconds)


def _planned(planned: Json) -> tuple[datetime, datetime]:
    return _moment(planned["startTime"]), _moment(planned["finishTime"])


def _unplanned(job: Json) -> tuple[datetime, datetime]:
    """Begin and target of a job that has no plan yet: its creation, and the target that its spec sets.

    One that starts as late as is safe, and names no target, has its whole window; as in `core/outlook.py`.
    """
    spec, created = job.get("spec") or {}, _moment(job["metadata"]["creationTimestamp"])
    if target := spec.get("targetCompletion"):
        return created, created + parse_target(target)
    window = parse_window(spec.get("completionWindow") or DEFAULT_WINDOW)
    return created, created + (window if spec.get("schedule") == "LatestSafe" else window / TARGET_SHARE)


def _forecast(forecast: Json | None, now: datetime) -> Iterator[Figure]:
    """What the forecast says; a job that gets no worker has no finish, one that none are enough for has no need."""
    forecast = forecast or {}
    if finish := forecast.get("finishTime"):
        yield Figure(FORECAST, max((_moment(finish) - now).total_seconds(), 0.0))
    if (chance := forecast.get("chancePercent")) is not None:
        yield Figure(CHANCE, chance / 100)
    if (needed := forecast.get("workersNeeded")) is not None:
        yield Figure(NEEDED, needed)


def endpoint_figures(endpoint: Json, now: datetime) -> Iterator[Figure]:
    """The figures of an endpoint."""
    spec, status = endpoint.get("spec") or {}, endpoint.get("status") or {}
    yield from _shared(endpoint, now, missing=_replicas_missing(status.get("queue") or {}))
    yield Figure(DESIRED, float(status.get("replicas") or 0))
    yield Figure(READY, ready := float(status.get("readyReplicas") or 0))
    yield Figure(MOST, _of(spec, "replicas", "max", default=1))
    yield Figure(GPUS, ready * _of(spec, "resources", "gpu"))
    yield Figure(ARRIVED, _of(status, "queue", "arrivedPerSecond"))
    yield Figure(AGE, _of(status, "queue", "oldestAgeSeconds"))
    yield Figure(TARGET, _of(spec, "scaling", "targetQueueAgeMilliseconds", default=_TARGET_AGE) / 1000)
    yield Figure(RATIO, _of(status, "queue", "ageRatio"))


_TARGET_AGE = realtime_endpoint.ScalingSpec().target_queue_age_milliseconds


def _shared(body: Json, now: datetime, *, missing: bool = False) -> Iterator[Figure]:
    status = body.get("status") or {}
    queue = status.get("queue") or {}
    yield Figure(DEPTH, _of(status, "queue", "depth"))
    yield Figure(COMPLETED, _of(status, "queue", "completedPerSecond"))
    yield Figure(HEALTH, 1.0, (queue.get("health") or "Unknown", queue.get("reason") or ""))
    yield Figure(SOURCE_MISSING, float(missing or _source_missing(body)))
    boost = read_boost((body["metadata"].get("annotations") or {}).get(SCALING_BOOST))
    yield Figure(BOOST, boost.factor_at(now) if boost is not None else 1.0)


def _replicas_missing(queue: Json) -> bool:
    """Whether the look misses replicas of an endpoint. Its health does not tell: a late queue is late without them."""
    return queue.get("countedTime") != queue.get("observedTime")


def _source_missing(body: Json) -> bool:
    """Whether figures that a decision needs are missing: those of a driver or of replicas, or Ray's own on the head."""
    status = body.get("status") or {}
    if (status.get("queue") or {}).get("reason") == "SourceMissing":
        return True
    conditions = status.get("conditions") or ()
    return any(of["type"] == "Progressing" and of["reason"] in MISSING_REASONS for of in conditions)


def _of(body: Json, part: str, field: str, default: float = 0.0) -> float:
    """A number two levels down; decimals are texts in our API."""
    value = (body.get(part) or {}).get(field)
    return default if value is None or value == "" else float(value)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)


FIGURES_OF = {KIND: job_figures, realtime_endpoint.KIND: endpoint_figures}
