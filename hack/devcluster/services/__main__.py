"""`python -m devcluster.services --kubeconfig FILE --state DIR [--serving FILE]`: runs until it is told to stop."""

import argparse
import asyncio
import contextlib
import logging
import os
import resource
import signal
import sys
from pathlib import Path

import uvloop

from devcluster.client import Client
from devcluster.kubelet.network import NAMESPACES, NetworkError, Subnet, subnet_of
from devcluster.services.api_server import Publisher
from devcluster.services.service import Services
from devcluster.workloads.controller import Workloads

logger = logging.getLogger("devcluster.services")

READY_FILE = "services.ready"
"""In the state folder; holds the pid of the program that has begun to serve every Service's address."""
LOOK_AGAIN_SECONDS = 0.1


async def serve(kubeconfig: Path, state: Path, serving: Path | None) -> None:
    """Run until SIGTERM or SIGINT. Raises `NetworkError` where the pods' network goes away."""
    ready = state / READY_FILE
    ready.unlink(missing_ok=True)
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    running = asyncio.create_task(_run(kubeconfig, state, serving))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait([running, stopping], return_when=asyncio.FIRST_COMPLETED)
    running.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await running
    ready.unlink(missing_ok=True)


async def _run(kubeconfig: Path, state: Path, serving: Path | None) -> None:
    subnet = await _subnet(state)
    async with Client.from_kubeconfig(kubeconfig) as client:
        services = Services(client, subnet)
        async with asyncio.TaskGroup() as group:
            if serving is not None:
                publisher = Publisher(client, serving, subnet.host_address)
                await publisher.publish()
                group.create_task(publisher.run())
            group.create_task(services.run())
            group.create_task(Workloads(client).run())
            await services.ready.wait()
            (state / READY_FILE).write_text(str(os.getpid()))
            logger.info("serving the addresses of Services beside %s/24", subnet.address(0))


async def _subnet(state: Path) -> Subnet:
    """The network that the kubelet of this folder has claimed, or is about to."""
    while True:
        subnet = subnet_of(state)
        if subnet is not None and (NAMESPACES / subnet.name).exists():
            return subnet
        await asyncio.sleep(LOOK_AGAIN_SECONDS)


def main() -> int:
    """Read the command line and run; returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m devcluster.services",
        description="Writes the endpoints of Services and forwards connections to them, on any API server.",
    )
    parser.add_argument("--kubeconfig", type=Path, required=True, help="how to reach the API server")
    parser.add_argument("--state", type=Path, required=True, help="the kubelet's folder, which names the pods' network")
    parser.add_argument("--serving", type=Path, help="the API server's file that names its TLS port, for `kubernetes`")
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # two for each connection
    try:
        uvloop.run(serve(options.kubeconfig, options.state.resolve(), options.serving))
    except* NetworkError as group:
        print(f"services: the pods' network is not there: {group.exceptions}", file=sys.stderr)
    else:
        return 0
    return 1


if __name__ == "__main__":
    sys.exit(main())
