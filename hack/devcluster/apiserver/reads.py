"""Get and list: what is stored, as the client wants to see it.

A list is joined from the bytes each object was encoded to when it was written, so ten thousand objects cost
one pass.
"""

import base64
import binascii
import json
from collections.abc import Mapping
from dataclasses import dataclass

from devcluster.apiserver import tables
from devcluster.apiserver.cluster import Cluster
from devcluster.apiserver.errors import bad_request, expired, too_large_resource_version
from devcluster.apiserver.objects import JsonObject, encode, metadata
from devcluster.apiserver.requests import Target, parse_boolean, parse_revision
from devcluster.apiserver.resources import Resource
from devcluster.apiserver.selectors import predicate
from devcluster.apiserver.store import Entry
from devcluster.apiserver.versions import shown
from devcluster.apiserver.watches import Rendering, Scope, object_bytes


@dataclass(frozen=True)
class ListOptions:
    """What part of a collection is wanted.

    `limit` 0 means all; `after` is the place (namespace, name) a chunk starts behind; `revision` the one the first
    chunk was read at, 0 for now.
    """

    scope: Scope
    limit: int = 0
    after: tuple[str, str] | None = None
    revision: int = 0


def parse_scope(target: Target, query: Mapping[str, str]) -> Scope:
    """Read namespace and selectors. Raises `StatusError` 400."""
    resource = target.resource
    fields = query.get("fieldSelector", "")
    if target.name:
        fields = ",".join(filter(None, (fields, f"metadata.name={target.name}")))
    return Scope(resource, target.namespace, predicate(resource, query.get("labelSelector", ""), fields))


def parse_list_options(cluster: Cluster, target: Target, query: Mapping[str, str]) -> ListOptions:
    """Read a list's options. Raises `StatusError`: 400, 410 for a stale continue token, 504 for the future."""
    limit_text = query.get("limit") or "0"
    if not limit_text.isdigit():
        raise bad_request(f'limit: Invalid value: "{limit_text}": must be a whole number')
    asked = parse_revision(query.get("resourceVersion", ""))
    if asked > cluster.store.revision:
        raise too_large_resource_version(asked, cluster.store.revision)
    exact = query.get("resourceVersionMatch") == "Exact"
    if exact and asked != cluster.store.revision and asked < cluster.store.compacted:
        raise expired(f"The provided resource version is too old: {asked}")
    scope = parse_scope(target, query)
    token = query.get("continue", "")
    if not token:
        return ListOptions(scope, int(limit_text))
    revision, after = _decode_token(token)
    if revision < cluster.store.compacted:
        raise expired(
            "The provided continue parameter is too old to display a consistent list result. You must start a new list "
            "without the continue parameter."
        )
    return ListOptions(scope, int(limit_text), after, revision)


def _decode_token(token: str) -> tuple[int, tuple[str, str]]:
    try:
        revision, namespace, name = json.loads(base64.urlsafe_b64decode(token))
    except (ValueError, binascii.Error) as error:
        raise bad_request(f"continue key is not valid: {error}") from error
    return int(revision), (namespace, name)


def _encode_token(revision: int, last: Entry) -> str:
    return base64.urlsafe_b64encode(encode([revision, last.key.namespace, last.key.name])).decode()


def select(cluster: Cluster, scope: Scope) -> list[Entry]:
    """Return the entries in scope, ordered by namespace and name."""
    entries = cluster.store.list(scope.resource.storage, scope.namespace)
    if scope.matches is None:
        return entries
    return [entry for entry in entries if scope.matches(entry.document)]


def list_bytes(cluster: Cluster, options: ListOptions, rendering: str, query: Mapping[str, str]) -> bytes:
    """Return the collection as JSON: the kind's list, a Table, or a list of metadata."""
    resource = options.scope.resource
    entries = select(cluster, options.scope)
    if options.after is not None:
        entries = [entry for entry in entries if (entry.key.namespace, entry.key.name) > options.after]
    revision = options.revision or cluster.store.revision
    meta: JsonObject = {"resourceVersion": str(revision)}
    if options.limit and len(entries) > options.limit:
        meta["remainingItemCount"] = len(entries) - options.limit
        entries = entries[: options.limit]
        meta["continue"] = _encode_token(revision, entries[-1])
    if rendering == "Table":
        return encode(tables.table(resource, entries, meta, query.get("includeObject", "")))
    if rendering == "PartialObjectMetadata":
        kind, api_version = "PartialObjectMetadataList", "meta.k8s.io/v1"
        items = b",".join(encode(metadata_only(resource, entry)) for entry in entries)
    else:
        kind, api_version = resource.list_kind_name, resource.api_version
        items = b",".join(object_bytes(resource, entry) for entry in entries)
    head = encode({"kind": kind, "apiVersion": api_version, "metadata": meta})
    return head[:-1] + b',"items":[' + items + b"]}"


def metadata_only(resource: Resource, entry: Entry) -> JsonObject:
    """Return an object's metadata alone."""
    return {
        "kind": "PartialObjectMetadata",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata(shown(resource, entry)),
    }


def rendering_of(transform: str, query: Mapping[str, str]) -> Rendering | None:
    """Return the function that shows one object in this form; None for the object itself."""
    if transform == "Table":
        include = query.get("includeObject", "")
        return lambda resource, entry: tables.table(resource, [entry], _revision_of(entry), include)
    if transform == "PartialObjectMetadata":
        return metadata_only
    return None


def _revision_of(entry: Entry) -> JsonObject:
    return {"resourceVersion": str(entry.revision)}


def wants_initial_events(query: Mapping[str, str]) -> bool:
    """Tell whether a watch starts with everything there is. Raises `StatusError` 400 on a half-made request."""
    if not query.get("sendInitialEvents"):
        return False
    if query.get("resourceVersionMatch") != "NotOlderThan":
        raise bad_request("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
    return parse_boolean(query, "sendInitialEvents")
