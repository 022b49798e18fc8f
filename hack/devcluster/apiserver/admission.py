"""From a client's document to a valid object: unknown fields, pruning, defaults, rules, field ownership."""

from devcluster.apiserver.errors import Cause
from devcluster.apiserver.objects import JsonObject, without_nulls
from devcluster.apiserver.requests import WriteOptions
from devcluster.apiserver.resources import Resource


def admit(resource: Resource, document: JsonObject, options: WriteOptions) -> JsonObject:
    """Return the document pruned and defaulted. Raises `StatusError`."""
    return document if resource.custom else without_nulls(document)


def validate(resource: Resource, new: JsonObject, old: JsonObject | None) -> list[Cause]:
    """Return what is wrong with the object by its schema."""
    return []


def track_fields(
    resource: Resource, old: JsonObject | None, new: JsonObject, options: WriteOptions, subresource: str
) -> None:
    """Record in `metadata.managedFields` who set what."""
