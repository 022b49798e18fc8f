"""What a revision of an endpoint is, and what its children are called: a hash of only what must cause a rollout.

Not in it: replicas, scaling, the queue bound and the rules of upgrades, which a running revision takes on as it is; and
what the operator's own settings say (default images, Ray's version), so that an operator that is upgraded restarts
nobody's engines. Those count where a revision is made.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from tidemill_operator.manifests.names import HASH_CHARACTERS, cluster_name

if TYPE_CHECKING:
    from tidemill_api.v1alpha1.realtime_endpoint import RealtimeEndpointSpec

HASH_VERSION = 1
"""Raised where the same spec has to mean another revision: every endpoint is then rolled over."""


def revision_of(spec: RealtimeEndpointSpec) -> str:
    """The revision of this spec: 10 hexadecimal characters, the same for specs that differ in nothing that matters."""
    counted = spec.model_dump(
        mode="json",
        by_alias=True,
        exclude_defaults=True,  # a new optional field does not change the revision of those who do not set it
        include={
            "model": True,
            "batching": True,
            "resources": True,
            "head": True,
            "image": True,
            "auth": True,
            "gcs_fault_tolerance": True,
            "template": True,
            "limits": {"request_timeout_seconds"},  # pods are told how long a drain may take when they start
        },
    )
    return _digest({"version": HASH_VERSION, "spec": _pruned(counted)})


def _pruned(value: Any) -> Any:
    """The same without empty objects: one that holds nothing but defaults means what its absence means."""
    if not isinstance(value, dict):
        return value
    below = {key: _pruned(item) for key, item in value.items()}
    return {key: item for key, item in below.items() if item != {}}


def _digest(value: dict[str, Any]) -> str:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:HASH_CHARACTERS]


def revision_cluster_name(owner: str, uid: str, revision: str) -> str:
    """The name of the RayCluster of a revision: another one for each endpoint that ever had this name."""
    return cluster_name(owner, f"{uid}/{revision}")
