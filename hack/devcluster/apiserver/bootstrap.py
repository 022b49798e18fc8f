"""The objects every cluster has from its first moment: namespaces and their default ServiceAccount."""

from devcluster.apiserver import writes
from devcluster.apiserver.cluster import Cluster
from devcluster.apiserver.objects import is_terminating
from devcluster.apiserver.requests import Target, WriteOptions
from devcluster.apiserver.store import Key

_NAMESPACES = ("default", "kube-system", "kube-public", "kube-node-lease")
_OPTIONS = WriteOptions(field_manager="kube-apiserver")


def create_initial_objects(cluster: Cluster) -> None:
    """Create what is missing of the initial objects."""
    for name in _NAMESPACES:
        _ensure(cluster, "namespaces", "", name, "Namespace")


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
