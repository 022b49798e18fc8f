"""The kubeconfig that leads kubectl and every other client to this server."""

import json
import os
import tempfile
from pathlib import Path

from devcluster.apiserver.objects import JsonObject


def kubeconfig(url: str) -> JsonObject:
    """Return a kubeconfig for the server at `url`: one cluster, no credentials."""
    name = "devcluster"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": {"server": url}}],
        "users": [{"name": name, "user": {}}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": "default"}}],
        "current-context": name,
    }


def write_kubeconfig(path: Path, url: str) -> None:
    """Write the kubeconfig of an administrator (JSON is YAML too)."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, kubeconfig(url))


def write_json(path: Path, document: JsonObject) -> None:
    """Write a document in one step, so that a reader never sees half of it."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name)
    with os.fdopen(descriptor, "w") as file:
        json.dump(document, file, indent=2)
    Path(temporary).replace(path)
