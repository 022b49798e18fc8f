"""Reads the manifest that the demo applies and leads its volumes to folders of this machine.

Shared by both kinds. Pure but for reading the file. Refuses to know what a spec means beyond its template's volumes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import yaml

from demo.errors import DemoError

if TYPE_CHECKING:
    from pathlib import Path

MODELS_MOUNT = "/models"


def load_manifest(path: Path, kind: str) -> dict[str, Any]:
    """The one object of this kind in a YAML file. Raises DemoError where there is none, or more."""
    try:
        documents = list(yaml.safe_load_all(path.read_text()))
    except (OSError, yaml.YAMLError) as error:
        raise DemoError(f"{path}: {error}") from error
    found = [document for document in documents if isinstance(document, dict) and document.get("kind") == kind]
    if len(found) != 1:
        raise DemoError(f"{path}: expected one {kind}, found {len(found)}")
    if not isinstance(found[0].get("metadata"), dict) or "name" not in found[0]["metadata"]:
        raise DemoError(f"{path}: the {kind} has no metadata.name")
    return found[0]


def name_of(manifest: dict[str, Any]) -> str:
    """metadata.name of an object."""
    return str(manifest["metadata"]["name"])


def namespace_of(manifest: dict[str, Any]) -> str:
    """metadata.namespace of an object, or the default one."""
    return str(manifest["metadata"].get("namespace", "default"))


def lead(template: dict[str, Any], name: str, folder: Path, mount: str, *, forced: bool = False) -> None:
    """Leads the volume `name` to `folder`; adds volume and mount where they are missing.

    A hostPath of the manifest's own is kept, unless `forced`.
    """
    volumes = template.setdefault("volumes", [])
    mounts = template.setdefault("volumeMounts", [])
    volume = next((volume for volume in volumes if volume.get("name") == name), None)
    if volume is None:
        if any(existing.get("mountPath") == mount for existing in mounts):
            return  # the manifest serves this path by a volume of its own
        volumes.append({"name": name, "hostPath": {"path": str(folder)}})
    elif forced or "hostPath" not in volume:
        volumes[volumes.index(volume)] = {"name": name, "hostPath": {"path": str(folder)}}
    existing = next((existing for existing in mounts if existing.get("name") == name), None)
    if existing is None:
        mounts.append({"name": name, "mountPath": mount, **({} if name == "output" else {"readOnly": True})})
    elif forced:
        existing["mountPath"] = mount
        existing.pop("subPath", None)
