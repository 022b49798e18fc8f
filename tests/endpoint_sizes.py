"""How many replicas an endpoint is to have, each change with the moment it was seen: `kubectl get --watch`, kept.

What is watched is the RayCluster's worker group, the first thing that the operator writes when it has decided. Seen
within milliseconds on a cluster nearby.
"""

from __future__ import annotations

import os
import subprocess
import threading
import time
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Self

from cluster_fixtures import KUBECTL

if TYPE_CHECKING:
    from endpoint_world import Endpoints

COLUMNS = '{.spec.workerGroupSpecs[0].replicas}{"\\n"}'


@dataclass
class Sizes:
    """The sizes of the one revision in the namespace, as (time.time(), replicas), while the context lasts."""

    endpoints: Endpoints
    seen: list[tuple[float, int]] = field(default_factory=list)

    def __enter__(self) -> Self:
        watch = ("get", "rayclusters", "-n", self.endpoints.namespace, "--watch", "-o", f"jsonpath={COLUMNS}")
        environment = {**os.environ, "KUBECONFIG": str(self.endpoints.kubectl.kubeconfig)}
        self._watch = subprocess.Popen([KUBECTL, *watch], env=environment, stdout=subprocess.PIPE, text=True)
        self._thread = threading.Thread(target=self._read, name="sizes")
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.terminate()
        self._thread.join()
        self._watch.communicate()

    def _read(self) -> None:
        for line in self._watch.stdout or ():
            if line.strip() and (not self.seen or int(line) != self.seen[-1][1]):
                self.seen.append((time.time(), int(line)))

    @property
    def now(self) -> int:
        """The size that was seen last; -1 before the first."""
        return self.seen[-1][1] if self.seen else -1

    def reached(self, replicas: int) -> float:
        """The moment from which so many were wanted for the first time. Raises StopIteration where that never was."""
        return next(moment for moment, size in self.seen if size == replicas)

    @property
    def turns(self) -> int:
        """How often growing became shrinking, or the other way round."""
        grew = [after > before for (_, before), (_, after) in pairwise(self.seen)]
        return sum(before != after for before, after in pairwise(grew))
