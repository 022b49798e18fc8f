"""The schemas of the built-in kinds, as the Kubernetes project publishes them.

They come with the package `kubernetes-validate` (development dependency), which carries the definitions of every
release as JSON schema; here they take OpenAPI's form again. Loaded once per process, in milliseconds.
"""

import functools
import json
from importlib.resources import files
from typing import Any

from devcluster.apiserver.objects import JsonObject
from devcluster.apiserver.schema import Compiler, Node

_RELEASE = "v1.35.0"
_META = "io.k8s.apimachinery.pkg.apis.meta.v1."
OBJECT_META = _META + "ObjectMeta"
LIST_META = _META + "ListMeta"
DELETE_OPTIONS = _META + "DeleteOptions"
STATUS = _META + "Status"

# Types whose JSON form is written by hand in Go, given here as kube-openapi publishes them.
_SPECIAL: dict[str, JsonObject] = {
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": {"type": "string", "format": "int-or-string"},
    "io.k8s.apimachinery.pkg.api.resource.Quantity": {"type": "string", "format": "quantity"},
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1": {"type": "object"},
    "io.k8s.apimachinery.pkg.runtime.RawExtension": {"type": "object"},
}
_ANYTHING = {
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrBool",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrArray",
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaPropsOrStringArray",
    "io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1",
    "io.k8s.apimachinery.pkg.runtime.RawExtension",
}


@functools.cache
def definitions() -> dict[str, JsonObject]:
    """Return every built-in definition by its name (`io.k8s.api.core.v1.Pod`), with `$ref` holding plain names."""
    folder = files("kubernetes_validate") / "kubernetes-json-schema" / f"{_RELEASE}-local"
    raw = json.loads((folder / "_definitions.json").read_text())["$defs"]
    return {name: _SPECIAL.get(name) or _plain(schema) for name, schema in raw.items()}


def _plain(schema: Any) -> Any:
    """Undo what the JSON schema form adds: nullable types, enums of kinds, references into one file."""
    if isinstance(schema, list):
        return [_plain(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    plain = {}
    for key, value in schema.items():
        if key == "type" and isinstance(value, list):
            plain[key] = next(kind for kind in value if kind != "null")
        elif key == "$ref" and isinstance(value, str):
            plain[key] = value.rpartition("/")[2]
        elif key == "properties":
            plain[key] = {name: _plain(sub) for name, sub in value.items()}
            _default_keys(plain[key], schema)
        elif key == "enum" and len(value) == 1:
            continue
        else:
            plain[key] = _plain(value)
    return plain


def _default_keys(properties: JsonObject, schema: JsonObject) -> None:
    """Say the default of a port's protocol, which is part of what identifies it in a list."""
    ports = {"containerPort", "port"} & set(properties)
    if ports and "protocol" in properties and "description" in schema:
        properties["protocol"]["default"] = "TCP"


def _resolve(name: str) -> JsonObject:
    schema = definitions().get(name, {})
    if name in _ANYTHING:
        return {**schema, "x-kubernetes-preserve-unknown-fields": True, "type": ""}
    # Rules in the definitions are published for readers; kube-apiserver enforces these in Go.
    return {key: value for key, value in schema.items() if key != "x-kubernetes-validations"}


_COMPILER = Compiler(_resolve)


def compiled(name: str) -> Node:
    """Return the node of a built-in definition. Raises `KeyError` for an unknown name."""
    if name not in definitions():
        raise KeyError(name)
    return _COMPILER.compile({"$ref": name})
