"""The schemas of served resources in the form OpenAPI documents carry them. Pure."""

from collections.abc import Iterable
from typing import Any

from devcluster.apiserver.objects import JsonObject
from devcluster.apiserver.openapi_definitions import DELETE_OPTIONS, LIST_META, OBJECT_META, STATUS, definitions
from devcluster.apiserver.resources import Resource

_API_VERSION = {
    "type": "string",
    "description": "APIVersion defines the versioned schema of this representation of an object.",
}
_KIND = {
    "type": "string",
    "description": "Kind is a string value representing the REST resource this object represents.",
}
# What is known to the server's own walker only.
_INTERNAL_FORMATS = ("quantity",)


def schemas_of(resources: Iterable[Resource], prefix: str) -> JsonObject:
    """Return every schema that the resources need, by name; `prefix` goes before each reference."""
    wanted: dict[str, JsonObject] = {}
    pending = [DELETE_OPTIONS, STATUS, OBJECT_META, LIST_META]
    for resource in resources:
        if resource.custom:
            wanted[resource.schema_name] = _custom(resource)
            wanted[resource.schema_name + "List"] = _custom_list(resource)
        else:
            pending += [resource.schema_name, resource.schema_name + "List"]
    while pending:
        name = pending.pop()
        if name not in wanted and name in definitions():
            wanted[name] = definitions()[name]
            pending.extend(_references(wanted[name]))
    return {name: _published(schema, prefix) for name, schema in sorted(wanted.items())}


def _custom(resource: Resource) -> JsonObject:
    schema = resource.schema or {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
    properties = {
        **(schema.get("properties") or {}),
        "apiVersion": _API_VERSION,
        "kind": _KIND,
        "metadata": {"$ref": OBJECT_META, "description": "Standard object's metadata."},
    }
    return {**schema, "properties": properties, "x-kubernetes-group-version-kind": [kind_of(resource)]}


def _custom_list(resource: Resource) -> JsonObject:
    kind = {**kind_of(resource), "kind": resource.list_kind_name}
    return {
        "type": "object",
        "description": f"{resource.list_kind_name} is a list of {resource.kind}",
        "required": ["items"],
        "properties": {
            "apiVersion": _API_VERSION,
            "kind": _KIND,
            "metadata": {"$ref": LIST_META, "description": "Standard list metadata."},
            "items": {"type": "array", "items": {"$ref": resource.schema_name}, "description": "The objects."},
        },
        "x-kubernetes-group-version-kind": [kind],
    }


def kind_of(resource: Resource) -> JsonObject:
    """Return the `x-kubernetes-group-version-kind` of a resource."""
    return {"group": resource.group, "version": resource.version, "kind": resource.kind}


def _references(schema: Any) -> list[str]:
    if isinstance(schema, list):
        return [name for item in schema for name in _references(item)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"]] if isinstance(schema.get("$ref"), str) else []
    return own + [name for value in schema.values() for name in _references(value)]


def _published(schema: Any, prefix: str) -> Any:
    if isinstance(schema, list):
        return [_published(item, prefix) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if isinstance(schema.get("$ref"), str):
        beside = {key: value for key, value in schema.items() if key != "$ref"}
        reference = {"$ref": prefix + schema["$ref"]}
        if not beside:
            return reference
        return {**beside, "allOf": [reference]} if "components" in prefix else {**beside, **reference}
    return {
        key: _published(value, prefix)
        for key, value in schema.items()
        if not (key == "format" and value in _INTERNAL_FORMATS)
    }
