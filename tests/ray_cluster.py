"""A real Ray cluster of several raylets on this host, shaped as a job's: a head without CPUs, one engine a worker.

Runs in a process of its own (`python -m ray_cluster`), which takes commands on stdin, so that the tests' process
holds no Ray and no warnings of Ray's become the tests'. Ray's own cluster for tests does the work.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from tidemill_api.job_contract import ENGINE_RESOURCE


def _serve() -> None:
    """Obeys one JSON command a line: add, remove (SIGKILL), stop."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    nodes: list[Any] = []
    _say({"address": cluster.address})
    for line in sys.stdin:
        command = json.loads(line)
        if command["do"] == "add":
            nodes.append(cluster.add_node(num_cpus=0, resources={ENGINE_RESOURCE: 1}, wait=False))
        elif command["do"] == "remove":
            cluster.remove_node(nodes.pop(0), allow_graceful=False)
        else:
            break
        _say({"workers": len(nodes)})
    cluster.shutdown()


def _say(answer: dict[str, Any]) -> None:
    os.write(7, json.dumps(answer).encode() + b"\n")


@dataclass
class RayCluster:
    """The cluster, from the outside. `environment` is what its raylets, and so the engines, see."""

    environment: dict[str, str]
    process: subprocess.Popen[bytes] = field(init=False)
    answers: Any = field(init=False)
    address: str = ""

    def __enter__(self) -> Self:
        ours, theirs = os.pipe()
        command = ["bash", "-c", f'exec "$0" -m ray_cluster 7>&{theirs} >&2', sys.executable]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL, env=self.environment, pass_fds=[theirs]
        )
        os.close(theirs)
        self.answers = os.fdopen(ours, "rb")
        self.address = self._answer()["address"]
        return self

    def __exit__(self, *_: object) -> None:
        self._send("stop")
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.answers.close()

    def add_worker(self) -> None:
        """One more worker node with room for one engine."""
        self._send("add")
        self._answer()

    def remove_worker(self) -> None:
        """The oldest worker node is lost: its processes are killed."""
        self._send("remove")
        self._answer()

    def _send(self, what: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps({"do": what}).encode() + b"\n")
        self.process.stdin.flush()

    def _answer(self) -> dict[str, Any]:
        line = self.answers.readline()
        assert line, "the Ray cluster ended"
        answer: dict[str, Any] = json.loads(line)
        return answer


def environment(engine: str, scratch: Path) -> dict[str, str]:
    """The environment of cluster and driver: a test engine by name, no authentication, nothing reported."""
    here = str(Path(__file__).parent)
    return os.environ | {
        "PYTHONPATH": os.pathsep.join([here, os.environ.get("PYTHONPATH", "")]).rstrip(os.pathsep),
        "RAY_AUTH_MODE": "disabled",
        "RAY_USAGE_STATS_ENABLED": "0",
        "HF_HUB_OFFLINE": "1",
        "TIDEMILL_TEST_FOLDER": str(scratch),
        **({"TIDEMILL_ENGINE": engine} if engine else {}),
    }


if __name__ == "__main__":
    _serve()
