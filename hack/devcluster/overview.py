"""What `devcluster.sh status` shows: processes, nodes, pods, Services, and what NetworkPolicies kept away."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import TYPE_CHECKING

import aiohttp
from rich.console import Console
from rich.table import Table

from devcluster.client import NODES, PODS, SERVICES, ApiError, Client
from devcluster.kubelet.network import subnet_of
from devcluster.kubelet.packet_filter import Drop, dropped

if TYPE_CHECKING:
    from devcluster.client import Object
    from devcluster.supervisor import Supervisor


def show(supervisor: Supervisor) -> int:
    """Print the tables. Exit code 0 if every process runs and every node is ready, else 1."""
    console = Console(highlight=False, width=None if sys.stdout.isatty() else 200)
    alive = supervisor.alive()
    processes = _table("PROCESS", "STATE", "PID", "AGE", "LOG")
    for name, record in alive.items():
        log = str(supervisor.processes.log(name))
        if record is None:
            processes.add_row(name, "down", "", "", log)
        else:
            processes.add_row(name, "running", str(record.pid), _age(record.age_seconds()), log)
    console.print(processes)
    if alive["apiserver"] is None:
        return 1
    try:
        nodes, pods, services = asyncio.run(_objects(supervisor))
    except (ApiError, aiohttp.ClientError, TimeoutError) as error:
        console.print(f"the API server does not answer: {error}")
        return 1
    console.print()
    console.print(_nodes(nodes))
    console.print()
    console.print(_pods(pods) if pods else "no pods")
    if services:
        console.print()
        console.print(_services(services))
    drops = asyncio.run(_drops(supervisor))
    if drops:
        console.print()
        console.print(_kept_away(drops, pods))
    return 0 if all(alive.values()) and nodes and all(_is_ready(node) for node in nodes) else 1


async def _objects(supervisor: Supervisor) -> tuple[list[Object], list[Object], list[Object]]:
    async with Client.from_kubeconfig(supervisor.settings.kubeconfig) as client:
        nodes, pods, services = [(await client.list(kind))[0] for kind in (NODES, PODS, SERVICES)]
        return nodes, pods, services


async def _drops(supervisor: Supervisor) -> list[Drop]:
    """What packet filters have dropped; nothing where this user may not look."""
    subnet = subnet_of(supervisor.settings.state / "kubelet")
    return sorted(await dropped(subnet)) if subnet is not None and os.geteuid() == 0 else []


def _nodes(nodes: list[Object]) -> Table:
    table = _table("NODE", "READY", "ALLOCATABLE")
    for node in nodes:
        allocatable = node.get("status", {}).get("allocatable") or {}
        amounts = ", ".join(f"{name} {amount}" for name, amount in allocatable.items() if name != "pods")
        table.add_row(node["metadata"]["name"], "yes" if _is_ready(node) else "no", amounts)
    return table


def _pods(pods: list[Object]) -> Table:
    table = _table("NAMESPACE", "POD", "READY", "PHASE", "RESTARTS", "NODE", "ADDRESS")
    for pod in pods:
        metadata, status = pod["metadata"], pod.get("status") or {}
        containers = status.get("containerStatuses") or []
        table.add_row(
            metadata["namespace"],
            metadata["name"],
            f"{sum(bool(entry.get('ready')) for entry in containers)}/{len(pod['spec']['containers'])}",
            "Terminating" if metadata.get("deletionTimestamp") else status.get("phase", "Pending"),
            str(sum(int(entry.get("restartCount", 0)) for entry in containers)),
            pod["spec"].get("nodeName", ""),
            status.get("podIP", ""),
        )
    return table


def _services(services: list[Object]) -> Table:
    table = _table("NAMESPACE", "SERVICE", "ADDRESS", "PORTS")
    for service in services:
        metadata, spec = service["metadata"], service["spec"]
        ports = ", ".join(str(port["port"]) for port in spec.get("ports") or [])
        table.add_row(metadata["namespace"], metadata["name"], spec.get("clusterIP") or "", ports)
    return table


def _kept_away(drops: list[Drop], pods: list[Object]) -> Table:
    """Connections that NetworkPolicies have forbidden within the last hour."""
    names = {(pod.get("status") or {}).get("podIP"): _name(pod) for pod in pods}
    table = _table("KEPT AWAY BY NETWORK POLICIES", "FROM", "PORT")
    for drop in drops:
        receiver, sender = (names.get(address, address) for address in (drop.receiver, drop.sender))
        table.add_row(receiver, sender, f"{drop.port}/{drop.protocol}")
    return table


def _name(pod: Object) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _is_ready(node: Object) -> bool:
    conditions = node.get("status", {}).get("conditions") or []
    return any(entry["type"] == "Ready" and entry["status"] == "True" for entry in conditions)


def _table(*columns: str) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _age(seconds: float) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
