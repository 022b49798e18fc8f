"""Judges an object by its schema: types, bounds, lists, combinations and CEL rules.

The wording follows k8s.io/apiextensions-apiserver (schema validation, list types, CEL). Parts of an object that an
update leaves alone are not judged again ("ratcheting"), but for rules that compare with the old value. Pure.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from devcluster.apiserver import cel_rules
from devcluster.apiserver.bounds import bound_causes
from devcluster.apiserver.cel_values import as_cel
from devcluster.apiserver.errors import Cause
from devcluster.apiserver.formats import has_format
from devcluster.apiserver.schema import ABSENT, Node, child_path, item_key, item_keys


@dataclass(frozen=True)
class Spot:
    """A value under judgement: where it is, what it is and what it was (ABSENT where it cannot be told)."""

    path: str
    value: Any
    old: Any = ABSENT

    @property
    def unchanged(self) -> bool:
        """Whether an update has left the value as it was."""
        return self.old is not ABSENT and bool(self.old == self.value)


def validate(node: Node, spot: Spot) -> Iterator[Cause]:
    """Yield everything wrong with a value and with what is below it."""
    if spot.unchanged and not node.has_transition_rules:
        return
    own = list(_own_causes(node, spot))
    if not spot.unchanged:
        yield from own
    if any(cause.reason == "FieldValueTypeInvalid" for cause in own):
        return
    below = [cause for child, inner in _below(node, spot) for cause in validate(child, inner)]
    yield from below
    # As in Kubernetes, rules are not asked about a value whose shape is wrong already.
    if node.rules and not below and not own:
        yield from _rule_causes(node, spot)


def _own_causes(node: Node, spot: Spot) -> Iterator[Cause]:
    value = spot.value
    if value is None:
        if not node.nullable and (node.type or node.int_or_string) and not node.preserve_unknown:
            yield _type_cause(spot.path, node.type or "integer,string", "null")
        return
    if not has_type(node, value):
        yield _type_cause(spot.path, "integer,string" if node.int_or_string else node.type, type_name(value))
        return
    if isinstance(value, str) and node.format and not has_format(value, node.format):
        text = json.dumps(value)
        message = f"Invalid value: {text}: {spot.path} in body must be of type {node.format}: {text}"
        yield Cause("FieldValueInvalid", spot.path, message)
    if node.enum and value not in node.enum:
        supported = ", ".join(json.dumps(allowed) for allowed in node.enum)
        message = f"Unsupported value: {json.dumps(value)}: supported values: {supported}"
        yield Cause("FieldValueNotSupported", spot.path, message)
    yield from bound_causes(node, spot.path, value)
    if isinstance(value, dict):
        for name in node.required:
            if name not in value:
                yield Cause("FieldValueRequired", child_path(spot.path, name), "Required value")
    elif isinstance(value, list):
        yield from _duplicates(node, spot.path, value)
    yield from _combination_causes(node, spot)


def _type_cause(path: str, wanted: str, got: str) -> Cause:
    message = f'Invalid value: "{got}": {path} in body must be of type {wanted}: "{got}"'
    return Cause("FieldValueTypeInvalid", path, message)


_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "number": (int, float),
    "boolean": (bool,),
}


def has_type(node: Node, value: Any) -> bool:
    """Tell whether a value has the JSON type its schema asks for."""
    if node.int_or_string:
        return isinstance(value, str) or (isinstance(value, int | float) and not isinstance(value, bool))
    if not node.type:
        return True
    if node.type == "integer":
        return (isinstance(value, int) and not isinstance(value, bool)) or (
            isinstance(value, float) and value.is_integer()
        )
    if node.type == "number" and isinstance(value, bool):
        return False
    return isinstance(value, _PYTHON_TYPES.get(node.type, (object,)))


def type_name(value: Any) -> str:
    """Return the JSON schema name of a value's type."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    names: dict[type, str] = {int: "integer", float: "number", str: "string", list: "array", dict: "object"}
    return names.get(type(value), "object")


def _duplicates(node: Node, path: str, items: list[Any]) -> Iterator[Cause]:
    if node.list_type not in ("set", "map"):
        return
    seen: set[str] = set()
    for index, item in enumerate(items):
        key: Any = item
        if node.list_type == "map":
            found = item_key(node, item)
            key = dict(zip(node.map_keys, found, strict=True)) if found else item
        text = json.dumps(key, sort_keys=True)
        if text in seen:
            yield Cause("FieldValueDuplicate", f"{path}[{index}]", f"Duplicate value: {text}")
        seen.add(text)


def _combination_causes(node: Node, spot: Spot) -> Iterator[Cause]:
    for part in node.value_checks.get("allOf", ()):
        yield from validate(part, Spot(spot.path, spot.value))
    for name, wanted in (("anyOf", "at least one schema"), ("oneOf", "one and only one schema")):
        parts = node.value_checks.get(name)
        if not parts:
            continue
        holding = sum(not any(validate(part, Spot(spot.path, spot.value))) for part in parts)
        if not holding or (name == "oneOf" and holding > 1):
            message = f'Invalid value: "": "{spot.path}" must validate {wanted} ({name})'
            yield Cause("FieldValueInvalid", spot.path, message)
    for part in node.value_checks.get("not", ()):
        if not any(validate(part, Spot(spot.path, spot.value))):
            message = f'Invalid value: "": "{spot.path}" must not validate the schema (not)'
            yield Cause("FieldValueInvalid", spot.path, message)


def _below(node: Node, spot: Spot) -> Iterator[tuple[Node, Spot]]:
    """Yield the described members or items of a value, each with its old self where that can be told."""
    if isinstance(spot.value, dict):
        old = spot.old if isinstance(spot.old, dict) else {}
        for name, member in spot.value.items():
            child = node.member(name)
            if child is not None:
                yield child, Spot(child_path(spot.path, name), member, old.get(name, ABSENT))
    elif isinstance(spot.value, list) and node.items is not None:
        known = item_keys(node, spot.old) if node.list_type == "map" and isinstance(spot.old, list) else {}
        for index, item in enumerate(spot.value):
            key = item_key(node, item) if known else None
            yield node.items, Spot(f"{spot.path}[{index}]", item, known.get(key, ABSENT) if key else ABSENT)


def _rule_causes(node: Node, spot: Spot) -> Iterator[Cause]:
    if spot.value is None:
        return
    value = as_cel(node, spot.value)
    old = ABSENT if spot.old is ABSENT or spot.old is None else as_cel(node, spot.old)
    for rule in node.rules:
        if rule.is_transition and old is ABSENT:
            continue
        if spot.unchanged and not rule.is_transition:
            continue
        failure = cel_rules.check(rule, value, old)
        if failure is not None:
            path = spot.path + failure.field_path
            kind = "object" if isinstance(spot.value, dict) else type_name(spot.value)
            yield _rule_cause(path.lstrip(".") or "<nil>", kind, failure)


_RULE_TITLES = {
    "FieldValueRequired": "Required value",
    "FieldValueForbidden": "Forbidden",
    "FieldValueDuplicate": 'Duplicate value: "{kind}"',
    "FieldValueInvalid": 'Invalid value: "{kind}"',
}


def _rule_cause(path: str, kind: str, failure: cel_rules.Failure) -> Cause:
    title = _RULE_TITLES.get(failure.reason, _RULE_TITLES["FieldValueInvalid"]).format(kind=kind)
    return Cause(failure.reason, path, f"{title}: {failure.message}")
