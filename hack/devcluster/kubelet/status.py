"""A Pod's status, built from what its containers do. Pure: `now` is a parameter.

The phase follows https://kubernetes.io/docs/concepts/workloads/pods/pod-lifecycle/#pod-phase, conditions keep
their transition time while their status stays.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from devcluster.kubelet.quantities import parse_all
from devcluster.kubelet.states import ContainerView, Running, Terminated, Waiting, policy_of, rfc3339, starts_again

Object = Mapping[str, Any]


@dataclass(frozen=True)
class PodView:
    """What the kubelet knows of one of its Pods."""

    host_address: str
    started_at: float
    address: str = ""
    init: tuple[ContainerView, ...] = ()
    containers: tuple[ContainerView, ...] = ()
    stopping: bool = False


def build(pod: Object, view: PodView, now: float, written: Object | None = None) -> dict[str, Any]:
    """The whole status of a Pod. `written` is the status written last, if newer than the one in `pod`."""
    phase = phase_of(pod, view)
    status: dict[str, Any] = {
        "phase": phase,
        "conditions": _conditions(pod, view, (phase, now), written or {}),
        "hostIP": view.host_address,
        "hostIPs": [{"ip": view.host_address}],
        "startTime": rfc3339(view.started_at),
        "qosClass": qos_class(pod),
        "containerStatuses": [_container_status(container) for container in view.containers],
    }
    if view.init:
        status["initContainerStatuses"] = [_container_status(container) for container in view.init]
    if view.address:
        status |= {"podIP": view.address, "podIPs": [{"ip": view.address}]}
    return status


def phase_of(pod: Object, view: PodView) -> str:
    """Pending, Running, Succeeded or Failed."""
    spec = pod["spec"]
    for container, spoken in zip(view.init, spec.get("initContainers") or [], strict=True):
        sidecar = spoken.get("restartPolicy") == "Always"
        if not sidecar and isinstance(container.state, Terminated) and container.state.exit_code:
            over = view.stopping or not starts_again(policy_of(spoken, spec, init=True), container.state)
            return "Failed" if over else "Pending"
    if not _initialized(pod, view):
        return "Failed" if view.stopping else "Pending"
    beside = [container.state for container in view.init if isinstance(container.state, Running)]
    states = [*(container.state for container in view.containers), *beside]
    if any(isinstance(container.state, Waiting) and container.last is None for container in view.containers):
        return "Failed" if view.stopping else "Pending"
    policy = "Never" if view.stopping else str(spec.get("restartPolicy") or "Always")
    ended = [state for state in states if isinstance(state, Terminated)]
    if len(ended) < len(states) or any(starts_again(policy, state) for state in ended):
        return "Running"
    return "Failed" if any(state.exit_code for state in ended) else "Succeeded"


def qos_class(pod: Object) -> str:
    """Guaranteed, Burstable or BestEffort, from CPU and memory requests and limits."""
    containers = [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]
    guaranteed, anything = True, False
    for container in containers:
        resources = container.get("resources") or {}
        limits = parse_all(resources.get("limits"))
        requests = limits | parse_all(resources.get("requests"))
        for name in ("cpu", "memory"):
            anything = anything or bool(requests.get(name))
            guaranteed = guaranteed and bool(limits.get(name)) and limits.get(name) == requests.get(name)
    if guaranteed:
        return "Guaranteed"
    return "Burstable" if anything else "BestEffort"


def _container_status(view: ContainerView) -> dict[str, Any]:
    container_id = "" if isinstance(view.state, Waiting) else view.state.container_id
    return {
        "name": view.name,
        "image": view.image,
        "imageID": "",
        "containerID": container_id,
        "ready": view.ready,
        "started": view.started,
        "restartCount": view.restarts,
        "state": view.state.to_status(),
        "lastState": view.last.to_status() if view.last else {},
    }


def _initialized(pod: Object, view: PodView) -> bool:
    return not _not_initialized(pod, view)


def _not_initialized(pod: Object, view: PodView) -> list[str]:
    spoken = pod["spec"].get("initContainers") or []
    return [
        container.name
        for container, spec in zip(view.init, spoken, strict=True)
        if not _init_done(container, sidecar=spec.get("restartPolicy") == "Always")
    ]


def _init_done(container: ContainerView, *, sidecar: bool) -> bool:
    if sidecar:
        return container.started or container.restarts > 0 or isinstance(container.state, Terminated)
    return isinstance(container.state, Terminated) and container.state.exit_code == 0


def _conditions(pod: Object, view: PodView, at: tuple[str, float], written: Object) -> list[dict[str, Any]]:
    phase, now = at
    waiting = _not_initialized(pod, view)
    unready = [container.name for container in view.containers if not container.ready]
    initialized = ("ContainersNotInitialized", f"containers with incomplete status: [{' '.join(waiting)}]")
    ready = ("ContainersNotReady", f"containers with unready status: [{' '.join(unready)}]")
    if phase == "Succeeded":
        ready = initialized = ("PodCompleted", "")
    elif phase == "Failed":
        ready = ("PodFailed", "")
    running = any(isinstance(container.state, Running) for container in (*view.init, *view.containers))
    wanted = [
        ("PodReadyToStartContainers", bool(view.address) and (running or phase in {"Pending", "Running"}), ("", "")),
        ("Initialized", not waiting, initialized),
        ("Ready", not unready and phase == "Running", ready),
        ("ContainersReady", not unready and phase == "Running", ready),
        ("PodScheduled", True, ("", "")),
    ]
    ours = [kind for kind, _, _ in wanted]
    before = {condition["type"]: condition for condition in (pod.get("status") or {}).get("conditions") or []}
    others = [condition for kind, condition in before.items() if kind not in ours]
    before |= {condition["type"]: condition for condition in written.get("conditions") or []}
    return [*(_condition(before.get(kind), kind, holds, why, now) for kind, holds, why in wanted), *others]


def _condition(before: Object | None, kind: str, holds: bool, why: Sequence[str], now: float) -> dict[str, Any]:
    text = "True" if holds else "False"
    since = before.get("lastTransitionTime") if before and before["status"] == text else None
    condition = {"type": kind, "status": text, "lastTransitionTime": since or rfc3339(now)}
    if not holds and why[0]:
        condition |= {"reason": why[0]} | ({"message": why[1]} if why[1] else {})
    elif holds and why[0] == "PodCompleted":
        condition["reason"] = why[0]
    return condition
