"""From objects as the API server gives them to the values that decisions about endpoints are made from. No I/O."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from tidemill_api import labels
from tidemill_api.v1alpha1.realtime_endpoint import RealtimeEndpointSpec
from tidemill_api.v1alpha1.realtime_endpoint_status import RealtimeEndpointStatus
from tidemill_operator.core.endpoint.snapshot import EndpointView, ServiceView
from tidemill_operator.core.endpoint.spec_checks import lasting_endpoint_problems
from tidemill_operator.core.spec_checks import entry_problems
from tidemill_operator.manifests.pods import container_name
from tidemill_operator.manifests.revisions import revisions_of
from tidemill_operator.views import (
    boost_of,
    is_held,
    of_type,
    queueing_of,
    read_cluster,
    read_identity,
    read_spec,
    told,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tidemill_operator.core.snapshot import ClusterView
    from tidemill_operator.core.spec_checks import SpecPolicy

    Json = dict[str, Any]


def read_endpoint(body: Json, policy: SpecPolicy) -> EndpointView:
    """An endpoint as a value; a spec that may not run has its problems in words, and stays readable where it is.

    Raises pydantic.ValidationError for a status that this operator cannot read: better loud than everything anew.
    """
    identity = read_identity(body)
    spec, problem = read_spec(
        RealtimeEndpointSpec, body, lambda read: lasting_endpoint_problems(identity["name"], read, policy)
    )
    status = RealtimeEndpointStatus.model_validate(body.get("status") or {})
    restarted = str((body["metadata"].get("annotations") or {}).get(labels.RESTARTED_AT, ""))
    outdated = told(entry_problems(spec.template, policy)) if spec is not None else ""
    let_in = {status.revision.serving, status.revision.wanted}
    if outdated and spec is not None and let_in.isdisjoint(revisions_of(spec, restarted)):
        problem, outdated = f"{problem} {outdated}".lstrip(), ""
    return EndpointView(
        **identity,
        spec=spec,
        spec_problem=problem,
        outdated=outdated,
        status=status,
        boost=boost_of(body),
        held=is_held(body),
        queueing=queueing_of(body, policy),
        restarted=restarted,
    )


def read_service(body: Json | None, owner_uid: str) -> ServiceView | None:
    """The Service of the endpoint's name, and whether it is the endpoint's own."""
    if body is None:
        return None
    owners = {owner.get("uid") for owner in body["metadata"].get("ownerReferences") or ()}
    selector = (body.get("spec") or {}).get("selector") or {}
    return ServiceView(str(selector.get(labels.REVISION, "")), foreign=owner_uid not in owners)


def read_revision_cluster(body: Json, pods: tuple[Json, ...]) -> ClusterView:
    """A revision's RayCluster. Its head counts as ready as soon as its container runs: Ray is asked whether it answers.

    The pod itself is Ready only once its ingress replica takes requests, and somebody has to deploy that first.
    """
    cluster = read_cluster(body, pods)
    for pod in of_type(pods, "head"):
        ip, started = (pod.get("status") or {}).get("podIP", ""), _running_since(pod)
        if ip and started and "deletionTimestamp" not in pod["metadata"]:
            since = datetime.fromisoformat(started)
            return replace(cluster, head_ready=True, head_ip=ip, head_ready_since=since, head_away_since=None)
    return cluster


def _running_since(pod: Json) -> str:
    """When Ray's container of the pod began to run, empty while it does not. Others may have put sidecars beside it."""
    containers: Sequence[Json] = (pod.get("status") or {}).get("containerStatuses") or ()
    ray: Json = next((container for container in containers if container.get("name") == container_name("head")), {})
    return str(((ray.get("state") or {}).get("running") or {}).get("startedAt", ""))


def revision_label(body: Json) -> str:
    """The revision that a child is of; empty for none."""
    return str((body["metadata"].get("labels") or {}).get(labels.REVISION, ""))


def awaits_start(pod: Json) -> bool:
    """Whether a pod has its node and does not run: it pulls its image, or waits for something that is not there."""
    status = pod.get("status") or {}
    placed = bool((pod.get("spec") or {}).get("nodeName"))
    return placed and status.get("phase", "Pending") == "Pending" and "deletionTimestamp" not in pod["metadata"]


def leaves_after(pod: Json, now: datetime) -> bool:
    """Whether a pod that is to go has time left: one whose time is up is on a node that nobody hears of."""
    until = pod["metadata"].get("deletionTimestamp")
    return until is None or datetime.fromisoformat(until) > now
