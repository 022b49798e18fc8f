"""Garbage collection: what depends on a deleted object goes too, and finalizers of propagation are carried out.

After k8s.io/kubernetes/pkg/controller/garbagecollector. Level-based: each round looks at one object as it is
now and decides what has to follow, so it does not matter how often or how late it is asked.
"""

from dataclasses import dataclass

from devcluster.apiserver.deletes import FOREGROUND_FINALIZER, ORPHAN_FINALIZER
from devcluster.apiserver.objects import JsonObject, is_terminating, metadata, split_api_version
from devcluster.apiserver.registry import Registry
from devcluster.apiserver.store import DELETED, Entry, Event, Key, Store


@dataclass(frozen=True)
class Step:
    """One thing to do: `delete` the object (`foreground`, or by `force` without grace), or write this `metadata`."""

    key: Key
    delete: bool = False
    foreground: bool = False
    force: bool = False
    metadata: JsonObject | None = None


class Dependents:
    """The graph of owners: which objects name a uid among their owner references."""

    def __init__(self, store: Store) -> None:
        self._dependents: dict[str, set[Key]] = {}
        self._owners: dict[Key, tuple[str, ...]] = {}
        for entry in store.everything():
            self._set(entry.key, _owner_uids(entry.document))

    def observe(self, event: Event) -> None:
        """Follow one write."""
        self._set(event.entry.key, () if event.type == DELETED else _owner_uids(event.entry.document))

    def of(self, uid: str) -> list[Key]:
        """Return the objects that name this owner, in a fixed order."""
        return sorted(self._dependents.get(uid, ()))

    def _set(self, key: Key, owners: tuple[str, ...]) -> None:
        for uid in self._owners.pop(key, ()):
            remaining = self._dependents.get(uid, set())
            remaining.discard(key)
            if not remaining:
                self._dependents.pop(uid, None)
        if owners:
            self._owners[key] = owners
        for uid in owners:
            self._dependents.setdefault(uid, set()).add(key)


def _owner_uids(document: JsonObject) -> tuple[str, ...]:
    return tuple(owner.get("uid", "") for owner in metadata(document).get("ownerReferences") or ())


def steps_for(entry: Entry, store: Store, registry: Registry, dependents: Dependents) -> list[Step]:
    """Return what must happen because of this object: to its dependents, to its finalizers, to itself."""
    meta = metadata(entry.document)
    finalizers = meta.get("finalizers") or []
    if is_terminating(entry.document):
        if ORPHAN_FINALIZER in finalizers:
            return _orphan(entry, store, dependents)
        if FOREGROUND_FINALIZER in finalizers:
            return _foreground(entry, store, dependents)
        return []
    owners = meta.get("ownerReferences") or []
    if not owners:
        return []
    return _judge_owners(entry, owners, store, registry)


def _orphan(entry: Entry, store: Store, dependents: Dependents) -> list[Step]:
    uid = metadata(entry.document)["uid"]
    steps = []
    for key in dependents.of(uid):
        dependent = store.get(key)
        if dependent is not None:
            steps.append(Step(key, metadata=_without_owners(dependent.document, {uid})))
    steps.append(Step(entry.key, metadata=_without_finalizer(entry.document, ORPHAN_FINALIZER)))
    return steps


def _foreground(entry: Entry, store: Store, dependents: Dependents) -> list[Step]:
    uid = metadata(entry.document)["uid"]
    waiting, steps = False, []
    for key in dependents.of(uid):
        dependent = store.get(key)
        if dependent is None:
            continue
        reference = next(o for o in metadata(dependent.document)["ownerReferences"] if o.get("uid") == uid)
        waiting = waiting or bool(reference.get("blockOwnerDeletion"))
        if not is_terminating(dependent.document):
            steps.append(Step(key, delete=True, foreground=bool(reference.get("blockOwnerDeletion"))))
    if not waiting:
        steps.append(Step(entry.key, metadata=_without_finalizer(entry.document, FOREGROUND_FINALIZER)))
    return steps


def _judge_owners(entry: Entry, owners: list[JsonObject], store: Store, registry: Registry) -> list[Step]:
    """Delete an object whose owners are all gone; drop the references to owners that are gone beside others."""
    gone = {owner["uid"] for owner in owners if not _owner_lives(entry, owner, store, registry)}
    if not gone:
        return []
    if len(gone) == len({owner["uid"] for owner in owners}):
        return [Step(entry.key, delete=True)]
    return [Step(entry.key, metadata=_without_owners(entry.document, gone))]


def _owner_lives(entry: Entry, owner: JsonObject, store: Store, registry: Registry) -> bool:
    """Tell whether the very object an owner reference means exists: same kind, place and uid."""
    group, version = split_api_version(owner.get("apiVersion", ""))
    resource = registry.of_kind(group, version, owner.get("kind", ""))
    if resource is None:
        # A kind that is not served cannot be looked up; Kubernetes waits for it rather than guess.
        return True
    found = store.get(resource.key(entry.key.namespace, owner.get("name", "")))
    return found is not None and metadata(found.document).get("uid") == owner.get("uid")


def _without_owners(document: JsonObject, uids: set[str]) -> JsonObject:
    meta = dict(metadata(document))
    kept = [owner for owner in meta.get("ownerReferences") or [] if owner.get("uid") not in uids]
    meta.pop("ownerReferences", None)
    return meta | ({"ownerReferences": kept} if kept else {})


def _without_finalizer(document: JsonObject, finalizer: str) -> JsonObject:
    meta = dict(metadata(document))
    kept = [name for name in meta.get("finalizers") or [] if name != finalizer]
    meta.pop("finalizers", None)
    return meta | ({"finalizers": kept} if kept else {})
