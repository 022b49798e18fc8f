"""A PodDisruptionBudget's status: how many of its Pods are healthy, and how many may go. Pure.

After k8s.io/kubernetes/pkg/controller/disruption. Pods that an eviction takes are counted as healthy until they end.
"""

from collections.abc import Iterable, Mapping, Sequence

from devcluster.client import POD_DISRUPTION_BUDGETS
from devcluster.workloads.objects import Object, amount, controller_of, is_terminating, selects, with_condition
from devcluster.workloads.pods import is_ready, phase
from devcluster.workloads.steps import Plan, Status


def plan(budget: Object, pods: Iterable[Object], scales: Mapping[str, tuple[str, int]], now: float) -> Plan:
    """The write of one budget's status, given the Pods of its namespace and `scales_of` its workloads."""
    selector = budget["spec"].get("selector")
    ours = [pod for pod in pods if selects(selector, pod["metadata"].get("labels")) and _counts(pod)]
    expected, desired = _numbers(budget["spec"], ours, scales)
    healthy = sum(is_ready(pod) and not is_terminating(pod) for pod in ours)
    allowed = max(healthy - desired, 0) if expected else 0
    enough = allowed > 0
    told = {
        "type": "DisruptionAllowed",
        "status": "True" if enough else "False",
        "reason": "SufficientPods" if enough else "InsufficientPods",
        "message": "",
        "observedGeneration": budget["metadata"].get("generation", 1),
    }
    before = (budget.get("status") or {}).get("conditions") or []
    status = {
        "disruptionsAllowed": allowed,
        "currentHealthy": healthy,
        "desiredHealthy": desired,
        "expectedPods": expected,
        "observedGeneration": budget["metadata"].get("generation", 1),
        "conditions": with_condition(before, told, now),
    }
    return Plan((Status(POD_DISRUPTION_BUDGETS, budget, status),))


def _counts(pod: Object) -> bool:
    return phase(pod) not in {"Succeeded", "Failed"}


def _numbers(spec: Object, pods: Sequence[Object], scales: Mapping[str, tuple[str, int]]) -> tuple[int, int]:
    """How many Pods there should be, and how many of them healthy."""
    least, unavailable = spec.get("minAvailable"), spec.get("maxUnavailable")
    if unavailable is not None:
        expected = _expected(pods, scales)
        return expected, max(expected - amount(unavailable, expected, up=True), 0)
    if isinstance(least, str):
        expected = _expected(pods, scales)
        return expected, amount(least, expected, up=True)
    return len(pods), 1 if least is None else int(least)


def scales_of(deployments: Iterable[Object], sets: Iterable[Object]) -> dict[str, tuple[str, int]]:
    """By the uid of a ReplicaSet: the uid of the workload that sizes it, and the Pods that this wants."""
    by_uid = {one["metadata"]["uid"]: one for one in deployments}
    found = {}
    for one in sets:
        owner = by_uid.get((controller_of(one) or {}).get("uid", ""), one)
        found[one["metadata"]["uid"]] = (owner["metadata"]["uid"], int(owner["spec"].get("replicas", 1)))
    return found


def _expected(pods: Sequence[Object], scales: Mapping[str, tuple[str, int]]) -> int:
    """The Pods that the workloads behind these want; a Pod of no workload counts for itself."""
    owners = [(controller_of(pod) or {}).get("uid", "") for pod in pods]
    known = {scales[uid] for uid in owners if uid in scales}
    return sum(count for _, count in known) + sum(uid not in scales for uid in owners)
