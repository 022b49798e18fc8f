"""What the controllers see: what the watches say, with their own writes that no watch has told of yet.

A watch lags behind one's own writes, and deciding again on what one has just changed would do everything twice.
Resource versions are compared as numbers, which Kubernetes allows since 1.35.
"""

from collections import deque
from collections.abc import Callable, Iterator

from devcluster.cache import Cache
from devcluster.client import Client, Key, Resource, key_of
from devcluster.workloads.objects import Object, is_terminating

REMEMBERED = 10_000
"""Objects that are gone whose uids are kept: an answer to a write that comes after that must not bring them back."""


class View:
    """The objects of some kinds. `on_change(resource, object)` hears of each change that a watch tells of."""

    def __init__(
        self, client: Client, resources: tuple[Resource, ...], on_change: Callable[[Resource, Object], None]
    ) -> None:
        self._on_change = on_change
        self._written: dict[tuple[Resource, Key], Object] = {}
        self._deleted: set[str] = set()
        self._gone: deque[str] = deque(maxlen=REMEMBERED)
        self.caches = {resource: Cache(client, resource, on_change=self._listener(resource)) for resource in resources}

    def _listener(self, resource: Resource) -> Callable[[str, Object], None]:
        def heard(kind: str, obj: Object) -> None:
            written = self._written.get((resource, key_of(obj)))
            if written is not None and (_version(written) <= _version(obj) or _uid(written) != _uid(obj)):
                del self._written[resource, key_of(obj)]
            if kind == "DELETED":
                self._deleted.discard(_uid(obj))
                self._gone.append(_uid(obj))
            self._on_change(resource, obj)

        return heard

    def wrote(self, resource: Resource, obj: Object) -> None:
        """Take note of what the API server has just answered to a write."""
        if _uid(obj) in self._gone:
            return
        known = self.caches[resource].objects.get(key_of(obj))
        if known is None or _uid(known) != _uid(obj) or _version(known) < _version(obj):
            self._written[resource, key_of(obj)] = obj

    def deleted(self, obj: Object) -> None:
        """Take note that an object was just deleted: from now on it is told as terminating."""
        if _uid(obj) not in self._gone:
            self._deleted.add(_uid(obj))

    def get(self, resource: Resource, key: Key) -> Object | None:
        """One object, or None."""
        found = self._written.get((resource, key)) or self.caches[resource].objects.get(key)
        return self._as_seen(found) if found else None

    def all(self, resource: Resource, namespace: str) -> list[Object]:
        """Every object of a kind in a namespace."""
        return [self._as_seen(obj) for obj in self._merged(resource) if obj["metadata"]["namespace"] == namespace]

    def _merged(self, resource: Resource) -> Iterator[Object]:
        cached = self.caches[resource].objects
        written = {key: obj for (kind, key), obj in self._written.items() if kind == resource}
        yield from (written.get(key, obj) for key, obj in cached.items())
        yield from (obj for key, obj in written.items() if key not in cached)

    def _as_seen(self, obj: Object) -> Object:
        if _uid(obj) not in self._deleted or is_terminating(obj):
            return obj
        return {**obj, "metadata": {**obj["metadata"], "deletionTimestamp": obj["metadata"]["creationTimestamp"]}}


def _uid(obj: Object) -> str:
    return str(obj["metadata"].get("uid", ""))


def _version(obj: Object) -> int:
    return int(obj["metadata"].get("resourceVersion") or 0)
