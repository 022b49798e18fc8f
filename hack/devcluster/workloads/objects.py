"""What all workloads have in common: owners, selectors, conditions. Pure."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]

_SAFE = "bcdfghjklmnpqrstvwxz2456789"
"""Letters of names that are made up: no vowels, so no words, as Kubernetes has it."""


def rfc3339(now: float) -> str:
    """A time in seconds since 1970 as the API writes it."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def seconds_of(text: str) -> float:
    """The seconds since 1970 of a time as the API writes it."""
    return datetime.fromisoformat(text).timestamp()


def controller_of(obj: Object) -> Object | None:
    """The owner reference that names the object's controller."""
    references: list[Object] = obj["metadata"].get("ownerReferences") or []
    return next((one for one in references if one.get("controller")), None)


def controlled_by(owner: Object, objects: Iterable[Object]) -> list[Object]:
    """Those of these that `owner` controls, the oldest first."""
    uid = owner["metadata"]["uid"]
    ours = [one for one in objects if (controller_of(one) or {}).get("uid") == uid]
    return sorted(ours, key=lambda one: (one["metadata"].get("creationTimestamp", ""), one["metadata"]["name"]))


def owner_reference(owner: Object) -> Object:
    """The reference by which an object is controlled by `owner` and goes with it."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def is_terminating(obj: Object) -> bool:
    """Whether its deletion has begun."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str] | None) -> bool:
    """Whether a LabelSelector matches; the empty one selects everything, none selects nothing."""
    if selector is None:
        return False
    have = labels or {}
    equal = all(have.get(key) == value for key, value in (selector.get("matchLabels") or {}).items())
    return equal and all(_holds(term, have) for term in selector.get("matchExpressions") or [])


def _holds(term: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    key, operator = term["key"], term["operator"]
    values: list[str] = term.get("values") or []
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    return (key in labels) is (operator == "Exists")


def name_hash(content: Any) -> str:
    """Ten letters that tell one content from another, fit for a name."""
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).digest()
    return "".join(_SAFE[byte % len(_SAFE)] for byte in digest[:10])


def amount(value: int | str, total: int, *, up: bool) -> int:
    """A number, or the number that a percentage of `total` stands for, rounded up or down."""
    if isinstance(value, int):
        return value
    hundredths = int(value.rstrip("%")) * total
    return -(-hundredths // 100) if up else hundredths // 100


def condition(conditions: Sequence[Object], kind: str) -> Object | None:
    """The condition of that type."""
    return next((one for one in conditions if one["type"] == kind), None)


def with_condition(conditions: Sequence[Object], wanted: Object, now: float) -> list[Object]:
    """The conditions with this one; nothing changes where its status and reason are so already.

    `lastTransitionTime` stays while the status does.
    """
    before = condition(conditions, wanted["type"])
    if before and all(before.get(field) == wanted.get(field) for field in ("status", "reason")):
        return list(conditions)
    stays = before is not None and before["status"] == wanted["status"]
    since = before["lastTransitionTime"] if before is not None and stays else rfc3339(now)
    others = [one for one in conditions if one["type"] != wanted["type"]]
    return [*others, wanted | {"lastTransitionTime": since}]
