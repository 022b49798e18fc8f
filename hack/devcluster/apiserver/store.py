"""The API server's memory: objects by key, revisions and the recent past.

Every write is one new revision in an SQLite table (write-ahead log), committed before the caller goes on,
so a `kill -9` loses nothing that was answered. Everything is also held in memory, parsed and encoded
once per revision. The latest `history` events are kept for watches; older ones are compacted away.

The store knows no kinds, no validation and no HTTP. It must be used from one thread.
"""

import json
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from devcluster.apiserver.objects import JsonObject, encode

ADDED, MODIFIED, DELETED = "ADDED", "MODIFIED", "DELETED"


class Key(NamedTuple):
    """Where an object lives: `storage` is `group/plural`; `namespace` is empty for cluster scope."""

    storage: str
    namespace: str
    name: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One object at one revision. `document` must never be changed; `body` is its JSON."""

    key: Key
    revision: int
    document: JsonObject
    body: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """One write. `previous` is the object before it (None on creation, or when no longer known)."""

    type: str
    entry: Entry
    previous: Entry | None
    # Encoded watch lines by (type, media variant), filled by the watches that send this event.
    lines: dict[tuple[str, ...], bytes] = field(default_factory=dict)


class KeyExistsError(Exception):
    """A create of a key that is taken."""


class KeyMissingError(Exception):
    """A write to a key that does not exist."""


class CompactedError(Exception):
    """The revision asked for is older than the oldest one kept; `oldest` is that one."""

    def __init__(self, oldest: int) -> None:
        super().__init__(f"compacted up to {oldest}")
        self.oldest = oldest


_SCHEMA = """
CREATE TABLE IF NOT EXISTS revisions (
    revision INTEGER PRIMARY KEY,
    type TEXT NOT NULL, storage TEXT NOT NULL, namespace TEXT NOT NULL, name TEXT NOT NULL,
    body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS settings (key TEXT PRIMARY KEY, value INTEGER NOT NULL);
"""


# Past events are kept up to so much JSON: a parsed document takes several times its text in memory.
_HISTORY_BYTES = 32 * 1024 * 1024


class Store:
    """Objects, their revisions and the latest events.

    `history` is the number of events kept, fewer where they are large (`_HISTORY_BYTES`).
    Raises `sqlite3.Error` when the file cannot be written.
    """

    def __init__(self, path: Path, history: int = 20_000) -> None:
        self._history = history
        self._objects: dict[str, dict[tuple[str, str], Entry]] = {}
        self._events: deque[Event] = deque()
        self._event_bytes = 0
        self._listeners: list[Callable[[Event], None]] = []
        self._database = sqlite3.connect(path, isolation_level=None)
        self._database.execute("PRAGMA journal_mode=WAL")
        # NORMAL keeps every commit through a kill of this process; only a power cut could lose the last ones.
        self._database.execute("PRAGMA synchronous=NORMAL")
        self._database.executescript(_SCHEMA)
        self.compacted = self._setting("compacted")
        self.revision = max(self.compacted, 1)
        self._load()

    def close(self) -> None:
        """Close the database."""
        self._database.close()

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` with every event, after it is durable, in order of revision."""
        self._listeners.append(listener)

    def get(self, key: Key) -> Entry | None:
        """Return the object at `key`."""
        return self._objects.get(key.storage, {}).get((key.namespace, key.name))

    def list(self, storage: str, namespace: str = "") -> list[Entry]:
        """Return the objects of one resource ordered by namespace and name; all namespaces when empty."""
        objects = self._objects.get(storage, {})
        if namespace:
            return [objects[place] for place in sorted(place for place in objects if place[0] == namespace)]
        return [objects[place] for place in sorted(objects)]

    def everything(self) -> Iterator[Entry]:
        """Yield every object of every resource (not to be held across a write)."""
        for objects in self._objects.values():
            yield from objects.values()

    def create(self, key: Key, document: JsonObject) -> Entry:
        """Write a new object. Raises `KeyExistsError`."""
        if self.get(key) is not None:
            raise KeyExistsError(key)
        return self._commit(ADDED, key, document, None)

    def update(self, key: Key, document: JsonObject) -> Entry:
        """Write over an object. Raises `KeyMissingError`. The caller has compared revisions."""
        previous = self.get(key)
        if previous is None:
            raise KeyMissingError(key)
        return self._commit(MODIFIED, key, document, previous)

    def delete(self, key: Key, final: JsonObject | None = None) -> Entry:
        """Remove an object and return its final form, which carries the revision of the deletion.

        `final` is that form where the same write also changed it. Raises `KeyMissingError`.
        """
        previous = self.get(key)
        if previous is None:
            raise KeyMissingError(key)
        return self._commit(DELETED, key, final or previous.document, previous)

    def events_after(self, revision: int) -> Iterator[Event]:
        """Yield the events later than `revision` (not to be held across a write).

        Raises `CompactedError` where some of them are no longer kept.
        """
        if revision < self.compacted:
            raise CompactedError(self.compacted)
        return self._iterate_after(revision)

    def _iterate_after(self, revision: int) -> Iterator[Event]:
        recent: list[Event] = []
        for event in reversed(self._events):
            if event.entry.revision <= revision:
                break
            recent.append(event)
        return reversed(recent)

    def _commit(self, kind: str, key: Key, document: JsonObject, previous: Entry | None) -> Entry:
        revision = self.revision + 1
        document = {**document, "metadata": {**document["metadata"], "resourceVersion": str(revision)}}
        entry = Entry(key, revision, document, encode(document))
        self._database.execute("INSERT INTO revisions VALUES (?, ?, ?, ?, ?, ?)", (revision, kind, *key, entry.body))
        self.revision = revision
        event = Event(kind, entry, previous)
        self._remember(event)
        if len(self._events) > self._history * 1.1 or self._event_bytes > _HISTORY_BYTES * 1.1:
            self._compact()
        for listener in self._listeners:
            listener(event)
        return entry

    def _remember(self, event: Event) -> None:
        key = event.entry.key
        objects = self._objects.setdefault(key.storage, {})
        if event.type == DELETED:
            objects.pop((key.namespace, key.name), None)
        else:
            objects[key.namespace, key.name] = event.entry
        self._events.append(event)
        self._event_bytes += len(event.entry.body)

    def _forget_oldest(self) -> Event:
        event = self._events.popleft()
        self._event_bytes -= len(event.entry.body)
        return event

    def _compact(self) -> None:
        """Forget the oldest events, and the rows that only they needed."""
        unneeded: list[tuple[int]] = []
        while len(self._events) > self._history or self._event_bytes > _HISTORY_BYTES:
            event = self._forget_oldest()
            self.compacted = event.entry.revision
            # What the event replaced is now needed by nobody; the event's own state may still be the current one.
            if event.previous is not None:
                unneeded.append((event.previous.revision,))
            if event.type == DELETED:
                unneeded.append((event.entry.revision,))
        self._database.execute("BEGIN")
        self._database.executemany("DELETE FROM revisions WHERE revision = ?", unneeded)
        self._database.execute("INSERT OR REPLACE INTO settings VALUES ('compacted', ?)", (self.compacted,))
        self._database.execute("COMMIT")

    def _setting(self, name: str) -> int:
        row = self._database.execute("SELECT value FROM settings WHERE key = ?", (name,)).fetchone()
        return int(row[0]) if row else 0

    def _load(self) -> None:
        rows = self._database.execute(
            "SELECT revision, type, storage, namespace, name, body FROM revisions ORDER BY revision"
        )
        for revision, kind, storage, namespace, name, body in rows:
            key = Key(storage, namespace, name)
            entry = Entry(key, revision, json.loads(body), bytes(body))
            self._remember(Event(kind, entry, self.get(key)))
            self.revision = revision
        # Rows older than the compaction mark are the last state of quiet objects, not events.
        while self._events and self._events[0].entry.revision <= self.compacted:
            self._forget_oldest()
