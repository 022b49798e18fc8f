"""The CustomResourceDefinition of RayCluster: KubeRay's own where it can be found, else the small one here.

KubeRay's is looked for in the folder `$TIDEMILL_KUBERAY_CRDS`, then beside the checkout. With it every
RayCluster is judged by the schema that a production cluster uses.
"""

from __future__ import annotations

import gzip
import os
from importlib import resources
from pathlib import Path
from typing import TYPE_CHECKING

import yaml

if TYPE_CHECKING:
    from devcluster.kuberay.constants import Manifest

_CHECKOUT = Path(__file__).parents[3]
_BESIDE_CHECKOUT = _CHECKOUT.parent / "shared" / "kuberay" / "v1.7.0"
_NAME = "ray.io_rayclusters.yaml"


def definition_file() -> Path | None:
    """KubeRay's own file, plain or compressed, or None. FileNotFoundError if the named folder lacks it."""
    named = os.environ.get("TIDEMILL_KUBERAY_CRDS")
    for folder in [Path(named)] if named else [_BESIDE_CHECKOUT]:
        for name in (_NAME, f"{_NAME}.gz"):
            if (folder / name).is_file():
                return folder / name
    if named:
        raise FileNotFoundError(f"TIDEMILL_KUBERAY_CRDS={named} holds no {_NAME} or {_NAME}.gz")
    return None


def ray_cluster_definition() -> Manifest:
    """The definition to load into an API server."""
    path = definition_file()
    if path is None:
        return own_definition()
    text = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return _parse(text)


def own_definition() -> Manifest:
    """The definition that comes with the stand-in: its fields alone, and pod templates taken as they are."""
    return _parse((resources.files("devcluster.kuberay") / "crds" / "raycluster.yaml").read_bytes())


def _parse(text: bytes) -> Manifest:
    """One YAML document, by the C parser where there is one: a megabyte takes the other ten seconds."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    documents = [document for document in yaml.load_all(text, Loader=loader) if document]
    if len(documents) != 1 or documents[0].get("kind") != "CustomResourceDefinition":
        raise ValueError("the file must hold one CustomResourceDefinition")
    found: Manifest = documents[0]
    return found
