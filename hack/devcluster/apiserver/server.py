"""Starts the server: on ports that stay the same over restarts, with the kubeconfig written once it listens.

Plain HTTP is served on loopback alone, and whoever reaches it is an administrator. TLS is served on every address of
this machine, so that pods reach it from their network namespaces; there, requests are authenticated and judged.
"""

import asyncio
import contextlib
import gc
import signal
import socket
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from devcluster.apiserver.access.certificates import ServingTls
from devcluster.apiserver.app import make_app
from devcluster.apiserver.kubeconfig import write_json, write_kubeconfig

_HOST = "127.0.0.1"
SERVING = "serving.json"
"""The file in the data folder that says where TLS is served: `url`, `tls_port`, and `ca`, the authority's file."""

# Net allocations before Python's collector looks at the young objects, and how many such looks make the next one.
_COLLECTOR_THRESHOLDS = (20_000, 20, 1_000_000)


@dataclass(frozen=True)
class RunningServer:
    """Where a running server is reached: its `url`, the `kubeconfig` file that names it, and TLS at `tls_url`."""

    url: str
    kubeconfig: Path
    tls_url: str


@dataclass(frozen=True)
class ServerSettings:
    """Where the state lives and where to listen; port 0 takes the last one used with `data`, else a free one.

    Plain HTTP listens at `port` of loopback, TLS at `tls_port` of `tls_address`.
    """

    data: Path
    kubeconfig: Path
    port: int = 0
    history: int = 20_000
    tls_address: str = "0.0.0.0"  # noqa: S104 - pods reach it by an address that does not exist yet
    tls_port: int = 0


@contextlib.asynccontextmanager
async def running_api_server(settings: ServerSettings) -> AsyncIterator[RunningServer]:
    """Run a server in this event loop while the context lasts. Raises `OSError` where a port asked for is taken."""
    settings.data.mkdir(parents=True, exist_ok=True)
    tls = ServingTls.from_folder(settings.data / "pki")
    runner = web.AppRunner(make_app(settings.data, tls, settings.history), access_log=None, shutdown_timeout=0.5)
    await runner.setup()
    try:
        plain = _listen(_HOST, settings.port, settings.data / "port")
        secure = _listen(settings.tls_address, settings.tls_port, settings.data / "tls-port")
        await web.SockSite(runner, plain).start()
        await web.SockSite(runner, secure, ssl_context=tls.context).start()
        url = f"http://{_HOST}:{_port(plain)}"
        tls_url = f"https://{_HOST}:{_port(secure)}"
        serving = {"url": tls_url, "tls_port": _port(secure), "ca": str(tls.certificates.authority.absolute())}
        write_json(settings.data / SERVING, serving)
        write_kubeconfig(settings.kubeconfig, url)
        yield RunningServer(url, settings.kubeconfig, tls_url)
    finally:
        await runner.cleanup()


def _port(listener: socket.socket) -> int:
    port: int = listener.getsockname()[1]
    return port


def _listen(address: str, port: int, memory: Path) -> socket.socket:
    """Return a listening socket; `memory` is the file that keeps its port for the next time."""
    listener = _remembered(address, memory) if not port else None
    if listener is None:
        listener = _bound(address, port)
    memory.write_text(str(_port(listener)))
    return listener


def _remembered(address: str, memory: Path) -> socket.socket | None:
    if memory.exists():
        with contextlib.suppress(OSError, ValueError):
            return _bound(address, int(memory.read_text()))
    return None


def _bound(address: str, port: int) -> socket.socket:
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((address, port))
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
    async with running_api_server(settings) as server:
        print(f"API server at {server.url} and {server.tls_url}, kubeconfig {server.kubeconfig}", flush=True)
        await stop.wait()
