"""Objects as CEL sees them: a value converted along its schema."""

from typing import Any

from devcluster.apiserver.cel_rules import typed_scalar
from devcluster.apiserver.schema import Node


def as_cel(node: Node, value: Any) -> Any:
    """Return a value as rules see it: scalars typed, undescribed members left out as in Kubernetes."""
    if isinstance(value, dict):
        if not node.properties and node.additional is None:
            return value
        typed = {}
        for name, member in value.items():
            child = node.member(name)
            if child is not None or node.preserve_unknown:
                typed[name] = as_cel(child, member) if child else member
        return typed
    if isinstance(value, list):
        return [as_cel(node.items, item) for item in value] if node.items else value
    return typed_scalar(value, node.type, node.format)
