"""Ways to lose parts of a running job on the dev cluster, each as sudden as it is in real life.

They reach for processes and links of this machine, so they need the dev cluster: its kubelet's state folder says which
process is which container, and its switch has one cable for each pod.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from chaos_jobs import durable_rows
from chaos_notes import Loss, Notes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

File = tuple[int, int]

LINGER_SECONDS = {"driver": 20.0, "head": 90.0, "worker": 2.0, "engine": 2.0, "operator": 0.0}
"""How long engines may go on with what they hold: until Ray tells them that their driver or their head is gone."""

EVERY_ENGINE = ""
"""What goes with the driver or the head."""


@dataclass
class Faults:
    """What may go wrong with one job. `losses` is what went wrong so far."""

    jobs: Any
    state: Path
    operator: Any
    losses: list[Loss] = field(default_factory=list)

    @property
    def notes(self) -> Notes:
        """What the engines wrote down."""
        return Notes(self.jobs.notes)

    def lose(self, victim: str) -> None:
        """Kills the `driver`, `worker`, `head`, `engine` or `operator`; waits until there is one to kill."""
        kill: Callable[[], str | None] = getattr(self, f"_kill_{victim}")

        def struck() -> Loss | None:
            kept = durable_rows(self.jobs.output)
            began = time.time()
            engine = kill()
            over = time.time()
            return None if engine is None else Loss(began, over + LINGER_SECONDS[victim], engine, over, kept)

        loss = self.jobs.wait_until(struck, what=f"a {victim} to kill")
        if victim != "operator":
            self.losses.append(loss)

    def _kill_operator(self) -> str:
        self.operator.kill()
        self.operator.start()
        return EVERY_ENGINE

    def _kill_driver(self) -> str | None:
        return EVERY_ENGINE if kill_all(self.driver_pids()) else None

    def driver_pids(self) -> list[int]:
        """The driver, or the process that validates before it becomes the driver."""
        return [pid for pid, words in processes_of(self.jobs.namespace) if b"-m\0tidemill_workloads" in words]

    def _kill_engine(self) -> str | None:
        """The process in which an engine runs, found by the notes that it holds open: the newest of them."""
        newest = list(self.engine_pids().items())[-1:]
        return next((name for name, pid in newest if kill_all([pid])), None)

    def engine_pids(self) -> dict[str, int]:
        """The process of each engine that is alive, by the name of its notes, oldest first."""
        files = {file_of(self.jobs.notes / name): name for name in self.notes.engines()}
        found = {files[file]: pid for pid in ray_workers() for file in open_files(pid) if file in files}
        return {name: found[name] for name in files.values() if name in found}

    def _kill_worker(self) -> str | None:
        pod = self.busy_pod()
        return pod if self.kill_pod(pod) else None

    def _kill_head(self) -> str | None:
        return EVERY_ENGINE if any(self.kill_pod(name) for name in self.pods("head")) else None

    def pods(self, role: str) -> list[str]:
        """Names of the pods of this role that run now."""
        found = self.jobs.kubectl.json("get", "pods", "-n", self.jobs.namespace, "-l", f"ray.io/node-type={role}")
        return [pod["metadata"]["name"] for pod in found["items"] if pod.get("status", {}).get("phase") == "Running"]

    def busy_pod(self) -> str:
        """The worker pod that has rows in flight now, the one with most of them; empty where there is none."""
        now = time.time()
        alive = self.engine_pids()
        held = {name: sum(run.engine == name for run in self.notes.in_flight(now)) for name in alive}
        busiest = max(held, key=lambda name: held[name], default="")
        return pod_of(busiest) if held.get(busiest) else ""

    def kill_pod(self, name: str) -> bool:
        """All processes of the pod at once, as when its node loses power; its kubelet then starts it again."""
        if not name:
            return False
        found = self.jobs.kubectl.run("get", "pod", name, "-n", self.jobs.namespace, "-o", "json")
        if found.returncode:
            return False
        uid = json.loads(found.stdout)["metadata"]["uid"]
        return kill_all(container_pids(self.state, uid))

    def link(self, name: str) -> Link:
        """The cable of a pod, to be unplugged."""
        address = self.jobs.kubectl.json("get", "pod", name, "-n", self.jobs.namespace)["status"]["podIP"]
        _, _, third, last = address.split(".")
        return Link(f"tmd{third}", f"pod{last}")

    @property
    def host_address(self) -> str:
        """The address by which pods reach this machine."""
        return host_address(self.state)


@dataclass(frozen=True)
class Link:
    """One pod's cable at the switch of the dev cluster."""

    switch: str
    port: str

    def down(self) -> None:
        """From now on nothing reaches the pod, and nothing comes from it."""
        self._set("down")

    def up(self) -> None:
        """Plugged in again."""
        self._set("up")

    def _set(self, state: str) -> None:
        command = ["ip", "-n", self.switch, "link", "set", self.port, state]
        subprocess.run(command, check=True, capture_output=True, timeout=10)


def host_address(state: Path) -> str:
    """The address by which pods of the dev cluster with this folder reach this machine."""
    subnet = (state / "kubelet" / "subnet").read_text().strip()
    return subnet.replace(".0/24", ".1")


def container_pids(state: Path, uid: str) -> list[int]:
    """The first process of each container of the pod with this uid; with it go all others of the container."""
    records = state.glob(f"kubelet/pods/{uid}/containers/*/process.json")
    return [json.loads(record.read_text())["pid"] for record in records]


def pod_of(engine: str) -> str:
    """The pod in which the engine of this name runs."""
    return engine.rsplit("-", 2)[0]


def processes_of(namespace: str) -> Iterator[tuple[int, bytes]]:
    """Pid and command line of every process whose environment names this namespace's job."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if namespace.encode() in (folder / "environ").read_bytes() and int(folder.name) != os.getpid():
                yield int(folder.name), (folder / "cmdline").read_bytes()
        except OSError:
            continue  # gone meanwhile


def ray_workers() -> Iterator[int]:
    """Pids of all Ray workers of this machine; they name themselves, and lose their environment by it."""
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "cmdline").read_bytes().startswith(b"ray::"):
                yield int(folder.name)
        except OSError:
            continue  # gone meanwhile


def open_files(pid: int) -> set[File]:
    """What the process has open, as (device, inode): paths differ between mount namespaces."""
    found = set()
    for link in Path(f"/proc/{pid}/fd").glob("*"):
        try:
            found.add(file_of(link))
        except OSError:
            continue  # closed meanwhile
    return found


def file_of(path: Path) -> File:
    """What tells this file from every other."""
    facts = path.stat()
    return facts.st_dev, facts.st_ino


def kill_all(pids: list[int]) -> bool:
    """SIGKILL to each; whether there was one."""
    struck = False
    for pid in pids:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
        struck = True
    return struck
