"""Who gets how many of a namespace's GPUs: computed once per namespace and tick from the watch caches, not per job.

Gathers the claims and the work of all jobs and endpoints; pure functions decide what each gets now
(`core/deadline/shares.py`) and when the turn of each comes (`core/deadline/turns.py`).
Remembers a tick's answer, and of each job the version that it read, so that only what changed is read again.
"""

from __future__ import annotations

import logging
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from tidemill_operator.cache import Key, WatchCache, Watched, key_of, uid_of
from tidemill_operator.core.deadline.shares import Claim, shares
from tidemill_operator.core.deadline.turns import Turn, turns
from tidemill_operator.core.job_claim import claim_of, work_of
from tidemill_operator.manifests.names import cluster_name
from tidemill_operator.views import read_job, read_workers, worker_replicas

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from tidemill_operator.budgets import Budgets
    from tidemill_operator.cached_jobs import CachedJobs
    from tidemill_operator.core.snapshot import JobView
    from tidemill_operator.core.spec_checks import SpecPolicy

    Json = dict[str, Any]

log = logging.getLogger(__name__)

DEFAULT_RESOURCE = "nvidia.com/gpu"
"""What the CRD sets where a spec does not."""

TICK_SECONDS = 2
"""How long a share-out stands: about one look at each job."""

MOST_AHEAD = 30
"""Ticks that a share-out may be ahead of a look: a look may take this long. More is a clock that was set back."""


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
        self._read: dict[tuple[str, str], dict[Key, tuple[Json, JobView | None]]] = {}

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
        of = job.namespace, job.spec.resources.gpu_resource_name
        tick = int(now.timestamp()) // TICK_SECONDS
        if (told := self._stands(of, tick)) is not None:
            return told
        budget = await budgets.budget(*of, lambda: self._gpus_held(*of), now)
        if (told := self._stands(of, tick)) is None:  # another look may have made it while the quotas were listed
            told = self._told[of] = self._share_out(*of, budget, now)
        return told

    def _stands(self, of: tuple[str, str], tick: int) -> _Told | None:
        """The share-out of this tick or of a newer one: looks end in another order than they begin.

        One that is far ahead was made before the clock was set back, and counts for nothing.
        """
        told = self._told.get(of)
        return told if told is not None and tick <= told.tick <= tick + MOST_AHEAD else None

    def _share_out(self, namespace: str, resource: str, budget: float | None, now: datetime) -> _Told:
        tick = int(now.timestamp()) // TICK_SECONDS
        if budget is None:
            self._read.pop((namespace, resource), None)
            return _Told(tick, None, {})
        of_endpoints = list(self._of_endpoints(namespace, resource))
        claims, works = list(of_endpoints), []
        for body, job in self._jobs_of(namespace, resource):
            key = f"job/{key_of(body).name}"
            look = self._seen.snapshot(job, now) if job is not None and job.spec is not None else None
            claim = claim_of(look, key) if look is not None else self._unread(body, key)
            work = work_of(look, key) if look is not None else None
            claims += [claim] if claim is not None else []
            works += [work] if work is not None else []
        for_jobs = max(budget - sum(claim.want * claim.cost for claim in of_endpoints), 0.0)
        return _Told(tick, shares(claims, budget), turns(works, for_jobs))

    def _jobs_of(self, namespace: str, resource: str) -> Iterator[tuple[Json, JobView | None]]:
        """The unfinished jobs, None for one that cannot be read; each version of one is read once."""
        before = self._read.get((namespace, resource), {})
        now_read = self._read[namespace, resource] = {}
        for body in self._unfinished(namespace, resource):
            known = before.get(key_of(body))
            read = known if known is not None and known[0] is body else (body, self._read_job(body))
            now_read[key_of(body)] = read
            yield read

    def _read_job(self, body: Json) -> JobView | None:
        try:
            return read_job(body, self._policy)
        except ValidationError as error:
            name = str(key_of(body))
            log.warning("the status of %s cannot be read, its GPUs stay its own: %s", name, error, extra={"key": name})
            return None

    def _unfinished(self, namespace: str, resource: str) -> Iterator[Json]:
        for body in self._jobs.bodies(Watched.JOBS):
            if _claims(body, namespace, resource) and not (body.get("status") or {}).get("completionTime"):
                yield body

    def _unread(self, body: Json, key: str) -> Claim | None:
        """Of a job that cannot be read, its status a newer operator's say: it keeps what it has."""
        have = self._workers_of(body)
        return Claim(key, have, must=have, urgent=have, have=have, cost=_gpus(body)) if have else None

    def _workers_of(self, body: Json) -> int:
        key = key_of(body)
        return _staying(self._jobs.pods(key.namespace, cluster_name(key.name, uid_of(body))))

    def _gpus_held(self, namespace: str, resource: str) -> float:
        """GPUs of the worker pods of our jobs and endpoints: what of a quota's use is ours."""
        of_jobs = sum(self._workers_of(body) * _gpus(body) for body in self._unfinished(namespace, resource))
        return of_jobs + sum(claim.have * claim.cost for claim in self._of_endpoints(namespace, resource))

    def _of_endpoints(self, namespace: str, resource: str) -> Iterator[Claim]:
        for body in self._endpoints.bodies(Watched.JOBS):
            if not _claims(body, namespace, resource):
                continue
            key = key_of(body)
            clusters = self._endpoints.clusters_of(key)
            asked = sum(worker_replicas(cluster) for cluster in clusters)
            have = sum(_staying(self._endpoints.pods(namespace, cluster["metadata"]["name"])) for cluster in clusters)
            want = max(asked, int((body.get("status") or {}).get("replicas", 0)))
            yield Claim(f"endpoint/{key.name}", want, have=have, cost=_gpus(body), endpoint=True)


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


def _staying(pods: tuple[Json, ...]) -> int:
    """Worker pods that exist and are to stay."""
    return sum(not worker.deleting for worker in read_workers(pods))


def _claims(body: Json, namespace: str, resource: str) -> bool:
    """Whether the object is of this namespace and its workers need this resource."""
    of_resource = ((body.get("spec") or {}).get("resources") or {}).get("gpuResourceName", DEFAULT_RESOURCE)
    return key_of(body).namespace == namespace and of_resource == resource and _gpus(body) > 0


def _gpus(body: Json) -> float:
    return float(((body.get("spec") or {}).get("resources") or {}).get("gpu", 0) or 0)
