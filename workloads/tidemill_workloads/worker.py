"""The engine actor: the async UDF that Ray Data maps over lanes, one actor and one engine a worker pod.

Owns an event loop in a thread of its own: the engine and all rows live there, so that nothing of Ray's can hold them
up. Ray restarts the actor when its process dies and runs its lane again, wherever there is a node for it. So a dead
engine ends the process, on purpose and at once, and so does a node that is being drained.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import ray
import uvloop
from ray.exceptions import ActorUnavailableError

from tidemill_workloads.chunk_run import Desk
from tidemill_workloads.coordinator import Message, Orders, Writer
from tidemill_workloads.engine.interface import EngineSettings, create_engine
from tidemill_workloads.errors import EngineDead, JobRefused
from tidemill_workloads.lane import Lane, Leaving
from tidemill_workloads.logs import set_up_logging
from tidemill_workloads.progress import REPORT_SECONDS
from tidemill_workloads.pump import Pump
from tidemill_workloads.watchdog import driver_stall_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from tidemill_workloads.identity import Claim
    from tidemill_workloads.ledger import Suspect
    from tidemill_workloads.retries import RetryPolicy
    from tidemill_workloads.storage import Input

log = logging.getLogger(__name__)

REFUSAL_SECONDS = 60.0
"""A refused lane leaves this time to its driver, which ends the attempt after the other workers have flushed: the
failure of one actor ends all others at once."""

LOADING_REPORT_SECONDS = 5 * REPORT_SECONDS

STORAGE_THREADS = 16
"""Reads and writes at once, whatever the node's cores: a store may take seconds for each, and they only wait."""


@dataclass(frozen=True, slots=True)
class WorkerSetup:
    """What every engine actor of an attempt is told."""

    settings: EngineSettings
    source: Input
    claim: Claim
    retry: RetryPolicy

    @property
    def rows_in_flight(self) -> int:
        """Rows that one engine is given at once: twice what it decodes, so that it never drains."""
        return 2 * self.settings.max_num_seqs


@dataclass(frozen=True, slots=True)
class RemoteHead:
    """The coordinator behind Ray; lets the engine's event loop wait for its answers."""

    actor: Any

    async def exchange(self, message: Message) -> Orders:
        """See Coordinator.exchange."""
        orders: Orders = await asyncio.wrap_future(self.actor.exchange.remote(message).future())
        return orders

    async def died(self, writer: str, in_flight: Mapping[int, Sequence[Suspect]]) -> None:
        """See Coordinator.died."""
        await asyncio.wrap_future(self.actor.died.remote(writer, in_flight).future())


def came(started: Future[None], limit: float, loading: Callable[[], object]) -> bool:
    """Waits for an engine that loads, calling `loading` every few seconds; False where it takes over `limit` seconds.

    Raises what its start raises.
    """
    begun = time.monotonic()
    while not wait([started], LOADING_REPORT_SECONDS).done:
        if time.monotonic() - begun > limit:
            return False
        loading()
    started.result()
    return True


class EngineWorker:
    """Callable class for `Dataset.map_batches`: each call runs one lane and returns how many rows it answered."""

    def __init__(self, setup: WorkerSetup, coordinator: Any) -> None:
        set_up_logging()
        self._coordinator = coordinator
        self._desk = Desk(setup.source, setup.claim)
        context = ray.get_runtime_context()
        writer = Writer(self._desk.writer, context.get_actor_id() or "", context.get_node_id())
        ray.get(coordinator.hello.remote(writer))
        self._loop = uvloop.new_event_loop()
        self._loop.set_default_executor(ThreadPoolExecutor(STORAGE_THREADS, "storage"))
        threading.Thread(target=self._loop.run_forever, name="engine-loop", daemon=True).start()
        self._load(setup)

    async def __call__(self, batch: Mapping[str, Any]) -> dict[str, list[int]]:
        """Runs the one lane of `batch`."""
        rows = await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(self._run(), self._loop))
        return {"lane": [int(batch["lane"][0])], "rows": [rows]}

    def _load(self, setup: WorkerSetup) -> None:
        started = asyncio.run_coroutine_threadsafe(self._start(setup), self._loop)
        limit = driver_stall_seconds()
        try:
            loaded = came(started, limit, self._coordinator.loading.remote)
        except JobRefused as refusal:
            self._refuse(refusal)
            raise
        if not loaded:
            log.error("the engine has been loading for %.0f s and hangs; this worker ends, Ray starts another", limit)
            os.kill(os.getpid(), signal.SIGKILL)

    async def _start(self, setup: WorkerSetup) -> None:
        engine = create_engine(setup.settings)
        await engine.start()
        self._pump = Pump(engine, setup.rows_in_flight, setup.retry)

    async def _run(self) -> int:
        node: str = ray.util.get_node_ip_address()  # type: ignore[no-untyped-call] # Ray has no types
        lane = Lane(self._desk, self._pump, RemoteHead(self._coordinator), node)
        try:
            return await lane.run()
        except EngineDead:
            log.exception("the engine is dead; this worker ends, and Ray starts another")
            os.kill(os.getpid(), signal.SIGKILL)
            raise
        except ActorUnavailableError:
            # Back from a cut, it finds its connection broken. An error of a lane would end the whole attempt; as a
            # process that died it costs only itself. What it had answered is durable by now: see Lane.run.
            log.exception("the head is out of reach; this worker ends, and Ray starts another")
            os.kill(os.getpid(), signal.SIGKILL)
            raise
        except Leaving:
            log.warning("this node is being drained; all rows are handed back, and this worker ends")
            os.kill(os.getpid(), signal.SIGKILL)
            raise
        except JobRefused as refusal:
            await asyncio.to_thread(self._refuse, refusal)
            await asyncio.sleep(REFUSAL_SECONDS)
            raise

    def _refuse(self, refusal: JobRefused) -> None:
        ray.get(self._coordinator.refuse.remote(refusal.reason.value, refusal.message))
