"""The Services and the Secret that KubeRay makes beside the pods. Pure builders."""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING

from devcluster.kuberay import constants as c
from devcluster.kuberay import naming

if TYPE_CHECKING:
    from devcluster.kuberay.constants import Manifest


def head_labels(cluster: Manifest) -> dict[str, str]:
    """Labels of the head Service, which are its selector too.

    A template may give the application label another value; nothing else can be changed.
    """
    name = cluster["metadata"]["name"]
    template = cluster["spec"]["headGroupSpec"]["template"]
    given = (template.get("metadata") or {}).get("labels") or {}
    return {
        c.LABEL_CLUSTER: name,
        c.LABEL_NODE_TYPE: c.HEAD,
        c.LABEL_IDENTIFIER: naming.identifier(name, c.HEAD),
        c.LABEL_APPLICATION: given.get(c.LABEL_APPLICATION, "kuberay"),
        c.LABEL_CREATED_BY: "kuberay-operator",
    }


def is_head_service(cluster: Manifest, service: Manifest) -> bool:
    """Whether KubeRay would take this Service for the cluster's head Service: it looks at three labels."""
    labels = service["metadata"].get("labels") or {}
    wanted = head_labels(cluster)
    return all(labels.get(key) == wanted[key] for key in (c.LABEL_CLUSTER, c.LABEL_NODE_TYPE, c.LABEL_IDENTIFIER))


def head_ports(cluster: Manifest) -> dict[str, int]:
    """Port numbers by name: the head container's own if it lists any, else the five defaults.

    The metrics port is always there. A container that lists one port therefore hides the dashboard.
    """
    container = cluster["spec"]["headGroupSpec"]["template"]["spec"]["containers"][0]
    own = {
        port.get("name") or f"{port['containerPort']}-port": int(port["containerPort"])
        for port in container.get("ports") or []
    }
    return {"metrics": c.METRICS_PORT, **(own or c.DEFAULT_HEAD_PORTS)}


def head_service(cluster: Manifest) -> Manifest:
    """The head Service: headless and open to pods that are not ready, unless a type was asked for."""
    head = cluster["spec"]["headGroupSpec"]
    ports = [{"name": name, "port": port, "appProtocol": "tcp"} for name, port in sorted(head_ports(cluster).items())]
    annotations = dict(cluster["spec"].get("headServiceAnnotations") or {})
    if head.get("headService"):
        return _given_head_service(cluster, ports, annotations)
    labels = head_labels(cluster)
    spec: Manifest = {"selector": labels, "ports": ports}
    if head.get("serviceType"):
        spec["type"] = head["serviceType"]
    if head.get("serviceType", "ClusterIP") in {"", "ClusterIP"}:
        spec |= {"clusterIP": "None", "publishNotReadyAddresses": True}
    return _service(cluster, naming.head_service_name(cluster), labels, spec, annotations)


def _given_head_service(cluster: Manifest, ports: list[Manifest], annotations: dict[str, str]) -> Manifest:
    """The user's own head Service with our selector, labels, name and the default ports added."""
    head = cluster["spec"]["headGroupSpec"]
    given = deepcopy(head["headService"])
    metadata = given.get("metadata") or {}
    labels = {**(metadata.get("labels") or {}), **head_labels(cluster)}
    spec = given.get("spec") or {}
    spec["selector"] = head_labels(cluster)
    spec["ports"] = [*(spec.get("ports") or []), *ports]
    if not spec.get("type") and head.get("serviceType"):
        spec["type"] = head["serviceType"]
    merged = {**(metadata.get("annotations") or {}), **annotations}
    return _service(cluster, naming.head_service_name(cluster), labels, spec, merged)


def wants_serve_service(cluster: Manifest) -> bool:
    """Whether the annotation asks for a Service in front of Ray Serve."""
    return (cluster["metadata"].get("annotations") or {}).get(c.ANNOTATION_SERVE_SERVICE) == "true"


def serve_service(cluster: Manifest) -> Manifest | None:
    """The Service in front of Ray Serve, or None if the head lists no port called `serve` or `serve-*`.

    Its selector is the cluster alone, so it reaches workers that run no proxy, as KubeRay's does.
    """
    ports = {name: port for name, port in head_ports(cluster).items() if name == "serve" or name.startswith("serve-")}
    if not ports:
        return None
    name = cluster["metadata"]["name"]
    service_name = naming.serve_service_name(name)
    labels = {c.LABEL_ORIGIN_NAME: name, c.LABEL_ORIGIN_KIND: "RayCluster", c.LABEL_SERVE: f"{name}-serve"}
    spec: Manifest = {
        "selector": {c.LABEL_CLUSTER: name},
        "ports": [{"name": key, "port": port} for key, port in sorted(ports.items())],
    }
    if cluster["spec"]["headGroupSpec"].get("serviceType"):
        spec["type"] = cluster["spec"]["headGroupSpec"]["serviceType"]
    return _service(cluster, service_name, labels, spec, {})


def token_secret(cluster: Manifest, name: str, token: str) -> Manifest:
    """The Secret with the token that Ray's processes and their callers share."""
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": name,
            "namespace": naming.namespace_of(cluster),
            "labels": {c.LABEL_CLUSTER: cluster["metadata"]["name"]},
            "ownerReferences": [naming.owner_reference(cluster)],
        },
        "stringData": {c.TOKEN_KEY: token},
    }


def _service(
    cluster: Manifest, name: str, labels: dict[str, str], spec: Manifest, annotations: dict[str, str]
) -> Manifest:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": name,
            "namespace": naming.namespace_of(cluster),
            "labels": labels,
            "annotations": annotations,
            "ownerReferences": [naming.owner_reference(cluster)],
        },
        "spec": spec,
    }
