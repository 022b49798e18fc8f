"""The bounds a schema puts on numbers, text, lists and maps, with Kubernetes' wording."""

import json
from collections.abc import Iterator
from typing import Any

from devcluster.apiserver.errors import Cause
from devcluster.apiserver.schema import Node


def bound_causes(node: Node, path: str, value: Any) -> Iterator[Cause]:
    """Yield the bounds that a value breaks."""
    if isinstance(value, str):
        yield from _text_causes(node, path, value)
    elif isinstance(value, list):
        yield from _count_causes(node, path, len(value), "Items", "items")
    elif isinstance(value, dict):
        yield from _count_causes(node, path, len(value), "Properties", "properties")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number_causes(node, path, value)


def _invalid(path: str, value: Any, rule: str) -> Cause:
    return Cause("FieldValueInvalid", path, f"Invalid value: {json.dumps(value)}: {path} in body {rule}")


def _text_causes(node: Node, path: str, text: str) -> Iterator[Cause]:
    longest, shortest = node.bounds.get("maxLength"), node.bounds.get("minLength")
    if longest is not None and len(text) > longest:
        yield Cause("FieldValueTooLong", path, f"Too long: may not be more than {longest} bytes")
    if shortest is not None and len(text) < shortest:
        yield _invalid(path, text, f"should be at least {shortest} chars long")
    if node.pattern is not None and not node.pattern.search(text):
        yield _invalid(path, text, f"should match '{node.pattern.pattern}'")


def _count_causes(node: Node, path: str, count: int, suffix: str, noun: str) -> Iterator[Cause]:
    most, least = node.bounds.get(f"max{suffix}"), node.bounds.get(f"min{suffix}")
    if most is not None and count > most:
        yield Cause("FieldValueTooMany", path, f"Too many: {count}: must have at most {most} items")
    if least is not None and count < least:
        yield _invalid(path, count, f"should have at least {least} {noun}")


def _number_causes(node: Node, path: str, value: float) -> Iterator[Cause]:
    bounds = node.bounds
    highest, lowest, step = bounds.get("maximum"), bounds.get("minimum"), bounds.get("multipleOf")
    if highest is not None and (value >= highest if bounds.get("exclusiveMaximum") else value > highest):
        relation = "less than" if bounds.get("exclusiveMaximum") else "less than or equal to"
        yield _invalid(path, value, f"should be {relation} {highest}")
    if lowest is not None and (value <= lowest if bounds.get("exclusiveMinimum") else value < lowest):
        relation = "greater than" if bounds.get("exclusiveMinimum") else "greater than or equal to"
        yield _invalid(path, value, f"should be {relation} {lowest}")
    if step is not None and value % step:
        yield _invalid(path, value, f"should be a multiple of {step}")
    limit = {"int32": 2**31, "int64": 2**63}.get(node.format)
    if limit is not None and not -limit <= value < limit:
        yield _invalid(path, value, f"must be of type {node.format}: {json.dumps(value)}")
