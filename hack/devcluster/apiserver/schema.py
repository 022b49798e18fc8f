"""Compiled schemas: one tree of nodes for a custom resource's structural schema and for a built-in kind alike.

Compiling is done once for each version of each kind; pruning, defaulting, validation, field ownership and patches
then walk the tree along the object. Pure data; it judges nothing.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from devcluster.apiserver.cel_rules import Rule, compile_rules
from devcluster.apiserver.objects import JsonObject


class _Absent:
    def __repr__(self) -> str:
        return "ABSENT"


# Stands for "no value", where null is a value.
ABSENT: Any = _Absent()

Resolve = Callable[[str], JsonObject]


@dataclass(eq=False, slots=True)
class Node:
    """One value's schema. `type` is a JSON schema type, empty where any is allowed.

    `properties` are the known members of an object, `additional` the schema of all others (None: there are none).
    `list_type` is atomic, set or map; `map_keys` identify the items of a `map`. `merge_key` and `merge_lists`
    steer the strategic merge patch. `value_checks` are anyOf, oneOf, allOf and not.
    """

    type: str = ""
    nullable: bool = False
    int_or_string: bool = False
    preserve_unknown: bool = False
    embedded: bool = False
    format: str = ""
    properties: dict[str, "Node"] = field(default_factory=dict)
    additional: "Node | None" = None
    items: "Node | None" = None
    list_type: str = "atomic"
    map_keys: tuple[str, ...] = ()
    atomic_map: bool = False
    merge_key: str = ""
    merge_lists: bool = False
    required: tuple[str, ...] = ()
    enum: tuple[Any, ...] = ()
    pattern: "re.Pattern[str] | None" = None
    bounds: Mapping[str, Any] = field(default_factory=dict)
    value_checks: Mapping[str, tuple["Node", ...]] = field(default_factory=dict)
    default: Any = ABSENT
    rules: tuple[Rule, ...] = ()
    # Whether this node or any below has a default, or a rule that compares with the old value.
    has_defaults: bool = False
    has_transition_rules: bool = False

    @property
    def is_open(self) -> bool:
        """Whether members that are not described are kept as they are."""
        return self.preserve_unknown or (self.type != "object" and not self.properties) or self.int_or_string

    def member(self, name: str) -> "Node | None":
        """Return the schema of an object's member; None for one that is unknown."""
        return self.properties.get(name) or self.additional


ANY = Node(preserve_unknown=True)

_BOUNDS = (
    "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength",
    "minItems", "maxItems", "minProperties", "maxProperties",
)  # fmt: skip
# Formats of scalars that are written as a string or a number.
_SCALARS = ("int-or-string", "quantity")
_CHECKS = ("allOf", "anyOf", "oneOf")


class Compiler:
    """Turns OpenAPI schemas into nodes.

    `resolve` finds what a `$ref` names (built-in kinds only); `implied` are the members every embedded resource
    has without saying so: apiVersion, kind and metadata.
    """

    def __init__(self, resolve: Resolve | None = None, implied: Mapping[str, Node] | None = None) -> None:
        self._resolve = resolve
        self._implied = dict(implied or {})
        self._known: dict[str, Node] = {}

    def compile(self, schema: JsonObject) -> Node:
        """Return the node of a schema. Raises `re.error` or `ValueError` for a pattern or rule that is wrong."""
        reference = schema.get("$ref")
        if reference is None:
            return self._fill(Node(), schema)
        node = self._known.get(reference)
        if node is None:
            assert self._resolve is not None, "only built-in kinds have references"  # noqa: S101 - the caller's duty
            node = self._known[reference] = Node()
            self._fill(node, self._resolve(reference))
        return self._with_list_hints(node, schema)

    def _with_list_hints(self, node: Node, schema: JsonObject) -> Node:
        """Return a node like the referenced one, with what the referring property says beside it."""
        if schema.get("x-kubernetes-map-type") == "atomic" and not node.atomic_map:
            return replace(node, atomic_map=True)
        return node

    def _fill(self, node: Node, schema: JsonObject) -> Node:
        self._fill_kind(node, schema)
        node.properties = {name: self.compile(sub) for name, sub in (schema.get("properties") or {}).items()}
        if node.embedded:
            node.properties = with_implied(node.properties, self._implied)
        additional = schema.get("additionalProperties")
        if additional is not None and additional is not False:
            node.additional = ANY if additional is True or not additional else self.compile(additional)
        items = schema.get("items")
        if isinstance(items, dict):
            node.items = self.compile(items)
        self._fill_lists(node, schema)
        self._fill_checks(node, schema)
        below = [*node.properties.values(), *filter(None, (node.additional, node.items))]
        node.has_defaults = node.default is not ABSENT or any(child.has_defaults for child in below)
        node.has_transition_rules = any(rule.is_transition for rule in node.rules) or any(
            child.has_transition_rules for child in below
        )
        return node

    def _fill_kind(self, node: Node, schema: JsonObject) -> None:
        kinds = schema.get("type", "")
        if isinstance(kinds, list):
            # The JSON schema form of the built-in definitions: ["string", "null"].
            kinds = next((kind for kind in kinds if kind != "null"), "")
        node.type = kinds
        node.format = schema.get("format", "")
        node.nullable = bool(schema.get("nullable"))
        node.int_or_string = bool(schema.get("x-kubernetes-int-or-string")) or node.format in _SCALARS
        node.preserve_unknown = bool(schema.get("x-kubernetes-preserve-unknown-fields"))
        node.embedded = bool(schema.get("x-kubernetes-embedded-resource"))
        if "default" in schema:
            node.default = schema["default"]

    def _fill_lists(self, node: Node, schema: JsonObject) -> None:
        strategy = schema.get("x-kubernetes-patch-strategy", "").split(",")
        node.merge_lists = "merge" in strategy
        node.merge_key = schema.get("x-kubernetes-patch-merge-key", "")
        node.list_type = schema.get("x-kubernetes-list-type", "atomic")
        node.map_keys = tuple(schema.get("x-kubernetes-list-map-keys") or ())
        node.atomic_map = schema.get("x-kubernetes-map-type") == "atomic"

    def _fill_checks(self, node: Node, schema: JsonObject) -> None:
        node.required = tuple(schema.get("required") or ())
        node.enum = tuple(schema.get("enum") or ())
        node.bounds = {name: schema[name] for name in _BOUNDS if schema.get(name) is not None}
        if schema.get("pattern"):
            node.pattern = compile_pattern(schema["pattern"])
        checks: dict[str, tuple[Node, ...]] = {
            name: tuple(self.compile(sub) for sub in schema[name]) for name in _CHECKS if schema.get(name)
        }
        if schema.get("not"):
            checks["not"] = (self.compile(schema["not"]),)
        node.value_checks = checks
        node.rules = compile_rules(schema.get("x-kubernetes-validations") or ())


def with_implied(properties: Mapping[str, Node], implied: Mapping[str, Node]) -> dict[str, Node]:
    """Return an object's members with the implied ones; what a schema says of them is checked on top."""
    members = dict(properties)
    for name, node in implied.items():
        own = properties.get(name)
        members[name] = node if own is None else replace(node, value_checks={"allOf": (own,)})
    return members


def compile_pattern(pattern: str) -> "re.Pattern[str]":
    r"""Compile a Go (RE2) pattern: as Python's but for `\z`, the end of the text. Raises `re.error`."""
    return re.compile(pattern.replace(r"\z", r"\Z"))


def child_path(path: str, name: str) -> str:
    """Return the field path of an object's member; names with dots are bracketed as in Kubernetes."""
    if "." in name or "/" in name:
        return f"{path}[{name}]"
    return f"{path}.{name}" if path else name


def item_key(node: Node, item: Any) -> tuple[Any, ...] | None:
    """Return what identifies an item of a `map` list: the values of its keys; None for what is no such item."""
    if not isinstance(item, dict):
        return None
    return tuple(_key_value(node, item, name) for name in node.map_keys)


def _key_value(node: Node, item: JsonObject, name: str) -> Any:
    if name in item:
        return item[name]
    member = node.items.member(name) if node.items else None
    return None if member is None or member.default is ABSENT else member.default


def item_keys(node: Node, items: Sequence[Any]) -> dict[tuple[Any, ...], Any]:
    """Return the items of a `map` list by what identifies them."""
    return {key: item for item in items if (key := item_key(node, item)) is not None}
