"""CPU time of groups of processes between two looks, and what a process of a realtime benchmark is there for."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

ENGINE = "vLLM's engine"
SERVER = "vLLM's server, in the engine replica"
INGRESS = "ingress"
RAY = "Ray (raylets, agents, Serve's controller)"
PROXY = "the dev cluster's Service proxy"
CLUSTER = "the dev cluster's API server, kubelet, KubeRay"
OPERATOR = "operator"
GROUPS = (ENGINE, SERVER, INGRESS, RAY, PROXY, CLUSTER, OPERATOR)

SIGNS = (
    ("VLLM::", ENGINE),
    ("api_server", SERVER),
    ("ServeReplica:endpoint:Engine", SERVER),
    ("ServeReplica:endpoint:Ingress", INGRESS),
    ("devcluster.services", PROXY),
    ("devcluster.", CLUSTER),
    ("tidemill_operator", OPERATOR),
)
"""What is in the command line of a process of each group; the first that fits counts, and the rest is Ray's."""


def group_of(command: str) -> str:
    """What the process with this command line is there for."""
    return next((group for sign, group in SIGNS if sign in command), RAY)


@dataclass
class CpuMeter:
    """CPU seconds by group. `processes` lists whom to look at; one that ends between two looks is missed."""

    processes: Callable[[], Iterable[psutil.Process]]
    _known: dict[psutil.Process, tuple[str, float]] = field(default_factory=dict)

    def start(self) -> None:
        """From now on."""
        self._known = self._look()

    def stop(self) -> dict[str, float]:
        """Seconds of each group since the start."""
        found: dict[str, float] = defaultdict(float)
        for process, (group, seconds) in self._look().items():
            found[group] += seconds - self._known.get(process, ("", 0.0))[1]
        return dict(found)

    def _look(self) -> dict[psutil.Process, tuple[str, float]]:
        found = {}
        for process in self.processes():
            try:
                times, command = process.cpu_times(), " ".join(process.cmdline())
            except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
                continue
            found[process] = (group_of(command), times.user + times.system)
        return found


def added(looks: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """The sum of several measurements."""
    found: dict[str, float] = defaultdict(float)
    for look in looks:
        for group, seconds in look.items():
            found[group] += seconds
    return dict(found)
