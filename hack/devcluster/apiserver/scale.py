"""The scale subresource: one shape (`autoscaling/v1` Scale) over each kind's own replica fields. Pure."""

from typing import Any

from devcluster.apiserver.core_rows import NONE, selector_text
from devcluster.apiserver.errors import Cause, bad_request, invalid
from devcluster.apiserver.objects import JsonObject, metadata
from devcluster.apiserver.resources import Resource, ScalePaths

_SHARED_METADATA = ("name", "namespace", "uid", "resourceVersion", "creationTimestamp")


def scale_of(resource: Resource, paths: ScalePaths, document: JsonObject) -> JsonObject:
    """Return the Scale of an object."""
    meta = metadata(document)
    selector = _at(document, paths.selector) if paths.selector else None
    text = selector_text(selector) if isinstance(selector, dict) else selector
    status: JsonObject = {"replicas": _at(document, paths.status_replicas) or 0}
    if text and text != NONE:
        status["selector"] = text
    return {
        "kind": "Scale",
        "apiVersion": "autoscaling/v1",
        "metadata": {field: meta[field] for field in _SHARED_METADATA if field in meta},
        "spec": {"replicas": _at(document, paths.spec_replicas) or 0},
        "status": status,
    }


def _at(document: JsonObject, path: tuple[str, ...]) -> Any:
    value: Any = document
    for step in path:
        value = value.get(step) if isinstance(value, dict) else None
    return value


def scaled(resource: Resource, paths: ScalePaths, document: JsonObject, scale: JsonObject) -> JsonObject:
    """Return the object with the replicas that a Scale asks for. Raises `StatusError` 400 or 422."""
    if scale.get("kind") != "Scale":
        raise bad_request(f"expected a Scale, got {scale.get('kind')}")
    replicas = (scale.get("spec") or {}).get("replicas", 0)
    if not isinstance(replicas, int) or isinstance(replicas, bool) or replicas < 0:
        message = f"Invalid value: {replicas}: must be greater than or equal to 0"
        subject = resource.subject(metadata(document)["name"])
        raise invalid(subject, [Cause("FieldValueInvalid", "spec.replicas", message)])
    result = {**document, "metadata": dict(metadata(document))}
    revision = metadata(scale).get("resourceVersion")
    if revision:
        result["metadata"]["resourceVersion"] = revision
    *parents, last = paths.spec_replicas
    place = result
    for step in parents:
        place[step] = dict(place.get(step) or {})
        place = place[step]
    place[last] = replicas
    return result
