"""The HTTP side of a watch: lines of JSON events until the client, the timeout or the server ends it."""

import asyncio
import random
import time
from collections.abc import Mapping
from dataclasses import dataclass

from aiohttp import web

from devcluster.apiserver.cluster import Cluster
from devcluster.apiserver.errors import expired
from devcluster.apiserver.negotiation import choose_transform, content_type_of
from devcluster.apiserver.objects import encode
from devcluster.apiserver.reads import parse_scope, rendering_of, select, wants_initial_events
from devcluster.apiserver.requests import Target, parse_boolean, parse_revision, parse_seconds
from devcluster.apiserver.store import ADDED, CompactedError, Entry
from devcluster.apiserver.watches import (
    Rendering,
    Scope,
    Subscription,
    Watches,
    bookmark,
    event_line,
    line,
    object_bytes,
)

# As kube-apiserver's minRequestTimeout: a watch without a timeout ends after 30 to 60 minutes.
_DEFAULT_SECONDS = 1800
_BOOKMARK_EVERY_SECONDS = 30.0


@dataclass(frozen=True)
class _Wanted:
    """A parsed watch request; `revision` None starts with the objects there are."""

    scope: Scope
    rendering: Rendering | None
    revision: int | None
    bookmarks: bool
    initial_events_end: bool
    seconds: float


def _parse(target: Target, query: Mapping[str, str], accept: str) -> _Wanted:
    revision = parse_revision(query.get("resourceVersion", ""))
    initial = wants_initial_events(query)
    seconds = parse_seconds(query, "timeoutSeconds")
    return _Wanted(
        scope=parse_scope(target, query),
        rendering=rendering_of(choose_transform(accept), query),
        revision=None if initial or not revision else revision,
        bookmarks=parse_boolean(query, "allowWatchBookmarks"),
        initial_events_end=initial,
        seconds=seconds or _DEFAULT_SECONDS * (1 + random.random()),  # noqa: S311 - spreads reconnects
    )


async def serve_watch(request: web.Request, cluster: Cluster, watches: Watches, target: Target) -> web.StreamResponse:
    """Answer a watch. Raises `StatusError` 400 before the stream begins; later errors are ERROR events."""
    accept = request.headers.get("Accept", "")
    wanted = _parse(target, request.query, accept)
    response = web.StreamResponse(headers={"Content-Type": content_type_of(choose_transform(accept))})
    # What is there and what follows are taken in one go: nothing can be written between the two.
    present = select(cluster, wanted.scope) if wanted.revision is None else []
    start = cluster.store.revision
    try:
        subscription = watches.subscribe(wanted.scope, wanted.revision)
    except CompactedError as error:
        await response.prepare(request)
        gone = expired(f"too old resource version: {wanted.revision} ({error.oldest})")
        await _send(response, line("ERROR", encode(gone.body())))
        return response
    try:
        await response.prepare(request)
        await _send_present(response, wanted, present, start)
        await _follow(response, cluster, wanted, subscription)
    except (ConnectionResetError, ConnectionError):
        # The client hung up, which is how a watch usually ends.
        return response
    finally:
        watches.unsubscribe(subscription)
    return response


async def _send_present(response: web.StreamResponse, wanted: _Wanted, present: list[Entry], revision: int) -> None:
    resource = wanted.scope.resource
    lines = [line(ADDED, _encoded(wanted, entry)) for entry in present]
    if wanted.initial_events_end and wanted.bookmarks:
        lines.append(bookmark(resource, revision, initial_events_end=True))
    if lines:
        await _send(response, b"".join(lines))


def _encoded(wanted: _Wanted, entry: Entry) -> bytes:
    resource = wanted.scope.resource
    return encode(wanted.rendering(resource, entry)) if wanted.rendering else object_bytes(resource, entry)


async def _follow(response: web.StreamResponse, cluster: Cluster, wanted: _Wanted, subscription: Subscription) -> None:
    """Send events as they come until the time is up; in one write whatever has gathered meanwhile."""
    end = time.monotonic() + wanted.seconds
    backlog = subscription.backlog
    while not subscription.overrun and (left := end - time.monotonic()) > 0:
        revision = cluster.store.revision
        try:
            first = await asyncio.wait_for(backlog.get(), min(left, _BOOKMARK_EVERY_SECONDS))
        except TimeoutError:
            if wanted.bookmarks and backlog.empty():
                await _send(response, bookmark(wanted.scope.resource, revision))
            continue
        events = [first]
        while not backlog.empty() and len(events) < 500:
            events.append(backlog.get_nowait())
        await _send(response, b"".join(event_line(wanted.scope, event, wanted.rendering) for event in events))


async def _send(response: web.StreamResponse, data: bytes) -> None:
    await response.write(data)
