"""The names and identities of a RayCluster's children. Pure string rules, KubeRay's own."""

from __future__ import annotations

import base64
import hashlib
import json
from copy import deepcopy
from typing import TYPE_CHECKING

from devcluster.kuberay import constants as c

if TYPE_CHECKING:
    from devcluster.kuberay.constants import Manifest

_MAX_PREFIX = 50
"""Leaves room in 63 characters for `-worker-` and five random ones."""

_BASE32_HEX = bytes.maketrans(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", b"0123456789ABCDEFGHIJKLMNOPQRSTUV")


def namespace_of(cluster: Manifest) -> str:
    """The cluster's namespace."""
    return str(cluster["metadata"].get("namespace") or "default")


def key_of(cluster: Manifest) -> tuple[str, str]:
    """Namespace and name."""
    return namespace_of(cluster), str(cluster["metadata"]["name"])


def head_pod_prefix(cluster: str) -> str:
    """`generateName` of the head pod."""
    return f"{cluster[:_MAX_PREFIX]}-{c.HEAD}-".lower()


def worker_pod_prefix(cluster: str, group: str) -> str:
    """`generateName` of a group's worker pods; a long group name is cut off."""
    return f"{f'{cluster}-{group}'[:_MAX_PREFIX]}-{c.WORKER}-".lower()


def head_service_name(cluster: Manifest) -> str:
    """The head Service's name: the one given in `headService.metadata`, else `<cluster>-head-svc`."""
    given = cluster["spec"]["headGroupSpec"].get("headService") or {}
    return str(given.get("metadata", {}).get("name") or f"{cluster['metadata']['name']}-head-svc")


def head_service_host(cluster: Manifest) -> str:
    """The head Service's full DNS name, as workers use it (`FQ_RAY_IP`)."""
    return f"{head_service_name(cluster)}.{namespace_of(cluster)}.svc.cluster.local"


def serve_service_name(cluster: str) -> str:
    """Name of the Service in front of Ray Serve."""
    return f"{cluster}-serve-svc"


def auth_secret_name(cluster: str) -> str:
    """Name of the token Secret that is made where the spec names none."""
    return _valid_start(cluster[-_MAX_PREFIX:])


def identifier(cluster: str, node_type: str) -> str:
    """Value of the label `ray.io/identifier`."""
    return f"{cluster}-{node_type}"[-63:]


def owner_reference(cluster: Manifest) -> Manifest:
    """The reference that lets a child be collected when its RayCluster is deleted."""
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "name": cluster["metadata"]["name"],
        "uid": cluster["metadata"]["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def recreate_hash(spec: Manifest) -> str:
    """A hash of what may not change under `upgradeStrategy: Recreate` without new pods.

    Left out, as in KubeRay: the worker counts, `workersToDelete`, tolerations, scheduling gates and the
    strategy itself. The digits differ from KubeRay's, which hashes Go's field order.
    """
    kept = deepcopy(spec)
    kept.pop("upgradeStrategy", None)
    for group in [kept["headGroupSpec"], *kept.get("workerGroupSpecs", [])]:
        for field in ("replicas", "minReplicas", "maxReplicas"):
            group.pop(field, None)
        (group.get("scaleStrategy") or {}).pop("workersToDelete", None)
        if not group.get("scaleStrategy"):
            group.pop("scaleStrategy", None)
        for field in ("tolerations", "schedulingGates"):
            group["template"]["spec"].pop(field, None)
    digest = hashlib.sha1(json.dumps(kept, sort_keys=True).encode(), usedforsecurity=False).digest()
    return base64.b32encode(digest).translate(_BASE32_HEX).decode()


def _valid_start(name: str) -> str:
    return name if name[0].isalpha() else f"r{name[1:]}"
