"""Stand-ins for what surrounds the operator in `control_plane.py`: KubeRay, the kubelet, and Ray's heads.

No Ray runs and no pod: the benchmark is about the operator. A RayCluster's head becomes ready at once, at a loopback
address of its own; on it `Heads` answers the Jobs REST API and the driver's figures, whose rows go on with the clock.
"""

from __future__ import annotations

import random
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from aiohttp import web
from control_plane_jobs import NAMESPACE, ROWS, WORKERS

from devcluster.client import PODS, RAY_CLUSTERS, AlreadyExists, Client
from tidemill_api import job_contract as contract
from tidemill_api.job_contract import JobConfig
from tidemill_operator.ray_api import DASHBOARD_PORT

if TYPE_CHECKING:
    from collections.abc import Iterable

    Json = dict[str, Any]

ROWS_PER_SECOND = 37
ROWS_PER_WORKER = 256


class Heads:
    """Ray's heads: each an address of its own, with the ports that the operator knows."""

    def __init__(self, count: int) -> None:
        second, third = (random.randrange(1, 200) for _ in range(2))  # noqa: S311 - so that runs do not collide
        self.addresses = [f"127.{second}.{third + n // 250}.{2 + n % 250}" for n in range(count)]
        self.calls = 0
        self.uids: set[str] = set()
        """uids of the jobs that were asked for."""
        self._configs: dict[str, tuple[JobConfig, float]] = {}  # by address: the driver and when it was submitted
        self._read: set[str] = set()  # addresses whose figures were read
        self._runners: list[web.AppRunner] = []

    async def __aenter__(self) -> Heads:
        jobs, figures = web.Application(), web.Application()
        jobs.router.add_get("/api/jobs/{id}", self._get)
        jobs.router.add_post("/api/jobs/", self._post)
        figures.router.add_get("/metrics", self._metrics)
        for app, port in ((jobs, DASHBOARD_PORT), (figures, contract.METRICS_PORT)):
            runner = web.AppRunner(app, access_log=None)
            await runner.setup()
            self._runners.append(runner)
            for address in self.addresses:
                await web.TCPSite(runner, address, port).start()
        return self

    async def __aexit__(self, *_: object) -> None:
        for runner in self._runners:
            await runner.cleanup()

    def at_work(self) -> int:
        """Drivers that were submitted and whose figures were read."""
        return len(self._read)

    async def _get(self, request: web.Request) -> web.Response:
        self._note(request.match_info["id"])
        if _address(request) not in self._configs:
            return web.Response(status=404)
        return web.json_response({"submission_id": request.match_info["id"], "status": "RUNNING"})

    async def _post(self, request: web.Request) -> web.Response:
        body = await request.json()
        self._note(body["submission_id"])
        config = JobConfig.model_validate_json(body["runtime_env"]["env_vars"][contract.CONFIG_VARIABLE])
        self._configs[_address(request)] = (config, time.monotonic())
        return web.json_response({"submission_id": body["submission_id"]})

    def _note(self, submission: str) -> None:
        self.calls += 1
        self.uids.add(submission.rpartition("-")[0])

    async def _metrics(self, request: web.Request) -> web.Response:
        self.calls += 1
        if _address(request) not in self._configs:
            return web.Response(status=503)
        config, since = self._configs[_address(request)]
        self._read.add(_address(request))
        return web.Response(text=_figures(config, time.monotonic() - since), content_type="text/plain")


def _address(request: web.Request) -> str:
    transport = request.transport
    return str(transport.get_extra_info("sockname")[0]) if transport is not None else ""


def _figures(config: JobConfig, seconds: float) -> str:
    """What a driver at work publishes so long after its start."""
    labels = f'job="{config.namespace}/{config.name}",attempt="{config.attempt}"'
    done = min(int(seconds * ROWS_PER_SECOND), ROWS)
    figures = {
        contract.METRIC_ROWS_TOTAL: ROWS,
        contract.METRIC_ROWS_COMPLETED: done,
        contract.METRIC_ROWS_FAILED: 0,
        contract.METRIC_ROWS_PER_WORKER: ROWS_PER_WORKER,
        contract.METRIC_ROWS_PER_SECOND: ROWS_PER_SECOND,
        contract.METRIC_PROMPT_TOKENS: done * 70,
        contract.METRIC_COMPLETION_TOKENS: done * 30,
    }
    lines = [f'{contract.METRIC_PHASE}{{{labels},phase="processing"}} 1']
    lines += [f"{name}{{{labels}}} {value}" for name, value in figures.items()]
    lines += [f'{contract.METRIC_ROWS_IN_FLIGHT}{{{labels},node="{worker_ip(n)}"}} 256' for n in range(WORKERS)]
    return "\n".join(lines) + "\n"


def worker_ip(number: int) -> str:
    """The address of a cluster's n-th worker; nobody connects to it."""
    return f"10.99.0.{number + 1}"


@dataclass
class KubeRay:
    """Stands for KubeRay and the kubelet: heads are ready at once, workers as soon as there are to be any."""

    client: Client
    addresses: Iterable[str]
    _heads: dict[str, str] = field(default_factory=dict)  # address by name of the cluster
    _workers: set[str] = field(default_factory=set)

    async def run(self) -> None:
        """Acts until it is cancelled."""
        free = iter(self.addresses)
        async for kind, cluster in self.client.watch(RAY_CLUSTERS, NAMESPACE):
            if kind in ("ADDED", "MODIFIED"):
                name = cluster["metadata"]["name"]
                if name not in self._heads:
                    self._heads[name] = next(free)
                    await self._head_is_ready(cluster)
                elif name not in self._workers and cluster["spec"]["workerGroupSpecs"][0]["replicas"]:
                    self._workers.add(name)
                    await self._workers_are_ready(cluster)

    async def _head_is_ready(self, cluster: Json) -> None:
        name = cluster["metadata"]["name"]
        ready = {
            "type": "HeadPodReady",
            "status": "True",
            "reason": "HeadPodRunningAndReady",
            "message": "",
            "lastTransitionTime": _now(),
        }
        status = {"head": {"podIP": self._heads[name]}, "conditions": [ready]}
        await self.client.patch(RAY_CLUSTERS, NAMESPACE, name, {"status": status}, subresource="status")

    async def _workers_are_ready(self, cluster: Json) -> None:
        group = cluster["spec"]["workerGroupSpecs"][0]
        template, name = group["template"], cluster["metadata"]["name"]
        labels = {**template["metadata"]["labels"], "ray.io/cluster": name, "ray.io/node-type": "worker"}
        for number in range(group["replicas"]):
            pod = f"{name}-worker-{number}"
            metadata = {"name": pod, "labels": labels}
            body = {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": template["spec"]}
            with suppress(AlreadyExists):
                await self.client.create(PODS, NAMESPACE, body)
            ready = {"type": "Ready", "status": "True", "lastTransitionTime": _now()}
            status = {"phase": "Running", "podIP": worker_ip(number), "conditions": [ready]}
            await self.client.patch(PODS, NAMESPACE, pod, {"status": status}, subresource="status")


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
