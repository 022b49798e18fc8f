"""Starts the server: on a port that stays the same over restarts, with the kubeconfig written once it listens."""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from devcluster.apiserver.app import make_app
from devcluster.apiserver.kubeconfig import write_kubeconfig

_HOST = "127.0.0.1"

# Net allocations before Python's collector looks at the young objects, and how many such looks make the next one.
_COLLECTOR_THRESHOLDS = (20_000, 20, 1_000_000)


@dataclass(frozen=True)
class RunningServer:
    """Where a running server is reached: its `url` and the `kubeconfig` file that names it."""

    url: str
    kubeconfig: Path


@dataclass(frozen=True)
class ServerSettings:
    """Where the state lives and where to listen; port 0 takes the last one used with `data`, else a free one."""

    data: Path
    kubeconfig: Path
    port: int = 0
    history: int = 20_000


@contextlib.asynccontextmanager
async def running_api_server(
    data: Path, kubeconfig: Path | None = None, port: int = 0, history: int = 20_000
) -> AsyncIterator[RunningServer]:
    """Run a server in this event loop while the context lasts."""
    settings = ServerSettings(data, kubeconfig or data / "kubeconfig", port, history)
    runner = web.AppRunner(make_app(settings.data, settings.history), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        listener = _listen(settings)
        await web.SockSite(runner, listener).start()
        url = f"http://{_HOST}:{listener.getsockname()[1]}"
        (settings.data / "port").write_text(str(listener.getsockname()[1]))
        write_kubeconfig(settings.kubeconfig, url)
        yield RunningServer(url, settings.kubeconfig)
    finally:
        await runner.cleanup()


def _listen(settings: ServerSettings) -> socket.socket:
    """Return a listening socket. Raises `OSError` where the port asked for is taken."""
    remembered = settings.data / "port"
    if not settings.port and remembered.exists():
        with contextlib.suppress(OSError, ValueError):
            return _bound(int(remembered.read_text()))
    return _bound(settings.port)


def _bound(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((_HOST, port))
        listener.listen(1024)
    except OSError:
        listener.close()
        raise
    return listener


def spare_the_collector() -> None:
    """Leave what has grown old to reference counting; for a process that is nothing but this server.

    The store is millions of small objects without cycles. A full collection walks through all of them, which with ten
    thousand stored objects stops every request for half a second and more; cycles die young.
    """
    gc.set_threshold(*_COLLECTOR_THRESHOLDS)


async def serve_until_stopped(settings: ServerSettings) -> None:
    """Run until SIGTERM or SIGINT."""
    spare_the_collector()
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    async with running_api_server(settings.data, settings.kubeconfig, settings.port, settings.history) as server:
        print(f"API server at {server.url}, kubeconfig {server.kubeconfig}", flush=True)
        await stop.wait()
