"""Who gets how many of a namespace's GPUs: computed once per namespace and tick from the watch caches, not per job.

Gathers the claims and the work of all jobs and endpoints; pure functions decide what each gets now
(`core/deadline/shares.py`) and when the turn of each comes (`core/deadline/turns.py`).
Remembers a tick's answer and nothing longer.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidemill_operator.cache import Key, WatchCache, Watched, key_of
from tidemill_operator.core.deadline.shares import Claim, shares
from tidemill_operator.core.deadline.turns import Turn, turns
from tidemill_operator.core.job_claim import claim_of, work_of
from tidemill_operator.views import read_job, worker_replicas

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tidemill_operator.budgets import Budgets
    from tidemill_operator.cached_jobs import CachedJobs
    from tidemill_operator.core.snapshot import JobView, Snapshot
    from tidemill_operator.core.spec_checks import SpecPolicy

    Json = dict[str, Any]

DEFAULT_RESOURCE = "nvidia.com/gpu"
"""What the CRD sets where a spec does not."""

TICK_SECONDS = 2
"""How long a share-out stands: about one look at each job."""


@dataclass(frozen=True)
class _Told:
    tick: int
    given: dict[str, int] | None
    turns: dict[str, Turn]


NEVER = Turn(0, math.inf)
"""Of a job that the share-out knows nothing of: it has no work."""


class Sharing:
    """The shares of jobs. Endpoints go first: they get what they want, and their own law says how much that is."""

    def __init__(self, jobs: WatchCache, endpoints: WatchCache, seen: CachedJobs, policy: SpecPolicy) -> None:
        self._jobs = jobs
        self._endpoints = endpoints
        self._seen = seen
        self._policy = policy
        self._told: dict[tuple[str, str], _Told] = {}

    async def share_of(self, job: JobView, budgets: Budgets, now: datetime) -> int | None:
        """Workers that this job may have now; None where nothing bounds it."""
        told = await self._of_this_tick(job, budgets, now)
        return None if told is None or told.given is None else told.given.get(f"job/{job.name}", 0)

    async def turn_of(self, job: JobView, budgets: Budgets, now: datetime) -> Turn | None:
        """What the budget leaves this job until its window ends; None where nothing bounds it."""
        told = await self._of_this_tick(job, budgets, now)
        return None if told is None or told.given is None else told.turns.get(f"job/{job.name}", NEVER)

    async def _of_this_tick(self, job: JobView, budgets: Budgets, now: datetime) -> _Told | None:
        if job.spec is None or not job.spec.resources.gpu:
            return None
        resource = job.spec.resources.gpu_resource_name
        tick = int(now.timestamp()) // TICK_SECONDS
        told = self._told.get((job.namespace, resource))
        if told is None or told.tick != tick:
            looks = {f"job/{look.job.name}": look for look in self._jobs_of(job.namespace, resource, now)}
            of_endpoints = list(self._of_endpoints(job.namespace, resource))
            claims = [claim for key, look in looks.items() if (claim := claim_of(look, key)) is not None]
            ours = sum(claim.have * claim.cost for claim in (*claims, *of_endpoints))
            budget = await budgets.budget(job.namespace, resource, ours, now)
            if budget is None:
                told = _Told(tick, None, {})
            else:
                works = [work for key, look in looks.items() if (work := work_of(look, key)) is not None]
                for_jobs = max(budget - sum(claim.want * claim.cost for claim in of_endpoints), 0.0)
                told = _Told(tick, shares([*claims, *of_endpoints], budget), turns(works, for_jobs))
            self._told[job.namespace, resource] = told
        return told

    def _jobs_of(self, namespace: str, resource: str, now: datetime) -> Iterator[Snapshot]:
        for body in self._jobs.bodies(Watched.JOBS):
            if not _claims(body, namespace, resource) or (body.get("status") or {}).get("completionTime"):
                continue
            yield self._seen.snapshot(read_job(body, self._policy), now)

    def _of_endpoints(self, namespace: str, resource: str) -> Iterator[Claim]:
        for body in self._endpoints.bodies(Watched.JOBS):
            if not _claims(body, namespace, resource):
                continue
            key = key_of(body)
            asked = sum(worker_replicas(cluster) for cluster in self._endpoints.clusters_of(key))
            want = max(asked, int((body.get("status") or {}).get("replicas", 0)))
            yield Claim(f"endpoint/{key.name}", want, have=asked, cost=_gpus(body), endpoint=True)


def room_of_endpoint(endpoints: WatchCache, key: Key, limit: int) -> int | None:
    """Replicas that the operator's own limit of GPUs leaves an endpoint beside the others; None where none is set.

    Jobs are no matter: they give way. A ResourceQuota is held by the API server itself.
    """
    own = endpoints.job(key)
    if not limit or own is None or not _gpus(own):
        return None
    others = [body for body in endpoints.bodies(Watched.JOBS) if key_of(body).namespace == key.namespace]
    used = sum(
        _gpus(body) * sum(worker_replicas(cluster) for cluster in endpoints.clusters_of(key_of(body)))
        for body in others
        if key_of(body) != key
    )
    return max(int((limit - used) // _gpus(own)), 0)


def _claims(body: Json, namespace: str, resource: str) -> bool:
    """Whether the object is of this namespace and its workers need this resource."""
    of_resource = ((body.get("spec") or {}).get("resources") or {}).get("gpuResourceName", DEFAULT_RESOURCE)
    return key_of(body).namespace == namespace and of_resource == resource and _gpus(body) > 0


def _gpus(body: Json) -> float:
    return float(((body.get("spec") or {}).get("resources") or {}).get("gpu", 0) or 0)
