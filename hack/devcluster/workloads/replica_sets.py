"""One ReplicaSet: which Pods are its own, how many are missing or too many, and its status. Pure.

After k8s.io/kubernetes/pkg/controller/replicaset and controller_ref_manager.go.
"""

from collections.abc import Iterable

from devcluster.client import PODS, REPLICA_SETS, Resource
from devcluster.kubelet.events import Event
from devcluster.workloads.objects import (
    Object,
    controller_of,
    is_terminating,
    owner_reference,
    rfc3339,
    selects,
)
from devcluster.workloads.pods import available_in, from_template, in_order_of_deletion, is_active, is_ready
from devcluster.workloads.steps import Create, Delete, Patch, Plan, Status, Step

AT_ONCE = 50
"""Pods created or deleted in one round; the next follows at once."""


def claim(owner: Object, resource: Resource, candidates: Iterable[Object]) -> tuple[list[Object], list[Step]]:
    """The objects that are the owner's, and the adoptions and releases that make it so.

    Adopted is what its selector matches and nobody controls; released is what it controls and no longer matches.
    """
    ours, steps = [], list[Step]()
    uid, selector = owner["metadata"]["uid"], owner["spec"].get("selector")
    for one in candidates:
        controller = controller_of(one)
        fits = selects(selector, one["metadata"].get("labels"))
        references = one["metadata"].get("ownerReferences") or []
        if controller is None and fits and not is_terminating(one) and not is_terminating(owner):
            change = {"metadata": {"ownerReferences": [*references, owner_reference(owner)]}}
            steps.append(Patch(resource, one, change))
        elif controller is not None and controller["uid"] == uid and fits:
            ours.append(one)
        elif controller is not None and controller["uid"] == uid and not is_terminating(owner):
            kept = [reference for reference in references if reference["uid"] != uid]
            steps.append(Patch(resource, one, {"metadata": {"ownerReferences": kept or None}}))
    return ours, steps


def plan(replica_set: Object, pods: Iterable[Object], now: float) -> Plan:
    """What to do about one ReplicaSet, given the Pods of its namespace."""
    ours, steps = claim(replica_set, PODS, pods)
    active = [pod for pod in ours if is_active(pod)]
    missing = int(replica_set["spec"].get("replicas", 1)) - len(active)
    if not is_terminating(replica_set):
        if missing > 0:
            new = from_template(replica_set, replica_set["spec"]["template"])
            steps += [Create(PODS, new)] * min(missing, AT_ONCE)
        elif missing < 0:
            steps += [_deletion(pod) for pod in in_order_of_deletion(active, now)[: min(-missing, AT_ONCE)]]
    minimum = float(replica_set["spec"].get("minReadySeconds") or 0)
    waits = [left for pod in active if (left := available_in(pod, minimum, now))]
    status = status_of(replica_set, active, now)
    return Plan((*steps, Status(REPLICA_SETS, replica_set, status)), min(waits, default=None))


def _deletion(pod: Object) -> Delete:
    told = Event("Normal", "SuccessfulDelete", f"Deleted pod: {pod['metadata']['name']}")
    return Delete(PODS, pod, told)


def status_of(replica_set: Object, active: list[Object], now: float) -> Object:
    """The status by its active Pods; a `ReplicaFailure` that was told stays until enough are there."""
    spec, before = replica_set["spec"], replica_set.get("status") or {}
    wanted = (spec["template"].get("metadata") or {}).get("labels") or {}
    minimum = float(spec.get("minReadySeconds") or 0)
    counts = {
        "fullyLabeledReplicas": sum(selects({"matchLabels": wanted}, pod["metadata"].get("labels")) for pod in active),
        "readyReplicas": sum(map(is_ready, active)),
        "availableReplicas": sum(available_in(pod, minimum, now) == 0 for pod in active),
    }
    status: Object = {"replicas": len(active), "observedGeneration": replica_set["metadata"].get("generation", 1)}
    status |= {field: count for field, count in counts.items() if count}
    enough = len(active) >= int(spec.get("replicas", 1))
    kept = [one for one in before.get("conditions") or [] if not (enough and one["type"] == "ReplicaFailure")]
    return status | ({"conditions": kept} if kept else {})


def with_failure(status: Object, message: str, now: float) -> Object:
    """The status of a ReplicaSet whose Pod the API server refused to create."""
    conditions = status.get("conditions") or []
    if any(one["type"] == "ReplicaFailure" and one["message"] == message for one in conditions):
        return status
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": message}
    others = [one for one in conditions if one["type"] != "ReplicaFailure"]
    return {**status, "conditions": [*others, failure | {"lastTransitionTime": rfc3339(now)}]}
