"""`python -m devcluster.kuberay --kubeconfig FILE`: runs the stand-in until it is told to stop."""

from __future__ import annotations

import argparse
import asyncio
import logging
import signal
from pathlib import Path

from devcluster.client import Client
from devcluster.kuberay.controller import Controller


async def serve(kubeconfig: Path) -> None:
    """Run the controller until SIGTERM or SIGINT."""
    async with Client.from_kubeconfig(kubeconfig) as client:
        task = asyncio.create_task(Controller(client).run())
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, task.cancel)
        try:
            await task
        except asyncio.CancelledError:
            logging.getLogger(__name__).info("stopped")


def main() -> None:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(
        prog="python -m devcluster.kuberay",
        description="A stand-in for the KubeRay operator: keeps RayClusters on any API server as their specs say.",
    )
    parser.add_argument("--kubeconfig", type=Path, required=True, help="the API server to work on")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    asyncio.run(serve(arguments.kubeconfig))


if __name__ == "__main__":
    main()
