"""The nodes a dev cluster declares, and the Node objects that stand for them. Pure.

What a node declares is believed: its CPUs may exceed the machine's, its GPUs need not exist. Declared amounts
only decide where a Pod may go.
"""

import os
import platform
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import yaml

from devcluster.kubelet.quantities import parse

MANAGED_LABEL = "devcluster.tidemill.dev/kubelet"
"""On the Nodes that this program made, so that it may remove those no longer declared."""
KUBELET_VERSION = "v1.34.0-devcluster"
MOST_PODS = "110"

_BUILT_IN = {"cpu", "memory", "pods", "ephemeral-storage"}
_NAME = re.compile(r"[a-z0-9]([-a-z0-9.]{0,61}[a-z0-9])?")
_TAINT = re.compile(r"(?P<key>[^=:]+)(=(?P<value>[^:]*))?:(?P<effect>NoSchedule|PreferNoSchedule|NoExecute)")


class NodeSpecError(ValueError):
    """A node was declared wrongly; the message quotes the declaration and says what is expected."""


@dataclass(frozen=True)
class NodeSpec:
    """One declared node: quantities by resource name as text, labels, and taints as in a Node's spec."""

    name: str
    capacity: dict[str, str]
    labels: dict[str, str] = field(default_factory=dict)
    taints: tuple[dict[str, str], ...] = ()


def parse_node_flag(text: str) -> NodeSpec:
    """A node from `name=a,cpu=4,memory=8Gi,gpu=1,nvidia.com/mig-1g.10gb=7,label.zone=x,taint=key=value:NoSchedule`.

    `gpu` is short for `nvidia.com/gpu`. Raises `NodeSpecError`.
    """
    pairs = [part.partition("=")[::2] for part in text.split(",") if part]
    names = [value for key, value in pairs if key == "name"]
    if len(names) != 1:
        raise NodeSpecError(f"node {text!r}: exactly one name=... is needed, as in name=node-a,cpu=4,memory=8Gi")
    resources = {key: value for key, value in pairs if key not in {"name", "taint"} and not key.startswith("label.")}
    labels = {key.removeprefix("label."): value for key, value in pairs if key.startswith("label.")}
    taints = [_parse_taint(value) for key, value in pairs if key == "taint"]
    return _node(names[0], resources, labels, taints)


def parse_nodes_file(text: str) -> list[NodeSpec]:
    """Nodes from YAML: a list of `{name, capacity: {...}, labels: {...}, taints: ["key=value:NoSchedule"]}`."""
    entries = yaml.safe_load(text)
    if not isinstance(entries, list) or not all(isinstance(entry, dict) and "name" in entry for entry in entries):
        raise NodeSpecError("the file of nodes must be a list of mappings, each with a name")
    return [
        _node(
            str(entry["name"]),
            {key: str(value) for key, value in (entry.get("capacity") or {}).items()},
            {key: str(value) for key, value in (entry.get("labels") or {}).items()},
            [_parse_taint(taint) for taint in entry.get("taints") or []],
        )
        for entry in entries
    ]


def _node(name: str, resources: dict[str, str], labels: dict[str, str], taints: list[dict[str, str]]) -> NodeSpec:
    if not _NAME.fullmatch(name):
        raise NodeSpecError(f"node name {name!r}: lower-case letters, digits, '-' and '.' are allowed")
    capacity = {"cpu": "2", "memory": "4Gi", "pods": MOST_PODS}
    for key, value in resources.items():
        resource = "nvidia.com/gpu" if key == "gpu" else key
        if resource not in _BUILT_IN and "/" not in resource:
            raise NodeSpecError(
                f"node {name}: unknown resource {key!r}; cpu, memory, gpu, or a name such as amd.com/gpu"
            )
        try:
            amount = parse(value)
        except ValueError as error:
            raise NodeSpecError(f"node {name}: {key}={value}: not a quantity such as 4, 500m or 8Gi") from error
        if amount or resource in _BUILT_IN:
            capacity[resource] = value
    return NodeSpec(name, capacity, labels, tuple(taints))


def _parse_taint(text: str) -> dict[str, str]:
    match = _TAINT.fullmatch(text)
    if match is None:
        raise NodeSpecError(f"taint {text!r}: expected key=value:NoSchedule, key:NoSchedule or another effect")
    return {key: value for key, value in match.groupdict().items() if value}


def node_object(spec: NodeSpec) -> dict[str, Any]:
    """The Node to create; its status goes to the status subresource."""
    labels = {
        "kubernetes.io/hostname": spec.name,
        "kubernetes.io/os": "linux",
        "kubernetes.io/arch": {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine()),
        MANAGED_LABEL: "true",
    }
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": spec.name, "labels": labels | spec.labels},
        "spec": {"taints": list(spec.taints)} if spec.taints else {},
    }


def node_status(spec: NodeSpec, address: str, now: str, ready_since: str) -> dict[str, Any]:
    """The status of a node that is up; `address` is the host's address in the pods' network, times are RFC 3339."""
    return {
        "capacity": spec.capacity,
        "allocatable": spec.capacity,
        "addresses": [
            {"type": "InternalIP", "address": address},
            {"type": "Hostname", "address": spec.name},
        ],
        "conditions": [
            _condition("MemoryPressure", "False", "KubeletHasSufficientMemory", now, ready_since),
            _condition("DiskPressure", "False", "KubeletHasNoDiskPressure", now, ready_since),
            _condition("PIDPressure", "False", "KubeletHasSufficientPID", now, ready_since),
            _condition("Ready", "True", "KubeletReady", now, ready_since),
        ],
        "nodeInfo": {
            "kubeletVersion": KUBELET_VERSION,
            "containerRuntimeVersion": "namespaces://1",
            "osImage": "the host's file system, read-only",
            "kernelVersion": platform.release(),
            "operatingSystem": "linux",
            "architecture": platform.machine(),
            "machineID": spec.name,
            "systemUUID": spec.name,
            "bootID": str(os.getpid()),  # tells this kubelet's word from an earlier one's: see `devcluster.supervisor`
            "kubeProxyVersion": "",
        },
    }


def _condition(kind: str, status: str, reason: str, now: str, since: str) -> dict[str, str]:
    return {
        "type": kind,
        "status": status,
        "reason": reason,
        "message": f"the dev cluster says {reason}",
        "lastHeartbeatTime": now,
        "lastTransitionTime": since,
    }


def undeclared(nodes: Iterable[dict[str, Any]], declared: Iterable[str]) -> list[str]:
    """Names of the Nodes we made in an earlier run that are not declared any more."""
    wanted = set(declared)
    return [
        node["metadata"]["name"]
        for node in nodes
        if MANAGED_LABEL in (node["metadata"].get("labels") or {}) and node["metadata"]["name"] not in wanted
    ]
