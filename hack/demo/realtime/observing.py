"""What is seen of an endpoint: its object as kubectl shows it, and the gauges of its pods, as one timeline.

Values only: no clock, no network. Gauges are a second old at most; the figures in the object's status may be five.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prometheus_client.parser import text_string_to_metric_families

from tidemill_api.endpoint_conditions import EndpointReason
from tidemill_api.endpoint_contract import METRIC_OLDEST_WAITING, METRIC_RUNNING, METRIC_WAITING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

RESTING = frozenset({EndpointReason.SETTLED, EndpointReason.REVISION_LATE})
"""Reasons of Progressing=False that ask nothing of anybody."""


@dataclass(frozen=True)
class Condition:
    """One of the object's conditions."""

    type: str
    status: str
    reason: str
    message: str


@dataclass(frozen=True)
class Seen:
    """What one version of the object says: replicas wanted and answering, and its conditions."""

    wanted: int = 0
    answering: int = 0
    health: str = "Unknown"
    conditions: tuple[Condition, ...] = ()

    def condition(self, kind: str) -> Condition:
        """One condition, with empty words where the operator has not written it yet."""
        found = (condition for condition in self.conditions if condition.type == kind)
        return next(found, Condition(kind, "Unknown", "Pending", ""))

    @property
    def ready(self) -> bool:
        """Whether what the spec asks for serves."""
        return self.condition("Ready").status == "True"

    @property
    def awaits_mending(self) -> bool:
        """Whether the operator waits for something that a person has to mend."""
        progressing = self.condition("Progressing")
        return progressing.status == "False" and not self.ready and progressing.reason not in RESTING


def observe(endpoint: dict[str, Any]) -> Seen:
    """Reads an object's status; everything may be missing yet."""
    status = endpoint.get("status") or {}
    return Seen(
        wanted=status.get("replicas", 0),
        answering=status.get("readyReplicas", 0),
        health=(status.get("queue") or {}).get("health", "Unknown"),
        conditions=tuple(
            Condition(entry["type"], entry["status"], entry["reason"], entry.get("message", ""))
            for entry in status.get("conditions", ())
        ),
    )


@dataclass(frozen=True)
class Gauges:
    """Requests before their first token and after it, and the age of the oldest that waits, in seconds."""

    waiting: int = 0
    running: int = 0
    oldest_seconds: float = 0.0

    @property
    def depth(self) -> int:
        """Requests that are not answered yet."""
        return self.waiting + self.running


def sum_up(texts: Iterable[str]) -> Gauges:
    """The gauges of an endpoint from the Prometheus texts of its ingress replicas: sums, and the oldest age of all."""
    values: dict[str, list[float]] = {METRIC_WAITING: [], METRIC_RUNNING: [], METRIC_OLDEST_WAITING: []}
    for text in texts:
        for family in text_string_to_metric_families(text):
            if family.name in values:
                values[family.name] += [sample.value for sample in family.samples]
    return Gauges(
        waiting=int(sum(values[METRIC_WAITING])),
        running=int(sum(values[METRIC_RUNNING])),
        oldest_seconds=max(values[METRIC_OLDEST_WAITING], default=0.0),
    )


@dataclass(frozen=True)
class Moment:
    """The endpoint at one time, in seconds of a monotonic clock."""

    time: float
    seen: Seen
    gauges: Gauges


@dataclass
class Timeline:
    """What was seen, in order: every version of the object, and a moment for each look at the gauges."""

    versions: list[tuple[float, Seen]] = field(default_factory=list)
    moments: list[Moment] = field(default_factory=list)

    @property
    def seen(self) -> Seen:
        """The newest version."""
        return self.versions[-1][1] if self.versions else Seen()

    @property
    def gauges(self) -> Gauges:
        """The newest gauges."""
        return self.moments[-1].gauges if self.moments else Gauges()

    def seen_at(self, time: float) -> Seen:
        """The newest version of that time; one without words before the first."""
        return next((seen for when, seen in reversed(self.versions) if when <= time), Seen())

    def first_time(self, since: float, fits: Callable[[Seen], bool]) -> float | None:
        """When a version after `since` first fitted; None where none did."""
        return next((time for time, seen in self.versions if time >= since and fits(seen)), None)
