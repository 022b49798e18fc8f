"""The Serve application in one process, without Ray: what stands for Serve hands calls over and cancels them.

Front, ledger, frames over TCP and engine replicas are the real ones; the engine is the paced server. HTTP is real too.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

import httpx
import openai
import uvicorn

from tidemill_api.endpoint_contract import EndpointConfig
from tidemill_api.v1alpha1.common import ModelSpec
from tidemill_workloads.serving.admission import Admission, LedgerUnreachable
from tidemill_workloads.serving.api_keys import ApiKeys
from tidemill_workloads.serving.desk import Desk
from tidemill_workloads.serving.dispatch import Dispatcher, Engines
from tidemill_workloads.serving.engine_replica import EngineReplica
from tidemill_workloads.serving.figures import IngressFigures, Labels
from tidemill_workloads.serving.front import Front, FrontSettings
from tidemill_workloads.serving.ledger import Ledger, Share
from tidemill_workloads.serving.model_cards import ModelCards
from tidemill_workloads.serving.replies import ReplyListener
from tidemill_workloads.serving.slow_clients import BoundedHttp
from tidemill_workloads.serving.turnstile import Turnstile

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Generator
    from pathlib import Path

    from tidemill_workloads.serving.call import Call


def config(**changes: Any) -> EndpointConfig:
    """A revision that the paced server can serve."""
    values: dict[str, Any] = {
        "namespace": "team",
        "name": "chat",
        "revision": "r1",
        "model": ModelSpec(name="m", source="/models/m"),
        "gpus_per_replica": 0,
        "max_sequences": 8,
        "drain_seconds": 10,
    }
    return EndpointConfig(**values | changes)


@dataclass
class Response:
    """Stands for Serve's DeploymentResponse."""

    task: asyncio.Task[None]

    def __await__(self) -> Generator[Any, None, None]:
        return self.task.__await__()

    def cancel(self) -> None:
        self.task.cancel()


@dataclass
class Serve:
    """Stands for Serve's handle: holds calls while there is no replica, and gives each to the one with the fewest."""

    replicas: list[EngineReplica] = field(default_factory=list)
    changed: asyncio.Condition = field(default_factory=asyncio.Condition)
    most: int = 1000
    busy: dict[int, int] = field(default_factory=dict)

    def remote(self, call: Call) -> Response:
        return Response(asyncio.create_task(self._run(call)))

    async def _run(self, call: Call) -> None:
        async with self.changed:
            await self.changed.wait_for(lambda: self._free() is not None)
            replica = self._free()
        assert replica is not None
        self.busy[id(replica)] = self.busy.get(id(replica), 0) + 1
        try:
            await replica.run(call)
        finally:
            self.busy[id(replica)] -= 1
            asyncio.get_running_loop().create_task(self._notify())

    def _free(self) -> EngineReplica | None:
        ranked = sorted(self.replicas, key=lambda replica: self.busy.get(id(replica), 0))
        return next((replica for replica in ranked if self.busy.get(id(replica), 0) < self.most), None)

    async def _notify(self) -> None:
        async with self.changed:
            self.changed.notify_all()

    async def add(self, replica: EngineReplica) -> None:
        self.replicas.append(replica)
        await self._notify()


@dataclass
class LocalLedger:
    """The ledger, seen from one replica; `down` is a ledger that does not answer."""

    ledger: Ledger
    replica: str
    down: bool = False
    asked: int = 0

    async def exchange(self, waiting: int, asked: int, bound: int) -> Share:
        self.asked += asked
        await asyncio.sleep(0.001)
        if self.down:
            raise LedgerUnreachable("made to be down")
        return self.ledger.exchange(self.replica, waiting, asked, bound, time.monotonic())


@dataclass
class Ingress:
    """One ingress replica and where it listens."""

    front: Front
    ledger: LocalLedger
    url: str
    client: openai.AsyncOpenAI

    def figure(self, name: str, **labels: str) -> float:
        """A figure as the operator would scrape it; 0 before it was ever set."""
        every = {"endpoint": "team/chat", "revision": "r1", "replica": self.ledger.replica}
        return self.front.figures.registry.get_sample_value(name, every | labels) or 0.0


@dataclass
class World:
    """All replicas of one endpoint."""

    config: EndpointConfig
    serve: Serve = field(default_factory=Serve)
    ledger: Ledger = field(default_factory=Ledger)
    _open: AsyncExitStack = field(default_factory=AsyncExitStack)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._open.aclose()

    async def engine(self, name: str = "engine-1") -> EngineReplica:
        """One more engine replica."""
        replica = EngineReplica(self.config, Labels(self.config.endpoint, self.config.revision, name))
        await replica.start()
        self._open.push_async_callback(replica.close)
        await self.serve.add(replica)
        return replica

    async def ingress(
        self, name: str = "ingress-1", *, bound: int = 100, seconds: float = 30.0, keys: Path | None = None
    ) -> Ingress:
        """One more ingress replica, listening."""
        desk = Desk()
        ledger = LocalLedger(self.ledger, name)
        admission = Admission(ledger, desk)
        admission.bound = bound
        labels = Labels(self.config.endpoint, self.config.revision, name)
        figures = IngressFigures(labels, desk, lambda: admission.bound)
        listener = ReplyListener("127.0.0.1")
        engines = Engines(self.serve, listener, await listener.start())
        dispatcher = Dispatcher(engines, desk, Turnstile(), figures, by_priority=self.config.priority_scheduling)
        api_keys = ApiKeys(keys) if keys is not None else None
        cards = ModelCards.of(self.config.model)
        front = Front(cards, api_keys, desk, admission, dispatcher, figures, FrontSettings(seconds))
        task = asyncio.create_task(admission.run())
        self._open.callback(listener.close)
        self._open.callback(task.cancel)
        port = await self._open.enter_async_context(listening(CancelsOnDisconnect(front)))
        url = f"http://127.0.0.1:{port}"
        plain = httpx.AsyncClient(verify=False, limits=httpx.Limits(max_connections=None))
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="any", max_retries=0, timeout=20, http_client=plain)
        await self._open.enter_async_context(client)
        return Ingress(front, ledger, url, client)


@dataclass
class CancelsOnDisconnect:
    """Does what Serve does around an ingress: cancels a request whose client is gone."""

    app: Any

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        messages: asyncio.Queue[Any] = asyncio.Queue()

        async def listen() -> None:
            while True:
                message = await receive()
                messages.put_nowait(message)
                if message["type"] == "http.disconnect":
                    return

        listening = asyncio.create_task(listen())
        answering = asyncio.create_task(self.app(scope, messages.get, send))
        await asyncio.wait({listening, answering}, return_when=asyncio.FIRST_COMPLETED)
        if answering.done():
            listening.cancel()
            answering.result()
        else:
            answering.cancel()
            await asyncio.wait({answering})


@asynccontextmanager
async def listening(app: Any) -> AsyncIterator[int]:
    """A real HTTP server, bounded as an ingress replica's is; yields its port."""
    options = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", lifespan="off", http=BoundedHttp)
    server = uvicorn.Server(options)
    task = asyncio.create_task(server.serve())
    await until(lambda: server.started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        server.force_exit = True
        await task


async def until(check: Any, seconds: float = 5.0) -> None:
    """Waits for a condition that has to come about."""
    async with asyncio.timeout(seconds):
        while not check():  # noqa: ASYNC110 - what is waited for has no event
            await asyncio.sleep(0.005)
