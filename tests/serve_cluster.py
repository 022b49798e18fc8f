"""A local Ray with Serve and an endpoint's application on it, in a process of its own (`python -m serve_cluster`).

The head takes no CPU and offers one ingress place; `add_worker` brings a raylet with room for one ingress and one
engine. All raylets share this machine's address, so each process takes any port for its figures and notes it.
"""

from __future__ import annotations

import json
import os
import time
import urllib.error
import urllib.request
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from cluster_process import ClusterProcess, obey, say
from pod_figures import sums
from ray_cluster import environment

from tidemill_api import endpoint_contract as contract

if TYPE_CHECKING:
    from pathlib import Path

THROUGHPUT = {
    "RAY_SERVE_THROUGHPUT_OPTIMIZED": "1",
    "RAY_SERVE_LOG_TO_STDERR": "1",
    "RAY_SERVE_PORT_QUARANTINE_S": "0",
    "RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH": contract.HTTP_DOOR,
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "1",  # no balancer has to learn of anything here
}


def _serve() -> None:
    import ray
    from ray import serve
    from ray.cluster_utils import Cluster

    place = {contract.INGRESS_RESOURCE: 1}
    cluster = Cluster(
        initialize_head=True,
        head_node_args={"num_cpus": 0, "include_dashboard": True, "dashboard_port": 0, "resources": place},
    )
    ray.init(address=cluster.address, namespace="test", log_to_driver=True, logging_level="ERROR")
    port = int(os.environ["TIDEMILL_TEST_HTTP_PORT"])
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    say({"dashboard": cluster.head_node.webui_url})
    obey(cluster, {"num_cpus": 0, "resources": {**place, contract.ENGINE_RESOURCE: 1}, "wait": True})
    serve.shutdown()
    ray.shutdown()
    cluster.shutdown()


def free_port() -> int:
    """A port that nobody has now."""
    import socket

    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@dataclass
class ServeCluster:
    """The cluster, from the outside."""

    folder: Path
    engine: str = "paced_server:create"
    variables: dict[str, str] = field(default_factory=dict)
    process: ClusterProcess = field(init=False)

    def __enter__(self) -> Self:
        self.http_port, self.ingress_port = free_port(), free_port()
        ports = self.folder / "ports"
        ports.mkdir()
        settings = environment(self.engine, self.folder) | THROUGHPUT | self.variables
        settings |= {"TIDEMILL_TEST_PORTS_FOLDER": str(ports), "TIDEMILL_TEST_HTTP_PORT": str(self.http_port)}
        settings["RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT"] = str(self.ingress_port)
        settings["RAY_SERVE_DIRECT_INGRESS_MAX_HTTP_PORT"] = str(self.ingress_port + 50)
        self.process = ClusterProcess(settings, "serve_cluster", self.folder / "serve.log")
        self.process.__enter__()
        return self

    def __exit__(self, *ended: object) -> None:
        self.process.__exit__(*ended)

    def add_worker(self) -> None:
        """One more node with room for an ingress and an engine."""
        self.process.add_worker()

    def remove_worker(self) -> None:
        """The oldest of them is lost: its processes are killed."""
        self.process.remove_worker()

    def deploy(self, config: contract.EndpointConfig, settings: contract.IngressSettings, **replicas: int) -> None:
        """As the operator does: one PUT, and for no engine, which a PUT cannot say, a POST after it."""
        engines = replicas.get("engines", 0)
        application = {
            "name": contract.APPLICATION,
            "route_prefix": contract.ROUTE_PREFIX,
            "import_path": contract.IMPORT_PATH,
            "args": config.model_dump(mode="json", by_alias=True),
            "external_scaler_enabled": True,
            "deployments": [
                {
                    "name": contract.INGRESS_DEPLOYMENT,
                    "num_replicas": replicas.get("ingress", 1),
                    "user_config": settings.model_dump(),
                },
                {
                    "name": contract.ENGINE_DEPLOYMENT,
                    "num_replicas": max(engines, 1),
                    "user_config": contract.EngineSettings().model_dump(),
                },
            ],
        }
        self.rest("PUT", "/api/serve/applications/", {"applications": [application]})
        if not engines:
            self._scale_when_there(0)

    def scale(self, engines: int) -> None:
        """As the operator does: the external scaler's POST."""
        path = f"/api/v1/applications/{contract.APPLICATION}/deployments/{contract.ENGINE_DEPLOYMENT}/scale"
        self.rest("POST", path, {"target_num_replicas": engines})

    def _scale_when_there(self, engines: int, seconds: float = 60) -> None:
        """Serve builds an application in its own time: until then nothing can be scaled."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            with suppress(urllib.error.HTTPError):
                return self.scale(engines)
            time.sleep(0.2)
        return self.scale(engines)

    def rest(self, method: str, path: str, value: Any = None) -> Any:
        """One call of Ray's REST API; its answer as JSON, or None."""
        body = None if value is None else json.dumps(value).encode()
        request = urllib.request.Request(
            f"http://{self.process.first['dashboard']}{path}", body, {"Content-Type": "application/json"}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            text = answer.read()
        return json.loads(text) if text else None

    def running(self, deployment: str) -> list[dict[str, Any]]:
        """The replicas of a deployment that run."""
        applications = self.rest("GET", "/api/serve/applications/")["applications"]
        found = applications.get(contract.APPLICATION, {}).get("deployments", {}).get(deployment, {})
        return [replica for replica in found.get("replicas", []) if replica["state"] == "RUNNING"]

    def wait_running(self, ingress: int, engines: int, seconds: float = 90) -> None:
        """Until exactly so many replicas run."""
        wanted = {contract.INGRESS_DEPLOYMENT: ingress, contract.ENGINE_DEPLOYMENT: engines}
        deadline = time.monotonic() + seconds
        while {name: len(self.running(name)) for name in wanted} != wanted:
            assert time.monotonic() < deadline, self.rest("GET", "/api/serve/applications/")
            time.sleep(0.2)

    def ports(self, kind: str) -> list[int]:
        """Ports of the figures of the `ingress` or `engine` processes that were ever started here."""
        return [int(path.read_text()) for path in sorted((self.folder / "ports").glob(f"{kind}-*"))]

    def figures(self, kind: str) -> dict[str, float]:
        """Each figure of all live processes of a kind, summed."""
        return sums(f"127.0.0.1:{port}" for port in self.ports(kind))


if __name__ == "__main__":
    _serve()
