"""By which Kueue queue an object's RayClusters go, as its labels say. A value, read by builders and rules alike.

Kueue sees RayClusters, not our kinds: it suspends one as it is made, and lets it run once its quota has room for all of
its pods. It alone writes `spec.suspend` of a RayCluster; a job of ours is paused by deleting its cluster. Kueue takes
back what it admitted when the size of a cluster changes, unless that is an elastic job: so a cluster is either that, or
starts at its largest size and keeps it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tidemill_operator.core.snapshot import ClusterView


@dataclass(frozen=True)
class Queueing:
    """The LocalQueue and the WorkloadPriorityClass of new RayClusters; without a queue Kueue has no part in them.

    `elastic`: they are made as elastic jobs.
    """

    queue: str = ""
    priority: str = ""
    elastic: bool = False

    @property
    def fixed(self) -> bool:
        """Whether a new RayCluster starts at its largest size, to be kept."""
        return bool(self.queue) and not self.elastic


def fixed_note(cluster: ClusterView, ignored: Iterable[str], anew: str) -> str:
    """What a cluster of a fixed size does not follow, and how a new size comes about; empty where that is nothing."""
    what = " and ".join(ignored)
    if not what:
        return ""
    fixed = f" Its size is fixed at {cluster.replicas} by Kueue's LocalQueue {cluster.queue}, though {what}"
    return f"{fixed}; a new RayCluster has another size: {anew}."


def suspended_message(cluster: ClusterView) -> str:
    """What a RayCluster that may not run waits for, since when, and who can say that it may."""
    since = f"since {cluster.suspended_since:%Y-%m-%dT%H:%M:%SZ}"
    if not cluster.queue:
        return (
            f"RayCluster {cluster.name} is suspended {since}, by somebody else: set its spec.suspend to false, or"
            " delete it to have another made."
        )
    return f"RayCluster {cluster.name} waits for quota in Kueue's LocalQueue {cluster.queue} {since}."
