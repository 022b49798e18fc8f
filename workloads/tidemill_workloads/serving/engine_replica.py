"""The engine deployment: one engine and its server a replica, one replica a worker pod.

Serve brings the requests, counts them, and waits for them when this replica has to go; what is said to a client goes
straight to the ingress that asked. A dead or hung engine ends the process at once, so that Serve sees it and no further
request is sent here.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tidemill_api.endpoint_contract import EngineSettings as UserConfig
from tidemill_workloads.logs import set_up_logging
from tidemill_workloads.serving.call import Answering, Call
from tidemill_workloads.serving.desk import Desk, Ticket
from tidemill_workloads.serving.engine import ServerSettings, create_engine
from tidemill_workloads.serving.figures import EngineFigures, Labels
from tidemill_workloads.serving.frames import Frame, Kind, Usage, usage_payload
from tidemill_workloads.serving.links import Links
from tidemill_workloads.serving.start_limit import start_limit
from tidemill_workloads.serving.start_log import StartLog
from tidemill_workloads.serving.start_problems import late_problem, problem_of
from tidemill_workloads.serving.warm_up import warm_up
from tidemill_workloads.watchdog import StallClock, stall_seconds

if TYPE_CHECKING:
    from tidemill_api.endpoint_contract import EndpointConfig
    from tidemill_workloads.serving.links import Link

log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""How often an engine is looked at for signs of death."""

FLUSH_SECONDS = 0.2
"""What a process that ends leaves to its last frames."""

NOT_WHOLE = b"the engine's server ended before its answer was whole"


class ReplicaEnding(Exception):  # noqa: N818 - named for what happens
    """This replica ends itself in a moment and takes no request any more."""


@dataclass(slots=True)
class _InHand:
    """One request that this engine has."""

    ticket: Ticket
    call: Call
    link: Link
    used: list[Usage] = field(default_factory=list)

    @property
    def usage(self) -> Usage:
        """What all parts of the answer used."""
        return Usage(sum(part.prompt_tokens for part in self.used), sum(part.completion_tokens for part in self.used))


class EngineReplica:
    """One engine. Serve calls `run` for each request, many at once on one event loop."""

    def __init__(self, config: EndpointConfig, labels: Labels) -> None:
        self._model = config.model.name
        self._start_seconds = float(config.start_seconds)
        self._desk = Desk()
        self._in_hand: dict[str, _InHand] = {}
        self._links = Links()
        self._figures = EngineFigures(labels, self._desk)
        self._engine = create_engine(ServerSettings(config))
        self._watching: asyncio.Task[None] | None = None
        self._ending = False

    async def start(self) -> None:
        """Loads the model. Raises RuntimeError with an EngineProblem in its text where that does not work."""
        self._figures.serve()
        written, begun, limit = StartLog.begin(), time.monotonic(), self._start_seconds
        try:
            with start_limit(limit):
                async with asyncio.timeout(limit):
                    await self._engine.start(self)
                    await warm_up(self._engine.app, self._model)
        except Exception as error:  # whatever keeps an engine from starting is told to the user, see problem_of
            late = time.monotonic() - begun >= limit
            problem = late_problem(limit, written.text()) if late else problem_of(error, written.text())
            log.exception("the engine does not start")
            await self.close()
            raise RuntimeError(problem.to_text()) from error
        self._figures.ready = True
        self._watching = asyncio.create_task(self._look_after())

    async def close(self) -> None:
        """Ends engine and connections; no request is here any more."""
        if self._watching is not None:
            self._watching.cancel()
        self._figures.close()
        self._links.close()
        await self._engine.close()

    async def reconfigure(self, settings: dict[str, Any]) -> None:
        """Serve's user_config: nothing that an engine has to act on (see the contract)."""
        UserConfig.model_validate(settings)

    async def run(self, call: Call) -> None:
        """Answers one request. Raises IngressGone where nobody can hear the answer, ReplicaEnding where none comes."""
        if self._engine.dead:
            self._die("the engine is dead")
        if self._ending:
            raise ReplicaEnding("another replica has to take this request")
        link = await self._links.to(call.reply_to)
        ticket = self._desk.arrive(time.monotonic())
        hand = self._in_hand[call.request_id] = _InHand(ticket, call, link)
        self._desk.admit(ticket)
        self._desk.taken(ticket)
        answering = Answering(call, self._engine, link)
        link.take(call.stream, answering.gone)
        try:
            await answering.run()
        except Exception:  # vLLM's server answers an unforeseen error with 500 and raises it again, as uvicorn expects
            log.exception("request %s ended with an error", call.request_id)
        finally:
            link.release(call.stream)
            self._desk.end(ticket)
            del self._in_hand[call.request_id]
            link.send(
                Frame(Kind.END, call.stream, usage_payload(hand.usage))
                if answering.whole
                else Frame(Kind.FAILED, call.stream, NOT_WHOLE)
            )
            if self._engine.dead:
                self._die("the engine is dead")

    def first_token(self, request_id: str) -> None:
        """See Watcher."""
        hand = self._in_hand.get(request_id)
        if hand is not None and self._desk.first_token(hand.ticket):
            hand.link.send(Frame(Kind.FIRST, hand.call.stream))

    def used(self, request_id: str, usage: Usage) -> None:
        """See Watcher."""
        hand = self._in_hand.get(request_id)
        if hand is not None:
            hand.used.append(usage)

    async def check_health(self) -> None:
        """Serve's look at this replica. Raises RuntimeError where the engine is dead."""
        if self._engine.dead:
            raise RuntimeError("the engine is dead")

    async def _look_after(self) -> None:
        clock = StallClock(stall_seconds(), idle_forgives=False)
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            busy = bool(self._in_hand)
            if self._engine.dead:
                self._die("the engine is dead")
            if self._engine.progress() and clock.stalled(time.monotonic(), busy, self._engine.progress()):
                self._die(f"the engine has made no step for {clock.limit:.0f} s and is taken for hung")

    def _die(self, why: str) -> None:
        """Ends the process; the requests that are here are failed first, so that they are run elsewhere at once."""
        if self._ending:
            return
        self._ending = True
        log.error("%s; this replica ends, and Serve starts another", why)
        for hand in self._in_hand.values():
            hand.link.send(Frame(Kind.FAILED, hand.call.stream, why.encode()))
        self._links.flush()
        asyncio.get_running_loop().call_later(FLUSH_SECONDS, os.kill, os.getpid(), signal.SIGKILL)


class EngineDeployment(EngineReplica):
    """The same as Serve wants it: a constructor and a destructor that it awaits."""

    async def __init__(self, config: EndpointConfig) -> None:  # type: ignore[misc] # Serve awaits it
        set_up_logging()
        super().__init__(config, Labels.of_this_replica(config))
        await self.start()

    async def __del__(self) -> None:
        """Serve calls this after the last request, when the replica has to go."""
        await self.close()
