"""The tests' own judge of pods: it admits a good one, and names each breach of a bad one."""

from __future__ import annotations

from copy import deepcopy
from typing import Any

import pytest
from restricted_pods import breaches

GOOD: dict[str, Any] = {
    "securityContext": {"runAsNonRoot": True, "seccompProfile": {"type": "RuntimeDefault"}},
    "containers": [
        {"name": "c", "securityContext": {"allowPrivilegeEscalation": False, "capabilities": {"drop": ["ALL"]}}}
    ],
    "volumes": [{"name": "tmp", "emptyDir": {}}],
}


def changed(path: str, value: Any) -> dict[str, Any]:
    """The good pod with one field of it set otherwise."""
    spec: Any = deepcopy(GOOD)
    node = spec
    *way, last = path.split(".")
    for step in way:
        node = node[int(step)] if step.isdigit() else node.setdefault(step, {})
    node[last] = value
    return dict(spec)


def test_a_good_pod_breaks_nothing() -> None:
    assert breaches(GOOD) == []


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        ("hostNetwork", True, "hostNetwork is set"),
        ("securityContext.sysctls", [{"name": "a", "value": "b"}], "sysctls are set"),
        ("securityContext.runAsNonRoot", False, "c: runAsNonRoot is not true"),
        ("securityContext.seccompProfile", {"type": "Unconfined"}, "c: has no seccomp profile"),
        ("containers.0.securityContext.runAsUser", 0, "c: runs as root"),
        ("containers.0.securityContext.privileged", True, "c: runs privileged"),
        ("containers.0.securityContext.allowPrivilegeEscalation", None, "c: allowPrivilegeEscalation is not false"),
        ("containers.0.securityContext.capabilities", {"drop": ["KILL"]}, "c: does not drop ALL"),
        ("containers.0.securityContext.capabilities", {"drop": ["ALL"], "add": ["SYS_ADMIN"]}, "c: adds capabilities"),
        ("containers.0.securityContext.procMount", "Unmasked", "c: has an unmasked /proc"),
        ("containers.0.ports", [{"hostPort": 80}], "c: has a port of the node"),
        ("volumes", [{"name": "node", "hostPath": {"path": "/"}}], "volume node is a hostPath"),
        ("initContainers", [{"name": "i"}], "i: does not drop ALL"),
    ],
)
def test_each_breach_is_named(path: str, value: Any, said: str) -> None:
    assert said in breaches(changed(path, value))
