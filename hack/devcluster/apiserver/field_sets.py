"""Sets of fields, as `metadata.managedFields` keeps them (FieldsV1).

A field is a path of steps: `f:name` for a member, `k:{"name":"c"}` for an item of a list with keys, `v:"x"` for
an item of a set. After sigs.k8s.io/structured-merge-diff (typed/tofieldset.go, fieldpath). Pure.
"""

import json
from collections.abc import Iterator
from typing import Any

from devcluster.apiserver.objects import JsonObject
from devcluster.apiserver.schema import ANY, Node, item_key

Path = tuple[str, ...]
FieldSet = frozenset[Path]

# The value of a path that stands for an item or entry itself rather than for what is in it.
_PRESENT = object()

# Never owned by anyone: who an object is and what the server writes.
_UNTRACKED: FieldSet = frozenset(
    {("f:apiVersion",), ("f:kind",)}
    | {
        ("f:metadata", f"f:{name}")
        for name in (
            "name", "namespace", "generateName", "creationTimestamp", "selfLink", "uid", "generation",
            "managedFields", "resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds",
        )
    }
)  # fmt: skip


def leaves(node: Node, document: JsonObject) -> dict[Path, Any]:
    """Return every field of a document that can be owned, with its value."""
    return {
        path: value
        for path, value in _walk(node, document, ())
        if path[:2] not in _UNTRACKED and path not in _UNTRACKED
    }


def field_set(node: Node, document: JsonObject) -> FieldSet:
    """Return every field of a document that can be owned."""
    return frozenset(leaves(node, document))


def _walk(node: Node, value: Any, path: Path) -> Iterator[tuple[Path, Any]]:
    if isinstance(value, dict) and not node.atomic_map:
        yield from _walk_members(node, value, path)
    elif isinstance(value, list) and node.list_type in ("set", "map"):
        for item in value:
            step = item_step(node, item)
            yield (*path, step), _PRESENT
            if node.list_type == "map":
                yield from _walk(node.items or ANY, item, (*path, step))
    else:
        yield path, value


def _walk_members(node: Node, members: JsonObject, path: Path) -> Iterator[tuple[Path, Any]]:
    for name, member in members.items():
        below = (*path, f"f:{name}")
        declared = node.properties.get(name)
        if (isinstance(member, dict) and not member) or (declared is None and isinstance(member, dict | list)):
            yield below, _PRESENT
        if member == {}:
            continue
        yield from _walk(declared or node.additional or ANY, member, below)


def item_step(node: Node, item: Any) -> str:
    """Return the step that leads to an item of a list with keys or of a set."""
    if node.list_type == "map":
        key = item_key(node, item)
        if key is not None:
            return "k:" + _compact(dict(zip(node.map_keys, key, strict=True)))
    return "v:" + _compact(item)


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), sort_keys=True)


def encode_fields(fields: FieldSet) -> JsonObject:
    """Return a set in the form of FieldsV1."""
    root: JsonObject = {}
    for path in sorted(fields):
        place = root
        for step in path:
            place = place.setdefault(step, {})
        place["."] = {}
    return _without_leaf_dots(root)


def _without_leaf_dots(tree: JsonObject) -> JsonObject:
    """Leave out the dot where a field has nothing below it, as FieldsV1 does."""
    if set(tree) == {"."}:
        return {}
    return {step: {} if step == "." else _without_leaf_dots(below) for step, below in tree.items()}


def decode_fields(fields: JsonObject) -> FieldSet:
    """Read FieldsV1."""
    return frozenset(_decode(fields, ()))


def _decode(tree: JsonObject, path: Path) -> Iterator[Path]:
    if path and (not tree or "." in tree):
        yield path
    for step, below in tree.items():
        if step != ".":
            yield from _decode(below if isinstance(below, dict) else {}, (*path, step))


def path_text(path: Path) -> str:
    """Return a path as conflicts name it: `.spec.containers[name="c"].image`."""
    text = ""
    for step in path:
        kind, _, rest = step.partition(":")
        if kind == "f":
            text += f".{rest}"
        elif kind == "k":
            keys = ",".join(f"{name}={_compact(value)}" for name, value in json.loads(rest).items())
            text += f"[{keys}]"
        else:
            text += f"[={rest}]"
    return text
