"""Watches: every client sees the events of one resource, from a revision on, through its selectors.

An event is encoded once however many watches send it. A watch whose client does not keep up is ended;
the client lists again, as with a real API server.
"""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from devcluster.apiserver.objects import JsonObject, encode, metadata
from devcluster.apiserver.resources import Resource
from devcluster.apiserver.selectors import Predicate
from devcluster.apiserver.store import ADDED, DELETED, MODIFIED, Entry, Event, Store
from devcluster.apiserver.versions import is_kept_as_shown, shown

# Events a client may lie behind before its watch is ended.
MAX_BACKLOG = 50_000

# Turns a stored entry into what the client asked for (a Table, metadata only); None sends the object itself.
Rendering = Callable[[Resource, Entry], JsonObject]


@dataclass(frozen=True)
class Scope:
    """What a watch looks at: a resource, one namespace or all (empty), and the selectors' test."""

    resource: Resource
    namespace: str = ""
    matches: Predicate | None = None

    def holds(self, entry: Entry) -> bool:
        """Tell whether an object is in view."""
        if self.namespace and entry.key.namespace != self.namespace:
            return False
        return self.matches is None or self.matches(entry.document)

    def seen_type(self, event: Event) -> str:
        """Return the type this event has for the watcher; empty where it does not concern it.

        An object that starts to match is ADDED, one that no longer matches is DELETED.
        """
        now = event.type != DELETED and self.holds(event.entry)
        if event.previous is None:
            before = event.type != ADDED and self.holds(event.entry)
        else:
            before = self.holds(event.previous)
        if now:
            return MODIFIED if before else ADDED
        return DELETED if before else ""


@dataclass(eq=False)
class Subscription:
    """A watch's place in line: events later than `after` wait in `backlog` until the client takes them."""

    scope: Scope
    after: int = 0
    backlog: asyncio.Queue[Event] = field(default_factory=lambda: asyncio.Queue(MAX_BACKLOG))
    overrun: bool = False


class Watches:
    """Hands the store's events to the open watches."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._subscriptions: dict[str, set[Subscription]] = {}
        store.listen(self._publish)

    def subscribe(self, scope: Scope, revision: int | None) -> Subscription:
        """Open a watch that starts after `revision`, or now. Raises `CompactedError`."""
        subscription = Subscription(scope, revision or 0)
        if revision is not None:
            for event in self._store.events_after(revision):
                if event.entry.key.storage == scope.resource.storage:
                    self._offer(subscription, event)
        self._subscriptions.setdefault(scope.resource.storage, set()).add(subscription)
        return subscription

    def unsubscribe(self, subscription: Subscription) -> None:
        """Close a watch."""
        self._subscriptions.get(subscription.scope.resource.storage, set()).discard(subscription)

    def count(self) -> int:
        """Return how many watches are open."""
        return sum(len(subscriptions) for subscriptions in self._subscriptions.values())

    def _publish(self, event: Event) -> None:
        for subscription in self._subscriptions.get(event.entry.key.storage, ()):
            self._offer(subscription, event)

    def _offer(self, subscription: Subscription, event: Event) -> None:
        if event.entry.revision <= subscription.after or not subscription.scope.seen_type(event):
            return
        try:
            subscription.backlog.put_nowait(event)
        except asyncio.QueueFull:
            subscription.overrun = True


def event_line(scope: Scope, event: Event, rendering: Rendering | None) -> bytes:
    """Return the line a watch sends for an event that is in its scope."""
    kind = scope.seen_type(event)
    entry = event.entry
    if kind == DELETED and event.type != DELETED and event.previous is not None:
        # It left the selector: the client is shown what it knew, at the revision of the change.
        previous = event.previous.document
        document = {**previous, "metadata": {**metadata(previous), "resourceVersion": str(entry.revision)}}
        entry = Entry(entry.key, entry.revision, document, b"")
    if rendering is not None:
        return line(kind, encode(rendering(scope.resource, entry)))
    cached = (kind, scope.resource.api_version)
    if cached not in event.lines or not entry.body:
        event.lines[cached] = line(kind, object_bytes(scope.resource, entry))
    return event.lines[cached]


def object_bytes(resource: Resource, entry: Entry) -> bytes:
    """Return an object's JSON in the resource's version."""
    if entry.body and is_kept_as_shown(resource, entry):
        return entry.body
    return encode(shown(resource, entry))


def line(kind: str, document: bytes) -> bytes:
    """Return one watch event as a line of JSON."""
    return b'{"type":"%s","object":%s}\n' % (kind.encode(), document)


def bookmark(resource: Resource, revision: int, initial_events_end: bool = False) -> bytes:
    """Return a BOOKMARK line: nothing of interest happened up to `revision`."""
    meta: JsonObject = {"resourceVersion": str(revision), "creationTimestamp": None}
    if initial_events_end:
        meta["annotations"] = {"k8s.io/initial-events-end": "true"}
    document = {"kind": resource.kind, "apiVersion": resource.api_version, "metadata": meta}
    return line("BOOKMARK", encode(document))
