"""Which Pod goes to which Node: a pure function from what is seen to placements and reasons.

It honours requests (CPU, memory, extended resources, the number of pods), nodeSelector, required node affinity,
taints and tolerations, cordoned and NotReady nodes, and priority (higher first, then older first). Among the
nodes that fit it takes the one with the largest free share. It does not know preferences, preemption, pod
affinity or topology spread: a Pod that requires one of the last two stays Pending and is told so.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from devcluster.kubelet.quantities import Amounts, add, parse_all, requests_of_pod

Object = Mapping[str, Any]
Key = tuple[str, str]

_FINISHED = {"Succeeded", "Failed"}


@dataclass(frozen=True)
class Schedule:
    """The outcome of one round: where each Pod goes, and why the others wait (the message for people)."""

    placements: dict[Key, str] = field(default_factory=dict)
    reasons: dict[Key, str] = field(default_factory=dict)


def schedule(pods: Sequence[Object], nodes: Sequence[Object]) -> Schedule:
    """Place every Pod that has no node and is not being deleted, given all Pods and Nodes of the cluster."""
    used: dict[str, Amounts] = {node["metadata"]["name"]: {} for node in nodes}
    for pod in pods:
        node_name = pod["spec"].get("nodeName")
        if node_name in used and _phase(pod) not in _FINISHED:
            used[node_name] = add(used[node_name], requests_of_pod(pod))
    result = Schedule()
    for pod in sorted(filter(waits, pods), key=_order):
        key = pod["metadata"].get("namespace", ""), pod["metadata"]["name"]
        asked = requests_of_pod(pod)
        refusals = {node["metadata"]["name"]: refusal(pod, asked, node, used) for node in nodes}
        fitting = [node for node in nodes if not refusals[node["metadata"]["name"]]]
        if fitting:
            best = max(fitting, key=lambda node: (_free_share(node, used), _reversed(node["metadata"]["name"])))
            name = best["metadata"]["name"]
            used[name] = add(used[name], asked)
            result.placements[key] = name
        else:
            result.reasons[key] = message(refusals)
    return result


def waits(pod: Object) -> bool:
    """Whether a Pod is for this scheduler to place."""
    spec = pod["spec"]
    return (
        not spec.get("nodeName")
        and not pod["metadata"].get("deletionTimestamp")
        and spec.get("schedulerName", "default-scheduler") == "default-scheduler"
        and not spec.get("schedulingGates")
    )


def message(refusals: Mapping[str, Sequence[str]]) -> str:
    """Say it as Kubernetes does, as in `0/2 nodes are available: 2 Insufficient nvidia.com/gpu.`, for people."""
    if not refusals:
        return "no nodes available to schedule pods"
    counts = Counter(reason for reasons in refusals.values() for reason in reasons)
    told = ", ".join(sorted(f"{count} {reason}" for reason, count in counts.items()))
    return f"0/{len(refusals)} nodes are available: {told}."


def refusal(pod: Object, asked: Amounts, node: Object, used: Mapping[str, Amounts]) -> list[str]:
    """Why a node cannot take a Pod, in Kubernetes' words; empty if it can. The first kind of reason is told alone."""
    spec = node.get("spec") or {}
    if spec.get("unschedulable"):
        return ["node(s) were unschedulable"]
    if not _ready(node):
        return ["node(s) were not ready"]
    taint = _untolerated(spec.get("taints") or [], pod["spec"].get("tolerations") or [])
    if taint is not None:
        return [f"node(s) had untolerated taint {{{taint['key']}: {taint.get('value', '')}}}"]
    if not _selected(pod["spec"], node):
        return ["node(s) didn't match Pod's node affinity/selector"]
    unknown = _unknown_constraints(pod["spec"])
    if unknown:
        return [f"node(s) cannot honour {unknown}, which the dev cluster's scheduler does not know"]
    return _insufficient(asked, node, used)


def _insufficient(asked: Amounts, node: Object, used: Mapping[str, Amounts]) -> list[str]:
    allocatable = parse_all((node.get("status") or {}).get("allocatable"))
    taken = used[node["metadata"]["name"]]
    short = [
        name
        for name, amount in asked.items()
        if amount and amount + taken.get(name, Decimal(0)) > allocatable.get(name, Decimal(0))
    ]
    names = ("Too many pods" if name == "pods" else f"Insufficient {name}" for name in short)
    return sorted(names)


def _phase(pod: Object) -> str:
    return str((pod.get("status") or {}).get("phase", "Pending"))


def _order(pod: Object) -> tuple[int, str, str, str]:
    metadata = pod["metadata"]
    return (
        -int(pod["spec"].get("priority") or 0),
        metadata.get("creationTimestamp") or "",
        metadata.get("namespace", ""),
        metadata["name"],
    )


def _reversed(name: str) -> tuple[int, ...]:
    """Sorts names backwards, so that of equals `max` takes the first."""
    return tuple(-ord(letter) for letter in name)


def _free_share(node: Object, used: Mapping[str, Amounts]) -> Decimal:
    """The mean free share of CPU and memory, between 0 and 1."""
    allocatable = parse_all((node.get("status") or {}).get("allocatable"))
    taken = used[node["metadata"]["name"]]
    shares = [
        1 - taken.get(name, Decimal(0)) / allocatable[name] for name in ("cpu", "memory") if allocatable.get(name)
    ]
    return sum(shares, Decimal(0)) / max(len(shares), 1)


def _ready(node: Object) -> bool:
    conditions = (node.get("status") or {}).get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _untolerated(taints: Sequence[Object], tolerations: Sequence[Object]) -> Object | None:
    for taint in taints:
        repels = taint["effect"] in {"NoSchedule", "NoExecute"}
        if repels and not any(_tolerates(toleration, taint) for toleration in tolerations):
            return taint
    return None


def _tolerates(toleration: Object, taint: Object) -> bool:
    if toleration.get("effect") and toleration["effect"] != taint["effect"]:
        return False
    if toleration.get("key") and toleration["key"] != taint["key"]:
        return False
    if toleration.get("operator", "Equal") == "Exists":
        return True
    return bool(toleration.get("key")) and toleration.get("value", "") == taint.get("value", "")


def _selected(spec: Object, node: Object) -> bool:
    labels = node["metadata"].get("labels") or {}
    if any(labels.get(key) != value for key, value in (spec.get("nodeSelector") or {}).items()):
        return False
    affinity = (spec.get("affinity") or {}).get("nodeAffinity") or {}
    required = affinity.get("requiredDuringSchedulingIgnoredDuringExecution")
    return required is None or any(_term_matches(term, node) for term in required.get("nodeSelectorTerms") or [])


def _term_matches(term: Object, node: Object) -> bool:
    labels = node["metadata"].get("labels") or {}
    fields = {"metadata.name": node["metadata"]["name"]}
    wanted = [(rule, labels) for rule in term.get("matchExpressions") or []]
    wanted += [(rule, fields) for rule in term.get("matchFields") or []]
    return bool(wanted) and all(_rule_matches(rule, values) for rule, values in wanted)


def _rule_matches(rule: Object, values: Mapping[str, str]) -> bool:
    operator, value, listed = rule["operator"], values.get(rule["key"]), rule.get("values") or []
    match operator:
        case "In":
            return value in listed
        case "NotIn":
            return value not in listed
        case "Exists":
            return value is not None
        case "DoesNotExist":
            return value is None
        case _:  # Gt and Lt compare whole numbers
            return _number_matches(operator, value, listed)


def _number_matches(operator: str, value: str | None, listed: Sequence[str]) -> bool:
    try:
        number, bound = int(value or ""), int(listed[0])
    except (ValueError, IndexError):
        return False
    return number > bound if operator == "Gt" else number < bound


def _unknown_constraints(spec: Object) -> str:
    affinity = spec.get("affinity") or {}
    for kind in ("podAffinity", "podAntiAffinity"):
        if (affinity.get(kind) or {}).get("requiredDuringSchedulingIgnoredDuringExecution"):
            return kind
    spread = spec.get("topologySpreadConstraints") or []
    if any(rule.get("whenUnsatisfiable") == "DoNotSchedule" for rule in spread):
        return "topologySpreadConstraints"
    return ""
