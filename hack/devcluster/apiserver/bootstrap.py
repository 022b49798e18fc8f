"""The objects every cluster has from its first moment: namespaces with their default account, priority classes."""

from devcluster.apiserver import writes
from devcluster.apiserver.cluster import Cluster
from devcluster.apiserver.objects import is_terminating
from devcluster.apiserver.requests import Target, WriteOptions
from devcluster.apiserver.store import Key

_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_PRIORITY_CLASSES = {
    "system-node-critical": (2_000_001_000, "Used for system critical pods that must not be moved from their node."),
    "system-cluster-critical": (
        2_000_000_000,
        "Used for system critical pods that must run in the cluster, but can be moved to another node if necessary.",
    ),
}
_OPTIONS = WriteOptions(field_manager="kube-apiserver")


def create_initial_objects(cluster: Cluster) -> None:
    """Create what is missing of the initial objects."""
    for name in _NAMESPACES:
        _ensure(cluster, "namespaces", "", name, "Namespace")
    resource = cluster.registry.find("scheduling.k8s.io", "v1", "priorityclasses")
    for name, (value, description) in _PRIORITY_CLASSES.items():
        if resource is not None and cluster.store.get(resource.key("", name)) is None:
            document = {"metadata": {"name": name}, "value": value, "description": description}
            writes.create(cluster, Target(resource, ""), document, _OPTIONS)


def ensure_default_account(cluster: Cluster, namespace: str) -> None:
    """Create the ServiceAccount `default` of a namespace, unless the namespace is going away."""
    entry = cluster.store.get(Key("/namespaces", "", namespace))
    if entry is not None and not is_terminating(entry.document):
        _ensure(cluster, "serviceaccounts", namespace, "default", "ServiceAccount")


def _ensure(cluster: Cluster, plural: str, namespace: str, name: str, kind: str) -> None:
    resource = cluster.registry.find("", "v1", plural)
    if resource is None or cluster.store.get(resource.key(namespace, name)) is not None:
        return
    document = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}}
    writes.create(cluster, Target(resource, namespace), document, _OPTIONS)
