"""The stand-in with real Ray: a RayCluster comes up in pods of the dev cluster, scales, heals and goes.

The tests run in order on one RayCluster, since each start of Ray costs seconds; each makes sure of what it
needs, so any of them can be run alone.
"""

import json
import logging
import os
import secrets
import signal
import time
import urllib.error
import urllib.request
from base64 import b64decode
from dataclasses import dataclass
from pathlib import Path

import pytest
from cluster_fixtures import KUBECTL, Kubectl

pytestmark = pytest.mark.cluster

NAME = "demo"
SLOWEST_START_SECONDS = 60.0
"""A bound for a loaded machine; the time really taken is in the test report."""


def container(name, memory):
    return {
        "name": name,
        "image": "tidemill:dev",
        "env": [{"name": "RAY_USAGE_STATS_ENABLED", "value": "0"}],
        "resources": {"limits": {"cpu": "1", "memory": memory}},
        "readinessProbe": {
            "httpGet": {"path": "/api/healthz", "port": 52365},
            "periodSeconds": 1,
            "failureThreshold": 60,
        },
    }


def manifest(namespace):
    return {
        "apiVersion": "ray.io/v1",
        "kind": "RayCluster",
        "metadata": {"name": NAME, "namespace": namespace},
        "spec": {
            "rayVersion": "2.60.0",
            "authOptions": {"mode": "token"},
            "headGroupSpec": {
                "rayStartParams": {"num-cpus": "0"},
                "template": {
                    "spec": {"terminationGracePeriodSeconds": 5, "containers": [container("ray-head", "3Gi")]}
                },
            },
            "workerGroupSpecs": [
                {
                    "groupName": "workers",
                    "replicas": 1,
                    "minReplicas": 0,
                    "maxReplicas": 3,
                    "template": {
                        "spec": {"terminationGracePeriodSeconds": 5, "containers": [container("ray-worker", "2Gi")]}
                    },
                }
            ],
        },
    }


@dataclass(frozen=True)
class RayCluster:
    """The one RayCluster of this module, through kubectl and Ray's own REST API."""

    kubectl: Kubectl
    namespace: str

    def get(self):
        return self.kubectl.json("get", "raycluster", NAME, "-n", self.namespace)

    def pods(self, node_type):
        found = self.kubectl.json("get", "pods", "-n", self.namespace, "-l", f"ray.io/node-type={node_type}")
        return {pod["metadata"]["name"]: pod for pod in found["items"]}

    def patch(self, operations):
        patch = json.dumps(operations)
        self.kubectl("patch", "raycluster", NAME, "-n", self.namespace, "--type=json", "-p", patch)

    def scale(self, replicas, delete=()):
        path = "/spec/workerGroupSpecs/0"
        self.patch(
            [
                {"op": "test", "path": f"{path}/groupName", "value": "workers"},
                {"op": "replace", "path": f"{path}/replicas", "value": replicas},
                {"op": "add", "path": f"{path}/scaleStrategy", "value": {"workersToDelete": list(delete)}},
            ]
        )

    def wait_for(self, what, check, seconds=SLOWEST_START_SECONDS):
        deadline = time.monotonic() + seconds
        while not (answer := check()):
            assert time.monotonic() < deadline, f"{what}: not within {seconds} s\n{self.story()}"
            time.sleep(0.1)
        return answer

    def story(self):
        """What a person would look at."""
        commands = (("get", "pods", "-o", "wide"), ("get", "events"), ("get", "raycluster", NAME, "-o", "yaml"))
        return "\n".join(self.kubectl(*words, "-n", self.namespace, check=False) for words in commands)

    def condition(self, kind):
        conditions = self.get().get("status", {}).get("conditions") or []
        return next((entry["status"] for entry in conditions if entry["type"] == kind), None)

    def settle(self, workers):
        """Wait until the head and exactly so many workers are there and ready."""

        def settled():
            pods = self.pods("worker").values()
            return len(pods) == workers and all(is_ready(pod) for pod in pods)

        self.wait_for("the head is ready", lambda: self.condition("HeadPodReady") == "True")
        self.wait_for(f"{workers} workers are ready", settled)

    def request(self, path, body=None, token=None):
        """Ask the dashboard on the head; the answer as (status, decoded body)."""
        address = self.get()["status"]["head"]["podIP"]
        headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://{address}:8265{path}", data=data, headers=headers)
        try:
            with urllib.request.urlopen(request, timeout=10) as answer:
                return answer.status, json.load(answer)
        except urllib.error.HTTPError as error:
            with error:
                return error.code, None

    def token(self):
        secret = self.kubectl.json("get", "secret", NAME, "-n", self.namespace)
        return b64decode(secret["data"]["auth_token"]).decode()


def is_ready(pod):
    conditions = pod.get("status", {}).get("conditions") or []
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def restarts(pod):
    return sum(entry["restartCount"] for entry in pod["status"]["containerStatuses"])


@pytest.fixture(scope="module")
def ray(devcluster, record_testsuite_property):
    """The RayCluster, with one worker, in a namespace of its own."""
    if devcluster.state is None:
        pytest.skip("these are tests of the development cluster's own stand-in")
    kubectl = Kubectl(devcluster.kubeconfig)
    assert KUBECTL.exists(), "run ./hack/setup.sh"
    namespace = f"test-{secrets.token_hex(4)}"
    kubectl("create", "-f", "-", given={"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
    cluster = RayCluster(kubectl, namespace)
    began = time.monotonic()
    kubectl("create", "-f", "-", given=manifest(namespace))
    cluster.wait_for("the head is ready", lambda: cluster.condition("HeadPodReady") == "True")
    taken = time.monotonic() - began
    record_testsuite_property("seconds from creation to HeadPodReady", f"{taken:.1f}")
    logging.getLogger(__name__).info("HeadPodReady after %.1f s", taken)
    yield cluster
    kubectl("delete", "namespace", namespace, "--timeout=60s", timeout=70)


def test_a_cluster_comes_up_with_a_worker_that_found_its_head(ray):
    ray.settle(1)
    ray.wait_for("provisioned", lambda: ray.condition("RayClusterProvisioned") == "True")
    status = ray.get()["status"]
    assert status["state"] == "ready"
    assert status["readyWorkerReplicas"] == 1
    (head,) = ray.pods("head").values()
    assert status["head"]["podIP"] == head["status"]["podIP"]


def test_the_rest_api_answers_with_the_token_and_only_with_it(ray):
    assert ray.request("/api/jobs/")[0] == 401
    assert ray.request("/api/jobs/", token="wrong")[0] == 403
    assert ray.request("/api/jobs/", token=ray.token())[0] == 200


def test_a_submitted_job_runs_on_the_worker(ray):
    ray.settle(1)
    token = ray.token()
    code = "import ray; ray.init(); print('on', ray.get(ray.remote(ray.util.get_node_ip_address).remote()))"
    job = {"entrypoint": f'python -c "{code}"', "submission_id": "first"}
    ray.wait_for("the job is taken", lambda: ray.request("/api/jobs/", body=job, token=token)[0] == 200)

    def finished():
        _, told = ray.request("/api/jobs/first", token=token)
        return told if told and told["status"] in {"SUCCEEDED", "FAILED", "STOPPED"} else None

    assert ray.wait_for("the job ends", finished)["status"] == "SUCCEEDED"
    (worker,) = ray.pods("worker").values()
    assert f"on {worker['status']['podIP']}" in ray.request("/api/jobs/first/logs", token=token)[1]["logs"]


def test_replicas_up_and_then_exactly_the_named_worker_down(ray):
    ray.settle(1)
    ray.scale(2)
    ray.settle(2)
    kept, victim = sorted(ray.pods("worker"))
    ray.scale(1, delete=[victim])
    ray.wait_for("the victim is gone", lambda: [*ray.pods("worker")] == [kept])


def test_a_killed_worker_restarts_in_its_place(ray):
    ray.settle(1)
    ((name, before),) = ray.pods("worker").items()
    for pid in processes_of(name):
        os.kill(pid, signal.SIGKILL)
    ray.wait_for("restarted", lambda: restarts(ray.pods("worker")[name]) > restarts(before))
    ray.settle(1)
    after = ray.pods("worker")[name]
    assert after["status"]["podIP"] == before["status"]["podIP"]
    assert after["metadata"]["uid"] == before["metadata"]["uid"]


def test_a_deleted_head_is_made_again(ray):
    (old,) = ray.pods("head")
    ray.kubectl("delete", "pod", old, "-n", ray.namespace, "--wait=false")
    ray.wait_for("a new head", lambda: old not in ray.pods("head") and ray.pods("head"))
    ray.wait_for("the head is ready", lambda: ray.condition("HeadPodReady") == "True")
    assert ray.request("/api/jobs/", token=ray.token())[0] == 200


def test_a_deleted_cluster_leaves_nothing(ray):
    addresses = [pod["status"]["podIP"] for kind in ("head", "worker") for pod in ray.pods(kind).values()]
    names = [*ray.pods("head"), *ray.pods("worker")]
    ray.kubectl("delete", "raycluster", NAME, "-n", ray.namespace)
    ray.wait_for("no pod", lambda: not ray.pods("head") and not ray.pods("worker"))
    kinds = "services,secrets"
    left = ray.kubectl("get", kinds, "-n", ray.namespace, "-l", f"ray.io/cluster={NAME}", "-o", "name")
    assert left == ""
    assert addresses
    assert [name for name in names if processes_of(name)] == []


def processes_of(pod):
    """Pids of the `ray start` of a pod on this machine, known by the pod's name in their environment."""
    found = []
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                environment, command = (folder / "environ").read_bytes(), (folder / "cmdline").read_bytes()
            except OSError:
                continue  # it ended meanwhile
            if f"RAY_CLOUD_INSTANCE_ID={pod}\0".encode() in environment and b"ray\0start\0" in command:
                found.append(int(folder.name))
    return found
