"""Tables: what `kubectl get` prints, made by the server from columns and rows.

After k8s.io/kubernetes/pkg/printers/internalversion for built-in kinds and apiextensions-apiserver's tableconvertor for
custom ones. Pure but for the clock that ages need.
"""

import json
from collections.abc import Callable
from typing import Any

from devcluster.apiserver.built_in_tables import PLAIN, TABLES
from devcluster.apiserver.durations import age
from devcluster.apiserver.json_path import find, parse
from devcluster.apiserver.objects import JsonObject, metadata
from devcluster.apiserver.resources import Column, Resource
from devcluster.apiserver.store import Entry
from devcluster.apiserver.versions import shown


def table(resource: Resource, entries: list[Entry], list_metadata: JsonObject, include: str) -> JsonObject:
    """Return the entries as a `Table`; `include` says what a row carries: Metadata (default), Object or None."""
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": list_metadata,
        "columnDefinitions": _columns(resource),
        "rows": [_row(resource, entry, include) for entry in entries],
    }


_NAME = {
    "name": "Name",
    "type": "string",
    "format": "name",
    "description": "Name must be unique within a namespace.",
    "priority": 0,
}


def _columns(resource: Resource) -> list[JsonObject]:
    if resource.custom:
        return [_NAME, *(_custom_column(column) for column in resource.columns)]
    kind = TABLES.get(resource.storage, PLAIN)
    columns = [
        {"name": name, "type": type_, "format": "", "description": "", "priority": priority}
        for name, type_, priority in kind.columns
    ]
    # An event's name says nothing: kubectl shows it last, in the wide form.
    return columns if resource.storage == "/events" else [_NAME, *columns]


def _custom_column(column: Column) -> JsonObject:
    return {
        "name": column.name,
        "type": column.type,
        "format": column.format,
        "description": column.description,
        "priority": column.priority,
    }


def _row(resource: Resource, entry: Entry, include: str) -> JsonObject:
    document = entry.document
    name = metadata(document).get("name")
    if resource.custom:
        cells = [name, *(_custom_cell(column, document) for column in resource.columns)]
    else:
        made = TABLES.get(resource.storage, PLAIN).cells(document)
        cells = made if resource.storage == "/events" else [name, *made]
    row: JsonObject = {"cells": cells}
    if include == "Object":
        row["object"] = shown(resource, entry)
    elif include != "None":
        meta = metadata(shown(resource, entry))
        row["object"] = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": meta}
    return row


def _custom_cell(column: Column, document: JsonObject) -> Any:
    """Return one cell; None, which prints as nothing, where the path leads nowhere or the type does not fit."""
    found = find(parse(column.json_path), document)
    if not found or found[0] is None:
        return None
    value = found[0]
    make: Callable[[Any], Any] = _CELLS.get(column.type, _text_cell)
    return make(value)


def _integer_cell(value: Any) -> int | None:
    return int(value) if isinstance(value, int | float) else None


def _number_cell(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None


def _boolean_cell(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _text_cell(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def _date_cell(value: Any) -> str:
    text = age(value) if isinstance(value, str) else "<invalid>"
    return "<invalid>" if text == "<unknown>" else text


_CELLS: dict[str, Callable[[Any], Any]] = {
    "integer": _integer_cell,
    "number": _number_cell,
    "boolean": _boolean_cell,
    "date": _date_cell,
}
