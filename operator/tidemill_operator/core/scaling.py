"""From a number of workers to a worker group: its size, and which of its pods may go.

Pure arithmetic over pods and the rows that they hold. How many there are to be is not decided here: `sizing.py` says it
for jobs, `endpoint/law.py` for endpoints.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from tidemill_operator.core.snapshot import WorkerPod


@dataclass(frozen=True)
class Scale:
    """What the worker group is to be: its size and the pods that leave to get there."""

    replicas: int
    victims: tuple[str, ...] = ()


@dataclass(frozen=True)
class Group:
    """A worker group: the size it was given and its pods as far as they are seen.

    `most` is the largest size that the spec allows now. `complete` says that no other pod is about to appear: KubeRay
    is refused the pods that are missing.
    """

    replicas: int
    workers: tuple[WorkerPod, ...]
    most: int
    complete: bool = False


def scale_to(wanted: int, group: Group, in_flight: Mapping[str, int]) -> Scale:
    """The group's size for `wanted` workers and who goes: idle pods, those not ready first, then by name.

    Only above `most` do busy pods go, those with the fewest rows in flight first. KubeRay picks pods by itself
    wherever `replicas` falls below the pods that are not named, so:
    - The group stays larger than wanted where too few pods may go.
    - A pod that is missing may have been created and not be seen yet: `replicas` falls by the named pods only.
    - Pods that cannot be created (`complete`) are taken off at once; those that are leaving count as long as they are
      there, since KubeRay counts them.
    - With no worker wanted nobody has to be spared.
    """
    alive = [worker for worker in group.workers if not worker.deleting]
    rows = {worker.name: in_flight.get(worker.ip, 0) for worker in alive}
    idle = sorted((worker for worker in alive if not rows[worker.name]), key=lambda w: (w.ready, w.name))
    busy = sorted((worker for worker in alive if rows[worker.name]), key=lambda w: (rows[w.name], w.name))
    leaving = idle[: max(len(alive) - wanted, 0)]
    leaving += busy[: max(len(alive) - len(leaving) - max(group.most, wanted), 0)]
    victims = tuple(worker.name for worker in leaving)
    if wanted == 0:
        standing = len(alive)
    elif group.complete:
        standing = len(group.workers)
    else:
        standing = max(len(alive), group.replicas)
    return Scale(max(wanted, standing - len(victims)), victims)
