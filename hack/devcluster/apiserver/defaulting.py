"""Defaults of a structural schema.

After k8s.io/apiextensions-apiserver/pkg/apiserver/schema/defaulting: nulls that a default can stand for are dropped
first, then missing members are filled in from the outside to the inside. Changes the document in place.
"""

from typing import Any

from devcluster.apiserver.objects import clone
from devcluster.apiserver.schema import ABSENT, Node


def apply_defaults(node: Node, value: Any) -> None:
    """Fill the defaults of everything below `value` in."""
    if not node.has_defaults:
        return
    if isinstance(value, dict):
        _fill_members(node, value)
        for name, member in value.items():
            child = node.member(name)
            if child is not None:
                apply_defaults(child, member)
    elif isinstance(value, list) and node.items is not None:
        for item in value:
            apply_defaults(node.items, item)


def _fill_members(node: Node, value: dict[str, Any]) -> None:
    for name, child in node.properties.items():
        if child.default is ABSENT:
            continue
        if name not in value or (value[name] is None and not child.nullable):
            value[name] = clone(child.default)
