"""What the watches have seen last: jobs, RayClusters and pods, found by the key of the job they belong to.

Filled by `handlers.py` and by full comparisons, read by `reconciler.py`. Keeps objects as they came and refuses to
interpret them beyond the question of whose they are.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from itertools import count
from typing import TYPE_CHECKING, Any, TypeVar

from tidemill_api import GROUP, labels
from tidemill_api.v1alpha1.batch_inference_job import KIND

if TYPE_CHECKING:
    from collections.abc import Iterable

    Json = dict[str, Any]

KeyT = TypeVar("KeyT")

RAY_CLUSTER_LABEL = "ray.io/cluster"
"""Written by KubeRay on each pod: the name of its RayCluster."""


@dataclass(frozen=True, order=True)
class Key:
    """An object's namespace and name."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class Watched(StrEnum):
    """The kinds that are watched."""

    JOBS = "jobs"  # the owners: jobs, or endpoints in the cache of endpoints
    CLUSTERS = "clusters"
    PODS = "pods"
    SERVICES = "services"
    POLICIES = "policies"  # the NetworkPolicies of RayClusters, where the operator makes any


class WatchCache:
    """The newest version of each watched object. One cache for the owners of each kind, and for their children."""

    def __init__(self, owner_kind: str = KIND) -> None:
        self.owner_kind = owner_kind
        self._objects: dict[Watched, dict[Key, Json]] = {kind: {} for kind in Watched}
        self._pods_of: dict[Key, set[Key]] = {}
        self._pods_labelled: dict[Key, set[Key]] = {}
        self._clusters_of: dict[Key, set[Key]] = {}
        self._policies_of: dict[Key, set[Key]] = {}
        self._resubmits_of: dict[Key, set[Key]] = {}
        self._measured_alike: dict[str, set[Key]] = {}
        self._measured_version: dict[str, int] = {}
        self._versions = count(1)

    def put(self, kind: Watched, body: Json) -> bool:
        """Remembers the object; False where this very version or a newer one of the same object is known already."""
        key = key_of(body)
        known = self._objects[kind].get(key)
        if known is not None and not _newer(body, known):
            return False
        if known is not None:
            self._unindex(kind, key, known)
        self._objects[kind][key] = body
        self._index(kind, key, body)
        if kind is Watched.JOBS:
            self._note_measures(known, body)
        return True

    def _index(self, kind: Watched, key: Key, body: Json) -> None:
        if kind is Watched.PODS:
            self._pods_of.setdefault(cluster_key(body), set()).add(key)
            for owner in _labelled(body):
                self._pods_labelled.setdefault(owner, set()).add(key)
        elif kind is Watched.CLUSTERS:
            for owner in _owners(body, self.owner_kind):
                self._clusters_of.setdefault(owner, set()).add(key)
        elif kind is Watched.POLICIES:
            for owner in _owners(body, self.owner_kind):
                self._policies_of.setdefault(owner, set()).add(key)
        elif kind is Watched.JOBS:
            if (source := source_key(body)) is not None:
                self._resubmits_of.setdefault(source, set()).add(key)
            if _has_measured(body):
                self._measured_alike.setdefault(alike(body), set()).add(key)

    def _unindex(self, kind: Watched, key: Key, body: Json) -> None:
        """Takes out what `_index` put in for this very body: another object of its name may belong elsewhere."""
        if kind is Watched.PODS:
            _discard(self._pods_of, cluster_key(body), key)
            for owner in _labelled(body):
                _discard(self._pods_labelled, owner, key)
        elif kind is Watched.CLUSTERS:
            for owner in _owners(body, self.owner_kind):
                _discard(self._clusters_of, owner, key)
        elif kind is Watched.POLICIES:
            for owner in _owners(body, self.owner_kind):
                _discard(self._policies_of, owner, key)
        elif kind is Watched.JOBS:
            if (source := source_key(body)) is not None:
                _discard(self._resubmits_of, source, key)
            if _has_measured(body):
                _discard(self._measured_alike, alike(body), key)

    def drop(self, kind: Watched, key: Key) -> None:
        """Forgets the object; unknown is fine."""
        body = self._objects[kind].pop(key, None)
        if body is not None:
            self._unindex(kind, key, body)
            if kind is Watched.JOBS:
                self._note_measures(body, None)

    def _note_measures(self, before: Json | None, after: Json | None) -> None:
        """Numbers anew the measures of the workers that this change of a job says something new of."""
        said = [
            (alike(job), job["status"]["measured"]) if job and _has_measured(job) else None for job in (before, after)
        ]
        if said[0] == said[1]:
            return
        for of in {one[0] for one in said if one is not None}:
            if of in self._measured_alike:
                self._measured_version[of] = next(self._versions)
            else:
                self._measured_version.pop(of, None)

    def job(self, key: Key) -> Json | None:
        """The job of this key."""
        return self._objects[Watched.JOBS].get(key)

    def source_of(self, key: Key) -> Json | None:
        """The job that the job of this key continues."""
        job = self.job(key)
        source = source_key(job) if job is not None else None
        return self.job(source) if source is not None else None

    def get(self, kind: Watched, key: Key) -> Json | None:
        """The object of this key."""
        return self._objects[kind].get(key)

    def cluster(self, namespace: str, name: str) -> Json | None:
        """The RayCluster of this name."""
        return self._objects[Watched.CLUSTERS].get(Key(namespace, name))

    def clusters_of(self, owner: Key) -> tuple[Json, ...]:
        """The RayClusters of this owner, by name."""
        return tuple(self._objects[Watched.CLUSTERS][key] for key in sorted(self._clusters_of.get(owner, ())))

    def policies_of(self, owner: Key) -> tuple[Json, ...]:
        """The NetworkPolicies of this owner, by name."""
        return tuple(self._objects[Watched.POLICIES][key] for key in sorted(self._policies_of.get(owner, ())))

    def pods(self, namespace: str, cluster: str) -> tuple[Json, ...]:
        """The pods of this RayCluster, by name."""
        keys = sorted(self._pods_of.get(Key(namespace, cluster), ()))
        return tuple(self._objects[Watched.PODS][key] for key in keys)

    def pods_without_cluster(self, owner: Key) -> tuple[Json, ...]:
        """The pods of this endpoint that are left of RayClusters which are gone or going, by name."""
        pods = (self._objects[Watched.PODS][key] for key in sorted(self._pods_labelled.get(owner, ())))
        return tuple(pod for pod in pods if _going(self._objects[Watched.CLUSTERS].get(cluster_key(pod))))

    def dependents(self, key: Key) -> tuple[Key, ...]:
        """The keys of the jobs that continue this one, by name."""
        return tuple(sorted(self._resubmits_of.get(key, ())))

    def measured(self, of: str) -> tuple[Json, ...]:
        """The jobs whose workers are `alike` and that have measured theirs."""
        return tuple(self._objects[Watched.JOBS][key] for key in self._measured_alike.get(of, ()))

    def measured_version(self, of: str) -> int:
        """Another number after each change of what `measured` of these says; 0 while no job has measured any."""
        return self._measured_version.get(of, 0)

    def keys(self, kind: Watched) -> frozenset[Key]:
        """The keys of all objects of a kind."""
        return frozenset(self._objects[kind])

    def bodies(self, kind: Watched) -> tuple[Json, ...]:
        """All objects of a kind as they stand: one copy, so another thread may ask while the watches go on."""
        return tuple(self._objects[kind].values())

    def owners(self, kind: Watched, body: Json) -> Iterable[Key]:
        """The keys of the jobs that a change of this object concerns: none for an object of somebody else."""
        if kind is Watched.JOBS:
            return (key_of(body), *self.dependents(key_of(body)))
        if kind is not Watched.PODS:
            return _owners(body, self.owner_kind)
        cluster = self._objects[Watched.CLUSTERS].get(cluster_key(body))
        return _owners(cluster, self.owner_kind) if cluster else _labelled(body)


def key_of(body: Json) -> Key:
    """The object's own key."""
    return Key(body["metadata"].get("namespace", ""), body["metadata"]["name"])


def source_key(job: Json) -> Key | None:
    """The key of the job that this one continues: it waits for its end. It never names another after its creation."""
    name = (job.get("spec") or {}).get("resubmitOf")
    return Key(job["metadata"].get("namespace", ""), name) if name else None


def alike(job: Json) -> str:
    """What makes the workers of two jobs equally fast: namespace, model, engine arguments, resources and image.

    None of it ever changes. Another namespace's rows are another team's, and its paths other volumes.
    """
    spec = job.get("spec") or {}
    model = spec.get("model") or {}
    same = (model.get("source"), model.get("engineArgs"), spec.get("resources"), spec.get("image"))
    return json.dumps([job["metadata"].get("namespace", ""), *same], sort_keys=True)


def _has_measured(job: Json) -> bool:
    measured = (job.get("status") or {}).get("measured") or {}
    return bool(measured.get("rows") or measured.get("startups"))


def _discard(index: dict[KeyT, set[Key]], of: KeyT, key: Key) -> None:
    index.get(of, set()).discard(key)
    if not index.get(of):
        index.pop(of, None)


def _owners(body: Json, kind: str) -> tuple[Key, ...]:
    namespace = body["metadata"].get("namespace", "")
    return tuple(
        Key(namespace, owner["name"])
        for owner in body["metadata"].get("ownerReferences") or ()
        if owner.get("kind") == kind and str(owner.get("apiVersion", "")).startswith(f"{GROUP}/")
    )


def _labelled(pod: Json) -> tuple[Key, ...]:
    """The endpoint that a pod says it is of: all there is to go by where its RayCluster is gone."""
    metadata = pod["metadata"]
    name = (metadata.get("labels") or {}).get(labels.ENDPOINT_NAME)
    return (Key(metadata.get("namespace", ""), name),) if name else ()


def _going(cluster: Json | None) -> bool:
    return cluster is None or "deletionTimestamp" in cluster["metadata"]


def cluster_key(pod: Json) -> Key:
    """The key of the RayCluster that KubeRay made this pod for."""
    metadata = pod["metadata"]
    return Key(metadata.get("namespace", ""), (metadata.get("labels") or {}).get(RAY_CLUSTER_LABEL, ""))


def uid_of(body: Json) -> str:
    """The object's uid: another object of the same name has another."""
    return str(body["metadata"].get("uid", ""))


def _newer(body: Json, known: Json) -> bool:
    """Whether this is news: answers, lists and watch events of one object arrive in any order.

    Versions are compared as numbers where both are (https://kep.k8s.io/5504); elsewhere another one counts as newer.
    """
    if uid_of(body) != uid_of(known):
        return True
    ours, theirs = (str(of["metadata"].get("resourceVersion", "")) for of in (known, body))
    if ours.isdecimal() and theirs.isdecimal():
        return int(theirs) > int(ours)
    return theirs != ours
