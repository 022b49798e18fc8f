"""Specs that break one bound of a CRD's schema at a time: every bound of every field, in an otherwise good spec.

The schema is the generated one, so a field that is added is broken here too, without a line of test.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

Json = Any
Steps = tuple[str | int, ...]


@dataclass(frozen=True)
class Violation:
    """One broken bound: where, what is broken, and the whole spec."""

    path: Steps
    bound: str
    spec: Json

    @property
    def field(self) -> str:
        """As an API server names it: `spec.template.env[0].name`."""
        return "spec" + "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)

    def __str__(self) -> str:
        return f"{self.field}: {self.bound}"


def violations(schema: Json, good: Json) -> Iterator[Violation]:
    """Each bound of each field below `spec`'s schema, broken once in a copy of the `good` spec."""
    for path, node in _nodes(schema, ()):
        for bound, value in _broken(node):
            spec = deepcopy(good)
            _set(spec, schema, path, value)
            yield Violation(path, bound, spec)


def _nodes(schema: Json, here: Steps) -> Iterator[tuple[Steps, Json]]:
    """Every field with its schema, the first of each list; keys of maps are free, so their values stand at `a`."""
    for name, child in schema.get("properties", {}).items():
        yield (*here, name), child
        yield from _nodes(child, (*here, name))
    if "items" in schema:
        yield (*here, 0), schema["items"]
        yield from _nodes(schema["items"], (*here, 0))
    if isinstance(schema.get("additionalProperties"), dict):
        yield (*here, "a"), schema["additionalProperties"]


def _broken(node: Json) -> Iterator[tuple[str, Json]]:
    kind = node.get("type", "string")
    yield "type", {"object": "x", "array": "x", "integer": "x", "boolean": "x"}.get(kind, {"x": 1})
    if "enum" in node:
        yield "enum", "no-such-value"
    if "maxLength" in node:
        yield "maxLength", "a" * (node["maxLength"] + 1)
    if node.get("minLength", 0) > 0:
        yield "minLength", ""
    if "pattern" in node:
        yield "pattern", " \u202e\x01"
    if "minimum" in node:
        yield "minimum", node["minimum"] - 1
    if "maximum" in node:
        yield "maximum", node["maximum"] + 1
    if "maxItems" in node:
        yield "maxItems", [example(node["items"]) for _ in range(node["maxItems"] + 1)]
    if "maxProperties" in node:
        yield "maxProperties", {f"key-{n}": "a" for n in range(node["maxProperties"] + 1)}
    for name in node.get("required", ()):
        yield f"required {name}", {key: value for key, value in example(node).items() if key != name}


def example(node: Json) -> Json:
    """A value that the bounds of the node allow, whatever its rules say of it."""
    if "enum" in node:
        return node["enum"][0]
    match node.get("type", "string"):
        case "object":
            return {name: example(node["properties"][name]) for name in node.get("required", ())}
        case "array":
            return []
        case "integer":
            return node.get("minimum", 0)
        case "boolean":
            return False
    return "1" if "anyOf" in node else "aaa"[: max(node.get("minLength", 1), 1)].ljust(node.get("minLength", 1), "a")


def _set(spec: Json, schema: Json, path: Steps, value: Json) -> None:
    """Sets the value at the path, with good parents around it where the spec has none."""
    target, node = spec, schema
    for step, after in zip(path, (*path[1:], None), strict=True):
        node = node["items"] if isinstance(step, int) else _below(node, step)
        if after is None:
            _put(target, step, value)
        else:
            held = _held(target, step)
            if not isinstance(held, list if isinstance(after, int) else dict):
                held = [] if isinstance(after, int) else example(node)
                _put(target, step, held)
            target = held


def _below(node: Json, name: str) -> Json:
    return node["properties"][name] if "properties" in node else node["additionalProperties"]


def _held(target: Json, step: str | int) -> Json:
    if isinstance(step, int):
        return target[step] if len(target) > step else None
    return target.get(step)


def _put(target: Json, step: str | int, value: Json) -> None:
    if isinstance(step, int):
        target[step : step + 1] = [value]
    else:
        target[step] = value
