"""Rules about one revision until Serve answers: what has to stand before anything can be deployed."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tidemill_api.endpoint_conditions import EndpointCondition, EndpointReason
from tidemill_operator.core.endpoint.case import SAFETY_NET, RevisionCase, Step
from tidemill_operator.core.endpoint.plan import CreateRevision
from tidemill_operator.core.endpoint.sizing import group_of, size_actions
from tidemill_operator.core.plan import Event

if TYPE_CHECKING:
    from datetime import datetime

    from tidemill_operator.core.snapshot import ClusterView

START_GRACE = timedelta(seconds=120)
"""How long after the head's container began to run Ray may still be starting."""


def rejected(case: RevisionCase) -> Step | None:
    """The API server refused the cluster in this pass: say why, and try again later."""
    refused = case.seen.rejection
    if refused is None or case.view.cluster is not None:
        return None
    startup = case.failed()
    message = f"{refused.message} {next_try(startup.retry_time)}"
    return Step(refused.reason, message, "False", startup=startup, recheck_after=case.until(startup.retry_time))


def secret_missing(case: RevisionCase) -> Step | None:
    """The spec refers to a Secret that is not there: no pod is made that could not start."""
    if not case.seen.missing_secrets or case.view.cluster is not None:
        return None
    names = ", ".join(case.seen.missing_secrets)
    message = f"Secret {names} is not in the namespace {case.seen.endpoint.namespace}: create it."
    return Step(EndpointReason.SECRET_NOT_FOUND, message, "False", recheck_after=timedelta(seconds=10))


def awaiting_retry(case: RevisionCase) -> Step | None:
    """A try failed and the next is not due: nothing is paid for that cannot start. What serves goes on serving."""
    retry = case.startup.retry_time
    if not case.wanted or retry is None or case.seen.now >= retry or _answers(case):
        return None
    reason, message = _said(case, retry)
    actions = size_actions(case, group_of(case, 0))
    return Step(reason, message, "False", actions=actions, replicas=0, recheck_after=case.until(retry))


def _said(case: RevisionCase, retry: datetime) -> tuple[EndpointReason, str]:
    """What was said when the try failed: it stands in the condition until the next one."""
    said = next((c for c in case.status.conditions if c.type == EndpointCondition.PROGRESSING), None)
    known = [reason for reason in EndpointReason if said is not None and reason == said.reason]
    if said is None or not known or said.status != "False":
        return EndpointReason.REPLICAS_FAILING, next_try(retry)
    return known[0], said.message


def _answers(case: RevisionCase) -> bool:
    return case.view.serve is not None and bool(case.view.serve.engine.running)


def next_try(retry: datetime | None) -> str:
    """The last sentence about something that is tried again."""
    return f"Tried again at {retry:%Y-%m-%dT%H:%M:%SZ}." if retry else ""


def cluster_leaving(case: RevisionCase) -> Step | None:
    """The cluster is being deleted: wait until it is gone."""
    if case.view.cluster is None or not case.view.cluster.deleting:
        return None
    return Step(EndpointReason.CLUSTER_STARTING, "The old RayCluster is being deleted.", recheck_after=SAFETY_NET)


def cluster_missing(case: RevisionCase) -> Step | None:
    """There is no cluster: create it with its workers, whose nodes and images need not wait for the head's."""
    if case.view.cluster is not None:
        return None
    revision = case.view.revision
    workers = _rebuilt_size(case) if case.serves else warm_size(case)
    told = f"Created the RayCluster of revision {revision}: a head and {workers} workers."
    made = Event("Normal", "RevisionCreated", told)
    step = Step(
        EndpointReason.CLUSTER_STARTING,
        "The head pod is starting.",
        actions=(CreateRevision(revision, workers),),
        replicas=workers,
        recheck_after=SAFETY_NET,
    )
    return step.told(made)


def _rebuilt_size(case: RevisionCase) -> int:
    """Replicas of the serving revision whose cluster is lost: as many as were wanted of it."""
    bounds = case.spec.replicas
    return min(max(case.status.replicas, bounds.min), bounds.max)


def warm_size(case: RevisionCase) -> int:
    """Replicas that a revision has to have before the Service leads to it.

    As many as serve now, so that the move changes nothing; at least 1, so that a model which cannot load is found out
    before anyone asks.
    """
    bounds = case.spec.replicas
    serving = case.seen.revision(case.seen.serving).cluster if case.seen.serving else None
    return min(max(serving.replicas if serving is not None else 0, bounds.min, 1), bounds.max)


def head_starting(case: RevisionCase) -> Step | None:
    """The head does not run: say what it waits for. Workers and their replicas stay: traffic may go on without it."""
    cluster = case.view.cluster
    if cluster is None or (cluster.head_ready and cluster.head_ip):
        return None
    if not cluster.head_problem:
        return Step(EndpointReason.CLUSTER_STARTING, "The head pod is starting.", recheck_after=SAFETY_NET)
    reason, hint = pod_trouble(cluster, "head")
    message = f"The head pod does not start: {cluster.head_problem.rstrip('.')}. {hint}"
    return Step(reason, message, "False", recheck_after=SAFETY_NET)


def pod_trouble(cluster: ClusterView, field: str) -> tuple[EndpointReason, str]:
    """What it is called that pods are not ready, and what to do about it; `field` of the spec says how large they are.

    Nothing is given up meanwhile: it heals when there is room, or when what the pods need is mended.
    """
    if cluster.no_room:
        return EndpointReason.INSUFFICIENT_CAPACITY, f"Add nodes, or lower replicas or {field} in the spec."
    return EndpointReason.PODS_FAILING, "Mend image, template or resources in the spec, or what they refer to."


def ray_silent(case: RevisionCase) -> Step | None:
    """The head runs and Ray does not answer: hold everything and look again soon."""
    cluster, seen = case.view.cluster, case.seen
    if case.view.serve is not None or cluster is None:
        return None
    since = cluster.head_ready_since
    if since is None or seen.now - since < START_GRACE:
        return Step(EndpointReason.CLUSTER_STARTING, "Ray is starting.", recheck_after=seen.tuning.start_poll)
    message = f"Ray on the head pod does not answer: {case.view.serve_problem} Everything is held as it is."
    return Step(EndpointReason.RAY_UNREACHABLE, message, "Unknown", recheck_after=seen.tuning.poll)
