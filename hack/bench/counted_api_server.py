"""The dev cluster's API server as a process of its own, which writes a line for each request it answered.

`python counted_api_server.py FOLDER`: state, `kubeconfig` and `requests.log` (method, path and seconds; a watch
stands there once it ended) lie in FOLDER. Part of `control_plane.py`, which has to know what the operator asked for.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import socket
import sys
from pathlib import Path

from aiohttp import web
from aiohttp.abc import AbstractAccessLogger

from devcluster.apiserver.access.certificates import ServingTls
from devcluster.apiserver.app import make_app
from devcluster.apiserver.kubeconfig import write_kubeconfig
from devcluster.apiserver.server import spare_the_collector


class RequestLog(AbstractAccessLogger):
    """Method, path and seconds of each request."""

    def log(self, request: web.BaseRequest, response: web.StreamResponse, time: float) -> None:
        """One line."""
        self.logger.info("%s %s %.4f", request.method, request.path, time)


async def serve(folder: Path) -> None:
    """Serves until SIGTERM."""
    spare_the_collector()
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    requests = logging.getLogger("requests")
    requests.addHandler(logging.FileHandler(folder / "requests.log"))
    requests.setLevel(logging.INFO)
    requests.propagate = False
    data = folder / "data"
    app = make_app(data, ServingTls.from_folder(data / "pki"))
    runner = web.AppRunner(app, access_log_class=RequestLog, access_log=requests, shutdown_timeout=0.5)
    await runner.setup()
    listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
    await web.SockSite(runner, listener).start()
    write_kubeconfig(folder / "kubeconfig", f"http://127.0.0.1:{listener.getsockname()[1]}")
    await stop.wait()
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(serve(Path(sys.argv[1])))
