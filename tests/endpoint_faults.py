"""Ways to lose parts of an endpoint that serves, on the dev cluster: a pod, an engine, an ingress replica, a node.

As `chaos_faults` does for jobs, it reaches for processes of this machine. Nothing here judges: tests do.
"""

from __future__ import annotations

import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaos_faults import container_pids, kill_all
from cluster_fixtures import KUBECTL

from tidemill_api.endpoint_contract import APPLICATION, ENGINE_DEPLOYMENT, HTTP_PORT, INGRESS_DEPLOYMENT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from endpoint_world import Endpoints


@dataclass(frozen=True)
class EndpointFaults:
    """What may go wrong with the endpoints of one test. `state` is the dev cluster's folder."""

    endpoints: Endpoints
    state: Path

    def kill_pod(self, name: str) -> float:
        """All processes of the pod at once, as when its node loses power; the time of it."""
        return self._kill(container_pids(self.state, self._pod(name)["metadata"]["uid"]), f"processes of {name}")

    def kill_engine(self, pod: str) -> float:
        """The process of the engine on this pod; the time of it."""
        return self._kill(self._replicas(pod, ENGINE_DEPLOYMENT), f"an engine on {pod}")

    def kill_ingress(self, pod: str) -> float:
        """The process of the ingress replica on this pod; the time of it."""
        return self._kill(self._replicas(pod, INGRESS_DEPLOYMENT), f"an ingress replica on {pod}")

    def door(self, pod: str) -> str:
        """The base URL of this pod's own ingress replica, past the Service."""
        return f"http://{self._pod(pod)['status']['podIP']}:{HTTP_PORT}/v1"

    def drain_node_of(self, pod: str) -> Drain:
        """`kubectl drain` of the pod's node, of this pod alone: a dev cluster has no other node for the rest of it."""
        node = self._pod(pod)["spec"]["nodeName"]
        self.endpoints.kubectl("label", "pod", pod, "-n", self.endpoints.namespace, "drained=yes")
        return Drain(self.endpoints.kubectl, node, "drained=yes")

    def _pod(self, name: str) -> dict[str, Any]:
        found: dict[str, Any] = self.endpoints.kubectl.json("get", "pod", name, "-n", self.endpoints.namespace)
        return found

    def _replicas(self, pod: str, deployment: str) -> list[int]:
        """Pids of the replicas of a deployment on this pod; Ray names its workers after their actor."""
        network = _network_of(container_pids(self.state, self._pod(pod)["metadata"]["uid"])[0])
        title = f"ray::ServeReplica:{APPLICATION}:{deployment}".encode()
        return [pid for pid, words in _processes() if words.startswith(title) and _network_of(pid) == network]

    def _kill(self, pids: list[int], what: str) -> float:
        moment = time.time()
        assert kill_all(pids), f"there is no {what}"
        return moment


@dataclass(frozen=True)
class Drain:
    """A drain of a node that takes only the pods with a label, as `kubectl drain --pod-selector` does."""

    kubectl: Any
    node: str
    selector: str

    @contextmanager
    def running(self) -> Iterator[subprocess.Popen[bytes]]:
        """`kubectl drain` at work. The node takes pods again at once, as another node would."""
        words = ["drain", self.node, f"--pod-selector={self.selector}", "--ignore-daemonsets", "--force"]
        command = [str(KUBECTL), f"--kubeconfig={self.kubectl.kubeconfig}", *words, "--delete-emptydir-data"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
            try:
                self._wait_cordoned()
                self.kubectl("uncordon", self.node)
                yield process
            finally:
                process.kill()
                self.kubectl("uncordon", self.node)

    def _wait_cordoned(self) -> None:
        deadline = time.monotonic() + 30
        while not self.kubectl.json("get", "node", self.node)["spec"].get("unschedulable"):
            assert time.monotonic() < deadline, "the node was not cordoned"
            time.sleep(0.1)


def _processes() -> Iterator[tuple[int, bytes]]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            yield int(folder.name), (folder / "cmdline").read_bytes()
        except OSError:
            continue  # gone meanwhile


def _network_of(pid: int) -> int:
    """What tells the network namespace of this process, 0 where it is gone."""
    try:
        return Path(f"/proc/{pid}/ns/net").stat().st_ino
    except OSError:
        return 0
