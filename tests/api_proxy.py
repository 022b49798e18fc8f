"""A wire between one client and an API server: it tells which writes came through it and when, and can be cut.

Stands for the network of one node. What is asked and answered is the real API server's; only request lines are read.
"""

import asyncio
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

PIECE = 64 * 1024
WRITE = re.compile(rb"^(POST|PUT|PATCH|DELETE) (/api\S*) HTTP/1\.1\r$", re.MULTILINE)


@dataclass(frozen=True)
class Write:
    """A write that a client sent: when (the loop's clock), how and where to."""

    moment: float
    method: str
    path: str


class ApiProxy:
    """Listens on a port of its own; `kubeconfig` is one that leads through it."""

    def __init__(self, kubeconfig: Path, folder: Path, name: str) -> None:
        self._given = json.loads(kubeconfig.read_text())
        self.kubeconfig = folder / f"{name}.kubeconfig"
        self.writes: list[Write] = []
        self._server: asyncio.Server | None = None
        self._wires: set[asyncio.Task[None]] = set()
        self._port = 0

    async def start(self) -> None:
        """Lets everything through, on the same port each time."""
        self._server = await asyncio.start_server(self._wire, "127.0.0.1", self._port)
        self._port = self._server.sockets[0].getsockname()[1]
        config = json.loads(json.dumps(self._given))
        config["clusters"][0]["cluster"]["server"] = f"http://127.0.0.1:{self._port}"
        self.kubeconfig.write_text(json.dumps(config))

    async def cut(self) -> None:
        """Ends every connection and takes no new one."""
        self._server.close()
        for wire in list(self._wires):
            wire.cancel()
        await asyncio.gather(*self._wires, return_exceptions=True)
        await self._server.wait_closed()

    def writes_since(self, moment: float) -> list[Write]:
        """What was written from this moment of the loop's clock on."""
        return [write for write in self.writes if write.moment >= moment]

    async def _wire(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        self._wires.add(task)
        try:
            to = urlsplit(self._given["clusters"][0]["cluster"]["server"])
            answers, requests = await asyncio.open_connection(to.hostname, to.port)
            try:
                async with asyncio.TaskGroup() as both:
                    both.create_task(self._carry(reader, requests, self._note))
                    both.create_task(self._carry(answers, writer, lambda _: None))
            finally:
                requests.close()
        except* (OSError, asyncio.CancelledError):  # either side went away, or the wire is cut
            pass
        finally:
            writer.close()
            self._wires.discard(task)

    async def _carry(self, source, target, note) -> None:
        while piece := await source.read(PIECE):
            note(piece)
            target.write(piece)
            await target.drain()
        with suppress(OSError):
            target.close()

    def _note(self, piece: bytes) -> None:
        for method, path in WRITE.findall(piece):
            now = asyncio.get_running_loop().time()
            self.writes.append(Write(now, method.decode(), path.decode()))
