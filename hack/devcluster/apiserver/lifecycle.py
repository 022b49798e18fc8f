"""What ends with a Namespace, a CustomResourceDefinition or a Node: pure decisions about the objects in them.

A terminating Namespace is emptied and then released; a terminating definition takes its objects with it; a terminating
Pod whose Node does not exist has no kubelet to end it, and goes at once (Kubernetes' pod garbage collector).
"""

from devcluster.apiserver import custom_resources
from devcluster.apiserver.deletes import CRD_FINALIZER
from devcluster.apiserver.garbage_collection import Step
from devcluster.apiserver.objects import is_terminating, metadata
from devcluster.apiserver.registry import Registry
from devcluster.apiserver.store import Entry, Key, Store

DEFINITIONS = custom_resources.STORAGE
NAMESPACES = "/namespaces"
NODES = "/nodes"
PODS = "/pods"


def steps_for_namespace(entry: Entry, store: Store, registry: Registry) -> tuple[list[Step], bool]:
    """Return what to delete in a terminating namespace, and whether it is empty."""
    if not is_terminating(entry.document):
        return [], False
    left = [
        found
        for resource in registry.stored()
        if resource.namespaced
        for found in store.list(resource.storage, entry.key.name)
    ]
    return _deletions(left), not left


def steps_for_definition(entry: Entry, store: Store) -> tuple[list[Step], bool]:
    """Return what to delete of a terminating definition, and whether none of its objects is left."""
    if not is_terminating(entry.document):
        return [], False
    spec = entry.document["spec"]
    left = store.list(f"{spec['group']}/{spec['names']['plural']}")
    return _deletions(left), not left


def steps_for_pod(entry: Entry, store: Store) -> list[Step]:
    """Return the final delete of a terminating Pod that no kubelet will make."""
    node = entry.document.get("spec", {}).get("nodeName")
    if not is_terminating(entry.document) or store.get(Key(NODES, "", node or "")) is not None:
        return []
    return [Step(entry.key, delete=True, force=True)]


def release_definition(entry: Entry) -> Step:
    """Return the step that lets an emptied definition go."""
    meta = dict(metadata(entry.document))
    meta["finalizers"] = [name for name in meta.get("finalizers") or [] if name != CRD_FINALIZER]
    return Step(entry.key, metadata=meta)


def _deletions(entries: list[Entry]) -> list[Step]:
    return [Step(entry.key, delete=True) for entry in entries if not is_terminating(entry.document)]
