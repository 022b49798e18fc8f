"""The CustomResourceDefinitions a dev cluster serves: RayCluster's, and Tidemill's own from `crds/`."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

from devcluster.kuberay.definition import definition_file, ray_cluster_definition

if TYPE_CHECKING:
    from devcluster.kuberay.constants import Manifest

OWN = Path(__file__).parents[2] / "crds"


def digest_of_files() -> str:
    """A hash over every file that `wanted` reads, to see without parsing whether anything changed."""
    content = hashlib.sha256()
    for path in [definition_file(), *sorted(OWN.glob("*.yaml"))]:
        if path is not None:
            content.update(path.name.encode() + b"\0" + path.read_bytes())
    return content.hexdigest()


def wanted() -> list[Manifest]:
    """The definitions to load, RayCluster first."""
    own = [document for path in sorted(OWN.glob("*.yaml")) for document in yaml.safe_load_all(path.read_text())]
    return [ray_cluster_definition(), *(document for document in own if document)]
