"""A RealtimeEndpoint on a cluster, as a user meets it: kubectl, a URL, and figures in its status.

The engine is `paced_server.py`, mounted into the pods from a ConfigMap, unless a test asks for the real one. Nothing
here judges: tests do.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

TESTS = Path(__file__).parent
MODELS = TESTS.parent / ".tidemill" / "models"
KEY = "key-of-alice"
MODEL = {"name": "smollm2", "source": "/models/smollm2", "engineArgs": {"dtype": "float32", "maxModelLen": 512}}
SMALL = {"cpu": "1", "memory": "2Gi"}
PACED = "paced_server:create"
REAL = ""


@dataclass
class Endpoints:
    """Endpoints of one test in a namespace of its own, with the tests' engine and one client's key in it."""

    kubectl: Any
    namespace: str

    def prepare(self) -> None:
        """What the manifests refer to."""
        self.kubectl("create", "namespace", self.namespace)
        files = [f"--from-file={TESTS / 'paced_server.py'}"]
        self.kubectl("create", "configmap", "engines", "-n", self.namespace, *files)
        self.kubectl("create", "secret", "generic", "keys", "-n", self.namespace, f"--from-literal=alice={KEY}")

    def manifest(
        self, name: str = "chat", *, engine: str = PACED, environment: dict[str, str] | None = None, **spec: Any
    ) -> dict[str, Any]:
        """An endpoint of one replica; `environment` is for the engine's pods."""
        variables = dict(environment or {})
        volumes: list[Any] = [{"name": "models", "hostPath": {"path": str(MODELS)}}]
        mounts = [{"name": "models", "mountPath": "/models", "readOnly": True}]
        if engine:
            variables |= {"TIDEMILL_ENGINE": engine, "PYTHONPATH": "/engines"}
            volumes.append({"name": "engines", "configMap": {"name": "engines"}})
            mounts.append({"name": "engines", "mountPath": "/engines"})
        env = [{"name": variable, "value": value} for variable, value in variables.items()]
        return {
            "apiVersion": "tidemill.dev/v1alpha1",
            "kind": "RealtimeEndpoint",
            "metadata": {"name": name, "namespace": self.namespace},
            "spec": {
                "model": MODEL,
                "resources": SMALL,
                "head": SMALL,
                "auth": {"secretRef": {"name": "keys"}},
                "limits": {"requestTimeoutSeconds": 60},
                "template": {"env": env, "volumes": volumes, "volumeMounts": mounts},
            }
            | spec,
        }

    def apply(self, manifest: dict[str, Any]) -> None:
        """As `kubectl apply -f`."""
        self.kubectl("apply", "-f", "-", given=manifest)

    def bring_up(self, manifest: dict[str, Any], seconds: float = 240) -> None:
        """Applies it and waits until it is ready: minutes, on a machine that does much else."""
        self.apply(manifest)
        self.wait_condition("Ready", "True", seconds=seconds)

    def patch(self, spec: dict[str, Any], name: str = "chat") -> None:
        """As a user edits an endpoint."""
        change = json.dumps({"spec": spec})
        self.kubectl("patch", "rte", name, "-n", self.namespace, "--type=merge", "-p", change)

    def get(self, name: str = "chat") -> dict[str, Any]:
        """The object."""
        found: dict[str, Any] = self.kubectl.json("get", "rte", name, "-n", self.namespace)
        return found

    def status(self, name: str = "chat") -> dict[str, Any]:
        """Its status, empty before the first."""
        found: dict[str, Any] = self.get(name).get("status", {})
        return found

    def condition(self, kind: str, name: str = "chat") -> dict[str, Any]:
        """One of its conditions, empty where there is none."""
        conditions = self.status(name).get("conditions", [])
        return next((condition for condition in conditions if condition["type"] == kind), {})

    def url(self, name: str = "chat") -> str:
        """The base URL from this machine: names of Services are known in pods only."""
        service = self.kubectl.json("get", "service", name, "-n", self.namespace)
        return f"http://{service['spec']['clusterIP']}/v1"

    def pods(self, role: str, *, leaving: bool = False) -> list[dict[str, Any]]:
        """The pods of `head` or `worker` that are not being deleted, or with those that are."""
        found = self.kubectl.json("get", "pods", "-n", self.namespace, "-l", f"ray.io/node-type={role}")
        return [pod for pod in found["items"] if leaving or "deletionTimestamp" not in pod["metadata"]]

    def children(self) -> list[str]:
        """Names of everything that Tidemill and KubeRay made here."""
        found: str = self.kubectl("get", "rayclusters,pods,services,secrets", "-n", self.namespace, "-o", "name")
        return [name for name in found.split() if name != "secret/keys"]

    def wait(self, check: Callable[[], Any], seconds: float = 150, what: str = "the condition") -> Any:
        """What the check answers as soon as it is truthful. Raises AssertionError with what a person would look at."""
        deadline = time.monotonic() + seconds
        while not (found := check()):
            assert time.monotonic() < deadline, f"{what} did not come about in {seconds} s\n{self.describe()}"
            time.sleep(0.5)
        return found

    def wait_condition(self, kind: str, status: str, reason: str = "", seconds: float = 150) -> dict[str, Any]:
        """Until a condition has this status, and this reason where one is named."""

        def has() -> dict[str, Any]:
            found = self.condition(kind)
            fits = found.get("status") == status and reason in ("", found.get("reason"))
            return found if fits else {}

        found: dict[str, Any] = self.wait(has, seconds, f"{kind}={status} {reason}")
        return found

    def wait_running(self, replicas: int, seconds: float = 150) -> None:
        """Until so many replicas are wanted and answer, no more and no fewer."""

        def so_many() -> bool:
            status = self.status()
            return status.get("replicas") == replicas == status.get("readyReplicas")

        self.wait(so_many, seconds, f"{replicas} replicas")

    def describe(self) -> str:
        """What a person would look at when a test goes wrong."""
        found: str = self.kubectl("describe", "rte,raycluster,pods,endpoints", "-n", self.namespace, check=False)
        return found

    def events(self) -> list[dict[str, Any]]:
        """The Events on endpoints, as written so far."""
        found = self.kubectl.json("get", "events", "-n", self.namespace)["items"]
        return [event for event in found if event["involvedObject"]["kind"] == "RealtimeEndpoint"]
