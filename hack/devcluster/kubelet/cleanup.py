"""Removes every trace of one dev cluster's pods from this machine: processes, mounts, namespaces, links."""

import contextlib
import os
import signal
from pathlib import Path

from devcluster.kubelet import network
from devcluster.kubelet.network import NAMESPACES, NetworkError, Subnet
from devcluster.kubelet.sandbox import remove_folder


async def clean_up(state: Path) -> None:
    """Remove what the state folder names, then whatever still runs in a network namespace of this cluster.

    Claims' folders and logs stay: they are files, not traces of processes.
    """
    pods = state / "pods"
    for folder in sorted(pods.iterdir()) if pods.is_dir() else []:
        await remove_folder(folder)
    subnet = network.subnet_of(state)
    if subnet is not None:
        for address in network.pod_addresses(subnet):
            await _kill_in_namespace(subnet, address)
    await network.remove_subnet(state)


async def _kill_in_namespace(subnet: Subnet, address: str) -> None:
    """Kill processes that stand in a pod's network though its folder does not name them."""
    name = subnet.namespace(address)
    if not (NAMESPACES / name).exists():
        return
    with contextlib.suppress(NetworkError):
        for pid in (await network.run_command("ip", "netns", "pids", name)).split():
            with contextlib.suppress(ProcessLookupError):
                os.kill(int(pid), signal.SIGKILL)
