"""Strategic merge patch: a merge patch that knows which lists are merged by key.

After k8s.io/apimachinery/pkg/util/strategicpatch. Merge keys and strategies come from the kind's published schema.
Pure.
"""

from typing import Any

from devcluster.apiserver.errors import bad_request
from devcluster.apiserver.objects import clone
from devcluster.apiserver.schema import ANY, Node

_DIRECTIVE = "$patch"
_RETAIN_KEYS = "$retainKeys"
_DELETE_FROM = "$deleteFromPrimitiveList/"
_ORDER = "$setElementOrder/"


def apply_strategic_merge_patch(node: Node, target: Any, patch: Any) -> Any:
    """Return `target` with the patch applied. Raises `StatusError` 400 for a directive or item without sense."""
    if not isinstance(patch, dict):
        return clone(patch)
    current = dict(target) if isinstance(target, dict) else {}
    directive = patch.get(_DIRECTIVE)
    if directive == "replace":
        return clone({name: value for name, value in patch.items() if name != _DIRECTIVE})
    if directive == "delete":
        return {}
    if directive not in (None, "merge"):
        raise bad_request(f"Unknown patch type: {directive} found in a map")
    if _RETAIN_KEYS in patch:
        current = {name: value for name, value in current.items() if name in patch[_RETAIN_KEYS]}
    for name, value in patch.items():
        if name.startswith("$"):
            _apply_directive(node, current, name, value)
        elif value is None:
            current.pop(name, None)
        else:
            merged = _merge_value(node.member(name) or ANY, current.get(name), value)
            current[name] = _ordered(node.member(name) or ANY, merged, patch.get(_ORDER + name))
    return current


def _apply_directive(node: Node, current: dict[str, Any], name: str, value: Any) -> None:
    if name.startswith(_DELETE_FROM):
        field = name.removeprefix(_DELETE_FROM)
        if isinstance(current.get(field), list):
            current[field] = [item for item in current[field] if item not in value]
    elif name.startswith(_ORDER):
        field = name.removeprefix(_ORDER)
        if isinstance(current.get(field), list):
            current[field] = _ordered(node.member(field) or ANY, current[field], value)


def _merge_value(node: Node, current: Any, patch: Any) -> Any:
    if isinstance(patch, dict):
        return apply_strategic_merge_patch(node, current, patch)
    if not isinstance(patch, list):
        return patch
    if any(isinstance(item, dict) and item.get(_DIRECTIVE) == "replace" for item in patch):
        return [clone(item) for item in patch if not (isinstance(item, dict) and _DIRECTIVE in item)]
    if not node.merge_lists or not isinstance(current, list):
        return _without_directives(node, patch)
    if node.merge_key:
        return _merge_items(node, current, patch)
    return current + [item for item in patch if item not in current]


def _without_directives(node: Node, patch: list[Any]) -> list[Any]:
    kept = [item for item in patch if not (isinstance(item, dict) and item.get(_DIRECTIVE) == "delete")]
    if not node.merge_lists:
        return [clone(item) for item in kept]
    return [
        apply_strategic_merge_patch(node.items or ANY, {}, item) if isinstance(item, dict) else item for item in kept
    ]


def _merge_items(node: Node, current: list[Any], patch: list[Any]) -> list[Any]:
    """Merge lists of objects by their key: matching items are merged, others appended, `$patch: delete` removed."""
    merged = list(current)
    for item in patch:
        if not isinstance(item, dict) or item.get(node.merge_key) is None:
            raise bad_request(f"map: {item} does not contain declared merge key: {node.merge_key}")
        places = [
            index
            for index, old in enumerate(merged)
            if isinstance(old, dict) and old.get(node.merge_key) == item[node.merge_key]
        ]
        if item.get(_DIRECTIVE) == "delete":
            merged = [old for index, old in enumerate(merged) if index not in places]
        elif places:
            merged[places[0]] = apply_strategic_merge_patch(node.items or ANY, merged[places[0]], item)
        else:
            merged.append(apply_strategic_merge_patch(node.items or ANY, {}, item))
    return merged


def _ordered(node: Node, items: Any, order: Any) -> Any:
    """Put the items that `$setElementOrder` names into its order; the others keep their place behind."""
    if not isinstance(items, list) or not isinstance(order, list) or not node.merge_lists:
        return items

    def identity(item: Any) -> Any:
        return item.get(node.merge_key) if node.merge_key and isinstance(item, dict) else item

    places = [identity(item) for item in order]
    named = sorted((item for item in items if identity(item) in places), key=lambda item: places.index(identity(item)))
    return named + [item for item in items if identity(item) not in places]
