"""The liveness and readiness probes that KubeRay gives a Ray container which brings none.

The seconds are KubeRay 1.7.0's. The head is thus ready 10 s after its start at the earliest; a template
with a probe of its own is left as it is.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from devcluster.kuberay import constants as c

if TYPE_CHECKING:
    from collections.abc import Mapping

    from devcluster.kuberay.constants import Manifest

_UNIFIED_HEALTH_SINCE = (2, 53, 0)
"""First Ray whose agent answers `/api/healthz` for every part of a node."""

_LIVENESS = {"initialDelaySeconds": 30, "periodSeconds": 5, "successThreshold": 1, "failureThreshold": 120}
_READINESS = {"initialDelaySeconds": 10, "periodSeconds": 5, "successThreshold": 1, "failureThreshold": 10}


def parse_version(text: str) -> tuple[int, int, int] | None:
    """Major, minor and patch of a version such as `2.60.0` or `v2.60`; None if it is none."""
    match = re.match(r"v?(\d+)\.(\d+)(?:\.(\d+))?", text)
    return (int(match[1]), int(match[2]), int(match[3] or 0)) if match else None


def with_probes(container: Manifest, node_type: str, params: Mapping[str, str], ray_version: str) -> Manifest:
    """The container with both probes; `params` are the complete parameters of `ray start`."""
    timeout = 5 if node_type == c.HEAD else 2
    check = _check(node_type, params, ray_version)
    return {
        "livenessProbe": {**_LIVENESS, "timeoutSeconds": timeout, **check},
        "readinessProbe": {**_READINESS, "timeoutSeconds": timeout, **check},
        **container,
    }


def _check(node_type: str, params: Mapping[str, str], ray_version: str) -> Manifest:
    agent = _port(params, "dashboard-agent-listen-port", c.DASHBOARD_AGENT_PORT)
    version = parse_version(ray_version)
    if version is not None and version >= _UNIFIED_HEALTH_SINCE:
        return {"httpGet": {"path": "/api/healthz", "port": agent}}
    checks = [_wget(2, agent, "api/local_raylet_healthz")]
    if node_type == c.HEAD:
        checks.append(_wget(10, _port(params, "dashboard-port", c.DASHBOARD_PORT), "api/gcs_healthz"))
    return {"exec": {"command": ["bash", "-c", " && ".join(checks)]}}


def _wget(timeout_seconds: int, port: int, path: str) -> str:
    return f"wget --tries 1 -T {timeout_seconds} -q -O- http://localhost:{port}/{path} | grep success"


def _port(params: Mapping[str, str], option: str, default: int) -> int:
    try:
        return int(params[option])
    except (KeyError, ValueError):
        return default
