"""A kubelet process and a namespace with Pods, for the tests of the dev cluster's kubelet."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from cluster_fixtures import CHECKOUT

from devcluster.client import EVENTS, PODS, Client, NotFound
from devcluster.kubelet.launch import start_time

NODES = ("name=node-a,cpu=8,memory=16Gi,gpu=2,label.zone=x", "name=node-b,cpu=8,memory=16Gi,taint=only=b:NoSchedule")


@dataclass
class KubeletProcess:
    """The kubelet's program, to be killed and started again."""

    kubeconfig: Path
    state: Path
    process: subprocess.Popen = None
    words: tuple = ("--restart-back-off", "1", *(word for node in NODES for word in ("--node", node)))

    def start(self):
        with (self.state.parent / f"{self.state.name}.log").open("ab") as log:
            self.process = self._command("run", "--kubeconfig", str(self.kubeconfig), *self.words, stderr=log)

    def _command(self, name, *words, **options):
        return subprocess.Popen(
            [sys.executable, "-m", "devcluster.kubelet", name, "--state", str(self.state), *words],
            env={**os.environ, "PYTHONPATH": str(CHECKOUT / "hack")},
            **options,
        )

    def kill(self, number=signal.SIGKILL):
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(10)

    def clean_up(self):
        done = self._command("cleanup", stderr=subprocess.PIPE)
        _, complaint = done.communicate(timeout=60)
        assert done.returncode == 0, complaint.decode()


@dataclass
class ServicesProcess:
    """The program that serves the addresses of Services, to be killed and started again."""

    kubeconfig: Path
    state: Path
    process: subprocess.Popen = None

    @property
    def log(self):
        return self.state.parent / f"{self.state.name}.services.log"

    def start(self):
        words = ("--kubeconfig", str(self.kubeconfig), "--state", str(self.state))
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "devcluster.services", *words],
                env={**os.environ, "PYTHONPATH": str(CHECKOUT / "hack")},
                stderr=log,
            )
        deadline = time.monotonic() + 30
        ready = self.state / "services.ready"
        while not (ready.exists() and ready.read_text() == str(self.process.pid)):
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline
            time.sleep(0.05)

    def kill(self, number=signal.SIGKILL):
        self.process.send_signal(number)
        self.process.wait(10)


def traces(state):
    """What of a kubelet's pods is on this machine: processes, mounts, and links of its /24."""
    mounts = [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if str(state) in line]
    launchers = [
        path.parent.name
        for path in Path("/proc").glob("[0-9]*/cwd")
        if b"devcluster.kubelet.launch" in _read(path.parent / "cmdline") and str(state) in _children_roots(path.parent)
    ]
    subnet = state / "subnet"
    prefix = f"tmd{subnet.read_text().split('.')[2]}" if subnet.exists() else "no subnet"
    folders = (Path("/sys/class/net"), Path("/run/netns"))
    links = [path.name for folder in folders if folder.exists() for path in folder.iterdir()]
    return {
        "mounts": mounts,
        "launchers": launchers,
        "links": [name for name in links if name == prefix or name.startswith(f"{prefix}-")],
    }


def _read(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


def _children_roots(process):
    """Where a launcher's open log file lies, which names the state folder it belongs to."""
    try:
        return " ".join(str(path.readlink()) for path in (process / "fd").iterdir())
    except OSError:
        return ""


@dataclass
class Team:
    """One namespace with Pods in it."""

    client: Client
    namespace: str
    kubelet: KubeletProcess
    _names: set = field(default_factory=set)

    async def run(self, name, *command, container=None, **spec):
        """Create a Pod with one container of that command, quick to stop."""
        main = {"name": "main", "image": "any", "command": list(command), **(container or {})}
        body = {
            "apiVersion": "v1",
            "kind": "Pod",
            "metadata": {"name": name, "labels": {"app": name}},
            "spec": {"terminationGracePeriodSeconds": 1, "containers": [main], **spec},
        }
        return await self.client.create(PODS, self.namespace, body)

    async def create(self, resource, kind, name, **fields):
        body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **fields}
        return await self.client.create(resource, self.namespace, body)

    async def get(self, name):
        return await self.client.get(PODS, self.namespace, name)

    async def delete(self, name, **options):
        await self.client.delete(PODS, self.namespace, name, **options)

    async def until(self, name, check, seconds=20):
        """Wait until a Pod's status satisfies a check; returns the status."""
        status = {}

        async def satisfied():
            nonlocal status
            status = (await self.get(name)).get("status") or {}
            return check(status)

        try:
            await eventually(satisfied, seconds)
        except TimeoutError:
            raise AssertionError(f"pod {name} is not as awaited within {seconds} s: {status}") from None
        return status

    async def until_gone(self, name, seconds=20):
        async def gone():
            try:
                await self.get(name)
            except NotFound:
                return True
            return False

        await eventually(gone, seconds)

    async def events(self, name):
        found, _ = await self.client.list(EVENTS, self.namespace)
        return {event["reason"]: event["message"] for event in found if event["involvedObject"]["name"] == name}

    async def until_event(self, name, reason, seconds=10):
        async def told():
            return reason in await self.events(name)

        await eventually(told, seconds)
        return (await self.events(name))[reason]

    async def until_told(self, name, text, seconds=10):
        """Until one of the events on this Pod says so."""

        async def told():
            found, _ = await self.client.list(EVENTS, self.namespace)
            return any(text in event["message"] for event in found if event["involvedObject"]["name"] == name)

        await eventually(told, seconds)

    async def log(self, name, container="main", part=""):
        annotations = (await self.get(name))["metadata"]["annotations"]
        return text_of(annotations[f"devcluster.tidemill.dev/log-{container}"] + part)

    async def process(self, name):
        """The pids and start times of a Pod's main container and its launcher."""
        uid = (await self.get(name))["metadata"]["uid"]
        return json.loads(text_of(self.kubelet.state / "pods" / uid / "containers" / "main" / "process.json"))


async def eventually(check, seconds):
    """Wait until an asynchronous check answers truthfully; TimeoutError if it does not within the seconds."""
    async with asyncio.timeout(seconds):
        satisfied = await check()
        while not satisfied:
            await asyncio.sleep(0.05)
            satisfied = await check()


async def until_no_file(path, seconds=10):
    async def gone():
        return not there(path)

    await eventually(gone, seconds)


def there(path):
    return Path(path).exists()


def text_of(path):
    return Path(path).read_text()


def alive(record):
    """Whether the container that `process.json` told of runs; a pid alone might be a zombie's or a successor's."""
    return start_time(record["pid"]) == record["start"]


def phase(wanted):
    return lambda status: status.get("phase") == wanted


def main(status):
    """The status of the Pod's main container, empty before there is one."""
    return next((one for one in status.get("containerStatuses") or [] if one["name"] == "main"), {})


def ready(status):
    return bool(main(status).get("ready"))


def waits_for(reason):
    return lambda status: (main(status).get("state") or {}).get("waiting", {}).get("reason") == reason


def unschedulable(status):
    """Why no node takes a Pod; None for one that has a node or has not been looked at."""
    return next(
        (one.get("message") for one in status.get("conditions") or [] if one.get("reason") == "Unschedulable"), None
    )
