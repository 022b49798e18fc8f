"""A Deployment's ReplicaSets as its revisions: which is of today's template, their numbers, which to forget. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from devcluster.workloads.objects import Object, is_terminating, name_hash, owner_reference
from devcluster.workloads.rolling import Limits

HASH_LABEL = "pod-template-hash"
REVISION = "deployment.kubernetes.io/revision"
HISTORY = "deployment.kubernetes.io/revision-history"
DESIRED = "deployment.kubernetes.io/desired-replicas"
MOST = "deployment.kubernetes.io/max-replicas"
_NOT_COPIED = {"kubectl.kubernetes.io/last-applied-configuration", REVISION, HISTORY, DESIRED, MOST}
"""Annotations of a Deployment that its ReplicaSets do not take over."""


def revision(obj: Object) -> int:
    """The number of a ReplicaSet, or of a Deployment's newest; 0 before it has one."""
    text = _annotations(obj).get(REVISION, "0")
    return int(text) if text.isdigit() else 0


def newest(deployment: Object, sets: Sequence[Object]) -> Object | None:
    """The ReplicaSet of the Deployment's template: the oldest, should there be several."""
    wanted = _plain(deployment["spec"]["template"])
    return next((one for one in sets if _plain(one["spec"]["template"]) == wanted), None)


def _plain(template: Object) -> Object:
    """A template without the label that the controller adds."""
    metadata = template.get("metadata") or {}
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if key != HASH_LABEL}
    kept = {key: value for key, value in metadata.items() if key not in {"labels", "creationTimestamp"} and value}
    return {"labels": labels, "metadata": kept, "spec": template["spec"]}


def new_replica_set(deployment: Object, number: int, replicas: int, limits: Limits) -> Object:
    """The ReplicaSet for the Deployment's template."""
    metadata, spec = deployment["metadata"], deployment["spec"]
    template = spec["template"]
    collisions = (deployment.get("status") or {}).get("collisionCount")
    mark = {HASH_LABEL: name_hash([_plain(template), collisions])}
    of_template = template.get("metadata") or {}
    labels = {**(of_template.get("labels") or {}), **mark}
    selector = spec["selector"]
    told: dict[str, Any] = {
        "name": f"{metadata['name']}-{mark[HASH_LABEL]}",
        "namespace": metadata["namespace"],
        "labels": labels,
        "annotations": annotations(deployment, {}, number, limits),
        "ownerReferences": [owner_reference(deployment)],
    }
    wanted = {
        "replicas": replicas,
        "selector": {**selector, "matchLabels": {**(selector.get("matchLabels") or {}), **mark}},
        "template": {**template, "metadata": {**of_template, "labels": labels}},
    }
    if spec.get("minReadySeconds"):
        wanted["minReadySeconds"] = spec["minReadySeconds"]
    return {"apiVersion": "apps/v1", "kind": "ReplicaSet", "metadata": told, "spec": wanted}


def annotations(deployment: Object, present: Mapping[str, str], number: int, limits: Limits) -> dict[str, str]:
    """The annotations of the newest ReplicaSet: its number, those it had before, and the Deployment's own."""
    own = {key: value for key, value in _annotations(deployment).items() if key not in _NOT_COPIED}
    told = {**present, **own, REVISION: str(number), **scale_annotations(limits)}
    before = present.get(REVISION)
    if before and before != str(number):
        told[HISTORY] = ",".join(part for part in (present.get(HISTORY), before) if part)
    return told


def scale_annotations(limits: Limits) -> dict[str, str]:
    """What a running ReplicaSet remembers of the Deployment's size, by which a scaling is told from a rollout."""
    return {DESIRED: str(limits.wanted), MOST: str(limits.most)}


def was_scaled(sets: Sequence[Object], limits: Limits) -> bool:
    """Whether the Deployment has another size than when its running ReplicaSets were last written."""
    running = [one for one in sets if int(one["spec"].get("replicas", 1)) > 0]
    return any(_annotations(one).get(DESIRED, str(limits.wanted)) != str(limits.wanted) for one in running)


def forgotten(deployment: Object, old: Sequence[Object]) -> list[Object]:
    """The emptied ReplicaSets beyond the history's limit, those of the lowest numbers."""
    limit = int(deployment["spec"].get("revisionHistoryLimit", 10))
    empty = [one for one in old if _is_empty(one)]
    excess = len(empty) - limit
    return sorted(empty, key=revision)[: max(excess, 0)]


def _is_empty(replica_set: Object) -> bool:
    status = replica_set.get("status") or {}
    settled = int(status.get("observedGeneration") or 0) >= int(replica_set["metadata"].get("generation", 1))
    none = not replica_set["spec"].get("replicas") and not status.get("replicas")
    return settled and none and not is_terminating(replica_set)


def _annotations(obj: Object) -> dict[str, str]:
    return obj["metadata"].get("annotations") or {}
