"""The operator as a process of its own on a real API server, beside the KubeRay stand-in.

The test stands for the kubelet (pods become ready and go when told) and for Ray on the head (`RayStandIn`), each
on a loopback address of its own so that tests may run side by side.
"""

import asyncio
import os
import random
import signal
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import pytest_asyncio
from cluster_fixtures import Kubectl
from integration.operator.ray_stand_in import RayStandIn
from operator_account import operator_account

from devcluster.client import EVENTS, PODS, RAY_CLUSTERS, SECRETS, Client, Conflict, NotFound, Resource
from devcluster.kuberay.controller import Controller

JOBS = Resource("tidemill.dev", "v1alpha1", "batchinferencejobs")

FAST = {
    "TIDEMILL_POLL_SECONDS": "0.1",
    "TIDEMILL_START_POLL_SECONDS": "0.1",
    "TIDEMILL_BACKOFF_MIN_SECONDS": "1",
    "TIDEMILL_BACKOFF_MAX_SECONDS": "2",
    "TIDEMILL_REQUEST_TIMEOUT_SECONDS": "2",
    "TIDEMILL_LOG_LEVEL": "DEBUG",
}
"""The operator's waits, shortened; everything else is at its default."""


def job(name="tickets", **spec):
    """A job that lies on one claim."""
    volume = {"name": "data", "persistentVolumeClaim": {"claimName": "data"}}
    return {
        "apiVersion": "tidemill.dev/v1alpha1",
        "kind": "BatchInferenceJob",
        "metadata": {"name": name},
        "spec": {
            "model": {"name": "smollm2", "source": "HuggingFaceTB/SmolLM2-135M-Instruct"},
            "input": {"uri": "/data/in.jsonl"},
            "output": {"uri": "/data/out/"},
            "completionWindow": "4h",
            "workers": {"min": 0, "max": 4},
            "template": {"volumes": [volume], "volumeMounts": [{"name": "data", "mountPath": "/data"}]},
            **spec,
        },
    }


class OperatorProcess:
    """The operator, started and stopped as a Deployment would."""

    def __init__(self, kubeconfig: Path, namespace: str, log: Path) -> None:
        self.log, self.kubeconfig = log, kubeconfig
        self._command = [sys.executable, "-m", "tidemill_operator", "--kubeconfig", str(kubeconfig)]
        self._command += ["--namespace", namespace, "--health-port", "0"]
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, **environment: str) -> None:
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, stdout=log, stderr=log, env={**os.environ, **FAST, **environment}
            )

    def send(self, number) -> None:
        with suppress(ProcessLookupError):  # it has just ended
            self._process.send_signal(number)

    async def stop(self, by=signal.SIGTERM) -> int:
        self.send(by)
        return await asyncio.wait_for(self._process.wait(), timeout=10)

    async def ended(self) -> int:
        """Its exit code, once it has ended by itself."""
        return await self._process.wait()

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.returncode is None


class World:
    """One namespace as a user, a kubelet and Ray see it."""

    def __init__(self, client: Client, namespace: str, head: RayStandIn, operator: OperatorProcess) -> None:
        self.client, self.namespace, self.head, self.operator = client, namespace, head, operator
        self.workers_start = True
        self.heads_start = True
        self.addresses: dict[str, str] = {}
        self.statuses: list[dict] = []

    async def apply(self, manifest):
        return await self.client.create(JOBS, self.namespace, manifest)

    async def job(self, name="tickets"):
        return await self.client.get(JOBS, self.namespace, name)

    async def status(self, name="tickets"):
        return (await self.job(name)).get("status") or {}

    async def condition(self, of, name="tickets"):
        """The condition as (status, reason)."""
        found = {c["type"]: c for c in (await self.status(name)).get("conditions", ())}
        return (found[of]["status"], found[of]["reason"]) if of in found else ("", "")

    async def message(self, of, name="tickets"):
        return next(c["message"] for c in (await self.status(name))["conditions"] if c["type"] == of)

    async def until_condition(self, of, expected, name="tickets", seconds=60.0):
        await eventually(lambda: self._is(of, expected, name), seconds=seconds)

    async def _is(self, of, expected, name):
        return await self.condition(of, name) == expected

    async def clusters(self):
        return (await self.client.list(RAY_CLUSTERS, self.namespace))[0]

    async def replicas(self):
        return [c["spec"]["workerGroupSpecs"][0]["replicas"] for c in await self.clusters()]

    async def worker_pods(self):
        return (await self.client.list(PODS, self.namespace, "ray.io/node-type=worker"))[0]

    async def secrets(self):
        return (await self.client.list(SECRETS, self.namespace))[0]

    async def events(self):
        found, _ = await self.client.list(EVENTS, self.namespace)
        return {event["reason"]: event for event in found if event["involvedObject"]["kind"] == "BatchInferenceJob"}

    async def event(self, reason):
        """The Event of this reason, as soon as there is one: Events follow the status that they speak of."""

        async def written():
            return (await self.events()).get(reason)

        return await eventually(written)

    async def be_kubelet(self):
        """Pods become ready at once and go as soon as they are told to."""
        while True:
            pods, _ = await self.client.list(PODS, self.namespace)
            for pod in pods:
                with suppress(NotFound, Conflict):
                    await self._pod(pod)
            await asyncio.sleep(0.05)

    async def _pod(self, pod):
        name, labels = pod["metadata"]["name"], pod["metadata"]["labels"]
        if "deletionTimestamp" in pod["metadata"]:
            await self.client.delete(PODS, self.namespace, name, grace_seconds=0)
            return
        head = labels["ray.io/node-type"] == "head"
        if not (self.heads_start if head else self.workers_start):
            return
        ip = self.head.ip if head else self.addresses.setdefault(name, f"10.99.0.{len(self.addresses) + 1}")
        if (pod.get("status") or {}).get("podIP") == ip:
            return
        status = {"phase": "Running", "podIP": ip, "conditions": [{"type": "Ready", "status": "True"}]}
        await self.client.patch(PODS, self.namespace, name, {"status": status}, subresource="status")


async def eventually(check, *, seconds=60.0):
    """Waits until an asynchronous check answers truthfully, and gives its answer."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not (answer := await check()):
        assert asyncio.get_running_loop().time() < deadline, f"not true within {seconds} s"
        await asyncio.sleep(0.02)
    return answer


@pytest.fixture(scope="session")
def account(api_server, tmp_path_factory):
    """Whom the operators of these tests act as: an account with the chart's rights, and no others."""
    return operator_account(api_server, Kubectl(api_server.kubeconfig), tmp_path_factory.mktemp("account"))


@pytest_asyncio.fixture
async def world(client, namespace, account, tmp_path):
    """The operator at work in a namespace of its own."""
    head = RayStandIn(f"127.{random.randrange(1, 255)}.{random.randrange(1, 255)}.{random.randrange(2, 255)}")
    await head.start()
    operator = OperatorProcess(account.kubeconfig, namespace, tmp_path / "operator.log")
    made = World(client, namespace, head, operator)
    tasks = [asyncio.create_task(Controller(client).run()), asyncio.create_task(made.be_kubelet())]
    await operator.start()
    try:
        yield made
    finally:
        for found in (await client.list(JOBS, namespace))[0]:
            await client.delete(JOBS, namespace, found["metadata"]["name"])
        if operator.running:
            await operator.stop()
        await asyncio.sleep(0.2)
        for task in tasks:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        await head.stop()


@pytest.fixture
def operator_log(world):
    """What the operator logged so far."""
    return world.operator.log.read_text
