"""The end of a RayCluster whose tables stand in Redis: its pods first, then Redis, then the finalizer. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from devcluster.kuberay import constants as c
from devcluster.kuberay import fault_tolerance, pods, reading
from devcluster.kuberay.steps import Announce, Create, Delete, Finalize, Plan

if TYPE_CHECKING:
    from devcluster.kuberay.constants import Manifest


@dataclass(frozen=True)
class Ending:
    """What is seen of a RayCluster that is being deleted, for so many seconds now."""

    cluster: Manifest
    pods: tuple[Manifest, ...]
    seconds: float


def teardown(seen: Ending) -> Plan:
    """The steps of this round; nothing for a cluster without the finalizer, which the garbage collector ends.

    Redis is cleaned up once the head is gone, which would write there again.
    """
    if not fault_tolerance.holds(seen.cluster):
        return Plan()
    nodes = [pod for pod in seen.pods if pod["metadata"]["labels"].get(c.LABEL_NODE_TYPE) in {c.HEAD, c.WORKER}]
    deletes = tuple(
        Delete(pod["metadata"]["namespace"], pod["metadata"]["name"])
        for pod in nodes
        if not pod["metadata"].get("deletionTimestamp")
    )
    if reading.of_type(nodes, c.HEAD):
        return Plan(deletes, "waiting for the head Pod to be terminated before Redis is cleaned up")
    cleaners = reading.of_type(seen.pods, fault_tolerance.CLEANUP)
    if seen.seconds >= fault_tolerance.timeout_seconds(seen.cluster):
        namespace = fault_tolerance.storage_namespace(seen.cluster)
        told = (
            f"Force-removed GCS FT finalizer after {seen.seconds:.0f}s due to Redis cleanup timeout; "
            f'Redis storage namespace "{namespace}" may need manual cleanup'
        )
        return Plan(
            (*deletes, _let_go(seen.cluster), Announce("ForceDeletedStuckCluster", told, "Cleanup", warning=True))
        )
    if not cleaners:
        return Plan((*deletes, _create_cleaner(seen.cluster)))
    phase = reading.phase(cleaners[0])
    if phase == "Succeeded":
        return Plan((*deletes, _let_go(seen.cluster)))
    told = "Redis could not be cleaned up" if phase == "Failed" else "waiting for Redis to be cleaned up"
    return Plan(deletes, f"{told}: Pod {cleaners[0]['metadata']['name']}")


def _create_cleaner(cluster: Manifest) -> Create:
    return Create(
        "Pod",
        fault_tolerance.cleanup_pod(cluster, pods.head_pod(cluster)),
        done=Announce("CreatedRedisCleanupJob", "Created Redis cleanup Pod {name}", "Create"),
        failed=Announce(
            "FailedToCreateRedisCleanupJob", "Failed to create Redis cleanup Pod {name}", "Create", warning=True
        ),
    )


def _let_go(cluster: Manifest) -> Finalize:
    kept = [name for name in cluster["metadata"].get("finalizers") or [] if name != fault_tolerance.FINALIZER]
    return Finalize(tuple(kept))
