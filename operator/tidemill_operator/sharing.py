"""Who gets how many of a namespace's GPUs: computed once per namespace and tick from the watch caches, not per job.

Gathers the claims of all jobs and endpoints; what each gets is decided by a pure function (`core/deadline/shares.py`).
Remembers a tick's answer and nothing longer.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tidemill_operator.cache import WatchCache, Watched, key_of
from tidemill_operator.core.deadline.shares import Claim, shares
from tidemill_operator.core.job_claim import claim_of
from tidemill_operator.views import read_job, worker_replicas

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tidemill_operator.budgets import Budgets
    from tidemill_operator.cached_jobs import CachedJobs
    from tidemill_operator.core.snapshot import JobView
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
        if job.spec is None or not job.spec.resources.gpu:
            return None
        resource = job.spec.resources.gpu_resource_name
        tick = int(now.timestamp()) // TICK_SECONDS
        told = self._told.get((job.namespace, resource))
        if told is None or told.tick != tick:
            claims = [*self._of_jobs(job.namespace, resource, now), *self._of_endpoints(job.namespace, resource)]
            ours = sum(claim.have * claim.cost for claim in claims)
            budget = await budgets.budget(job.namespace, resource, ours, now)
            told = _Told(tick, None if budget is None else shares(claims, budget))
            self._told[job.namespace, resource] = told
        return None if told.given is None else told.given.get(f"job/{job.name}", 0)

    def _of_jobs(self, namespace: str, resource: str, now: datetime) -> Iterator[Claim]:
        for body in self._jobs.bodies(Watched.JOBS):
            if not _claims(body, namespace, resource) or (body.get("status") or {}).get("completionTime"):
                continue
            job = read_job(body, self._policy)
            claim = claim_of(self._seen.snapshot(job, now), f"job/{job.name}")
            if claim is not None:
                yield claim

    def _of_endpoints(self, namespace: str, resource: str) -> Iterator[Claim]:
        for body in self._endpoints.bodies(Watched.JOBS):
            if not _claims(body, namespace, resource):
                continue
            key = key_of(body)
            asked = sum(worker_replicas(cluster) for cluster in self._endpoints.clusters_of(key))
            want = max(asked, int((body.get("status") or {}).get("replicas", 0)))
            yield Claim(f"endpoint/{key.name}", want, have=asked, cost=_gpus(body), endpoint=True)


def _claims(body: Json, namespace: str, resource: str) -> bool:
    """Whether the object is of this namespace and its workers need this resource."""
    of_resource = ((body.get("spec") or {}).get("resources") or {}).get("gpuResourceName", DEFAULT_RESOURCE)
    return key_of(body).namespace == namespace and of_resource == resource and _gpus(body) > 0


def _gpus(body: Json) -> float:
    return float(((body.get("spec") or {}).get("resources") or {}).get("gpu", 0) or 0)
