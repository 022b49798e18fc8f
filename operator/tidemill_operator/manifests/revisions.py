"""What a revision of an endpoint is, and what its children are called: a hash of only what must cause a rollout.

Not in it: replicas, scaling, the queue bound and the rules of upgrades, which a running revision takes on as it is; and
what the operator's own settings say (default images, Ray's version), so that an operator that is upgraded restarts
nobody's engines. Those count where a revision is made: a user who wants them now asks for it by an annotation
(`labels.RESTARTED_AT`), as `kubectl rollout restart` does.

The hash has a version. An operator that counts in another way than the one before it knows that one's way too, and
finds the revision that stands by it: only where none stands is one made in the new way. So a default of the spec, and
what is counted in a version, never change; `tests/golden` holds revisions of earlier releases to that.
"""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from tidemill_operator.manifests.names import HASH_CHARACTERS, cluster_name

if TYPE_CHECKING:
    from collections.abc import Collection

    from tidemill_api.v1alpha1.realtime_endpoint import RealtimeEndpointSpec

HASH_VERSIONS = (1,)
"""The ways of counting that this operator knows, the newest first; by that a new revision is named."""


def revision_in_force(spec: RealtimeEndpointSpec, restarted: str, standing: Collection[str]) -> str:
    """The revision of this spec among those that stand, whichever operator made it; a new one's name where none does.

    `restarted` is what the user's annotation says, empty where there is none.
    """
    known = revisions_of(spec, restarted)
    return next((revision for revision in known if revision in standing), known[0])


def revisions_of(spec: RealtimeEndpointSpec, restarted: str = "") -> tuple[str, ...]:
    """The revision of this spec by each way of counting, the newest first."""
    return tuple(revision_of(spec, restarted, version) for version in HASH_VERSIONS)


def revision_of(spec: RealtimeEndpointSpec, restarted: str = "", version: int = HASH_VERSIONS[0]) -> str:
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
    again = {"restarted": restarted} if restarted else {}
    return _digest({"version": version, "spec": _pruned(counted)} | again)


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
