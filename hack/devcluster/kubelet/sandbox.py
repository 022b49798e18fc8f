"""A Pod's sandbox: its folder, address, network namespace and tmpfs mounts, and how all of that is removed.

`<state>/pods/<uid>/` holds everything, and `sandbox.json` in it says whose it is, so that a restarted kubelet
finds its sandboxes again and can tell orphans. The processes belong to `process`; removing a sandbox kills them.
"""

import asyncio
import contextlib
import json
import logging
import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from devcluster.kubelet import network
from devcluster.kubelet import system_calls as calls
from devcluster.kubelet.launch import start_time, write_json
from devcluster.kubelet.network import NetworkError, Subnet
from devcluster.kubelet.root import MOUNT_SOURCE, unescape
from devcluster.kubelet.volumes import make_shared_memory

logger = logging.getLogger(__name__)

RESOLV_CONF = """\
# No DNS in the dev cluster: names of Services are in /etc/hosts.
nameserver 127.0.0.1
options timeout:1 attempts:1
"""


@dataclass(frozen=True)
class Sandbox:
    """Where one Pod runs.

    `started_at` is in seconds since 1970, `network_namespace` is a file, `devices` are paths below /dev.
    """

    folder: str
    namespace: str
    name: str
    uid: str
    address: str
    network_namespace: str
    started_at: float
    devices: tuple[str, ...] = ()

    @property
    def etc(self) -> Path:
        """The folder with the Pod's own hosts, hostname and resolv.conf."""
        return Path(self.folder, "etc")

    @property
    def volumes(self) -> Path:
        """The folder with one entry for each volume."""
        return Path(self.folder, "volumes")

    @property
    def shared_memory(self) -> Path:
        """The Pod's own /dev/shm."""
        return Path(self.folder, "shm")

    def container(self, name: str) -> Path:
        """The folder of one container."""
        return Path(self.folder, "containers", name)

    @classmethod
    def load(cls, folder: Path) -> "Sandbox | None":
        """The sandbox that a folder is for; None if it was never finished."""
        try:
            raw = json.loads((folder / "sandbox.json").read_text())
        except (FileNotFoundError, ValueError):
            return None
        return cls(**raw | {"folder": str(folder), "devices": tuple(raw["devices"])})


class Sandboxes:
    """Makes and removes the sandboxes of one state folder."""

    def __init__(self, state: Path, subnet: Subnet) -> None:
        self.folder = state / "pods"
        self.folder.mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o700)
        self.subnet = subnet
        self.known = {sandbox.uid: sandbox for sandbox in _sandboxes(self.folder)}
        self._last = 1
        self._reserved: set[str] = set()

    def standing(self, uid: str) -> Sandbox | None:
        """The sandbox of a Pod if it still stands; a reboot takes its network and its processes."""
        sandbox = self.known.get(uid)
        return sandbox if sandbox and network.connected(self.subnet, sandbox.address) else None

    async def ensure(self, pod: dict[str, Any], devices: tuple[str, ...]) -> Sandbox:
        """The sandbox of a Pod: the one it has, if its network is still there, else a new one.

        Raises `NetworkError` where the network cannot be made.
        """
        uid = pod["metadata"]["uid"]
        present = self.standing(uid)
        if present is not None:
            return present
        await self.remove(uid)
        address = self._free_address()
        self._reserved.add(address)
        try:
            namespace = await network.connect_pod(self.subnet, address)
            return self._write(pod, (address, namespace), devices)
        except BaseException:  # cancelled, too: nobody else knows of this address
            await network.disconnect_pod(self.subnet, address)
            raise
        finally:
            self._reserved.discard(address)

    def _write(self, pod: dict[str, Any], where: tuple[str, str], devices: tuple[str, ...]) -> Sandbox:
        metadata = pod["metadata"]
        folder = self.folder / metadata["uid"]
        names = metadata["namespace"], metadata["name"], metadata["uid"]
        sandbox = Sandbox(str(folder), *names, *where, time.time(), devices)
        sandbox.etc.mkdir(parents=True, exist_ok=True)
        sandbox.volumes.mkdir(exist_ok=True)
        make_shared_memory(sandbox.shared_memory)
        (sandbox.etc / "hostname").write_text(f"{sandbox.name}\n")
        (sandbox.etc / "resolv.conf").write_text(RESOLV_CONF)
        (sandbox.etc / "hosts").touch()
        record = {key: value for key, value in asdict(sandbox).items() if key != "folder"}
        write_json(folder / "sandbox.json", record)
        self.known[sandbox.uid] = sandbox
        return sandbox

    def _free_address(self) -> str:
        """An address no pod has, the longest unused first, so that nobody talks to a dead pod's successor."""
        taken = {sandbox.address for sandbox in self.known.values()} | self._reserved
        for step in range(253):
            last = 2 + (self._last - 1 + step) % 253
            if self.subnet.address(last) not in taken:
                self._last = last
                return self.subnet.address(last)
        raise NetworkError(f"all 253 addresses of {self.subnet.address(0)}/24 are taken by pods")

    async def remove(self, uid: str) -> None:
        """Kill what runs in a sandbox and remove all it has."""
        folder = self.folder / uid
        sandbox = self.known.pop(uid, None)
        await remove_folder(folder)
        if sandbox is not None:
            await network.disconnect_pod(self.subnet, sandbox.address)

    async def sweep(self) -> None:
        """Remove the halves of sandboxes that an earlier kubelet was killed over; call it before any worker runs."""
        for entry in list(self.folder.iterdir()):
            if entry.name not in self.known:
                await remove_folder(entry)
        addresses = {sandbox.address for sandbox in self.known.values()}
        for address in network.pod_addresses(self.subnet) - addresses:
            await network.disconnect_pod(self.subnet, address)


def _sandboxes(folder: Path) -> Iterator[Sandbox]:
    for entry in folder.iterdir():
        sandbox = Sandbox.load(entry)
        if sandbox is not None:
            yield sandbox


async def remove_folder(folder: Path) -> None:
    """Kill the processes that a sandbox's folder names, unmount what lies below it and delete it."""
    await _kill_processes(folder)
    _unmount_below(folder)
    await asyncio.to_thread(shutil.rmtree, folder, True)


def _recorded_processes(folder: Path) -> list[tuple[int, int]]:
    """Pid and start time of every container's PID 1 and launcher that a sandbox's folder names."""
    found: list[tuple[int, int]] = []
    for record in folder.glob("containers/*/process.json"):
        with contextlib.suppress(ValueError, FileNotFoundError):
            facts = json.loads(record.read_text())
            named = ((facts["pid"], facts["start"]), (facts["parent"], facts["parent_start"]))
            found += [(pid, start) for pid, start in named if start is not None]
    return found


async def _kill_processes(folder: Path) -> None:
    waiting = [(pid, start) for pid, start in _recorded_processes(folder) if start_time(pid) == start]
    for pid, _ in waiting:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    for _ in range(100):
        if not any(start_time(pid) == start for pid, start in waiting):
            return
        await asyncio.sleep(0.05)
    logger.warning("%s: processes %s do not end after SIGKILL", folder, [pid for pid, _ in waiting])


def _unmount_below(folder: Path) -> None:
    for target in sorted(mounts_below(folder), reverse=True):
        calls.unmount(target)


def mounts_below(folder: Path) -> list[str]:
    """Where our tmpfs are mounted at or below a folder, in this mount namespace."""
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    targets = [unescape(line.split(" ")[4]) for line in lines if f" {MOUNT_SOURCE} " in line]
    return [target for target in targets if Path(target).is_relative_to(folder)]
