"""What others do, for comparison: a fixed size, and a size by depth as autoscalers on a queue's length have it.

Neither knows deadlines, and neither shares a budget out: who comes first is placed first, the others' workers pend.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from tidemill_operator.simulate.policy import Answer

if TYPE_CHECKING:
    from tidemill_operator.simulate.policy import EndpointView, JobView, Seen


class FixedSize:
    """(a) Every job runs with all the workers it may have until it is done, every endpoint with its most replicas.

    A RayJob without an autoscaler does so; its workers start with its head, before the input is known to be good.
    """

    def decide(self, seen: Seen) -> Answer:
        """The largest size of each."""
        return Answer(
            workers={job.name: job.max_workers for job in seen.jobs},
            replicas={endpoint.spec.name: endpoint.spec.max_replicas for endpoint in seen.endpoints},
        )

    def ended(self, job: str) -> None:
        """Nothing is remembered."""


TOLERANCE = 0.1
"""HorizontalPodAutoscaler: no change while the figure is within a tenth of its target."""

POLLING_SECONDS = 30.0
"""KEDA's pollingInterval. The HorizontalPodAutoscaler itself looks each 15 s."""

STABILIZATION_SECONDS = 300.0
"""HorizontalPodAutoscaler's downscaleStabilization: down only to the most that was asked for in that time.
KEDA's cooldownPeriod, the wait before the last worker goes, is the same by default."""

SCALE_UP_SECONDS = 15.0
SCALE_UP_PODS = 4
"""The HorizontalPodAutoscaler's default policy: in so many seconds it doubles, or adds four, whichever is more."""


class ByDepth:
    """(b) As many workers as hold the rows that wait: ceil(rows / rows in flight of a worker), within the bounds.

    With the defaults of KEDA and of the HorizontalPodAutoscaler behind it. The rows of a file all wait from the first
    moment on, so a job of any length asks for all its workers at once, whatever its window; so do its last rows only
    give them back.
    """

    def __init__(self) -> None:
        self._asked: dict[str, list[tuple[float, int]]] = {}

    def decide(self, seen: Seen) -> Answer:
        """The size of each by its own depth."""
        return Answer(
            workers={job.name: self._job(job, seen.now) for job in seen.jobs},
            replicas={endpoint.spec.name: self._endpoint(endpoint, seen.now) for endpoint in seen.endpoints},
        )

    def ended(self, job: str) -> None:
        """Its past is forgotten."""
        self._asked.pop(job, None)

    def _job(self, job: JobView, now: float) -> int:
        if not job.prepared:
            return 0
        return self._size(job.name, job.workers, job.rows_left / job.in_flight, (job.min_workers, job.max_workers), now)

    def _endpoint(self, endpoint: EndpointView, now: float) -> int:
        spec = endpoint.spec
        depth = (endpoint.waiting + endpoint.running) / spec.target_depth
        return self._size(spec.name, endpoint.wanted, depth, (spec.min_replicas, spec.max_replicas), now)

    def _size(self, name: str, size: int, needed: float, bounds: tuple[int, int], now: float) -> int:
        """What the autoscaler sets for `needed` workers, a fraction, where there are `size` now."""
        least, most = bounds
        asked = self._asked.setdefault(name, [])
        if asked and now - asked[-1][0] < min(POLLING_SECONDS, SCALE_UP_SECONDS):
            return size
        wanted = size if size and abs(needed / size - 1) <= TOLERANCE else math.ceil(needed)
        asked.append((now, wanted))
        while asked[0][0] < now - STABILIZATION_SECONDS:
            asked.pop(0)
        if wanted < size:
            wanted = min(size, max(value for _, value in asked))
        elif wanted > size:
            steps = max(int(POLLING_SECONDS / SCALE_UP_SECONDS), 1)
            wanted = min(wanted, max(size * 2**steps, size + SCALE_UP_PODS * steps))
        return min(max(wanted, least), most)
