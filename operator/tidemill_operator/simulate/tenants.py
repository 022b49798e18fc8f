"""Who has workers in the simulated cluster: a job with its rows, an endpoint with its requests; and what they pay."""

from __future__ import annotations

import math
import random
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidemill_operator.simulate.progress import Progress

if TYPE_CHECKING:
    from tidemill_operator.simulate.pool import Worker
    from tidemill_operator.simulate.trace import Endpoint, Job

LOST_SECONDS = 20.0
"""Work of a worker that was lost at once: its rows in flight, and what it had answered since its last flush (10 s)."""

DRAINED_SECONDS = 10.0
"""The same of a worker that was told to go: it flushes first, so only its rows in flight run again."""

FLAP_SECONDS = 900.0
"""A worker that is ordered so soon after one was told to go is a flap: a start-up was paid for nothing."""


@dataclass(slots=True)
class Bill:
    """What was used: GPU-seconds and their cost; workers placed, ordered soon after one was sent away, and lost."""

    gpu_seconds: float = 0.0
    cost: float = 0.0
    starts: int = 0
    flaps: int = 0
    losses: int = 0


class Tenant:
    """Its workers, pending, starting and ready, oldest first."""

    def __init__(self, name: str, gpus: int, seed: int) -> None:
        self.name = name
        self.gpus = gpus
        self.rng = random.Random(f"{seed}:{name}")  # noqa: S311 - noise that can be drawn again, no secret
        self.bill = Bill()
        self.workers: list[Worker] = []
        self.told_to_go = -math.inf

    def start_up(self) -> float:
        """Seconds from its placement until a worker is ready; drawn for each."""
        raise NotImplementedError

    def until_lost(self) -> float:
        """Seconds from its placement until a worker is lost by itself; infinity for never."""
        return math.inf

    def begins(self, worker: Worker, now: float) -> None:
        """A worker has started up."""
        raise NotImplementedError

    def leaves(self, worker: Worker, now: float, lost_seconds: float) -> None:
        """A worker is gone; so many seconds of its work run again."""
        raise NotImplementedError

    def to_go(self, count: int) -> list[Worker]:
        """Who leaves first: those that are pending, then starting, then ready; the newest of each first."""
        return sorted(self.workers, key=lambda w: (w.held is not None, w.ready is not None, -w.ordered))[:count]


class SimJob(Tenant):
    """A job of the trace. `ended` is when its last row had its line, or its window ended with rows left."""

    def __init__(self, job: Job, seed: int) -> None:
        super().__init__(job.name, job.gpus, seed)
        self.spec = job
        self.progress = Progress(job, self.rng)
        self.prepared = False
        self.ended: float | None = None
        self.version = 0
        self.ready_workers = 0
        # Since the last look, which takes them:
        self.sample_seconds = 0.0
        self.sample_starts: list[float] = []
        self.sample_done = 0.0

    def start_up(self) -> float:
        """The shortest start-up and a tail."""
        mean = self.spec.start_up_spread
        return self.spec.start_up * (1 + (self.rng.expovariate(1 / mean) if mean else 0.0))

    def until_lost(self) -> float:
        """By the losses an hour that the trace gives."""
        each = self.spec.losses_per_hour
        return self.rng.expovariate(each / 3600) if each else math.inf

    def advance(self, now: float) -> None:
        """Lets its workers answer rows until now."""
        self.sample_seconds += self.ready_workers * (now - self.progress.at)
        self.progress.advance(now)

    def begins(self, worker: Worker, now: float) -> None:
        """A worker has started up. How fast its node is, is drawn here."""
        self.advance(now)
        worker.ready = now
        worker.speed = 1 - self.rng.uniform(0, self.spec.worker_spread)
        self.progress.speed += worker.speed
        self.ready_workers += 1
        self.sample_starts.append(now - (worker.held or 0.0))

    def leaves(self, worker: Worker, now: float, lost_seconds: float) -> None:
        """A worker is gone; so many seconds of its work run again, where rows are left."""
        self.advance(now)
        self.workers.remove(worker)
        if worker.ready is not None:
            self.ready_workers -= 1
            self.progress.lose(min(lost_seconds, now - worker.ready), worker.speed)
            self.progress.speed = sum(other.speed for other in self.workers if other.ready is not None)


class SimEndpoint(Tenant):
    """An endpoint of the trace: requests wait in order, and its replicas answer them at a steady pace."""

    def __init__(self, endpoint: Endpoint, seed: int) -> None:
        super().__init__(endpoint.name, 1, seed)
        self.spec = endpoint
        self.requests_per_second = 0.0
        self.requests = 0.0
        self.late = 0.0
        self.running = 0.0
        self.last_start: float | None = None
        self._at = 0.0
        self._queue: deque[list[float]] = deque()  # [when they came, how many]

    def start_up(self) -> float:
        """Always the same."""
        return self.spec.start_up

    @property
    def answering(self) -> int:
        """Replicas that answer."""
        return sum(worker.ready is not None for worker in self.workers)

    @property
    def waiting(self) -> float:
        """Requests that no replica has begun."""
        return sum(amount for _, amount in self._queue)

    @property
    def oldest(self) -> float | None:
        """When the oldest waiting request came."""
        return self._queue[0][0] if self._queue else None

    def begins(self, worker: Worker, now: float) -> None:
        """A replica answers from now on."""
        self.advance(now)
        worker.ready = self.last_start = now

    def leaves(self, worker: Worker, now: float, lost_seconds: float) -> None:
        """A replica is gone; it was drained, or the requests it held are asked again: none is lost."""
        self.advance(now)
        self.workers.remove(worker)

    def advance(self, now: float) -> None:
        """Requests come, and the oldest are begun as far as replicas have room; those begun late are counted."""
        span = now - self._at
        if span <= 0:
            return
        if came := self.requests_per_second * span:
            self.requests += came
            self._queue.append([self._at + span / 2, came])
        begun = self._begin(self.answering * self.spec.slots / self.spec.seconds_per_request * span, now)
        self.running = begun / span * self.spec.seconds_per_request
        self._at = now

    def _begin(self, room: float, now: float) -> float:
        """How many requests are begun, at most `room`. Late is one that waited longer than the target and a step."""
        begun = 0.0
        while self._queue and room > begun:
            came, amount = self._queue[0]
            taken = min(amount, room - begun)
            begun += taken
            if now - came > self.spec.target_age + (now - self._at):
                self.late += taken
            if taken >= amount:
                self._queue.popleft()
            else:
                self._queue[0][1] = amount - taken
        return begun
