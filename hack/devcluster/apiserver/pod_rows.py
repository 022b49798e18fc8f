"""A Pod's row: READY, STATUS, RESTARTS and the wide columns. After k8s.io/kubernetes/pkg/printers/internalversion."""

from typing import Any

from devcluster.apiserver.durations import age
from devcluster.apiserver.objects import JsonObject, is_terminating, metadata

COLUMNS = (
    ("Ready", "string", 0), ("Status", "string", 0), ("Restarts", "string", 0), ("Age", "string", 0),
    ("IP", "string", 1), ("Node", "string", 1), ("Nominated Node", "string", 1), ("Readiness Gates", "string", 1),
)  # fmt: skip


def cells(pod: JsonObject) -> list[Any]:
    """Return the cells after the name."""
    spec, status = pod.get("spec", {}), pod.get("status", {})
    statuses = status.get("containerStatuses") or []
    ready = sum(bool(container.get("ready")) and "running" in container.get("state", {}) for container in statuses)
    return [
        f"{ready}/{len(spec.get('containers') or [])}",
        reason(pod),
        _restarts(pod),
        age(metadata(pod).get("creationTimestamp")),
        status.get("podIP") or "<none>",
        spec.get("nodeName") or "<none>",
        status.get("nominatedNodeName") or "<none>",
        _gates(spec, status),
    ]


def _gates(spec: JsonObject, status: JsonObject) -> str:
    gates = [gate.get("conditionType") for gate in spec.get("readinessGates") or []]
    if not gates:
        return "<none>"
    true = {c["type"] for c in status.get("conditions") or [] if c.get("status") == "True"}
    return f"{sum(gate in true for gate in gates)}/{len(gates)}"


def _restarts(pod: JsonObject) -> str:
    status = pod.get("status", {})
    initialising = _init_reason(pod)
    statuses = (status.get("initContainerStatuses") if initialising else status.get("containerStatuses")) or []
    count = sum(container.get("restartCount", 0) for container in statuses)
    ended = [
        container["lastState"]["terminated"]["finishedAt"]
        for container in statuses
        if (container.get("lastState") or {}).get("terminated", {}).get("finishedAt")
    ]
    return f"{count} ({age(max(ended))} ago)" if count and ended else str(count)


def reason(pod: JsonObject) -> str:
    """Return the STATUS column: the phase, or why a container is not running."""
    status = pod.get("status", {})
    text = status.get("reason") or status.get("phase") or ""
    if any(c.get("reason") == "SchedulingGated" for c in status.get("conditions") or []):
        text = "SchedulingGated"
    initialising = _init_reason(pod)
    text = initialising or _container_reason(status, text)
    if is_terminating(pod):
        return "Unknown" if status.get("reason") == "NodeLost" else "Terminating"
    return str(text)


def _init_reason(pod: JsonObject) -> str:
    containers = pod.get("spec", {}).get("initContainers") or []
    sidecars = {c["name"] for c in containers if c.get("restartPolicy") == "Always"}
    for index, container in enumerate(pod.get("status", {}).get("initContainerStatuses") or []):
        state = container.get("state", {})
        if container.get("name") in sidecars and container.get("started"):
            continue
        terminated, waiting = state.get("terminated"), state.get("waiting", {})
        if terminated is not None:
            if terminated.get("exitCode") == 0:
                continue
            return f"Init:{_terminated_reason(terminated)}"
        if waiting.get("reason") and waiting["reason"] != "PodInitializing":
            return f"Init:{waiting['reason']}"
        return f"Init:{index}/{len(containers)}"
    return ""


def _container_reason(status: JsonObject, text: str) -> str:
    has_running = False
    for container in reversed(status.get("containerStatuses") or []):
        state = container.get("state", {})
        terminated, waiting = state.get("terminated"), state.get("waiting") or {}
        if waiting.get("reason"):
            text = waiting["reason"]
        elif terminated is not None:
            text = _terminated_reason(terminated)
        elif container.get("ready") and "running" in state:
            has_running = True
    if text == "Completed" and has_running:
        ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status.get("conditions") or [])
        return "Running" if ready else "NotReady"
    return text


def _terminated_reason(terminated: JsonObject) -> str:
    if terminated.get("reason"):
        return str(terminated["reason"])
    if terminated.get("signal"):
        return f"Signal:{terminated['signal']}"
    return f"ExitCode:{terminated.get('exitCode', 0)}"
