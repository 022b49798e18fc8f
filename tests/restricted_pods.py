"""The restricted Pod Security Standard as a list of what a pod's spec breaks of it.

Written from https://kubernetes.io/docs/concepts/security/pod-security-standards/ for pods of Linux, for what is
rendered or built here; the dev cluster's admission has its own.
"""

from __future__ import annotations

from typing import Any

VOLUMES = {
    "configMap",
    "csi",
    "downwardAPI",
    "emptyDir",
    "ephemeral",
    "persistentVolumeClaim",
    "projected",
    "secret",
    "image",
}


def breaches(spec: dict[str, Any]) -> list[str]:
    """What the pod may not have under `restricted`; empty where it complies."""
    found = [f"{field} is set" for field in ("hostNetwork", "hostPID", "hostIPC") if spec.get(field)]
    for volume in spec.get("volumes", []):
        found += [f"volume {volume['name']} is a {kind}" for kind in volume.keys() - {"name"} - VOLUMES]
    pod = spec.get("securityContext", {})
    if pod.get("sysctls"):
        found.append("sysctls are set")
    for container in [*spec.get("containers", []), *spec.get("initContainers", [])]:
        found += [f"{container['name']}: {said}" for said in _of(container, pod)]
    return found


def _of(container: dict[str, Any], pod: dict[str, Any]) -> list[str]:
    own = container.get("securityContext", {})
    both = pod | own
    capabilities = own.get("capabilities", {})
    checks = {
        "runs privileged": own.get("privileged", False),
        "allowPrivilegeEscalation is not false": own.get("allowPrivilegeEscalation") is not False,
        "does not drop ALL": "ALL" not in capabilities.get("drop", []),
        "adds capabilities": set(capabilities.get("add", [])) - {"NET_BIND_SERVICE"},
        "runAsNonRoot is not true": both.get("runAsNonRoot") is not True,
        "runs as root": both.get("runAsUser") == 0,
        "has no seccomp profile": both.get("seccompProfile", {}).get("type") not in {"RuntimeDefault", "Localhost"},
        "has a port of the node": any(port.get("hostPort") for port in container.get("ports", [])),
        "has an unmasked /proc": own.get("procMount", "Default") != "Default",
    }
    return [said for said, broken in checks.items() if broken]
