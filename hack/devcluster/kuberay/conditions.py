"""The conditions of a RayCluster, as KubeRay 1.7 sets them. Pure.

`RayClusterProvisioned` stays true once every pod was ready, until the cluster is suspended; a condition's
time moves only when its status does.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devcluster.kuberay import reading
from devcluster.kuberay.constants import PROVISIONED, SUSPENDED, SUSPENDING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from devcluster.kuberay.constants import Manifest


@dataclass(frozen=True)
class Observation:
    """What a status is made of.

    `error` and `failure` tell of this round: why it failed, and the reason of condition `ReplicaFailure`
    if a pod could not be created or deleted. `now` is RFC 3339 text.
    """

    cluster: Manifest
    pods: tuple[Manifest, ...]
    services: tuple[Manifest, ...]
    now: str
    error: str = ""
    failure: str = ""


def conditions_of(seen: Observation, head: Manifest | None) -> list[Manifest]:
    """All conditions after this round; `head` is the head pod, if there is one."""
    conditions: list[Manifest] = deepcopy((seen.cluster.get("status") or {}).get("conditions") or [])
    if not seen.error:
        conditions = [entry for entry in conditions if entry["type"] != "ReplicaFailure"]
    for new in (*_replica_failure(seen), _head_ready(head), *_provisioned(seen), *_suspended(seen)):
        _set_condition(conditions, new, seen.now)
    return conditions


def _replica_failure(seen: Observation) -> Iterator[Manifest]:
    if seen.failure:
        yield _condition("ReplicaFailure", "True", seen.failure, seen.error)


def _provisioned(seen: Observation) -> Iterator[Manifest]:
    """Told until it is true once, and not while the cluster is suspended."""
    conditions = (seen.cluster.get("status") or {}).get("conditions") or []
    latched = any(entry["type"] == PROVISIONED and entry["status"] == "True" for entry in conditions)
    if latched or reading.suspension(seen.cluster) == SUSPENDED:
        return
    if reading.all_running(seen.pods):
        message = "All Ray Pods are ready for the first time"
        yield _condition(PROVISIONED, "True", "AllPodRunningAndReadyFirstTime", message)
    else:
        message = "RayCluster Pods are being provisioned for first time"
        yield _condition(PROVISIONED, "False", "RayClusterPodsProvisioning", message)


def _suspended(seen: Observation) -> Iterator[Manifest]:
    """Suspending until no pod is left, then suspended, until `suspend` is set to false."""
    state = reading.suspension(seen.cluster)
    wanted = seen.cluster["spec"].get("suspend")
    if state == SUSPENDING:
        if not seen.pods:
            yield _condition(PROVISIONED, "False", "RayClusterPodsProvisioning", "RayCluster has been suspended")
            yield _condition(SUSPENDING, "False", SUSPENDING)
            yield _condition(SUSPENDED, "True", SUSPENDED)
    elif state == SUSPENDED:
        if wanted is False:
            yield _condition(SUSPENDED, "False", SUSPENDED)
    else:
        yield _condition(SUSPENDED, "False", SUSPENDED)
        yield _condition(SUSPENDING, "True" if wanted else "False", SUSPENDING)


def _head_ready(head: Manifest | None) -> Manifest:
    """Condition `HeadPodReady`: the head pod's own Ready condition, with the cause where it has one."""
    if head is None:
        return _condition("HeadPodReady", "False", "HeadPodNotFound", "Head Pod not found")
    ready = reading.pod_condition(head, "Ready")
    if ready is None:
        return _condition("HeadPodReady", "False", "Unknown")
    reason = ready.get("reason") or ("HeadPodRunningAndReady" if ready["status"] == "True" else "Unknown")
    message = ready.get("message") or ""
    if ready.get("reason") == "ContainersNotReady":
        for entry in (head.get("status") or {}).get("containerStatuses") or []:
            state = entry.get("state") or {}
            cause = state.get("waiting") or state.get("terminated")
            if cause:
                reason = cause.get("reason") or reason
                message = "; ".join(part for part in (message, f"{entry['name']}: {cause.get('message', '')}") if part)
                break
    return _condition("HeadPodReady", ready["status"], reason, message)


def _condition(kind: str, status: str, reason: str, message: str = "") -> Manifest:
    return {"type": kind, "status": status, "reason": reason, "message": message}


def _set_condition(conditions: list[Manifest], new: Manifest, now: str) -> None:
    """Put a condition in its place; its time moves only when its status does."""
    for index, old in enumerate(conditions):
        if old["type"] == new["type"]:
            time = old["lastTransitionTime"] if old["status"] == new["status"] else now
            conditions[index] = {**old, **new, "lastTransitionTime": time}
            return
    conditions.append({**new, "lastTransitionTime": now})
