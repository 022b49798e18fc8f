"""Starts and stops the four programs of a dev cluster, and waits until they can be used.

Everything it knows lies in the state folder, so any later command finds what an earlier one started. It
starts what is missing and leaves alone what runs; it holds a lock, so two commands cannot interfere.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import yaml

from devcluster import definitions
from devcluster.processes import Processes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from devcluster.processes import Record

API_SERVER = "apiserver"
KUBERAY = "kuberay"
KUBELET = "kubelet"
SERVICES = "services"
NAMES = (API_SERVER, KUBERAY, KUBELET, SERVICES)
"""In starting order: each needs those before it."""

DEFAULT_NODES = ("name=node-a,cpu=4,memory=12Gi", "name=node-b,cpu=4,memory=12Gi")
"""Declared, not measured: processors may be promised twice over, so a small machine holds a whole job."""

READY_SECONDS = 60.0


class ClusterError(Exception):
    """The dev cluster cannot do what was asked; the message says why and what to do."""


@dataclass(frozen=True)
class Settings:
    """Where a dev cluster lives and what its nodes are. Paths are absolute."""

    state: Path
    kubeconfig: Path
    nodes: tuple[str, ...] = DEFAULT_NODES


@dataclass(frozen=True)
class Program:
    """One of the programs: how it is started, and what must be true before it can be used."""

    name: str
    command: tuple[str, ...]
    readiness: str
    ready: Callable[[], bool]


@dataclass(frozen=True)
class Supervisor:
    """One dev cluster, whatever its condition. `say` gets one line for each thing that was done."""

    settings: Settings
    say: Callable[[str], None] = print

    @property
    def processes(self) -> Processes:
        """The cluster's processes."""
        return Processes(self.settings.state)

    @property
    def _pods_state(self) -> Path:
        return self.settings.state / "kubelet"

    def up(self) -> None:
        """Start what does not run and wait until it is ready. ClusterError with the log's end if it dies."""
        for node in self.settings.nodes:
            _node_name(node)
        with self._locked():
            self._serve_objects()
            kubeconfig = ("--kubeconfig", str(self.settings.kubeconfig))
            nodes = [word for node in self.settings.nodes for word in ("--node", node)]
            run = (*_python("devcluster.kubelet"), "run", *kubeconfig, "--state", str(self._pods_state))
            kuberay = Program(KUBERAY, (*_python("devcluster.kuberay"), *kubeconfig), "it runs", lambda: True)
            kubelet = Program(KUBELET, (*run, *nodes), "the nodes are ready", self._nodes_ready)
            serving = ("--serving", str(self.settings.state / "apiserver" / "serving.json"))
            serve = (*_python("devcluster.services"), *kubeconfig, "--state", str(self._pods_state), *serving)
            services = Program(SERVICES, serve, "the addresses of Services are served", self._services_ready)
            self._ensure(kuberay)
            self._ensure(services)
            self._bring_up(kubelet)
            self._bring_up(services)
            self._bring_up(kuberay)

    def up_api_server(self) -> None:
        """Start the API server alone, with the definitions loaded: objects are kept and nothing acts on them."""
        with self._locked():
            self._serve_objects()

    def down(self, *, purge: bool = False) -> None:
        """Stop everything and remove what the pods left on the machine; with `purge` the stored objects too."""
        state = self.settings.state
        if not state.exists():
            self.say("nothing runs")
            return
        with self._locked():
            for name in reversed(NAMES):
                if self.processes.stop(name):
                    self.say(f"stopped {name}")
                if name == KUBELET:
                    self._clean_up_pods()
        if purge:
            self._purge()

    def alive(self) -> dict[str, Record | None]:
        """Each process by name, None where it does not run."""
        return {name: self.processes.running(name) for name in NAMES}

    def _purge(self) -> None:
        shutil.rmtree(self.settings.state)
        self.settings.kubeconfig.unlink(missing_ok=True)
        self.say(f"removed {self.settings.state}")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        state = self.settings.state
        state.mkdir(parents=True, exist_ok=True)
        if not (state / "lock").exists() and any(state.iterdir()):
            raise ClusterError(f"{state} holds other files and is not the state of a dev cluster; nothing was touched")
        with (state / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _bring_up(self, program: Program) -> None:
        """Have a program run and be ready; one that we did not start and that dies meanwhile is started."""
        fresh = self._ensure(program)
        deadline = time.monotonic() + READY_SECONDS
        while True:
            if self.processes.running(program.name) is None:
                if fresh:
                    raise ClusterError(f"{program.name} ended instead of getting ready. {self._last(program.name)}")
                fresh = self._ensure(program)
            if program.ready():
                return
            if time.monotonic() > deadline:
                raise ClusterError(
                    f"{program.name}: not true after {READY_SECONDS:.0f} s: {program.readiness}. "
                    f"{self._last(program.name)}"
                )
            time.sleep(0.05)

    def _ensure(self, program: Program) -> bool:
        """Have a program run with its command, anew if that changed. Whether it was started now."""
        name, command = program.name, program.command
        running = self.processes.running(name)
        if running is not None and running.command == command:
            return False
        verb = "started" if self.processes.record(name) is None else "restarted"
        self.processes.stop(name)
        record = self.processes.start(name, command, _environment())
        self.say(f"{verb} {name} (pid {record.pid}, log {self.processes.log(name)})")
        return True

    def _last(self, name: str) -> str:
        return f"Its last words:\n{self.processes.last_words(name)}"

    def _serve_objects(self) -> None:
        self._start_api_server()
        self._load_definitions()

    def _start_api_server(self) -> None:
        """Start the server if need be; it takes its old port again, so that kubeconfigs and watches last."""
        state, kubeconfig = self.settings.state, self.settings.kubeconfig
        options = ("--data", str(state / "apiserver"), "--kubeconfig", str(kubeconfig))
        before = self._address()
        if self.processes.running(API_SERVER) is None:
            kubeconfig.unlink(missing_ok=True)  # else an old file could name a server that is not ours
        command = (*_python("devcluster.apiserver"), *options)
        self._bring_up(Program(API_SERVER, command, "it answers", self._answers))
        if before is not None and before != self._address():
            for name in (SERVICES, KUBELET, KUBERAY):
                self.processes.stop(name)  # they would talk to the old port for ever

    def _address(self) -> str | None:
        """The server in the kubeconfig, or None while there is no complete one."""
        try:
            clusters = yaml.safe_load(self.settings.kubeconfig.read_text())["clusters"]
            return str(clusters[0]["cluster"]["server"]).rstrip("/")
        except (FileNotFoundError, KeyError, IndexError, TypeError, yaml.YAMLError):
            return None

    def _answers(self) -> bool:
        return self._get("/readyz") is not None

    def _nodes_ready(self) -> bool:
        """Whether the running kubelet itself said so: the server also remembers nodes of an earlier run."""
        kubelet = self.processes.running(KUBELET)
        if kubelet is None:
            return False
        nodes = json.loads(self._get("/api/v1/nodes") or b'{"items": []}')["items"]
        ready = {node["metadata"]["name"] for node in nodes if _said_ready_by(node, kubelet.pid)}
        return {_node_name(node) for node in self.settings.nodes} <= ready

    def _services_ready(self) -> bool:
        """Whether the running program itself said so."""
        services = self.processes.running(SERVICES)
        ready = self._pods_state / "services.ready"
        return services is not None and ready.exists() and ready.read_text() == str(services.pid)

    def _get(self, path: str) -> bytes | None:
        """A plain GET from our own server on loopback; None while it does not answer with 200."""
        address = self._address()
        if address is None:
            return None
        try:
            with urllib.request.urlopen(address + path, timeout=2) as answer:  # noqa: S310 - our own http address
                content: bytes = answer.read()
                return content
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return None

    def _load_definitions(self) -> None:
        """Load the definitions if their files changed since, or the server was started empty."""
        digest = f"{definitions.digest_of_files()} {self._server_identity()}"
        stamp = self.settings.state / "definitions"
        if stamp.exists() and stamp.read_text() == digest:
            return
        from devcluster.loading import load  # a second `up` must not pay for this import

        wanted = definitions.wanted()
        asyncio.run(load(self.settings.kubeconfig, wanted))
        stamp.write_text(digest)
        self.say(f"loaded {', '.join(entry['metadata']['name'] for entry in wanted)}")

    def _server_identity(self) -> str:
        """What tells one set of stored objects from another: the uid of its first namespace."""
        found = json.loads(self._get("/api/v1/namespaces/kube-system") or b"{}")
        return str(found.get("metadata", {}).get("uid", ""))

    def _clean_up_pods(self) -> None:
        if not self._pods_state.exists():
            return
        command = (*_python("devcluster.kubelet"), "cleanup", "--state", str(self._pods_state))
        done = subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False)
        if done.returncode:
            raise ClusterError(f"the pods' remains could not be removed:\n{done.stderr.strip()}")


def _python(module: str) -> tuple[str, ...]:
    return (sys.executable, "-P", "-m", module)  # -P: nothing is imported from wherever the caller stands


def _environment() -> dict[str, str]:
    """Our own environment, with this package importable wherever the process stands."""
    hack = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))  # noqa: PTH100, PTH120 - a string is wanted
    return {**os.environ, "PYTHONPATH": hack, "PYTHONUNBUFFERED": "1"}


def _node_name(node: str) -> str:
    """The name in a declaration such as `name=node-a,cpu=4`."""
    parts = dict(part.partition("=")[::2] for part in node.split(","))
    if "name" not in parts:
        raise ClusterError(f"--node {node}: a node needs a name, as in name=node-a,cpu=4,memory=12Gi")
    return parts["name"]


def _said_ready_by(node: dict[str, Any], pid: int) -> bool:
    """Whether a node's last word is that it is ready, and the kubelet of this pid said so."""
    status = node.get("status", {})
    ready = any(entry["type"] == "Ready" and entry["status"] == "True" for entry in status.get("conditions") or [])
    return ready and status.get("nodeInfo", {}).get("bootID") == str(pid)
