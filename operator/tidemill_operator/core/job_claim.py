"""What a job asks for when a namespace's GPUs are shared out, and what it has to do: from its snapshot alone. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill_api.conditions import ConditionType, Reason
from tidemill_operator.core.deadline.forecast import window_lost
from tidemill_operator.core.deadline.law import Size, Why, held, size_of
from tidemill_operator.core.deadline.shares import Claim, starved_for
from tidemill_operator.core.deadline.turns import Work
from tidemill_operator.core.halts import ending
from tidemill_operator.core.job_load import load_of
from tidemill_operator.core.job_schedule import timetable

if TYPE_CHECKING:
    from tidemill_operator.core.snapshot import Snapshot

SILENT = frozenset({Reason.FIGURES_MISSING, Reason.RAY_UNREACHABLE})
"""What a job's progress says while nobody knows how far it is."""

NONE = Size(0, 0, Why.DONE)
"""Of a job that may have no worker now."""


def claim_of(seen: Snapshot, key: str) -> Claim | None:
    """The claim of a job; None of one that has no worker and may have none now.

    By its status, for nobody asks every driver at once: what is written there is at most a few looks old.
    """
    spec, deadline, status = seen.job.spec, seen.deadline, seen.job.status
    if spec is None or deadline is None:
        return None
    have = sum(not worker.deleting for worker in seen.workers)
    size = held(max(have, _fixed_size(seen))) if _unseen(seen) or _fixed_size(seen) else _wanted(seen)
    if not size.workers and not have:
        return None
    planned = status.planned
    return Claim(
        key=key,
        want=size.workers,
        must=size.must,
        urgent=size.urgent,
        have=have,
        cost=float(spec.resources.gpu),
        deadline=deadline.timestamp(),
        target=planned.finish_time.timestamp() if planned is not None else deadline.timestamp(),
        starved_seconds=starved_for(_age(seen), spec.window.total_seconds()),
        lost=_lost(seen),
    )


def _fixed_size(seen: Snapshot) -> int:
    """Workers of a cluster that cannot give up any while it runs; 0 of one that can."""
    cluster = seen.cluster
    holds = cluster is not None and cluster.fixed and not cluster.deleting and cluster.suspended_since is None
    return cluster.replicas if cluster is not None and holds else 0


def work_of(seen: Snapshot, key: str) -> Work | None:
    """What is left of a job that others may have to wait for; None of one that does not work before its window ends."""
    spec, deadline, status = seen.job.spec, seen.deadline, seen.job.status
    if spec is None or deadline is None or spec.suspend or ending(seen) is not None or not _validated(seen):
        return None
    load = load_of(seen, status)
    if load is None or load.rows <= 0 or status.completion_time is not None:
        return None
    seconds = load.rows / load.rate.value
    return Work(key, seconds, load.most, float(spec.resources.gpu), deadline.timestamp(), lost=_lost(seen))


def _wanted(seen: Snapshot) -> Size:
    """Workers that the job wants, those of them that its window needs, and those that cannot wait."""
    status = seen.job.status
    retry = status.driver.retry_time
    paused = seen.job.spec is None or seen.job.spec.suspend or (retry is not None and seen.now < retry)
    if paused or ending(seen) is not None or status.completion_time is not None or not _validated(seen):
        return NONE
    plan = timetable(seen, status)
    load = load_of(seen, status, plan.idle_seconds) if plan is not None and plan.works_now else None
    if load is None or load.rows <= 0:
        return NONE
    return size_of(load, seen.now.timestamp())


def _lost(seen: Snapshot) -> bool:
    """Whether the window can no longer be met; what is not seen of a job is no ground to give it up before its end."""
    if seen.deadline is not None and seen.now >= seen.deadline:
        return True
    load = None if _unseen(seen) else load_of(seen, seen.job.status)
    return load is not None and window_lost(load, seen.now.timestamp())


def _unseen(seen: Snapshot) -> bool:
    """Whether the driver's figures or all of Ray is silent: what was read last is no ground to take a worker."""
    conditions = seen.job.status.conditions
    return any(c.type == ConditionType.PROGRESSING and c.reason in SILENT for c in conditions)


def _validated(seen: Snapshot) -> bool:
    return any(c.type == ConditionType.VALIDATED and c.status == "True" for c in seen.job.status.conditions)


def _age(seen: Snapshot) -> float:
    """Seconds since the job could have begun to work: its creation, or its planned start."""
    status = seen.job.status
    since = status.planned.start_time if status.planned is not None else seen.job.created
    return max((seen.now - since).total_seconds(), 0.0)
