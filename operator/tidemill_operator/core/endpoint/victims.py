"""Which pods leave when an endpoint shrinks: those that do nothing first, then those with the fewest requests.

The operator names the pods; their Ray nodes then drain, and Serve stops the replicas on draining nodes first. Refuses
to name a pod twice: one that is leaving is not counted and not named.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidemill_operator.core.scaling import Group, Scale

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from tidemill_operator.core.snapshot import WorkerPod

UNKNOWN_LOAD = 1 << 30
"""Requests of a pod whose engine runs but says nothing: taken for the busiest."""


@dataclass(frozen=True)
class EngineSample:
    """The gauges of the engine on one pod, as `endpoint_contract` defines them."""

    pod_ip: str
    time: datetime
    waiting: int
    running: int

    @property
    def requests(self) -> int:
        """Requests that this engine has."""
        return self.waiting + self.running


def pod_loads(
    pods: Iterable[WorkerPod], running_ips: Iterable[str], samples: Iterable[EngineSample], oldest: datetime
) -> dict[str, int]:
    """Requests by pod name: 0 where no engine runs yet, unknown where the newest sample is older than `oldest`."""
    newest: dict[str, EngineSample] = {}
    for sample in sorted(samples, key=lambda s: s.time):
        newest[sample.pod_ip] = sample
    running = frozenset(running_ips)
    loads = {}
    for pod in pods:
        said = newest.get(pod.ip)
        if pod.ip not in running:
            loads[pod.name] = 0
        elif said is None or said.time < oldest:
            loads[pod.name] = UNKNOWN_LOAD
        else:
            loads[pod.name] = said.requests
    return loads


def group_for(wanted: int, group: Group, loads: Mapping[str, int], starting: Iterable[str] = ()) -> Scale:
    """The worker group for `wanted` replicas and the pods that leave to get there.

    Pods whose engine is not running (`starting`, by name) go first, then the empty ones, then by requests, then by
    name. As in `scaling.scale_to`, KubeRay picks pods by itself wherever `replicas` falls below the pods that are not
    named: a pod that is missing may have been created and not be seen yet, so `replicas` falls by the named pods only,
    but for pods that cannot be created (`complete`), and with none wanted nobody has to be spared.
    """
    not_running = frozenset(starting)
    alive = [worker for worker in group.workers if not worker.deleting]
    alive.sort(key=lambda w: (w.name not in not_running, loads.get(w.name, UNKNOWN_LOAD), w.ready, w.name))
    victims = tuple(worker.name for worker in alive[: max(len(alive) - wanted, 0)])
    if wanted == 0:
        standing = len(alive)
    elif group.complete:
        standing = len(group.workers)
    else:
        standing = max(len(alive), group.replicas)
    return Scale(max(wanted, standing - len(victims)), victims)


def serve_target(wanted: int, target: int, staying: int) -> int:
    """The replicas that Serve is to have of a deployment, on the way to `wanted`.

    Serve stops replicas of its own choice where its target is below those that run on nodes that stay (`staying`). So
    on the way down the target follows the nodes: it never falls below what runs on nodes that are not draining.
    """
    return wanted if wanted >= target or wanted == 0 else max(wanted, min(staying, target))
