"""The NetworkPolicy of a RayCluster: who may reach its pods. A pure builder: a RayCluster's manifest in, a dict out.

One policy for head and workers. What selects a pod is the label that KubeRay writes on each pod of a cluster, so that
clusters which were made before there were policies get one as they run. Answers to what the pods themselves ask always
pass, and so do the kubelet's probes, which come from the pod's own node. KubeRay's controller of RayClusters asks the
Kubernetes API only (RayJob and RayService would ask the head), so it needs no way in.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tidemill_api import GROUP, labels
from tidemill_api.addresses import METADATA_4, METADATA_6
from tidemill_api.endpoint_contract import ENGINE_METRICS_PORT, HTTP_PORT, INGRESS_METRICS_PORT
from tidemill_api.job_contract import METRICS_PORT

Json = dict[str, Any]

POLICY_API = "networking.k8s.io/v1"
CLUSTER_LABEL = "ray.io/cluster"
"""Written by KubeRay on each pod: the name of its RayCluster."""

NAMESPACE_LABEL = "kubernetes.io/metadata.name"
"""Written by Kubernetes on each namespace: its name."""

OUR_LABELS = (labels.MANAGED_BY, labels.JOB_NAME, labels.ENDPOINT_NAME, labels.REVISION)

DASHBOARD_PORT = 8265
RAY_METRICS_PORT = 8080
DNS_PORT = 53

JOB_FIGURES = (METRICS_PORT,)
ENDPOINT_FIGURES = (INGRESS_METRICS_PORT, ENGINE_METRICS_PORT)
"""Ports of our own figures, which the operator reads as Prometheus does."""


@dataclass(frozen=True)
class PolicyTerms:
    """Who is let in beside the cluster's own pods, and what the pods may not reach.

    The operator's pods are those with these labels in this namespace. No client namespace: whoever reaches an
    endpoint may ask it. No metrics namespace: the operator alone reads figures.
    """

    operator_namespace: str
    operator_labels: tuple[tuple[str, str], ...]
    metrics_namespaces: tuple[str, ...] = ()
    client_namespaces: tuple[str, ...] = ()
    restricted_egress: bool = False


def network_policy(cluster: Json, terms: PolicyTerms) -> Json:
    """The policy of this RayCluster, which goes with the cluster's own owner: it is made before the cluster is."""
    metadata = cluster["metadata"]
    ours = {key: value for key, value in (metadata.get("labels") or {}).items() if key in OUR_LABELS}
    serves = labels.ENDPOINT_NAME in ours
    egress = {"egress": _egress(metadata["name"])} if terms.restricted_egress else {}
    return {
        "apiVersion": POLICY_API,
        "kind": "NetworkPolicy",
        "metadata": {
            "name": metadata["name"],
            "namespace": metadata["namespace"],
            "labels": ours,
            "ownerReferences": [owner for owner in metadata["ownerReferences"] if _is_ours(owner)],
        },
        "spec": {
            "podSelector": _of_cluster(metadata["name"]),
            "policyTypes": ["Ingress", *(["Egress"] if egress else [])],
            "ingress": _ingress(metadata["name"], terms, serves=serves),
            **egress,
        },
    }


def _is_ours(owner: Json) -> bool:
    return str(owner.get("apiVersion", "")).startswith(f"{GROUP}/")


def _of_cluster(name: str) -> Json:
    return {"matchLabels": {CLUSTER_LABEL: name}}


def _ingress(name: str, terms: PolicyTerms, *, serves: bool) -> list[Json]:
    figures = ENDPOINT_FIGURES if serves else JOB_FIGURES
    operator = {
        "namespaceSelector": {"matchLabels": {NAMESPACE_LABEL: terms.operator_namespace}},
        "podSelector": {"matchLabels": dict(terms.operator_labels)},
    }
    rules: list[Json] = [
        {"from": [{"podSelector": _of_cluster(name)}]},
        {"from": [operator], "ports": _ports(DASHBOARD_PORT, *figures)},
    ]
    if terms.metrics_namespaces:
        rules.append({"from": [_namespaces(terms.metrics_namespaces)], "ports": _ports(RAY_METRICS_PORT, *figures)})
    if serves:
        clients = {"from": [_namespaces(terms.client_namespaces)]} if terms.client_namespaces else {}
        rules.append(clients | {"ports": _ports(HTTP_PORT)})
    return rules


def _egress(name: str) -> list[Json]:
    """Names, the own cluster, other pods, and any address but those where clouds keep the credentials of nodes.

    Pods are named beside the addresses: some network plugins take a block of addresses for what is outside only.
    """
    return [
        {"ports": [{"port": DNS_PORT, "protocol": "UDP"}, {"port": DNS_PORT, "protocol": "TCP"}]},
        {"to": [{"podSelector": _of_cluster(name)}]},
        {"to": [{"namespaceSelector": {}}]},
        {
            "to": [
                {"ipBlock": {"cidr": "0.0.0.0/0", "except": list(METADATA_4)}},
                {"ipBlock": {"cidr": "::/0", "except": list(METADATA_6)}},
            ]
        },
    ]


def _namespaces(names: tuple[str, ...]) -> Json:
    expression = {"key": NAMESPACE_LABEL, "operator": "In", "values": list(names)}
    return {"namespaceSelector": {"matchExpressions": [expression]}}


def _ports(*ports: int) -> list[Json]:
    return [{"port": port, "protocol": "TCP"} for port in ports]
