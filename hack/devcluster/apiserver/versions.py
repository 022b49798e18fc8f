"""Shows an object in the version asked for, and puts it into the version it is kept in.

Versions of a custom resource differ only in `apiVersion` (conversion strategy None; webhooks are not offered).
Events are kept as core/v1 and shown under events.k8s.io/v1 with that group's field names.
"""

from devcluster.apiserver.objects import JsonObject
from devcluster.apiserver.resources import Resource
from devcluster.apiserver.store import Entry

_EVENTS_GROUP = "events.k8s.io"
# core/v1 field -> events.k8s.io/v1 field, after k8s.io/kubernetes/pkg/apis/events/v1/conversion.go
_EVENT_FIELDS = {
    "involvedObject": "regarding",
    "message": "note",
    "firstTimestamp": "deprecatedFirstTimestamp",
    "lastTimestamp": "deprecatedLastTimestamp",
    "count": "deprecatedCount",
    "source": "deprecatedSource",
    "reportingComponent": "reportingController",
}


def shown(resource: Resource, entry: Entry) -> JsonObject:
    """Return a stored object as `resource` shows it (not to be changed)."""
    return to_version(resource, entry.document)


def is_kept_as_shown(resource: Resource, entry: Entry) -> bool:
    """Tell whether the stored bytes can be sent as they are."""
    return bool(entry.document.get("apiVersion") == resource.api_version)


def to_version(resource: Resource, document: JsonObject) -> JsonObject:
    """Return the document in the resource's version."""
    if document.get("apiVersion") == resource.api_version:
        return document
    if resource.group == _EVENTS_GROUP:
        document = {_EVENT_FIELDS.get(field, field): value for field, value in document.items()}
    return {**document, "apiVersion": resource.api_version}


def to_storage(resource: Resource, document: JsonObject) -> JsonObject:
    """Return the document in the version it is kept in."""
    if resource.api_version == resource.storage_version:
        return document
    if resource.group == _EVENTS_GROUP:
        back = {new: old for old, new in _EVENT_FIELDS.items()}
        document = {back.get(field, field): value for field, value in document.items()}
    return {**document, "apiVersion": resource.storage_version}
