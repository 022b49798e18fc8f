"""Pods as their controllers see them: made from a template, ready or not, and which of them to give up first. Pure."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from devcluster.workloads.objects import Object, condition, is_terminating, owner_reference, seconds_of

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
_FINISHED = {"Succeeded", "Failed"}


def from_template(owner: Object, template: Object, labels: dict[str, str] | None = None) -> Object:
    """A new Pod of a workload; the API server completes its name. `labels` are added to the template's."""
    metadata = template.get("metadata") or {}
    told: Object = {
        "generateName": f"{owner['metadata']['name']}-",
        "labels": {**(metadata.get("labels") or {}), **(labels or {})},
        "ownerReferences": [owner_reference(owner)],
    }
    if metadata.get("annotations"):
        told["annotations"] = metadata["annotations"]
    if metadata.get("finalizers"):
        told["finalizers"] = metadata["finalizers"]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": told, "spec": template["spec"]}


def phase(pod: Object) -> str:
    """Its phase; Pending before anybody has said one."""
    return str((pod.get("status") or {}).get("phase") or "Pending")


def is_active(pod: Object) -> bool:
    """Whether it runs or will."""
    return phase(pod) not in _FINISHED and not is_terminating(pod)


def is_ready(pod: Object) -> bool:
    """Whether it serves."""
    found = _ready(pod)
    return found is not None and found["status"] == "True"


def available_in(pod: Object, minimum: float, now: float) -> float | None:
    """Seconds until a ready Pod has been so for `minimum` seconds, 0 if it has; None for one that is not ready."""
    found = _ready(pod)
    if found is None or found["status"] != "True":
        return None
    return max(0.0, seconds_of(found["lastTransitionTime"]) + minimum - now) if minimum else 0.0


def in_order_of_deletion(pods: Iterable[Object], now: float) -> list[Object]:
    """The Pods that are missed least first, as in controller_utils.go's `ActivePodsWithRanks`."""
    listed = list(pods)
    beside = Counter(pod["spec"].get("nodeName") for pod in listed)
    return sorted(listed, key=lambda pod: _rank(pod, beside[pod["spec"].get("nodeName")], now))


def _rank(pod: Object, beside: int, now: float) -> tuple[Any, ...]:
    ready = _ready(pod)
    since = seconds_of(ready["lastTransitionTime"]) if ready and is_ready(pod) else now
    restarts = max((one.get("restartCount", 0) for one in (pod.get("status") or {}).get("containerStatuses") or []),
                   default=0)  # fmt: skip
    return (
        bool(pod["spec"].get("nodeName")),
        {"Pending": 0, "Unknown": 1}.get(phase(pod), 2),
        is_ready(pod),
        _cost(pod),
        -beside,
        -since,
        -restarts,
        -seconds_of(pod["metadata"]["creationTimestamp"]),
        pod["metadata"]["name"],
    )


def _cost(pod: Object) -> int:
    text = (pod["metadata"].get("annotations") or {}).get(DELETION_COST, "0")
    return int(text) if text.lstrip("-").isdigit() else 0


def _ready(pod: Object) -> Object | None:
    return condition((pod.get("status") or {}).get("conditions") or [], "Ready")
