"""Tables: what `kubectl get` prints."""

from devcluster.apiserver.objects import JsonObject, metadata
from devcluster.apiserver.resources import Resource
from devcluster.apiserver.store import Entry
from devcluster.apiserver.versions import shown


def table(resource: Resource, entries: list[Entry], list_metadata: JsonObject, include: str) -> JsonObject:
    """Return the entries as a `Table`."""
    rows = [
        {
            "cells": [entry.key.name, metadata(entry.document).get("creationTimestamp")],
            "object": {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata(shown(resource, entry)),
            },
        }
        for entry in entries
    ]
    return {
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": list_metadata,
        "columnDefinitions": [
            {"name": "Name", "type": "string", "format": "name", "description": "", "priority": 0},
            {"name": "Age", "type": "date", "format": "", "description": "", "priority": 0},
        ],
        "rows": rows,
    }
