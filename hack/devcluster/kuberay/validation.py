"""What KubeRay refuses in a RayCluster: ordered, named checks, each giving KubeRay's message.

Pure. The API server has checked the schema before; these are the rules that only the controller knows.
A refused cluster gets a warning event and nothing else: no pod, no status, no retry until it changes.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from devcluster.kuberay import constants as c
from devcluster.kuberay import fault_tolerance
from devcluster.kuberay.environment import auth_enabled
from devcluster.kuberay.probes import parse_version

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from devcluster.kuberay.constants import Manifest

_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?")
_LABEL_VALUE = re.compile(r"(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?")
_LABEL_KEY = re.compile(r"([a-z0-9]([-a-z0-9.]*[a-z0-9])?/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]")
_RESOURCE_PARAMS = ("num-cpus", "num-gpus", "memory", "resources")
_OLDEST_RAY_WITH_TOKENS = (2, 52, 0)
_AUTOSCALER_SWITCH = "RAY_enable_autoscaler_v2"

METADATA = "InvalidRayClusterMetadata"
SPEC = "InvalidRayClusterSpec"
STATUS = "InvalidRayClusterStatus"


@dataclass(frozen=True)
class Violation:
    """Why a RayCluster is not acted on: the reason and message of its warning event."""

    reason: str
    message: str


def validate(cluster: Manifest) -> Violation | None:
    """The first rule the cluster breaks, or None."""
    where = f"{cluster['metadata'].get('namespace', 'default')}/{cluster['metadata']['name']}"
    stages: list[tuple[str, str, list[Callable[[Manifest], str | None]]]] = [
        (METADATA, "The RayCluster metadata is invalid", [_name]),
        (SPEC, "The RayCluster spec is invalid", _SPEC_CHECKS),
        (SPEC, "The RayCluster UpgradeStrategy is invalid", [_upgrade_strategy]),
        (STATUS, "The RayCluster status is invalid", [_status]),
    ]
    for reason, headline, checks in stages:
        for check in checks:
            message = check(cluster)
            if message:
                return Violation(reason, f"{headline} {where}: {message}")
    return None


def _name(cluster: Manifest) -> str | None:
    name = cluster["metadata"]["name"]
    if len(name) > c.MAX_NAME_LENGTH:
        return f"RayCluster name should be no more than {c.MAX_NAME_LENGTH} characters"
    if not _DNS_1035.fullmatch(name):
        return (
            "RayCluster name should be a valid DNS1035 label: lower case letters, digits and '-', "
            "starting with a letter and ending with a letter or digit"
        )
    return None


def _containers(cluster: Manifest) -> str | None:
    spec = cluster["spec"]
    if not spec["headGroupSpec"]["template"].get("spec", {}).get("containers"):
        return "headGroupSpec should have at least one container"
    for group in spec.get("workerGroupSpecs") or []:
        if not group["template"].get("spec", {}).get("containers"):
            return "workerGroupSpec should have at least one container"
    return None


def _bounds(cluster: Manifest) -> str | None:
    autoscaling = cluster["spec"].get("enableInTreeAutoscaling")
    for group in cluster["spec"].get("workerGroupSpecs") or []:
        name, low, high = group["groupName"], group.get("minReplicas"), group.get("maxReplicas")
        if not autoscaling and (low is None or high is None):
            return f"worker group {name} must set both minReplicas and maxReplicas when autoscaling is disabled"
        for field, value in (("minReplicas", low), ("maxReplicas", high)):
            if value is not None and value < 0:
                return f"worker group {name} has negative {field} {value}"
        if low is not None and high is not None and low > high:
            return f"worker group {name} has minReplicas {low} greater than maxReplicas {high}"
    return None


def _groups(cluster: Manifest) -> Iterator[tuple[str, Manifest]]:
    yield "Head", cluster["spec"]["headGroupSpec"]
    for group in cluster["spec"].get("workerGroupSpecs") or []:
        yield group["groupName"], group


def _group_resources(cluster: Manifest) -> str | None:
    for name, group in _groups(cluster):
        params = group.get("rayStartParams") or {}
        if group.get("resources") and any(params.get(key) for key in _RESOURCE_PARAMS):
            return (
                f"resource fields should not be set in both rayStartParams and Resources for {name} group; "
                "please use only one"
            )
    return None


def _group_labels(cluster: Manifest) -> str | None:
    for name, group in _groups(cluster):
        if "labels" in (group.get("rayStartParams") or {}):
            return (
                f"rayStartParams['labels'] is not supported for {name} group; "
                "please use the top-level Labels field instead"
            )
        for key, value in (group.get("labels") or {}).items():
            if not _LABEL_KEY.fullmatch(key):
                return f"invalid label key for {name} group: '{key}'"
            if len(value) > 63 or not _LABEL_VALUE.fullmatch(value):
                return f"invalid label value for key '{key}' in {name} group: '{value}'"
    return None


def _autoscaler_only(cluster: Manifest) -> str | None:
    """Fields of worker groups that only the second autoscaler reads."""
    options = cluster["spec"].get("autoscalerOptions") or {}
    if options.get("version") == "v2" or _head_variable(cluster, _AUTOSCALER_SWITCH) in {"1", "true"}:
        return None
    for group in cluster["spec"].get("workerGroupSpecs") or []:
        for field in ("idleTimeoutSeconds", "priority"):
            if group.get(field) is not None and not (field == "priority" and group[field] == 0):
                return f"worker group {group['groupName']}: {field} is set, but autoscaler v2 is not enabled"
    return None


def _autoscaler_switch(cluster: Manifest) -> str | None:
    value = _head_variable(cluster, _AUTOSCALER_SWITCH)
    if not cluster["spec"].get("enableInTreeAutoscaling") and value in {"1", "true"}:
        return (
            f"environment variable {_AUTOSCALER_SWITCH} cannot be set to '{value}' when "
            "enableInTreeAutoscaling is false"
        )
    return None


def _token(cluster: Manifest) -> str | None:
    if not auth_enabled(cluster):
        return None
    text = cluster["spec"].get("rayVersion", "")
    if not text:
        return "authOptions.mode is 'token' but RayVersion was not specified. Ray version 2.52.0 or later is required"
    version = parse_version(text)
    if version is None:
        return f"authOptions.mode is 'token' but RayVersion format is invalid: {text}"
    if version < _OLDEST_RAY_WITH_TOKENS:
        return f"authOptions.mode is 'token' but minimum Ray version is 2.52.0, got {text}"
    return None


def _feature_gates(cluster: Manifest) -> str | None:
    gates = {
        "networkPolicy": "RayClusterNetworkPolicy",
        "tlsOptions": "RayClusterMTLS",
        "historyServerOptions": "RayClusterHistoryServer",
    }
    for field, gate in gates.items():
        if cluster["spec"].get(field) is not None:
            return f"spec.{field} requires the {gate} feature gate to be enabled"
    return None


def _upgrade_strategy(cluster: Manifest) -> str | None:
    kind = (cluster["spec"].get("upgradeStrategy") or {}).get("type")
    if kind in {None, "Recreate", "None"}:
        return None
    return f"Spec.UpgradeStrategy.Type value {kind} is invalid, valid options are Recreate or None"


def _status(cluster: Manifest) -> str | None:
    conditions = (cluster.get("status") or {}).get("conditions") or []
    true = {condition["type"] for condition in conditions if condition["status"] == "True"}
    if {c.SUSPENDING, c.SUSPENDED} <= true:
        return "RayClusterSuspending and RayClusterSuspended conditions should not be both true"
    return None


def _head_variable(cluster: Manifest, name: str) -> str | None:
    container = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    return next((str(env.get("value", "")) for env in container.get("env") or [] if env["name"] == name), None)


_SPEC_CHECKS: list[Callable[[Manifest], str | None]] = [
    _containers,
    _bounds,
    _group_resources,
    _group_labels,
    _autoscaler_only,
    fault_tolerance.problem,
    _autoscaler_switch,
    _token,
    _feature_gates,
]
