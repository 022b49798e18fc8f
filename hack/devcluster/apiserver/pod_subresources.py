"""A Pod's binding and eviction: small writes with rules of their own."""

from devcluster.apiserver import deletes, writes
from devcluster.apiserver.cluster import Cluster
from devcluster.apiserver.errors import Cause, bad_request, conflict, too_many_requests
from devcluster.apiserver.objects import JsonObject, is_terminating, metadata, now_timestamp, parse_time
from devcluster.apiserver.requests import Target, WriteOptions
from devcluster.apiserver.selectors import label_selector_matches
from devcluster.apiserver.store import Entry

_BUDGETS = "policy/poddisruptionbudgets"


def bind(cluster: Cluster, target: Target, binding: JsonObject, options: WriteOptions) -> None:
    """Put a Pod on a node. Raises `StatusError` 400 without a node, 409 where the Pod has one or is going."""
    node = (binding.get("target") or {}).get("name")
    if not node:
        raise bad_request("Binding: target.name: Required value")
    pod = writes.existing(cluster, target).document
    subject = target.resource.subject(target.name)
    if is_terminating(pod):
        raise conflict(subject, f"pod {target.name} is being deleted, cannot be assigned to a host")
    if pod.get("spec", {}).get("nodeName"):
        raise conflict(subject, f'pod {target.name} is already assigned to node "{pod["spec"]["nodeName"]}"')

    def change(current: JsonObject) -> JsonObject:
        current.setdefault("spec", {})["nodeName"] = node
        meta = current["metadata"]
        for field in ("annotations", "labels"):
            extra = metadata(binding).get(field)
            if extra:
                meta[field] = {**(meta.get(field) or {}), **extra}
        status = current.setdefault("status", {})
        others = [c for c in status.get("conditions") or [] if c["type"] != "PodScheduled"]
        scheduled = {"type": "PodScheduled", "status": "True", "lastTransitionTime": now_timestamp()}
        status["conditions"] = [*others, scheduled]
        return current

    writes.modify(cluster, target, change, options)


def evict(cluster: Cluster, target: Target, eviction: JsonObject) -> None:
    """Delete a Pod unless a disruption budget holds it. Raises `StatusError` 404 or 429.

    As in k8s.io/kubernetes/pkg/registry/core/pod/storage/eviction.go: a Pod that does not serve yet or any more
    is no disruption, nor is one that is not ready while the others suffice.
    """
    pod = writes.existing(cluster, target)
    needed = 1 if _is_ready(pod.document) else 0
    for budget in _budgets_of(cluster, pod) if _counts(pod.document) else ():
        healthy, desired = _health(cluster, budget)
        if healthy - desired < needed:
            name = budget.key.name
            message = f"The disruption budget {name} needs {desired} healthy pods and has {healthy} currently"
            raise too_many_requests(
                "Cannot evict pod as it would violate the pod's disruption budget.",
                [Cause("DisruptionBudget", "", message)],
            )
    options = eviction.get("deleteOptions") or {}
    deletes.delete(cluster, target, deletes.parse_delete_options(options, {}))


def _budgets_of(cluster: Cluster, pod: Entry) -> list[Entry]:
    labels = metadata(pod.document).get("labels") or {}
    budgets = cluster.store.list(_BUDGETS, pod.key.namespace)
    return [
        budget for budget in budgets if label_selector_matches(budget.document.get("spec", {}).get("selector"), labels)
    ]


def _health(cluster: Cluster, budget: Entry) -> tuple[int, int]:
    """Return how many pods of a budget are healthy and how many must be: no controller keeps its status."""
    spec = budget.document.get("spec", {})
    pods = [
        pod
        for pod in cluster.store.list("/pods", budget.key.namespace)
        if label_selector_matches(spec.get("selector"), metadata(pod.document).get("labels") or {})
    ]
    healthy = sum(_is_ready(pod.document) and not is_terminating(pod.document) for pod in pods)
    if spec.get("maxUnavailable") is not None:
        return healthy, len(pods) - _share(spec["maxUnavailable"], len(pods))
    return healthy, _share(spec.get("minAvailable", 1), len(pods))


def _share(value: int | str, total: int) -> int:
    """Return a count, or the count a percentage stands for, rounded up."""
    if isinstance(value, int):
        return value
    return -(-int(value.rstrip("%")) * total // 100)


def _counts(pod: JsonObject) -> bool:
    """Tell whether a Pod's end could be a disruption."""
    phase = pod.get("status", {}).get("phase", "Pending")
    return phase == "Running" and not is_terminating(pod)


def _is_ready(pod: JsonObject) -> bool:
    conditions = pod.get("status", {}).get("conditions") or []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def log_may_grow(pod: JsonObject | None, container: str) -> bool:
    """Tell whether a container may still write to its log: it runs, waits, or will be started again."""
    if pod is None:
        return False
    status = pod.get("status", {})
    if status.get("phase") in ("Succeeded", "Failed"):
        return False
    statuses = [*(status.get("containerStatuses") or ()), *(status.get("initContainerStatuses") or ())]
    state: JsonObject = next((s.get("state", {}) for s in statuses if s.get("name") == container), {})
    finished = parse_time((state.get("terminated") or {}).get("finishedAt") or "")
    return finished is None
