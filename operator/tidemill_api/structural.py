"""Pydantic types to structural schemas, as a CustomResourceDefinition needs them.

Pydantic's JSON schema is the start. What Kubernetes does not take is rewritten here: `$ref` is inlined, an optional
field is a plain one that may be absent, a list says how it merges, an integer its width, a nested object with inner
defaults the default `{}` so that they apply. Refuses to invent: an unknown keyword is an error, not left out.
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, NoDefault

from tidemill_api.markers import INT_OR_STRING, LIST_MAP_KEYS, LIST_TYPE, VALIDATIONS

if TYPE_CHECKING:
    from pydantic import BaseModel
    from pydantic_core import core_schema

INT32_MAX = 2**31 - 1
_KEPT = frozenset(
    {"type", "description", "enum", "pattern", "minLength", "maxLength", "minItems", "maxItems", "maxProperties"}
    | {"minimum", "maximum", "format", "required", VALIDATIONS, INT_OR_STRING, LIST_TYPE, LIST_MAP_KEYS}
)
_DROPPED = frozenset({"title", "default", "additionalProperties", "properties", "items", "$defs", "const"})
_ORDER = ("description", "type", "format", "default", "enum", "pattern")

Schema = dict[str, Any]


class _WithFactories(GenerateJsonSchema):
    """Pydantic's generator leaves out defaults that a factory makes; an API shows them."""

    def get_default_value(self, schema: core_schema.WithDefaultSchema) -> Any:
        factory = schema.get("default_factory")
        if factory is not None and not schema.get("default_factory_takes_data"):
            return factory()  # type: ignore[call-arg]  # the union's other half takes data, excluded above
        return super().get_default_value(schema) if "default" in schema else NoDefault


def structural_schema(model: type[BaseModel], *, defaults: bool) -> Schema:
    """The schema of one API type; `defaults` False leaves every default out (a status is written, never made up).

    Raises ValueError for what a structural schema cannot say.
    """
    raw: JsonSchemaValue = model.model_json_schema(by_alias=True, schema_generator=_WithFactories)
    return _Rewriter(raw.get("$defs", {}), defaults=defaults).rewrite(raw)


class _Rewriter:
    """One pass over one type's JSON schema."""

    def __init__(self, definitions: dict[str, Schema], *, defaults: bool) -> None:
        self._definitions = definitions
        self._defaults = defaults

    def rewrite(self, raw: Schema) -> Schema:
        """One node and all below it."""
        node = self._resolved(raw)
        unknown = node.keys() - _KEPT - _DROPPED
        if unknown:
            raise ValueError(f"a structural schema cannot say {sorted(unknown)}: {node}")
        result: Schema = {key: deepcopy(value) for key, value in node.items() if key in _KEPT}
        if "properties" in node:
            result["properties"] = {name: self._property(child) for name, child in node["properties"].items()}
        elif node.get("type") == "object":
            result["additionalProperties"] = self.rewrite(node["additionalProperties"])
        if "items" in node:
            result["items"] = self.rewrite(node["items"])
            result.setdefault(LIST_TYPE, "atomic")
        _finish_scalar(result)
        return _ordered(result)

    def _property(self, raw: Schema) -> Schema:
        node = self.rewrite(raw)
        default = self._resolved(raw).get("default")
        if "properties" in node:
            default = {} if default is not None else None
            wanted = default is not None and _has_default_below(node)
        else:
            wanted = default is not None and (default not in ("", [], {}, False) or _is_number(default))
        if self._defaults and (wanted or (default is not None and _looks_back(node))):
            node["default"] = default
        return _ordered(node)

    def _resolved(self, raw: Schema) -> Schema:
        """The node with `$ref` and an optional's `anyOf` merged into it; what stands beside them wins."""
        node = dict(raw)
        if "anyOf" in node:
            choices = [choice for choice in node.pop("anyOf") if choice != {"type": "null"}]
            if len(choices) != 1:
                raise ValueError(f"a structural schema has no unions: {raw}")
            node = _merged(choices[0], node)
        if "$ref" in node:
            name = node.pop("$ref").removeprefix("#/$defs/")
            node = _merged(self._definitions[name], node)
            return self._resolved(node)
        return node


def _merged(below: Schema, above: Schema) -> Schema:
    both = {**below, **above}
    validations = [*below.get(VALIDATIONS, []), *above.get(VALIDATIONS, [])]
    return {**both, VALIDATIONS: validations} if validations else both


def _finish_scalar(node: Schema) -> None:
    if node.get(INT_OR_STRING):
        del node["type"]
        node["anyOf"] = [{"type": "integer"}, {"type": "string"}]
    elif node.get("type") == "integer":
        node["format"] = "int32" if node.get("maximum", INT32_MAX + 1) <= INT32_MAX else "int64"
    elif node.get("type") == "number":
        raise ValueError(f"floats have no place in a spec: {node}")


def _has_default_below(node: Schema) -> bool:
    return any("default" in child or _has_default_below(child) for child in node.get("properties", {}).values())


def _is_number(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _looks_back(node: Schema) -> bool:
    """Whether a transition rule stands at the node: it has to be present before and after for the rule to be seen."""
    return any("oldSelf" in rule["rule"] for rule in node.get(VALIDATIONS, []))


def _ordered(node: Schema) -> Schema:
    """Keywords in one order, so that a regenerated file differs only where the types do."""
    first = {key: node[key] for key in _ORDER if key in node}
    return first | {key: node[key] for key in sorted(node.keys() - first.keys())}
