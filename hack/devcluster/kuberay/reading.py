"""Reading a RayCluster and its pods: the small questions that both planning and status ask. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from devcluster.kuberay import constants as c

if TYPE_CHECKING:
    from collections.abc import Iterable

    from devcluster.kuberay.constants import Manifest


def desired_replicas(group: Manifest) -> int:
    """How many pods a group should have: `replicas` within its bounds, silently; none while suspended."""
    if group.get("suspend"):
        return 0
    low = group.get("minReplicas") or 0
    high = c.MAX_INT32 if group.get("maxReplicas") is None else group["maxReplicas"]
    wanted = group.get("replicas")
    replicas = low if wanted is None or wanted < low else min(wanted, high)
    return int(replicas) * hosts(group)


def hosts(group: Manifest) -> int:
    """Pods per replica."""
    return int(group.get("numOfHosts") or 1)


def suspension(cluster: Manifest) -> str:
    """`RayClusterSuspending`, `RayClusterSuspended` or nothing, as the conditions say."""
    for condition in (cluster.get("status") or {}).get("conditions") or []:
        if condition["type"] in {c.SUSPENDING, c.SUSPENDED} and condition["status"] == "True":
            return str(condition["type"])
    return ""


def must_delete(pod: Manifest) -> bool:
    """Whether a pod can never run again: it ended, or its Ray container did and may not restart."""
    status = pod.get("status") or {}
    if status.get("phase") in {"Failed", "Succeeded"}:
        return True
    ended = ray_container_exit(pod) is not None
    return status.get("phase") == "Running" and ended and pod["spec"].get("restartPolicy") == "Never"


def ray_container_exit(pod: Manifest) -> Manifest | None:
    """The `terminated` state of the Ray container, or None while it runs or waits."""
    name = pod["spec"]["containers"][0]["name"]
    for entry in (pod.get("status") or {}).get("containerStatuses") or []:
        if entry["name"] == name:
            terminated: Manifest | None = (entry.get("state") or {}).get("terminated")
            return terminated
    return None


def of_type(pods: Iterable[Manifest], node_type: str) -> list[Manifest]:
    """The pods of a node type, head or worker."""
    return [pod for pod in pods if pod["metadata"]["labels"].get(c.LABEL_NODE_TYPE) == node_type]


def phase(pod: Manifest) -> str:
    """The pod's phase, empty before a kubelet has seen it."""
    return str((pod.get("status") or {}).get("phase", ""))


def pod_condition(pod: Manifest, kind: str) -> Manifest | None:
    """One condition of a pod, or None."""
    conditions = (pod.get("status") or {}).get("conditions") or []
    return next((entry for entry in conditions if entry["type"] == kind), None)


def is_ready(pod: Manifest) -> bool:
    """Whether a pod runs and says that it is ready."""
    condition = pod_condition(pod, "Ready")
    return phase(pod) == "Running" and condition is not None and condition["status"] == "True"


def all_running(pods: Iterable[Manifest]) -> bool:
    """Whether every pod runs and none says that it is not ready; no pod at all is not running."""

    def fine(pod: Manifest) -> bool:
        condition = pod_condition(pod, "Ready")
        return phase(pod) == "Running" and (condition is None or condition["status"] == "True")

    found = list(pods)
    return bool(found) and all(fine(pod) for pod in found)
