"""Server-side apply: merges what a manager wants into an object, field by field.

After sigs.k8s.io/structured-merge-diff (merge/update.go, typed/merge.go). A field that another manager owns with
another value is a conflict unless forced; a field the manager applied before and no longer does is removed when
nobody else owns it. Pure.
"""

import json
from dataclasses import dataclass, replace
from typing import Any

from devcluster.apiserver.errors import Cause, StatusError, Subject, apply_conflict
from devcluster.apiserver.field_sets import FieldSet, field_set, item_step, leaves, path_text
from devcluster.apiserver.managed_fields import UPDATE, Ownership, Writer, compare, read, write, write_if_different
from devcluster.apiserver.objects import JsonObject, clone, metadata, now_timestamp
from devcluster.apiserver.schema import ANY, Node

_KUBECTL = "kubectl"
_LAST_APPLIED = "kubectl.kubernetes.io/last-applied-configuration"


@dataclass(frozen=True)
class Applied:
    """What is applied: the manager's `config`, by whom, about what, and whether by force."""

    config: JsonObject
    writer: Writer
    subject: Subject
    force: bool = False


def apply(node: Node, live: JsonObject, applied: Applied) -> JsonObject:
    """Return the object with the config merged in and the owners brought up to date. Raises `StatusError` 409."""
    owners = read(live)
    mine = field_set(node, applied.config)
    before = next((o.fields for o in owners if o.writer == applied.writer), frozenset())
    others = [owner for owner in owners if owner.writer != applied.writer]
    merged: JsonObject = merge(node, live, applied.config)
    others = _settle_conflicts(node, live, merged, others, applied)
    kept = mine.union(*(owner.fields for owner in others))
    result: JsonObject = _removed(node, merged, before - kept, kept)
    gone = compare(node, live, result).removed
    others = [replace(owner, fields=owner.fields - gone) for owner in others]
    unchanged = mine == before and compare(node, live, result).changed == frozenset() and not gone
    time = next((o.time for o in owners if o.writer == applied.writer), "") if unchanged else now_timestamp()
    result["metadata"] = dict(result.get("metadata") or {})
    result["metadata"]["managedFields"] = live.get("metadata", {}).get("managedFields")
    write_if_different(result, _in_order(owners, [*others, Ownership(applied.writer, mine, time)]))
    return result


def _in_order(before: list[Ownership], after: list[Ownership]) -> list[Ownership]:
    """Return the owners in the order they had, new ones last."""
    places = {owner.writer: place for place, owner in enumerate(before)}
    return sorted(after, key=lambda owner: places.get(owner.writer, len(places)))


def created(node: Node, applied: Applied) -> JsonObject:
    """Return the config as a new object that its manager owns."""
    document: JsonObject = clone(applied.config)
    write(document, [Ownership(applied.writer, field_set(node, document), now_timestamp())])
    return document


def _settle_conflicts(
    node: Node, live: JsonObject, merged: JsonObject, others: list[Ownership], applied: Applied
) -> list[Ownership]:
    """Return the other owners without what is taken from them by force. Raises `StatusError` 409."""
    changed = compare(node, live, merged).changed
    disputed = changed - _applied_by_client(node, live) if applied.writer.manager == _KUBECTL else changed
    conflicts = [(owner, sorted(owner.fields & disputed)) for owner in others if owner.fields & disputed]
    if conflicts and not applied.force:
        raise _conflict(applied.subject, conflicts)
    return [replace(owner, fields=owner.fields - changed) for owner in others]


def _applied_by_client(node: Node, live: JsonObject) -> FieldSet:
    """Return the fields that kubectl applied from its side and nobody has changed since.

    kubectl's server-side apply takes these over without a conflict (managedfields/internal/lastappliedmanager.go).
    """
    annotations = metadata(live).get("annotations") or {}
    try:
        config = json.loads(annotations.get(_LAST_APPLIED, ""))
    except ValueError:
        return frozenset()
    if not isinstance(config, dict):
        return frozenset()
    current = leaves(node, live)
    return frozenset(path for path, value in leaves(node, config).items() if current.get(path) == value)


def _conflict(subject: Subject, conflicts: list[tuple[Ownership, list[tuple[str, ...]]]]) -> StatusError:
    causes, parts = [], []
    for owner, paths in conflicts:
        who = str(owner.writer)
        if owner.writer.operation == UPDATE:
            who += f" using {owner.writer.api_version}" + (f" at {owner.time}" if owner.time else "")
        causes += [Cause("FieldManagerConflict", path_text(path), f"conflict with {who}") for path in paths]
        texts = [path_text(path) for path in paths]
        many = f"conflicts with {who}:\n- " + "\n- ".join(texts)
        parts.append(f"conflict with {who}: {texts[0]}" if len(texts) == 1 else many)
    noun = "conflict" if len(causes) == 1 else "conflicts"
    return apply_conflict(subject, f"Apply failed with {len(causes)} {noun}: " + "\n".join(parts), causes)


def merge(node: Node, live: Any, config: Any) -> Any:
    """Return `live` with `config` laid over it: objects by member, lists as their type says, all else replaced."""
    if isinstance(config, dict) and isinstance(live, dict) and not node.atomic_map:
        merged = dict(live)
        for name, value in config.items():
            merged[name] = merge(node.member(name) or ANY, live.get(name), value)
        return merged
    if isinstance(config, list) and isinstance(live, list) and node.list_type in ("set", "map"):
        return _merge_lists(node, live, config)
    return clone(config)


def _merge_lists(node: Node, live: list[Any], config: list[Any]) -> list[Any]:
    """Merge items by what identifies them: live ones keep their place, new ones follow."""
    wanted = {item_step(node, item): item for item in config}
    merged = []
    for item in live:
        step = item_step(node, item)
        merged.append(merge(node.items or ANY, item, wanted.pop(step)) if step in wanted else item)
    return merged + [clone(item) for item in wanted.values()]


def _removed(node: Node, value: Any, gone: FieldSet, kept: FieldSet) -> Any:
    """Return a value without the fields in `gone`, but for what holds fields in `kept`; emptied objects go too."""
    if not gone:
        return value
    if isinstance(value, dict):
        return _without_members(node, value, gone, kept)
    if isinstance(value, list) and node.list_type in ("set", "map"):
        items = []
        for item in value:
            below, held = _descend(gone, item_step(node, item)), _descend(kept, item_step(node, item))
            if () in below and not held:
                continue
            items.append(_removed(node.items or ANY, item, below - {()}, held))
        return items
    return value


def _without_members(node: Node, value: JsonObject, gone: FieldSet, kept: FieldSet) -> JsonObject:
    members = {}
    for name, member in value.items():
        below, held = _descend(gone, f"f:{name}"), _descend(kept, f"f:{name}")
        if () in below and not held:
            continue
        left = _removed(node.member(name) or ANY, member, below - {()}, held)
        if below and member and left in ({}, []) and not held:
            continue
        members[name] = left
    return members


def _descend(fields: FieldSet, step: str) -> FieldSet:
    """Return the fields below a step, relative to it; the empty path is the step itself."""
    return frozenset(path[1:] for path in fields if path and path[0] == step)
