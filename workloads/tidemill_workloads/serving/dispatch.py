"""Has one admitted request answered by an engine: offers it, follows its frames, and tries once more where it may.

A request whose engine is lost goes to another one, once, as long as no byte of its answer has gone out; its age and its
place in the order stay. More tries would let a request that kills engines kill them all; an offer that no engine took
has killed none, and is made again.
"""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from contextlib import aclosing
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from tidemill_workloads.serving import openai_errors
from tidemill_workloads.serving.call import Call
from tidemill_workloads.serving.frames import Frame, Head, Kind, read_head, read_usage

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from tidemill_workloads.serving.desk import Desk, Ticket
    from tidemill_workloads.serving.figures import IngressFigures
    from tidemill_workloads.serving.replies import Reply, ReplyAddress, ReplyListener
    from tidemill_workloads.serving.turnstile import Turnstile

log = logging.getLogger(__name__)

TRIES = 2
"""Engines that may have a request in hand, one after the other."""

OFFERS = 5
"""How often a request is offered at most, taken or not: Serve may lead to an engine that is going for a moment."""

AGAIN_SECONDS = 0.3
"""After an offer that nobody took: longer than an engine that ends itself takes to be gone."""

FIRST_FRAME_SECONDS = 5.0
"""Serve's word that a call is over may overtake its frames. So long the first one is waited for; where one has come,
the connection brings the last one too, however large the answer is, or is lost, which is noticed there."""


@dataclass(frozen=True, slots=True)
class Request:
    """One admitted request."""

    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes
    priority: int
    ticket: Ticket


@dataclass(frozen=True, slots=True)
class Engines:
    """The engine deployment, and the way back from it."""

    run: Any
    """Serve's handle of the method that runs a call."""
    listener: ReplyListener
    address: ReplyAddress


class EngineLost(Exception):  # noqa: N818 - named for what happened
    """The engine that had the request is gone; or it never had it, and was going when it was offered."""

    def __init__(self, why: str, *, taken: bool) -> None:
        super().__init__(why)
        self.taken = taken


GIVEN_UP = b"DeploymentUnavailableError"
"""How Serve names that it has given up starting a deployment (ray.serve.exceptions)."""


class NoEngine(Exception):  # noqa: N818 - named for what happened
    """Serve starts no engine any more."""


@dataclass(slots=True)
class Dispatcher:
    """Hands requests to the engine deployment; used from one event loop."""

    engines: Engines
    desk: Desk
    turnstile: Turnstile
    figures: IngressFigures
    by_priority: bool = True
    """Whether a request's field `priority` counts; else they are offered in the order in which they came."""
    _following: set[asyncio.Task[None]] = field(default_factory=set)

    async def answer(self, request: Request) -> AsyncGenerator[Head | bytes]:
        """The answer's head, then its body in parts. Raises Refusal where the engine was lost.

        Closing the generator early has the engine stop.
        """
        tries = 0
        for offer in range(1, OFFERS + 1):
            begun = False
            try:
                async with aclosing(self._try(request)) as parts:
                    async for part in parts:
                        begun = True
                        yield part
            except NoEngine as none:
                raise openai_errors.no_engine() from none
            except EngineLost as lost:
                log.warning("an engine was lost with a request at hand (offer %d): %s", offer, lost)
                tries += lost.taken
                if begun or tries == TRIES or offer == OFFERS:
                    raise openai_errors.engine_lost() from lost
                self.desk.lost(request.ticket)
                if not lost.taken:
                    await asyncio.sleep(AGAIN_SECONDS)
            else:
                return

    async def _try(self, request: Request) -> AsyncGenerator[Head | bytes]:
        reply = self.engines.listener.open()
        response: Any = None
        ended = False
        try:
            priority = request.priority if self.by_priority else 0
            async with self.turnstile.offered(priority, request.ticket.arrived) as taken:
                response = self.engines.run.remote(self._call(request, reply))
                self._follow(response, reply)
                async with aclosing(self._parts(reply, request.ticket)) as parts:
                    async for part in parts:
                        taken()
                        if part is not None:
                            yield part
            ended = True
        finally:
            if response is not None and not ended and reply.engine is None:
                response.cancel()  # no engine has it: Serve forgets it. One that has it is told by its connection
            self.engines.listener.forget(reply, ended=ended)

    async def _parts(self, reply: Reply, ticket: Ticket) -> AsyncGenerator[Head | bytes | None]:
        """Head and body of the answer; None says that an engine has the request. Raises EngineLost, NoEngine."""
        head: Head | None = None
        refused = taken = False
        while (frame := await reply.get()).kind is not Kind.END:
            if frame.kind is Kind.FAILED:
                raise _failure(frame, taken=taken)
            self._note(frame, ticket, refused=refused)
            if frame.kind is Kind.TAKEN:
                taken = True
                yield None
            elif frame.kind is Kind.HEAD:
                head = read_head(frame.payload)  # goes out with the first byte: until then another try is open
                refused = head.status >= HTTPStatus.BAD_REQUEST
            elif frame.kind is Kind.BODY:
                if head is not None:
                    yield head
                    head = None
                yield frame.payload
        if head is not None:
            yield head
        self.figures.used(read_usage(frame.payload))

    def _note(self, frame: Frame, ticket: Ticket, *, refused: bool) -> None:
        """The request stands at the desk where the frame says. An answer that refuses has no first token."""
        if frame.kind is Kind.TAKEN:
            self.desk.taken(ticket)
        elif frame.kind in (Kind.FIRST, Kind.BODY) and self.desk.first_token(ticket) and not refused:
            self.figures.first_token(time.monotonic() - ticket.arrived)

    def _call(self, request: Request, reply: Reply) -> Call:
        return Call(request.path, request.headers, request.body, uuid.uuid4().hex, reply.number, self.engines.address)

    def _follow(self, response: Any, reply: Reply) -> None:
        task = asyncio.create_task(_follow(response, reply))
        self._following.add(task)
        task.add_done_callback(self._following.discard)


def _failure(frame: Frame, *, taken: bool) -> NoEngine | EngineLost:
    """What a frame that ends an answer says."""
    why = frame.payload.decode(errors="replace")
    return NoEngine(why) if frame.payload.startswith(GIVEN_UP) else EngineLost(why, taken=taken)


async def _follow(response: Any, reply: Reply) -> None:
    """Turns Serve's word about a call into a frame where the engine itself can say none."""
    try:
        await response
    except asyncio.CancelledError:
        reply.put(Frame(Kind.FAILED, reply.number, b"Serve has cancelled the call"))
        raise
    except Exception as error:  # Ray, Serve and gRPC each raise their own: whatever it is, no answer comes this way
        reply.put(Frame(Kind.FAILED, reply.number, f"{type(error).__name__}: {error}"[:500].encode()))
        return
    try:
        async with asyncio.timeout(FIRST_FRAME_SECONDS):
            await reply.begun.wait()
    except TimeoutError:
        reply.put(Frame(Kind.FAILED, reply.number, b"no frame of the answer came"))
