"""The status of a RayCluster, calculated from its pods and Services after a round. Pure.

Zero counts are left out and times are RFC 3339 in UTC, as Go writes them.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from devcluster.kuberay import constants as c
from devcluster.kuberay import ray_start, reading, services
from devcluster.kuberay.conditions import Observation, conditions_of
from devcluster.kuberay.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

    from devcluster.kuberay.constants import Manifest

_COMPARED = (
    "state",
    "reason",
    "readyWorkerReplicas",
    "availableWorkerReplicas",
    "desiredWorkerReplicas",
    "minWorkerReplicas",
    "maxWorkerReplicas",
    "endpoints",
    "head",
    "conditions",
)


class IncompleteError(Exception):
    """The status cannot be told yet, for instance because the head Service is not there; try again."""


def differs(old: Mapping[str, object], new: Mapping[str, object]) -> bool:
    """Whether a status is worth writing; as in KubeRay, times and the observed generation alone are not."""
    return any(old.get(field) != new.get(field) for field in _COMPARED)


def calculate(seen: Observation) -> Manifest:
    """The whole new status. IncompleteError where KubeRay would not write one."""
    cluster = seen.cluster
    status: Manifest = deepcopy(cluster.get("status") or {})
    old_state = status.get("state")
    head = _single_head(seen.pods)
    status["observedGeneration"] = cluster["metadata"].get("generation", 0)
    _set_counts(status, seen)
    status |= _desired_resources(cluster)
    complete = len(seen.pods) == status.get("desiredWorkerReplicas", 0) + 1
    if not seen.error and complete and reading.all_running(seen.pods):
        status["state"] = "ready"
        status.pop("reason", None)
    status["conditions"] = conditions_of(seen, head)
    if cluster["spec"].get("suspend") and not seen.pods:
        status["state"] = "suspended"
    service = _single_head_service(seen)
    status["endpoints"] = {**(status.get("endpoints") or {}), **_endpoints(service)}
    status["head"] = _head_info(head, service)
    status["lastUpdateTime"] = seen.now
    if status.get("state") and status["state"] != old_state:
        status.setdefault("stateTransitionTimes", {})[status["state"]] = seen.now
    return status


def _set_counts(status: Manifest, seen: Observation) -> None:
    groups = seen.cluster["spec"].get("workerGroupSpecs") or []
    working = [group for group in groups if not group.get("suspend")]
    workers = reading.of_type(seen.pods, c.WORKER)
    running = [pod for pod in workers if reading.phase(pod) == "Running"]
    most = sum(_or(group, "maxReplicas", c.MAX_INT32) * reading.hosts(group) for group in working)
    counts = {
        "readyWorkerReplicas": sum(reading.is_ready(pod) for pod in running),
        "availableWorkerReplicas": len(running),
        "desiredWorkerReplicas": sum(reading.desired_replicas(group) for group in groups),
        "minWorkerReplicas": sum(_or(group, "minReplicas", 0) * reading.hosts(group) for group in working),
        "maxWorkerReplicas": min(most, c.MAX_INT32),
    }
    for field, count in counts.items():
        status.pop(field, None)
        if count:
            status[field] = count


def _desired_resources(cluster: Manifest) -> dict[str, str]:
    """What all pods ask for together. Workers count by `replicas` as written, not within the bounds."""
    totals: dict[str, Quantity] = {}
    counted = [
        (group, _or(group, "replicas", 0) * reading.hosts(group))
        for group in cluster["spec"].get("workerGroupSpecs") or []
        if not group.get("suspend")
    ]
    for group, times in [(cluster["spec"]["headGroupSpec"], 1), *counted]:
        for name, quantity in _pod_resources(group["template"]["spec"]).items():
            totals[name] = totals.get(name, Quantity()) + quantity.times(times)
    gpus = Quantity()
    for name, quantity in totals.items():
        if ray_start.is_gpu(name):
            gpus += quantity
    return {
        "desiredCPU": str(totals.get("cpu", Quantity())),
        "desiredMemory": str(totals.get("memory", Quantity())),
        "desiredGPU": str(gpus),
        "desiredTPU": str(totals.get("google.com/tpu", Quantity())),
    }


def _pod_resources(spec: Manifest) -> dict[str, Quantity]:
    """The sum over containers; a request counts before a limit."""
    totals: dict[str, Quantity] = {}
    for container in spec["containers"]:
        resources = container.get("resources") or {}
        wanted = {**(resources.get("limits") or {}), **(resources.get("requests") or {})}
        for name, text in wanted.items():
            totals[name] = totals.get(name, Quantity()) + Quantity.parse(text)
    return totals


def _single_head(pods: tuple[Manifest, ...]) -> Manifest | None:
    heads = reading.of_type(pods, c.HEAD)
    if len(heads) > 1:
        raise IncompleteError(f"found {len(heads)} head pods")
    return heads[0] if heads else None


def _single_head_service(seen: Observation) -> Manifest:
    found = [entry for entry in seen.services if services.is_head_service(seen.cluster, entry)]
    if len(found) != 1:
        raise IncompleteError(f"found {len(found)} head services")
    return found[0]


def _endpoints(service: Manifest) -> dict[str, str]:
    return {
        port["name"]: str(port.get("nodePort") or port.get("targetPort") or port["port"])
        for port in service["spec"].get("ports") or []
        if port.get("name")
    }


def _head_info(head: Manifest | None, service: Manifest) -> dict[str, str]:
    """Names and addresses of the head. A Service without an address of its own has the pod's."""
    address = str(((head or {}).get("status") or {}).get("podIP", ""))
    own = service["spec"].get("clusterIP")
    info = {
        "podName": head["metadata"]["name"] if head else "",
        "podIP": address,
        "serviceName": service["metadata"]["name"],
        "serviceIP": own if own and own != "None" else address,
    }
    return {field: value for field, value in info.items() if value}


def _or(group: Manifest, field: str, default: int) -> int:
    value = group.get(field)
    return default if value is None else int(value)
