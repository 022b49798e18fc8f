"""Unknown fields: found for strict validation and left out of what is stored.

After k8s.io/apiextensions-apiserver/pkg/apiserver/schema/pruning. Pure; returns a new document and shares what it need
not change.
"""

from typing import Any

from devcluster.apiserver.schema import Node, child_path


def prune(node: Node, value: Any, path: str, unknown: list[str]) -> Any:
    """Return the value without members its schema does not know, adding their paths to `unknown`."""
    if isinstance(value, dict):
        return _prune_members(node, value, path, unknown)
    if isinstance(value, list) and node.items is not None:
        return [prune(node.items, item, f"{path}[{index}]", unknown) for index, item in enumerate(value)]
    return value


def _prune_members(node: Node, value: dict[str, Any], path: str, unknown: list[str]) -> Any:
    if node.type and node.type != "object":
        return value
    kept = {}
    for name, member in value.items():
        child = node.member(name)
        if child is not None:
            kept[name] = prune(child, member, child_path(path, name), unknown)
        elif node.is_open or node.preserve_unknown:
            kept[name] = member
        else:
            unknown.append(child_path(path, name))
    return kept
