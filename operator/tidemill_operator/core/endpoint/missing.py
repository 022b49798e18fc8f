"""What is said of replicas that do not answer: how many, why, and what to do about it. Words only, no decisions."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill_api.endpoint_conditions import EndpointReason
from tidemill_api.endpoint_contract import EngineProblem
from tidemill_operator.core.endpoint.snapshot import DEPLOY_FAILED

if TYPE_CHECKING:
    from tidemill_operator.core.endpoint.case import RevisionCase
    from tidemill_operator.core.endpoint.snapshot import ServeView
    from tidemill_operator.core.snapshot import ClusterView

AWAITED = frozenset(
    {
        EndpointReason.INSUFFICIENT_CAPACITY,
        EndpointReason.PODS_FAILING,
        EndpointReason.REPLICAS_FAILING,
        EndpointReason.SECRET_NOT_FOUND,
    }
)
"""What missing replicas wait for, where it is known: somebody else has to do something."""

FAILED_START = "A replica failed to start"
"""How Serve begins to say so (`record_replica_startup_failure` in Ray 2.60). Once one replica of a version has ever
started it tries the others for ever, every few seconds, and never calls that failed."""

MAX_PROBLEM = 1500
"""Characters of an engine's own words in a condition."""


def pod_trouble(cluster: ClusterView, field: str) -> tuple[EndpointReason, str]:
    """What it is called that pods are not ready, and what to do about it; `field` of the spec says how large they are.

    Nothing is given up meanwhile: it heals when there is room, or when what the pods need is mended.
    """
    if cluster.no_room:
        return EndpointReason.INSUFFICIENT_CAPACITY, f"Add nodes, or lower replicas or {field} in the spec."
    return EndpointReason.PODS_FAILING, "Mend image, template or resources in the spec, or what they refer to."


def given_up(serve: ServeView) -> tuple[EndpointReason, str]:
    """Why Serve has given up what was to run, in its own words."""
    if not serve.failed and serve.engine.status != DEPLOY_FAILED:
        return EndpointReason.REPLICAS_FAILING, f"No ingress replica starts: {_last_line(serve.ingress.message)}"
    text = serve.failed or serve.engine.message
    problem = EngineProblem.from_text(text)
    if problem is not None:
        return problem.reason, problem.message[:MAX_PROBLEM]
    return EndpointReason.REPLICAS_FAILING, f"No replica starts: {_last_line(text)}"


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return (lines[-1] if lines else "it did not say why")[-MAX_PROBLEM:]


def missing(case: RevisionCase, size: int) -> str:
    """How many replicas answer of how many, and what is known of why not more."""
    cluster, serve = case.view.cluster, case.view.serve
    if cluster is None:
        why = ""
    elif serve is None:
        why = _head(cluster, case.view.serve_problem)
    else:
        why = secrets_missing(case) or _engines(serve, cluster) or _behind_leaving(case, cluster)
    return f"{case.running} of {size} replicas answer. {why}".rstrip()


def secrets_missing(case: RevisionCase) -> str:
    """Which Secrets that pods of this revision need are not there, and what to do; empty where all are, or may be."""
    names = ", ".join(case.seen.missing_secrets) if case.wanted else ""
    return f"Secret {names} is not in the namespace {case.seen.endpoint.namespace}: create it." if names else ""


def _head(cluster: ClusterView, serve_problem: str) -> str:
    if cluster.head_ready:
        return f"Ray on the head pod does not answer: {serve_problem}"
    return f"The head pod does not run: {cluster.head_problem.rstrip('.')}." if cluster.head_problem else ""


def _engines(serve: ServeView, cluster: ClusterView) -> str:
    if serve.given_up:
        return given_up(serve)[1]
    if cluster.worker_problem:
        return f"{cluster.worker_problem.rstrip('.')}. {pod_trouble(cluster, 'resources')[1]}"
    problem = EngineProblem.from_text(serve.engine.message)
    if problem is not None:
        return problem.message[:MAX_PROBLEM]
    if serve.engine.message.startswith(FAILED_START):
        return f"One failed to start and is tried again: {_last_line(serve.engine.message)}"
    return ""


def _behind_leaving(case: RevisionCase, cluster: ClusterView) -> str:
    """KubeRay 1.7 looks at a worker group again only once the pods that it deleted from it are gone (expectations)."""
    going = leaving(case)
    if not going or len(case.view.workers) - going >= cluster.replicas:
        return ""
    return f"Workers are leaving ({going}): KubeRay makes no other before those that it deleted have gone."


def leaving(case: RevisionCase) -> int:
    """Pods that go, told already or only named: KubeRay tells none while another of its group is on its way out."""
    named = case.view.cluster.workers_to_delete if case.view.cluster is not None else ()
    return sum(worker.deleting or worker.name in named for worker in case.view.workers)


def why_missing(case: RevisionCase) -> EndpointReason:
    """What missing replicas are called: on their way, or kept from it."""
    cluster, serve = case.view.cluster, case.view.serve
    if serve is not None and serve.given_up:
        return given_up(serve)[0]
    if secrets_missing(case):
        return EndpointReason.SECRET_NOT_FOUND
    if cluster is None or not cluster.worker_problem:
        return EndpointReason.REPLICAS_STARTING
    return pod_trouble(cluster, "resources")[0]
