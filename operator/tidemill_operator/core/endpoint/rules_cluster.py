"""Rules about one revision until Serve answers: what has to stand before anything can be deployed."""

from __future__ import annotations

from datetime import timedelta

from tidemill_api.endpoint_conditions import EndpointReason
from tidemill_operator.core.endpoint.case import SAFETY_NET, RevisionCase, Step
from tidemill_operator.core.endpoint.missing import pod_trouble, secrets_missing
from tidemill_operator.core.endpoint.plan import CreateRevision
from tidemill_operator.core.endpoint.warm import warm_size
from tidemill_operator.core.plan import Event
from tidemill_operator.core.queueing import suspended_message

LEFT = "Pods of the RayCluster before it, which has the same name, are leaving."
"""KubeRay knows pods by that name: it would take them for the new cluster's, and wait until they have drained."""

START_GRACE = timedelta(seconds=120)
"""How long after the head's container began to run Ray may still be starting."""


def secret_missing(case: RevisionCase) -> Step | None:
    """The spec refers to a Secret that is not there: no pod is made that could not start."""
    if not case.seen.missing_secrets or case.view.cluster is not None:
        return None
    message = secrets_missing(case)
    return Step(EndpointReason.SECRET_NOT_FOUND, message, "False", recheck_after=timedelta(seconds=10))


def cluster_leaving(case: RevisionCase) -> Step | None:
    """The cluster is being deleted: wait until it is gone."""
    if case.view.cluster is None or not case.view.cluster.deleting:
        return None
    return Step(EndpointReason.CLUSTER_STARTING, "The old RayCluster is being deleted.", recheck_after=SAFETY_NET)


def cluster_missing(case: RevisionCase) -> Step | None:
    """There is no cluster: create it with its workers, whose nodes and images need not wait for the head's.

    The time that a new revision has to become ready begins here: what it waited for before was no fault of its own.
    """
    if case.view.cluster is not None:
        return None
    if case.seen.pods_left:
        return Step(EndpointReason.CLUSTER_STARTING, LEFT, replicas=_size_to_be(case), recheck_after=SAFETY_NET)
    revision = case.view.revision
    workers = _size_to_be(case)
    told = f"Created the RayCluster of revision {revision}: a head and {workers} workers."
    made = Event("Normal", "RevisionCreated", told)
    step = Step(
        EndpointReason.CLUSTER_STARTING,
        "The head pod is starting.",
        actions=(CreateRevision(revision, workers),),
        startup=case.startup.model_copy(update={"retry_time": case.seen.now}) if case.beside else None,
        replicas=workers,
        recheck_after=SAFETY_NET,
    )
    return step.told(made)


def _size_to_be(case: RevisionCase) -> int:
    """Replicas of a revision without a cluster; of the serving one, which lost it, as many as were wanted of it.

    All that may ever be where Kueue lets a cluster keep one size only.
    """
    if case.seen.endpoint.queueing.fixed:
        return case.spec.replicas.max
    if not case.serves:
        return warm_size(case)
    bounds = case.spec.replicas
    return min(max(case.status.replicas, bounds.min), bounds.max)


def awaiting_admission(case: RevisionCase) -> Step | None:
    """The RayCluster is suspended: nothing of it runs until Kueue, which alone may say so, lets it.

    The time that a new revision has to become ready begins after it. The one that serves keeps its quota until then.
    """
    cluster = case.view.cluster
    if cluster is None or cluster.suspended_since is None:
        return None
    beside = case.startup.model_copy(update={"retry_time": case.seen.now}) if case.wanted and case.beside else None
    serving = case.seen.revision(case.seen.serving).cluster if case.beside else None
    held = f" Revision {case.seen.serving} holds its quota there until this one serves: the queue needs room for both."
    message = suspended_message(cluster) + (held if serving is not None and serving.queue == cluster.queue else "")
    reason = EndpointReason.AWAITING_ADMISSION
    return Step(reason, message, "False", startup=beside, replicas=cluster.replicas, recheck_after=SAFETY_NET)


def head_starting(case: RevisionCase) -> Step | None:
    """The head does not run: say what it waits for. Workers and their replicas stay: traffic may go on without it."""
    cluster = case.view.cluster
    if cluster is None or (cluster.head_ready and cluster.head_ip):
        return None
    if secrets := secrets_missing(case):
        message = f"The head pod does not start: {secrets}"
        return Step(EndpointReason.SECRET_NOT_FOUND, message, "False", recheck_after=SAFETY_NET)
    if not cluster.head_problem:
        return Step(EndpointReason.CLUSTER_STARTING, "The head pod is starting.", recheck_after=SAFETY_NET)
    reason, hint = pod_trouble(cluster, "head")
    message = f"The head pod does not start: {cluster.head_problem.rstrip('.')}. {hint}"
    return Step(reason, message, "False", recheck_after=SAFETY_NET)


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
