"""API servers that tests may kill, plain HTTP to look at their answers, and a custom resource with everything in it."""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp

CHECKOUT = Path(__file__).parents[1]
# KubeRay's own definition lies beside the checkout on the project's machines.
KUBERAY = CHECKOUT.parent / "shared" / "kuberay" / "v1.7.0" / "ray.io_rayclusters.yaml.gz"

MERGE, JSON_PATCH, STRATEGIC = (
    f"application/{kind}+json" for kind in ("merge-patch", "json-patch", "strategic-merge-patch")
)

THING = {
    "type": "object",
    "properties": {
        "spec": {
            "type": "object",
            "required": ["text"],
            "properties": {
                "text": {"type": "string", "maxLength": 1000, "x-kubernetes-validations": [
                    {"rule": "self == oldSelf", "message": "text is immutable"}]},
                "min": {"type": "integer", "default": 1, "minimum": 0},
                "max": {"type": "integer"},
                "replicas": {"type": "integer", "default": 1},
                "free": {"type": "object", "x-kubernetes-preserve-unknown-fields": True},
            },
            "x-kubernetes-validations": [
                {"rule": "!has(self.max) || self.min <= self.max", "message": "min must not be above max"}],
        },
        "status": {
            "type": "object",
            "properties": {
                "replicas": {"type": "integer"},
                "selector": {"type": "string"},
                "conditions": {
                    "type": "array", "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["type"],
                    "items": {"type": "object", "required": ["type"],
                              "properties": {"type": {"type": "string"}, "status": {"type": "string"}}},
                },
            },
        },
    },
}  # fmt: skip


def thing_definition(group="example.com"):
    """A definition with everything that the tests ask of one."""
    column = {"name": "Ready", "type": "string", "jsonPath": '.status.conditions[?(@.type=="Ready")].status'}
    scale = {
        "specReplicasPath": ".spec.replicas",
        "statusReplicasPath": ".status.replicas",
        "labelSelectorPath": ".status.selector",
    }
    version = {
        "name": "v1",
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": THING},
        "subresources": {"status": {}, "scale": scale},
        "additionalPrinterColumns": [
            column,
            {"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"},
        ],
        "selectableFields": [{"jsonPath": ".spec.text"}],
    }
    names = {"plural": "things", "singular": "thing", "kind": "Thing", "shortNames": ["th"], "categories": ["all"]}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"things.{group}"},
        "spec": {"group": group, "scope": "Namespaced", "names": names, "versions": [version]},
    }


def thing(name="t", **spec):
    return {"apiVersion": "example.com/v1", "kind": "Thing", "metadata": {"name": name}, "spec": {"text": "x", **spec}}


@dataclass
class ServerProcess:
    """An API server process over a folder; `kill` is a `kill -9`, after which `start` finds the same state."""

    folder: Path
    arguments: tuple[str, ...] = ()
    process: subprocess.Popen | None = field(default=None)

    @property
    def kubeconfig(self):
        return self.folder / "kubeconfig"

    @property
    def url(self):
        return json.loads(self.kubeconfig.read_text())["clusters"][0]["cluster"]["server"]

    def start(self):
        self.kubeconfig.unlink(missing_ok=True)
        command = [sys.executable, "-m", "devcluster.apiserver", "--data", str(self.folder / "data")]
        command += ["--kubeconfig", str(self.kubeconfig), *self.arguments]
        environment = {**os.environ, "PYTHONPATH": str(CHECKOUT / "hack")}
        with (self.folder / "log").open("ab") as log:
            self.process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
        deadline = time.monotonic() + 60
        while not self.kubeconfig.exists():
            assert self.process.poll() is None, (self.folder / "log").read_text()
            assert time.monotonic() < deadline, "the API server did not start within a minute"
            time.sleep(0.02)
        return self

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.process.wait(10)
            self.process.kill()
            self.process.wait(10)


@dataclass
class Http:
    """Requests as a client library would make them, answered as (code, document)."""

    session: aiohttp.ClientSession
    url: str

    async def __call__(self, method, path, body=None, code=None, **options):
        headers = options.pop("headers", {})
        if "type" in options:
            headers = {**headers, "Content-Type": options.pop("type")}
        data = body if body is None or isinstance(body, bytes) else json.dumps(body)
        headers.setdefault("Content-Type", "application/json")
        async with self.session.request(
            method, self.url + path, data=data, headers=headers, params=options
        ) as response:
            text = await response.text()
            document = json.loads(text) if response.content_type == "application/json" else text
            if code is not None:
                assert response.status == code, document
                return document
            return response.status, document


def config_map(name="c", **data):
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


def pod(name="p", **spec):
    containers = [{"name": "c", "image": "i"}]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": containers, **spec}}


async def until(check, seconds=10.0):
    """Wait until an asynchronous check holds, and return what it returned."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not (found := await check()):
        assert asyncio.get_running_loop().time() < deadline, f"not so within {seconds} s"
        await asyncio.sleep(0.02)
    return found


async def gone(http, path):
    async def missing():
        return (await http("GET", path))[0] == 404

    await until(missing)
