"""A real Ray cluster of several raylets on this host, shaped as a job's: a head without CPUs, one engine a worker.

Runs in a process of its own (`python -m ray_cluster`). Ray's own cluster for tests does the work.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from cluster_process import ClusterProcess, obey, say

from tidemill_api.job_contract import ENGINE_RESOURCE


def _serve() -> None:
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
    say({"address": cluster.address})
    obey(cluster, {"num_cpus": 0, "resources": {ENGINE_RESOURCE: 1}, "wait": False})
    cluster.shutdown()


@dataclass
class RayCluster(ClusterProcess):
    """The cluster, from the outside."""

    module: str = "ray_cluster"

    @property
    def address(self) -> str:
        """Where drivers find it."""
        return str(self.first["address"])


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
