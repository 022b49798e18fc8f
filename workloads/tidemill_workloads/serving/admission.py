"""Lets a request in while fewer wait in the whole endpoint than its bound allows; else it is refused at once.

The count of all ingress replicas lies in one small actor, the ledger. A replica lets in a few without asking and tells
afterwards, so that an endpoint at ease pays nothing; beyond those it asks, many requests in one exchange. So the bound
is never exceeded, but for the second in which a new replica is not known to all. From the moment that the ledger does
not answer each replica keeps to its fair share and decides at once; only the background asks on, until it answers.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from tidemill_workloads.serving.ledger import own_places

if TYPE_CHECKING:
    from tidemill_workloads.serving.desk import Desk, Ticket
    from tidemill_workloads.serving.ledger import Share

log = logging.getLogger(__name__)

REPORT_SECONDS = 0.02
"""A change of what waits is told after so long, where nobody asks for a place meanwhile."""

HEARTBEAT_SECONDS = 1.0
"""A replica tells at least so often."""

AWAY_SECONDS = 0.25
"""A ledger that did not answer is asked again after so long. No request waits for that."""


class LedgerUnreachable(Exception):  # noqa: N818 - named for what happened
    """The ledger does not answer now."""


class RemoteLedger(Protocol):
    """The ledger, wherever it is."""

    async def exchange(self, waiting: int, asked: int, bound: int) -> Share:
        """See Ledger.exchange. Raises LedgerUnreachable."""


@dataclass(slots=True, eq=False)
class _Asking:
    ticket: Ticket
    answer: asyncio.Future[bool]


class Admission:
    """The door of one ingress replica; used from one event loop."""

    def __init__(self, ledger: RemoteLedger, desk: Desk) -> None:
        self.bound = 1
        self._ledger = ledger
        self._desk = desk
        self._asking: list[_Asking] = []
        self._asked = asyncio.Event()
        self._changed = True
        self._replicas = 1
        self._reached: bool | None = None  # whether the ledger answered the last time; None before the first
        desk.changed = self._note

    async def admit(self, ticket: Ticket) -> bool:
        """Lets a request in, then it stands at the desk as held, or says no."""
        if self._desk.waiting >= self.bound:
            return False
        if self._desk.waiting < own_places(self.bound, self._replicas):
            self._desk.admit(ticket)
            return True
        if self._reached is False:
            if admitted := self._desk.waiting < self._fair_share:
                self._desk.admit(ticket)
            return admitted
        asking = _Asking(ticket, asyncio.get_running_loop().create_future())
        self._asking.append(asking)
        self._asked.set()
        return await asking.answer

    async def run(self) -> None:
        """Speaks with the ledger, for as long as the replica lives."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._asked.wait(), self._pause)
            await self._exchange()

    @property
    def _pause(self) -> float:
        """Seconds until the ledger is spoken with again, where nobody asks for a place meanwhile."""
        if self._reached is False:
            return AWAY_SECONDS
        return REPORT_SECONDS if self._changed else HEARTBEAT_SECONDS

    @property
    def _fair_share(self) -> int:
        """Requests that may wait here while nobody knows how many wait elsewhere."""
        return self.bound // self._replicas

    def _note(self) -> None:
        self._changed = True

    async def _exchange(self) -> None:
        asking, self._asking = self._asking, []
        self._asked.clear()
        self._changed = False
        waiting = self._desk.waiting
        try:
            share = await self._ledger.exchange(waiting, len(asking), self.bound)
        except LedgerUnreachable as error:
            self._tell(reached=False, why=str(error))
            self._changed = True
            asking, self._asking = asking + self._asking, []  # those that came meanwhile would ask in vain too
            self._asked.clear()
            granted = max(0, self._fair_share - self._desk.waiting)
        else:
            self._tell(reached=True)
            granted, self._replicas = share.granted, share.replicas
        self._answer(asking, granted)

    def _tell(self, *, reached: bool, why: str = "") -> None:
        """One line in the log when it turns; a ledger that was never reached is one that is just being made."""
        if self._reached and not reached:
            log.warning("the ledger of waiting requests does not answer (%s): keeping to this replica's share", why)
        elif reached and not self._reached:
            log.info("the ledger of waiting requests answers")
        self._reached = reached

    def _answer(self, asking: list[_Asking], granted: int) -> None:
        """Gives the places that were granted to those that still want one, the first first."""
        for one in asking:
            if one.answer.done():  # its client left meanwhile: its place is given back with the next exchange
                continue
            if granted:
                granted -= 1
                self._desk.admit(one.ticket)
            one.answer.set_result(one.ticket.admitted)
        self._changed |= granted > 0
