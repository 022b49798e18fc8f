"""From a number of workers to the patch of the RayCluster's worker group, for every rule that sets one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill_operator.core.plan import ScaleCluster
from tidemill_operator.core.scaling import Group, scale_to

if TYPE_CHECKING:
    from tidemill_operator.core.decision import Case


def scale_actions(
    case: Case, wanted: int, in_flight: dict[str, int], allowed: int | None = None
) -> tuple[ScaleCluster, ...]:
    """The patch of the worker group, or nothing where it is as wanted. Names that have gone leave workersToDelete.

    A cluster of a fixed size is given it where it has none (Kueue took it into a default queue), and keeps it.
    Only above `allowed`, by default `workers.max`, do workers go that hold rows.
    """
    cluster = case.seen.cluster
    if cluster is None:
        return ()
    if cluster.fixed:
        most = case.spec.workers.max
        given = ScaleCluster(cluster.name, most, most, generation=cluster.generation)
        return (given,) if wanted and not cluster.replicas else ()
    most_busy = case.spec.workers.max if allowed is None else min(allowed, case.spec.workers.max)
    group = Group(cluster.replicas, case.seen.workers, most_busy, complete=cluster.creation_refused)
    scale = scale_to(wanted, group, in_flight)
    existing = {worker.name for worker in case.seen.workers}
    leaving = {name for name in cluster.workers_to_delete if name in existing}
    named = tuple(sorted(leaving | set(scale.victims)))
    most = max(case.spec.workers.max, scale.replicas)
    if (scale.replicas, most, named) == (cluster.replicas, cluster.max_replicas, cluster.workers_to_delete):
        return ()
    return (ScaleCluster(cluster.name, scale.replicas, most, named, generation=cluster.generation),)
