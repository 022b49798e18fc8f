"""The EndpointSlices and the Endpoints of a Service, from the Pods it selects. Pure.

After Kubernetes' controllers (staging/src/k8s.io/endpointslice and pkg/controller/endpoint): a Pod without an
address or with an end is left out, one being deleted is told as terminating and is not ready, and Pods for
which a named port means different numbers stand in slices of their own.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Object = Mapping[str, Any]
Ports = tuple["Port", ...]

MANAGER = "endpoints.devcluster.tidemill.dev"
SERVICE_LABEL = "kubernetes.io/service-name"
SLICE_MANAGER_LABEL = "endpointslice.kubernetes.io/managed-by"
ENDPOINTS_MANAGER_LABEL = "endpoints.kubernetes.io/managed-by"
HEADLESS_LABEL = "service.kubernetes.io/headless"
LARGEST_SLICE = 100
"""Endpoints in one slice, as the controller-manager's default."""


@dataclass(frozen=True, order=True)
class Port:
    """One port of a Service as a group of Pods has it."""

    name: str
    number: int
    protocol: str = "TCP"
    application: str = ""

    def to_object(self) -> dict[str, Any]:
        """As in an EndpointSlice's and an Endpoints' `ports`."""
        told = {"name": self.name, "port": self.number, "protocol": self.protocol}
        return told | ({"appProtocol": self.application} if self.application else {})


def endpoint_slices(service: Object, pods: Iterable[Object]) -> list[dict[str, Any]]:
    """The slices of one Service; an empty one where it selects no Pod, none where it has no selector."""
    if not _selector(service):
        return []
    groups = _by_ports(service, pods) or {(): []}
    return [
        _slice(service, ports, number, members[start : start + LARGEST_SLICE])
        for ports, members in sorted(groups.items())
        for number, start in enumerate(range(0, max(len(members), 1), LARGEST_SLICE))
    ]


def endpoints(service: Object, pods: Iterable[Object]) -> dict[str, Any] | None:
    """The Endpoints object of one Service, which knows no terminating Pods; None where it has no selector."""
    if not _selector(service):
        return None
    subsets = []
    for ports, members in sorted(_by_ports(service, pods).items()):
        if not ports and service["spec"].get("ports"):
            continue
        listed = [pod for pod in members if _open(service) or not _terminating(pod)]
        subset = {
            "addresses": [_address(pod) for pod in listed if _ready(service, pod)],
            "notReadyAddresses": [_address(pod) for pod in listed if not _ready(service, pod)],
            "ports": [port.to_object() for port in ports],
        }
        if listed:
            subsets.append({field: value for field, value in subset.items() if value})
    metadata = _metadata(service, service["metadata"]["name"], {ENDPOINTS_MANAGER_LABEL: MANAGER})
    return {"apiVersion": "v1", "kind": "Endpoints", "metadata": metadata, "subsets": subsets}


def _slice(service: Object, ports: Ports, number: int, pods: Sequence[Object]) -> dict[str, Any]:
    name = service["metadata"]["name"]
    labels = {SERVICE_LABEL: name, SLICE_MANAGER_LABEL: MANAGER}
    if service["spec"].get("clusterIP") == "None":
        labels[HEADLESS_LABEL] = ""
    told = json.dumps([[port.to_object() for port in ports], number])
    metadata = _metadata(service, f"{name}-{hashlib.sha256(told.encode()).hexdigest()[:8]}", labels)
    return {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata,
        "addressType": "IPv4",
        "endpoints": [_endpoint(service, pod) for pod in pods],
        "ports": [port.to_object() for port in ports],
    }


def _metadata(service: Object, name: str, labels: Mapping[str, str]) -> dict[str, Any]:
    metadata = service["metadata"]
    owner = {
        "apiVersion": "v1",
        "kind": "Service",
        "name": metadata["name"],
        "uid": metadata["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }
    own = {key: value for key, value in (metadata.get("labels") or {}).items() if key != SERVICE_LABEL}
    return {
        "name": name,
        "namespace": metadata["namespace"],
        "labels": {**own, **labels},
        "ownerReferences": [owner],
    }


def _endpoint(service: Object, pod: Object) -> dict[str, Any]:
    address = _address(pod)
    told = {
        "addresses": [address["ip"]],
        "conditions": {
            "ready": _ready(service, pod),
            "serving": _serving(pod),
            "terminating": _terminating(pod),
        },
        "targetRef": address["targetRef"],
    }
    return told | ({"nodeName": address["nodeName"]} if "nodeName" in address else {})


def _address(pod: Object) -> dict[str, Any]:
    metadata = pod["metadata"]
    reference = {
        "kind": "Pod",
        "namespace": metadata["namespace"],
        "name": metadata["name"],
        "uid": metadata["uid"],
    }
    node = pod["spec"].get("nodeName")
    return {"ip": pod["status"]["podIP"], "targetRef": reference} | ({"nodeName": node} if node else {})


def _by_ports(service: Object, pods: Iterable[Object]) -> dict[Ports, list[Object]]:
    """The Pods behind a Service, by name, grouped by what its ports mean in them."""
    groups: dict[Ports, list[Object]] = {}
    for pod in sorted(pods, key=lambda pod: pod["metadata"]["name"]):
        if _selects(service, pod) and _can_be_reached(pod):
            groups.setdefault(tuple(_ports(service, pod)), []).append(pod)
    return groups


def _ports(service: Object, pod: Object) -> Iterator[Port]:
    for port in service["spec"].get("ports") or []:
        protocol = port.get("protocol", "TCP")
        target = port.get("targetPort") or port["port"]
        number = target if isinstance(target, int) else _container_port(pod, target, protocol)
        if number is not None:
            yield Port(port.get("name") or "", number, protocol, port.get("appProtocol") or "")


def _container_port(pod: Object, name: str, protocol: str) -> int | None:
    """The number of a named port in a Pod; None if no container has it."""
    spec = pod["spec"]
    beside = [one for one in spec.get("initContainers") or [] if one.get("restartPolicy") == "Always"]
    for container in (*spec["containers"], *beside):
        for port in container.get("ports") or []:
            if port.get("name") == name and port.get("protocol", "TCP") == protocol:
                return int(port["containerPort"])
    return None


def _selector(service: Object) -> dict[str, str]:
    spec = service.get("spec") or {}
    return {} if spec.get("type") == "ExternalName" else dict(spec.get("selector") or {})


def _selects(service: Object, pod: Object) -> bool:
    labels = pod["metadata"].get("labels") or {}
    return all(labels.get(key) == value for key, value in _selector(service).items())


def _can_be_reached(pod: Object) -> bool:
    status = pod.get("status") or {}
    return bool(status.get("podIP")) and status.get("phase") not in {"Succeeded", "Failed"}


def _open(service: Object) -> bool:
    """Whether the Service wants its Pods told before they are ready."""
    return bool(service["spec"].get("publishNotReadyAddresses"))


def _ready(service: Object, pod: Object) -> bool:
    return _open(service) or (_serving(pod) and not _terminating(pod))


def _serving(pod: Object) -> bool:
    conditions = pod["status"].get("conditions") or []
    return any(condition["type"] == "Ready" and condition["status"] == "True" for condition in conditions)


def _terminating(pod: Object) -> bool:
    return bool(pod["metadata"].get("deletionTimestamp"))


@dataclass(frozen=True)
class Writes:
    """What to write so that the stored objects become the wanted ones."""

    create: tuple[dict[str, Any], ...] = ()
    replace: tuple[dict[str, Any], ...] = ()
    delete: tuple[Object, ...] = ()


def writes(wanted: Iterable[dict[str, Any]], stored: Iterable[Object]) -> Writes:
    """How the `stored` objects of one kind and namespace become the `wanted` ones.

    An object with another manager is only touched where a wanted one has its name. A replacement carries the
    revision it was decided on, so that a later write by another is not undone unseen.
    """
    present = {obj["metadata"]["name"]: obj for obj in stored}
    by_name = {obj["metadata"]["name"]: obj for obj in wanted}
    create = [obj for name, obj in by_name.items() if name not in present]
    replace = [
        {**obj, "metadata": {**obj["metadata"], "resourceVersion": present[name]["metadata"]["resourceVersion"]}}
        for name, obj in by_name.items()
        if name in present and not _same(obj, present[name])
    ]
    delete = [obj for name, obj in present.items() if name not in by_name and _managed(obj)]
    return Writes(tuple(create), tuple(replace), tuple(delete))


def _managed(obj: Object) -> bool:
    labels = obj["metadata"].get("labels") or {}
    return MANAGER in (labels.get(SLICE_MANAGER_LABEL), labels.get(ENDPOINTS_MANAGER_LABEL))


def _same(wanted: Object, stored: Object) -> bool:
    fields = [field for field in wanted if field not in {"apiVersion", "kind", "metadata"}]
    of_metadata = ("labels", "ownerReferences")
    return all((wanted[field] or None) == (stored.get(field) or None) for field in fields) and all(
        wanted["metadata"][field] == stored["metadata"].get(field) for field in of_metadata
    )
