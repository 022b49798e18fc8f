"""What a policy sees at a look and what it answers. The law and the baselines are policies; so is a bad one in a test.

A view holds what the operator would have read from the cluster and the driver, and no more: rates and start-up times
are samples, the trace's true ones are nowhere in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tidemill_operator.simulate.trace import Endpoint, Price


@dataclass(slots=True)
class JobView:
    """A job that has not ended, as seen now. Times are seconds of the trace.

    `starting` and `pending` are the times at which each such worker got its GPU, was ordered. `sample_rows` were
    answered in `sample_seconds` of all working workers together since the last look; `sample_starts` are start-up
    times of workers that became ready since then.
    """

    name: str
    model: str
    gpus: int
    created: float
    target_time: float
    deadline: float
    late_start: bool
    min_workers: int
    max_workers: int
    in_flight: int
    prepared: bool
    rows: int
    rows_left: int
    running: int
    starting: tuple[float, ...]
    pending: tuple[float, ...]
    sample_rows: float
    sample_seconds: float
    sample_starts: tuple[float, ...]

    @property
    def workers(self) -> int:
        """Workers that are there in whatever state."""
        return self.running + len(self.starting) + len(self.pending)


@dataclass(slots=True)
class EndpointView:
    """An endpoint as seen now: its replicas wanted so far, those that answer, its requests, the oldest one's time."""

    spec: Endpoint
    wanted: int
    answering: int
    waiting: float
    running: float
    oldest: float | None
    last_start: float | None


@dataclass(slots=True)
class Seen:
    """Everything that is seen at one look. `gpu_limit` is the budget; what the cluster really has is not known."""

    now: float
    gpu_limit: int
    prices: Sequence[Price]
    jobs: Sequence[JobView]
    endpoints: Sequence[EndpointView]


@dataclass(slots=True)
class Said:
    """What is told about a job at a look: what would alert somebody, and when it is said to be done (None: unknown)."""

    alert: str = ""
    finish: float | None = None
    planned_finish: float | None = None


@dataclass(slots=True)
class Answer:
    """Workers wanted of each job, replicas of each endpoint (one left out stays as it is), and what is said of jobs."""

    workers: Mapping[str, int]
    replicas: Mapping[str, int] = field(default_factory=dict)
    said: Mapping[str, Said] = field(default_factory=dict)


class Policy(Protocol):
    """Decides sizes. One instance sees one run from its start to its end."""

    def decide(self, seen: Seen) -> Answer:
        """The sizes there are to be."""

    def ended(self, job: str) -> None:
        """A job has ended: its sizes are asked for no longer."""
