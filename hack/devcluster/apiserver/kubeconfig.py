"""The kubeconfig that leads kubectl and every other client to this server."""

import json
import os
import tempfile
from pathlib import Path

from devcluster.apiserver.objects import JsonObject


def kubeconfig(url: str) -> JsonObject:
    """Return a kubeconfig for the server at `url`: one cluster, no credentials."""
    return _document({"server": url}, {}, "default")


def token_kubeconfig(url: str, authority: str, token: str, namespace: str) -> JsonObject:
    """Return a kubeconfig of whoever a token is of. `url` is served with TLS, `authority` the file to trust it by.

    The token is a secret, so what is made of this is to be written where only its owner reads it.
    """
    return _document({"server": url, "certificate-authority": authority}, {"token": token}, namespace)


def _document(cluster: JsonObject, user: JsonObject, namespace: str) -> JsonObject:
    name = "devcluster"
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": name, "cluster": cluster}],
        "users": [{"name": name, "user": user}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": namespace}}],
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
