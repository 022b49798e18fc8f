"""A RealtimeEndpoint as its users have it, for a benchmark: a dev cluster and operator of its own, applied by kubectl.

Everything lies in one scratch folder and is gone when the context ends. Requests go to the address of the endpoint's
Service with an API key, as a client inside the cluster would send them.
"""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import psutil
from common import ROOT
from control_plane_processes import Operator
from load import Target
from memory import trees

from devcluster.supervisor import NAMES, Settings, Supervisor

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from served_model import ServedModel

NAMESPACE, NAME, KEYS = "default", "bench", "bench-api-keys"
READY_SECONDS = 300.0
KUBECTL = ROOT / ".tidemill" / "bin" / "kubectl"
OPERATOR_SETTINGS = {"TIDEMILL_ALLOW_HOST_PATH": "true", "TIDEMILL_ALLOW_TEST_ENGINE": "true"}


@dataclass
class EndpointCluster:
    """One endpoint with one replica. A context manager: it serves inside. `environment` is added to its pods."""

    folder: Path
    model: ServedModel
    environment: dict[str, str] = field(default_factory=dict)
    mounts: dict[str, Path] = field(default_factory=dict)
    _supervisor: Supervisor = field(init=False)
    _operator: Operator = field(init=False)
    _key: str = field(init=False, repr=False)
    _opened: ExitStack = field(init=False)

    def __enter__(self) -> Self:
        self._key = secrets.token_urlsafe(24)
        state = self.folder / "devcluster"
        state.mkdir(parents=True)
        self._supervisor = Supervisor(Settings(state, self.folder / "kubeconfig"), say=lambda _: None)
        self._operator = Operator(self.folder, OPERATOR_SETTINGS)
        with ExitStack() as opened:
            opened.callback(self._down)
            self._supervisor.up()
            opened.enter_context(self._operator)
            self._apply()
            self._await_ready()
            self._opened = opened.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    def _down(self) -> None:
        before = signal.signal(signal.SIGINT, signal.SIG_IGN)  # a second Ctrl-C must leave no process behind
        try:
            self._supervisor.down(purge=True)
        finally:
            signal.signal(signal.SIGINT, before)

    def target(self) -> Target:
        """The Service's own address."""
        found = self._get("service", NAME)["spec"]
        return Target(f"http://{found['clusterIP']}:{found['ports'][0]['port']}", self._key)

    def pod_target(self, role: str) -> Target:
        """The ingress of the `head` or `worker` pod, past the Service."""
        found = self._get("pods", "-l", f"ray.io/node-type={role}")["items"]
        return Target(f"http://{found[0]['status']['podIP']}:8000", self._key)

    def figures_addresses(self) -> list[str]:
        """Where the ingress replicas tell their figures."""
        return [f"http://{pod['status']['podIP']}:8090/metrics" for pod in self._get("pods")["items"]]

    def processes(self) -> Iterable[psutil.Process]:
        """All processes of pods, dev cluster and operator."""
        pids = [record.pid for name in NAMES if (record := self._supervisor.processes.running(name)) is not None]
        notes = self._supervisor.settings.state.glob("kubelet/pods/*/containers/*/process.json")
        pids += [json.loads(note.read_text())["pid"] for note in notes]
        roots = [psutil.Process(pid) for pid in pids if psutil.pid_exists(pid)]
        return trees([*roots, self._operator.process])

    def _apply(self) -> None:
        self._kubectl("create", "secret", "generic", KEYS, "--from-file=bench=/dev/stdin", given=self._key)
        manifest = {
            "apiVersion": "tidemill.dev/v1alpha1",
            "kind": "RealtimeEndpoint",
            "metadata": {"name": NAME},
            "spec": self._spec(),
        }
        self._kubectl("apply", "-f", "-", given=json.dumps(manifest))

    def _spec(self) -> dict[str, Any]:
        spec = self.model.spec() | {
            "replicas": {"min": 1, "max": 1},
            "limits": {"queueBound": 10_000},
            "auth": {"secretRef": {"name": KEYS}},
        }
        template = spec["template"]
        template["env"] = [{"name": name, "value": value} for name, value in self.environment.items()]
        for path, folder in self.mounts.items():
            name = path.strip("/").replace("/", "-")
            template["volumes"].append({"name": name, "hostPath": {"path": str(folder)}})
            template["volumeMounts"].append({"name": name, "mountPath": path})
        return spec

    def _await_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            status = self._get("rte", NAME).get("status") or {}
            conditions = {condition["type"]: condition for condition in status.get("conditions", ())}
            if conditions.get("Ready", {}).get("status") == "True":
                return
            if time.monotonic() > deadline or not self._operator.process.is_running():
                last = self._operator.log.read_text()[-3000:]
                raise SystemExit(f"the endpoint does not become ready: {json.dumps(conditions, indent=1)}\n{last}")
            time.sleep(0.5)

    def _get(self, *words: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self._kubectl("get", *words, "-o", "json"))
        return found

    def _kubectl(self, *words: str, given: str | None = None) -> str:
        command = [str(KUBECTL), "--kubeconfig", str(self.folder / "kubeconfig"), "-n", NAMESPACE, *words]
        done = subprocess.run(command, input=given, capture_output=True, text=True, check=False)
        if done.returncode:
            raise SystemExit(f"kubectl {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout
