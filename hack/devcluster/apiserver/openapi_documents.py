"""The OpenAPI documents: version 3 for each group and version, version 2 for everything.

kubectl reads them for `explain`, and to learn that the server validates fields itself (`fieldValidation` on PATCH).
Pure functions of the served resources; `openapi_handlers` caches what they return.
"""

from collections.abc import Iterable, Sequence

from devcluster.apiserver.discovery import VERSION
from devcluster.apiserver.objects import JsonObject
from devcluster.apiserver.openapi_schemas import kind_of, schemas_of
from devcluster.apiserver.patches import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, STRATEGIC_MERGE_PATCH
from devcluster.apiserver.resources import Resource

_INFO = {"title": "Kubernetes", "version": VERSION["gitVersion"]}
_V3_PREFIX = "#/components/schemas/"
_V2_PREFIX = "#/definitions/"

_WRITE_PARAMETERS = ("dryRun", "fieldManager", "fieldValidation")
_LIST_PARAMETERS = (
    "allowWatchBookmarks", "continue", "fieldSelector", "labelSelector", "limit", "resourceVersion",
    "resourceVersionMatch", "sendInitialEvents", "timeoutSeconds", "watch",
)  # fmt: skip
_BOOLEANS = ("allowWatchBookmarks", "sendInitialEvents", "watch", "force")
_INTEGERS = ("limit", "timeoutSeconds", "gracePeriodSeconds")

# verb -> (HTTP method, whether it works on one object, kubernetes action, parameters)
_OPERATIONS = {
    "list": ("get", False, "list", _LIST_PARAMETERS),
    "create": ("post", False, "post", _WRITE_PARAMETERS),
    "deletecollection": ("delete", False, "deletecollection", ("dryRun", "labelSelector", "fieldSelector")),
    "get": ("get", True, "get", ()),
    "update": ("put", True, "put", _WRITE_PARAMETERS),
    "patch": ("patch", True, "patch", (*_WRITE_PARAMETERS, "force")),
    "delete": ("delete", True, "delete", ("dryRun", "gracePeriodSeconds", "propagationPolicy")),
}


def document_v3(resources: Sequence[Resource]) -> JsonObject:
    """Return the OpenAPI v3 document of one group and version."""
    return {
        "openapi": "3.0.0",
        "info": _INFO,
        "paths": _paths(resources, version=3),
        "components": {"schemas": schemas_of(resources, _V3_PREFIX)},
    }


def document_v2(resources: Sequence[Resource]) -> JsonObject:
    """Return the OpenAPI v2 (Swagger) document of all resources."""
    return {
        "swagger": "2.0",
        "info": _INFO,
        "paths": _paths(resources, version=2),
        "definitions": schemas_of(resources, _V2_PREFIX),
    }


def _paths(resources: Iterable[Resource], version: int) -> JsonObject:
    paths: JsonObject = {}
    for resource in resources:
        root = f"/apis/{resource.api_version}" if resource.group else f"/api/{resource.version}"
        scope = "/namespaces/{namespace}" if resource.namespaced else ""
        collection = f"{root}{scope}/{resource.plural}"
        for verb in resource.verbs:
            if verb not in _OPERATIONS:
                continue
            method, on_object, _, _ = _OPERATIONS[verb]
            path = f"{collection}/{{name}}" if on_object else collection
            paths.setdefault(path, _path_item(resource, on_object, version))[method] = _operation(
                resource, verb, version
            )
    return paths


def _path_item(resource: Resource, on_object: bool, version: int) -> JsonObject:
    names = (["name"] if on_object else []) + (["namespace"] if resource.namespaced else [])
    return {"parameters": [_parameter(name, "path", version) for name in names]}


def _parameter(name: str, place: str, version: int) -> JsonObject:
    kind = "boolean" if name in _BOOLEANS else "integer" if name in _INTEGERS else "string"
    parameter: JsonObject = {"name": name, "in": place}
    if place == "path":
        parameter["required"] = True
    return parameter | ({"schema": {"type": kind}} if version == 3 else {"type": kind})


def _operation(resource: Resource, verb: str, version: int) -> JsonObject:
    method, _, action, parameters = _OPERATIONS[verb]
    schema = {"$ref": (_V3_PREFIX if version == 3 else _V2_PREFIX) + resource.schema_name}
    operation: JsonObject = {
        "description": f"{verb} {resource.kind}",
        "operationId": f"{verb}{resource.group}{resource.version}{resource.kind}".replace(".", ""),
        "parameters": [_parameter(name, "query", version) for name in parameters],
        "responses": {"200": _body(schema, ("application/json",), version) | {"description": "OK"}},
        "x-kubernetes-action": action,
        "x-kubernetes-group-version-kind": kind_of(resource),
    }
    if method in ("post", "put", "patch"):
        media = _patch_types(resource) if method == "patch" else ("application/json", "application/yaml")
        if version == 3:
            operation["requestBody"] = _body(schema, media, version)
        else:
            operation["consumes"] = list(media)
            operation["parameters"].append({"name": "body", "in": "body", "required": True, "schema": schema})
    return operation


def _patch_types(resource: Resource) -> tuple[str, ...]:
    return (APPLY_PATCH, JSON_PATCH, MERGE_PATCH, *(() if resource.custom else (STRATEGIC_MERGE_PATCH,)))


def _body(schema: JsonObject, media: Iterable[str], version: int) -> JsonObject:
    return {"content": {name: {"schema": schema} for name in media}} if version == 3 else {"schema": schema}
