"""`python -m devcluster.apiserver`: the dev cluster's Kubernetes API server as a process of its own."""

import argparse
import asyncio
import logging
import sys
from pathlib import Path

from devcluster.apiserver.server import ServerSettings, serve_until_stopped

_EVERYWHERE = ServerSettings.tls_address


def main() -> int:
    """Parse the command line and serve. Returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m devcluster.apiserver", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of the state; survives kill and restart")
    parser.add_argument("--kubeconfig", type=Path, required=True, help="file written once the server listens")
    parser.add_argument("--port", type=int, default=0, help="0: the last one used with --data, else a free one")
    parser.add_argument("--tls-address", default=_EVERYWHERE, help="where TLS listens; pods must reach it")
    parser.add_argument("--tls-port", type=int, default=0, help="as --port, for TLS")
    parser.add_argument("--history", type=int, default=20_000, help="how many past writes a watch can start from")
    given = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    settings = ServerSettings(
        given.data, given.kubeconfig, given.port, given.history, given.tls_address, given.tls_port
    )
    try:
        asyncio.run(serve_until_stopped(settings))
    except OSError as error:
        ports = f"{given.port or 'any'} (plain) and {given.tls_port or 'any'} (TLS)"
        print(f"cannot serve on the ports asked for, {ports}: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
