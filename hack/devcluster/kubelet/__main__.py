"""The command line of the dev cluster's kubelet: `python -m devcluster.kubelet run|cleanup`."""

import argparse
import asyncio
import contextlib
import fcntl
import logging
import os
import shutil
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import IO

from devcluster.client import Client
from devcluster.kubelet.cleanup import clean_up
from devcluster.kubelet.context import Settings
from devcluster.kubelet.images import images_of
from devcluster.kubelet.network import NetworkError, claim_subnet
from devcluster.kubelet.nodes import NodeSpec, NodeSpecError, parse_node_flag, parse_nodes_file
from devcluster.kubelet.sandbox import Sandboxes
from devcluster.kubelet.service import Kubelet
from devcluster.kubelet.states import BackOff

CHECKOUT = Path(__file__).resolve().parents[3]
SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
LAUNCHES_AT_ONCE = 64
"""Starts and removals of containers that wait in threads; the default of a small machine would queue them."""
TOOLS = {"ip": "iproute2", "nsenter": "util-linux"}


class UsageError(Exception):
    """Something the user has to put right; the message says what."""


def parse_arguments(arguments: list[str]) -> argparse.Namespace:
    """The parsed command line; ends the program with a message where it is wrong."""
    parser = argparse.ArgumentParser(prog="python -m devcluster.kubelet", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="run Pods as processes until stopped; they run on after that")
    run.add_argument("--kubeconfig", type=Path, required=True, help="how to reach the API server")
    run.add_argument("--state", type=Path, required=True, help="folder for sandboxes, volumes and logs")
    run.add_argument(
        "--node",
        action="append",
        default=[],
        help="a node to declare, as name=node-a,cpu=4,memory=8Gi,gpu=1,label.zone=a,taint=key=value:NoSchedule",
    )
    run.add_argument("--nodes-file", type=Path, help="YAML with a list of {name, capacity, labels, taints}")
    run.add_argument("--restart-back-off", type=float, default=10.0, help="seconds before a second restart in a row")
    run.add_argument("--log-bytes", type=int, default=10 << 20, help="bound of one container's log file")
    cleanup = commands.add_parser("cleanup", help="remove every process, mount, namespace and link of a state folder")
    cleanup.add_argument("--state", type=Path, required=True, help="the folder that `run` was given")
    return parser.parse_args(arguments)


def declared_nodes(options: argparse.Namespace) -> list[NodeSpec]:
    """The nodes of the flags and the file. Raises `UsageError`."""
    try:
        nodes = [parse_node_flag(text) for text in options.node]
        if options.nodes_file:
            nodes += parse_nodes_file(options.nodes_file.read_text())
    except (NodeSpecError, OSError) as error:
        raise UsageError(str(error)) from error
    names = [node.name for node in nodes]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(f"nodes declared twice: {', '.join(repeated)}")
    return nodes or [parse_node_flag(f"name=node-a,cpu={os.cpu_count() or 2},memory=8Gi")]


def check_machine() -> None:
    """Raise `UsageError` where this machine cannot give pods their namespaces."""
    missing = [f"{tool} (Debian package {package})" for tool, package in TOOLS.items() if shutil.which(tool) is None]
    if sys.platform != "linux" or os.geteuid() != 0 or missing:
        needs = f"; missing: {', '.join(missing)}" if missing else ""
        raise UsageError(
            "the dev cluster runs each pod in namespaces of its own, which needs Linux and root: "
            f"run it with sudo, or in a container started with --privileged{needs}"
        )


def lock(state: Path) -> IO[str]:
    """Make sure that only one process looks after a state folder; the lock goes with the process."""
    state.mkdir(parents=True, exist_ok=True)
    file = (state / "kubelet.lock").open("a")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise UsageError(f"a kubelet runs on {state}; stop it first") from error
    return file


async def run(options: argparse.Namespace) -> None:
    """Run the kubelet until SIGTERM or SIGINT."""
    nodes = declared_nodes(options)
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(LAUNCHES_AT_ONCE))
    subnet = await claim_subnet(options.state)
    settings = Settings(
        state=options.state,
        search_path=f"{Path(sys.prefix, 'bin')}:{SYSTEM_PATH}",
        back_off=BackOff(base=options.restart_back_off),
        log_bytes=options.log_bytes,
        host_address=subnet.host_address,
        images=images_of(CHECKOUT),
    )
    sandboxes = Sandboxes(options.state, subnet)
    await sandboxes.sweep()
    logging.getLogger(__name__).info("pods get addresses of %s/24", subnet.address(0))
    async with Client.from_kubeconfig(options.kubeconfig) as client:
        kubelet = asyncio.create_task(Kubelet(client, settings, sandboxes, nodes).run())
        for number in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(number, kubelet.cancel)
        with contextlib.suppress(asyncio.CancelledError):
            await kubelet
        logging.getLogger(__name__).info("stopped by a signal; the pods run on")


def main(arguments: list[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    options.state = options.state.resolve()  # as mountinfo names it
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    try:
        check_machine()
        with lock(options.state):
            asyncio.run(run(options) if options.command == "run" else clean_up(options.state))
    except (UsageError, NetworkError) as error:
        print(f"kubelet: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
