"""The `ray start` command line of a pod, made from `rayStartParams` and the container's limits.

Pure. A pod's command is `ray start [--head]` with the parameters in alphabetical order, so that equal
specs give equal pods.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from devcluster.kuberay import constants as c
from devcluster.kuberay.quantities import Quantity

if TYPE_CHECKING:
    from collections.abc import Mapping

_MIG_DEVICE = re.compile(r"nvidia\.com/mig-\d+g\.\d+gb$")

_ACCELERATORS = {"aws.amazon.com/neuroncore": "neuron_cores", "google.com/tpu": "TPU"}
"""Device names that KubeRay turns into a Ray resource of another name."""

_OPTIONS_WITH_BOOLEAN_VALUE = frozenset({"log-color", "include-dashboard", "include-log-monitor"})
"""Options of `ray start` that take `=true` and `=false`; all others are switches."""


@dataclass(frozen=True)
class Node:
    """What decides a pod's `ray start` command.

    `address` is where a worker finds the GCS; `group_resources` and `group_labels` are the group's own
    `resources` and `labels`; `container_resources` is the Ray container's `resources`.
    """

    node_type: str
    params: Mapping[str, str] = field(default_factory=dict)
    address: str = ""
    group_resources: Mapping[str, str] = field(default_factory=dict)
    group_labels: Mapping[str, str] = field(default_factory=dict)
    container_resources: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


def is_gpu(resource: str) -> bool:
    """Whether KubeRay counts this device as a GPU: `*gpu`, or a slice of an NVIDIA GPU (MIG)."""
    return resource.endswith("gpu") or bool(_MIG_DEVICE.search(resource))


def complete_params(node: Node) -> dict[str, str]:
    """All parameters of `ray start`: the user's, then what the group and the container add."""
    params = dict(node.params)
    params.update(_from_group_resources(node.group_resources))
    if node.group_labels:
        params["labels"] = ",".join(f"{key}={value}" for key, value in sorted(node.group_labels.items()))
    if node.node_type == c.WORKER:
        params.setdefault("address", node.address)
    else:
        params.setdefault("dashboard-host", "0.0.0.0")  # noqa: S104 - the Service must reach it
    params.setdefault("metrics-export-port", str(c.METRICS_PORT))
    params["block"] = "true"
    params.setdefault("dashboard-agent-listen-port", str(c.DASHBOARD_AGENT_PORT))
    return _with_container_resources(params, node.container_resources)


def command(node: Node) -> str:
    """The command line. Spaces around every flag are doubled, as in KubeRay's."""
    start = "ray start --head" if node.node_type == c.HEAD else "ray start"
    return f"{start} {''.join(_flag(key, value) for key, value in sorted(complete_params(node).items()))}"


def _flag(option: str, value: str) -> str:
    if value.lower() in {"true", "false"} and option not in _OPTIONS_WITH_BOOLEAN_VALUE:
        return f" --{option} " if value.lower() == "true" else ""
    return f" --{option}={value} "


def _from_group_resources(resources: Mapping[str, str]) -> dict[str, str]:
    params: dict[str, str] = {}
    custom: dict[str, float] = {}
    for name, text in resources.items():
        try:
            quantity = Quantity.parse(text)
        except ValueError:
            continue  # KubeRay logs and skips a quantity it cannot read
        lowered = name.lower()
        if lowered == "cpu":
            params["num-cpus"] = str(quantity.ceiling())
        elif lowered == "memory":
            params["memory"] = str(quantity.ceiling())
        elif is_gpu(lowered):
            params["num-gpus"] = str(quantity.ceiling())
        else:
            custom[name] = float(quantity.amount)
    if custom:
        params["resources"] = _resources_text(custom)
    return params


def _with_container_resources(params: dict[str, str], resources: Mapping[str, Mapping[str, str]]) -> dict[str, str]:
    limits = {name: Quantity.parse(text) for name, text in resources.get("limits", {}).items()}
    requests = {name: Quantity.parse(text) for name, text in resources.get("requests", {}).items()}
    cpu = limits.get("cpu") or Quantity()
    if not cpu.amount:
        cpu = requests.get("cpu") or Quantity()
    if cpu.amount:
        params.setdefault("num-cpus", str(cpu.ceiling()))
    memory = limits.get("memory") or Quantity()
    if memory.amount:
        params.setdefault("memory", str(memory.ceiling()))
    return _with_accelerators(params, limits)


def _with_accelerators(params: dict[str, str], limits: Mapping[str, Quantity]) -> dict[str, str]:
    """GPUs, and at most one other known accelerator, taken from the limits alone.

    As in KubeRay, a `resources` parameter that is no JSON leaves both out.
    """
    try:
        resources = json.loads(params.get("resources", "{}").strip("'\"` "))
    except json.JSONDecodeError:
        return params
    found = any(name in resources for name in _ACCELERATORS.values())
    for device, quantity in sorted(limits.items()):
        if not quantity.amount:
            continue
        if is_gpu(device):
            params.setdefault("num-gpus", str(quantity.ceiling()))
        if device in _ACCELERATORS and not found:
            found = True
            params["resources"] = _resources_text({**resources, _ACCELERATORS[device]: float(quantity.amount)})
    return params


def _resources_text(resources: Mapping[str, float]) -> str:
    """JSON in single quotes for the shell; whole numbers without a decimal point, as Go writes them."""
    whole = {name: int(value) if value == int(value) else value for name, value in resources.items()}
    return f"'{json.dumps(whole, sort_keys=True, separators=(',', ':'))}'"
