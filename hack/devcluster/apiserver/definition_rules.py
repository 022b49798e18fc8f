"""Judges a CustomResourceDefinition: names, versions, and schemas that are structural and compile.

After k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/validation, the part that users run into.
"""

import re
from collections.abc import Iterator

from devcluster.apiserver import json_path, openapi_definitions
from devcluster.apiserver.cel_rules import compile_rules
from devcluster.apiserver.errors import Cause
from devcluster.apiserver.objects import JsonObject, metadata
from devcluster.apiserver.schema import compile_pattern
from devcluster.apiserver.validation import Spot, validate

_SCHEMA_PROPS = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSONSchemaProps"
_FORBIDDEN = ("$ref", "definitions", "dependencies", "patternProperties", "additionalItems", "deprecated", "readOnly")


def definition_causes(definition: JsonObject) -> list[Cause]:
    """Return what is wrong with a definition."""
    spec = definition["spec"]
    name, wanted = metadata(definition).get("name"), f"{spec['names']['plural']}.{spec['group']}"
    causes = []
    if name != wanted:
        message = f'Invalid value: "{name}": must be spec.names.plural+"."+spec.group'
        causes.append(Cause("FieldValueInvalid", "metadata.name", message))
    if spec.get("scope") not in ("Namespaced", "Cluster"):
        message = f'Unsupported value: "{spec.get("scope")}": supported values: "Cluster", "Namespaced"'
        causes.append(Cause("FieldValueNotSupported", "spec.scope", message))
    if (spec.get("conversion") or {}).get("strategy", "None") != "None":
        message = "Forbidden: conversion webhooks are not offered by the dev cluster's API server"
        causes.append(Cause("FieldValueForbidden", "spec.conversion.strategy", message))
    if sum(bool(version.get("storage")) for version in spec["versions"]) != 1:
        message = "Invalid value: must have exactly one version marked as storage version"
        causes.append(Cause("FieldValueInvalid", "spec.versions", message))
    for index, version in enumerate(spec["versions"]):
        causes += _version_causes(version, f"spec.versions[{index}]")
    return causes


def _version_causes(version: JsonObject, path: str) -> Iterator[Cause]:
    for index, column in enumerate(version.get("additionalPrinterColumns") or ()):
        try:
            json_path.parse(column["jsonPath"])
        except ValueError as error:
            message = f'Invalid value: "{column["jsonPath"]}": {error}'
            yield Cause("FieldValueInvalid", f"{path}.additionalPrinterColumns[{index}].jsonPath", message)
    schema = (version.get("schema") or {}).get("openAPIV3Schema")
    path += ".schema.openAPIV3Schema"
    if schema is None:
        yield Cause("FieldValueRequired", path, "Required value: schemas are required")
        return
    if schema.get("type") != "object":
        yield Cause("FieldValueInvalid", f"{path}.type", "Invalid value: must be object at the root")
    yield from _schema_causes(schema, path)


def _schema_causes(schema: JsonObject, path: str) -> Iterator[Cause]:
    open_type = schema.get("x-kubernetes-int-or-string") or schema.get("x-kubernetes-preserve-unknown-fields")
    if not schema.get("type") and not open_type:
        yield Cause(
            "FieldValueRequired", f"{path}.type", "Required value: must not be empty for specified object fields"
        )
    for name in _FORBIDDEN:
        if schema.get(name):
            yield Cause("FieldValueForbidden", f"{path}.{name}", "Forbidden: must not be used in a structural schema")
    if schema.get("properties") and schema.get("additionalProperties"):
        message = "Forbidden: additionalProperties and properties are mutual exclusive"
        yield Cause("FieldValueForbidden", f"{path}.additionalProperties", message)
    yield from _list_causes(schema, path)
    yield from _compile_causes(schema, path)
    for name, sub in (schema.get("properties") or {}).items():
        yield from _schema_causes(sub, f"{path}.properties[{name}]")
    for name in ("items", "additionalProperties"):
        sub = schema.get(name)
        if isinstance(sub, dict):
            # Published as "anything": their shape has not been judged with the definition's own schema.
            faults = list(validate(openapi_definitions.compiled(_SCHEMA_PROPS), Spot(f"{path}.{name}", sub)))
            yield from faults or _schema_causes(sub, f"{path}.{name}")
        elif sub is not None and (name == "items" or not isinstance(sub, bool)):
            yield Cause("FieldValueForbidden", f"{path}.{name}", "Forbidden: must be one schema")


def _list_causes(schema: JsonObject, path: str) -> Iterator[Cause]:
    if schema.get("type") == "array" and not schema.get("items"):
        yield Cause("FieldValueRequired", f"{path}.items", "Required value: must be specified")
    if schema.get("x-kubernetes-list-type") != "map":
        return
    keys = schema.get("x-kubernetes-list-map-keys")
    if not keys:
        message = "Required value: must not be empty if x-kubernetes-list-type is map"
        yield Cause("FieldValueRequired", f"{path}.x-kubernetes-list-map-keys", message)
    items = schema.get("items")
    items = items if isinstance(items, dict) else {}
    for key in keys or ():
        required = key in (items.get("required") or ()) or "default" in (items.get("properties") or {}).get(key, {})
        if not required:
            rule = "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"
            message = f'Required value: {rule}: "{key}"'
            yield Cause("FieldValueRequired", f"{path}.items.properties[{key}].default", message)


def _compile_causes(schema: JsonObject, path: str) -> Iterator[Cause]:
    """Report patterns and rules that do not compile, so that no write of an object ever meets them."""
    if schema.get("pattern"):
        try:
            compile_pattern(schema["pattern"])
        except re.error as error:
            message = f'Invalid value: "{schema["pattern"]}": must be a valid regular expression, but isn\'t: {error}'
            yield Cause("FieldValueInvalid", f"{path}.pattern", message)
    for index, rule in enumerate(schema.get("x-kubernetes-validations") or ()):
        try:
            compile_rules([rule])
        except ValueError as error:
            message = f'Invalid value: "{rule.get("rule", "")}": compilation failed: {error}'
            yield Cause("FieldValueInvalid", f"{path}.x-kubernetes-validations[{index}].rule", message)
