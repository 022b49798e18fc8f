"""Takes part in the election by a Lease: asks and writes it, and keeps `leadership.py` up to date. Decides by `core/`.

`kubernetes.aio.leaderelection` does not do here: it judges by the wall clock, has no fence, makes the Lease itself and
does not give it up at the end. The Lease is the chart's, so this needs no right but to get and update this one.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import socket
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from tidemill_operator.cluster import LEASES, Cluster
from tidemill_operator.core.lease import (
    GIVE_UP_SECONDS,
    LEASE_SECONDS,
    LOOK_SECONDS,
    RENEW_SECONDS,
    Record,
    Step,
    held_by,
    next_step,
    released,
    saw,
    wrote,
)
from tidemill_operator.errors import (
    ApiUnavailableError,
    ConflictError,
    KindMissingError,
    LeadershipLostError,
    ObjectMissingError,
    RejectedError,
)

if TYPE_CHECKING:
    from tidemill_operator.config import Settings
    from tidemill_operator.leadership import Leadership

    Json = dict[str, Any]

log = logging.getLogger(__name__)

TRY_SECONDS = 4.0
"""For one request about the Lease: a slow API server keeps its leader, and after one that hangs there is another."""

FAULTS = (ApiUnavailableError, ConflictError, RejectedError, TimeoutError)
"""After which the Lease is read again."""


class Election(Protocol):
    """How an operator comes to decide."""

    async def win(self) -> None:
        """Returns once this process decides."""

    async def keep(self) -> None:
        """Goes on for as long as it does. Raises LeadershipLostError."""

    async def release(self) -> None:
        """Lets another decide at once; call it when nothing is decided here any more."""


class Alone:
    """An operator that has no other beside it."""

    async def win(self) -> None:
        """At once."""

    async def keep(self) -> None:
        """For ever."""
        await asyncio.Event().wait()

    async def release(self) -> None:
        """Nobody waits for it."""


@dataclass(frozen=True)
class Place:
    """Where the Lease is."""

    namespace: str
    name: str

    def __str__(self) -> str:
        return f"Lease {self.namespace}/{self.name}"


def identity_of(settings: Settings) -> str:
    """A name that no other process ever has, not even the next one of the same pod."""
    return f"{settings.pod_name or socket.gethostname()}_{secrets.token_hex(4)}"


class LeaseElection:
    """One candidate. `cluster` must let it write at any time: a fence before the Lease itself would never open."""

    def __init__(self, cluster: Cluster, place: Place, leadership: Leadership) -> None:
        self._cluster = cluster
        self._place = place
        self._leadership = leadership
        self._body: Json | None = None
        self._said = ""

    async def win(self) -> None:
        """Waits until the Lease is free or was not renewed for its duration, and takes it."""
        log.info("%s stands for election by the %s", self._leadership.candidate.identity, self._place)
        while True:
            await self._look()
            if self._next() is Step.ACQUIRE and await self._write():
                break
            await asyncio.sleep(LOOK_SECONDS)
        log.info("%s leads by the %s", self._leadership.candidate.identity, self._place)

    async def keep(self) -> None:
        """Renews it; raises LeadershipLostError where that failed for too long, or a write found the fence closed."""
        while True:
            renewed = await self._renew()
            await self._broken_within(self._until_renewal() if renewed else LOOK_SECONDS)

    async def release(self) -> None:
        """Gives the Lease up where it is surely ours. Where that fails, the others wait until it is over."""
        before, holds = self._leadership.candidate, self._next() is Step.RENEW
        self._leadership.candidate = replace(before, renewed=None)
        for _ in range(
            2 if holds else 0
        ):  # a renewal that was broken off may have come through: then there is a second
            if await self._gave_up():
                return
            await self._look()
            seen = self._leadership.candidate
            if seen.record is None or seen.record.holder != seen.identity:
                return

    async def _gave_up(self) -> bool:
        record = released(self._leadership.candidate, _moment())
        try:
            async with asyncio.timeout(TRY_SECONDS):
                await self._replace(record)
        except (*FAULTS, ObjectMissingError, KindMissingError) as error:
            log.warning("the %s was not given up: %s", self._place, _say(error))
            return False
        log.info("the %s is given up", self._place)
        return True

    async def _renew(self) -> bool:
        """Whether that succeeded. Raises LeadershipLostError where it is too late for another try.

        Twice, since somebody may have labelled the Lease: the second is on the version that was read after the first.
        """
        for _ in range(2):
            if self._next() is Step.RENEW:
                if await self._write():
                    return True
                await self._look()
        if self._next() is Step.GIVE_UP:
            raise LeadershipLostError(self._why_lost())
        return False

    def _until_renewal(self) -> float:
        """Counted from when the last one was begun: where requests take long, they follow each other at once."""
        begun = self._leadership.candidate.renewed or 0.0
        return max(begun + RENEW_SECONDS - self._leadership.clock(), 0.0)

    async def _broken_within(self, seconds: float) -> None:
        try:
            async with asyncio.timeout(seconds):
                await self._leadership.broken.wait()
        except TimeoutError:
            return
        raise LeadershipLostError(self._why_lost())

    def _next(self) -> Step:
        return next_step(self._leadership.candidate, self._leadership.clock())

    async def _look(self) -> None:
        """Reads the Lease. Where it is missing there is no leader; other faults leave what was seen before."""
        leadership = self._leadership
        try:
            async with asyncio.timeout(self._patience()):
                self._body = await self._cluster.get(LEASES, self._place.namespace, self._place.name)
        except (ObjectMissingError, KindMissingError):
            leadership.candidate = replace(leadership.candidate, record=None)
            self._say(
                f"there is no {self._place}, by which one operator is elected: the chart makes it (helm upgrade),"
                " or set TIDEMILL_LEASE_NAME to nothing where this operator is alone; waiting for it"
            )
        except FAULTS as error:
            self._say(f"the {self._place} cannot be read: {_say(error)}; tried again and again")
        else:
            leadership.candidate = saw(leadership.candidate, record_of(self._body), leadership.clock())

    async def _write(self) -> bool:
        """Takes or renews the Lease in the version that was seen; whether that succeeded."""
        leadership = self._leadership
        record, begun = held_by(leadership.candidate, _moment()), leadership.clock()
        try:
            async with asyncio.timeout(self._patience()):
                await self._replace(record)
        except (ObjectMissingError, KindMissingError):
            leadership.candidate = replace(leadership.candidate, record=None)
            return False
        except FAULTS as error:
            self._say(f"the {self._place} was not written: {_say(error)}; tried again and again")
            return False
        leadership.candidate = wrote(leadership.candidate, record, begun)
        self._said = ""
        return True

    async def _replace(self, record: Record) -> None:
        if self._body is None:
            raise RuntimeError("a Lease is written only after it was read")
        self._body = await self._cluster.replace(LEASES, with_record(self._body, record))

    def _patience(self) -> float:
        """Seconds for a request: a leader has to know before its time is up."""
        renewed = self._leadership.candidate.renewed
        if renewed is None:
            return TRY_SECONDS
        return max(min(TRY_SECONDS, renewed + GIVE_UP_SECONDS - self._leadership.clock()), 0.1)

    def _why_lost(self) -> str:
        candidate = self._leadership.candidate
        if candidate.record is None:
            why = "is gone"
        elif candidate.record.holder != candidate.identity:
            why = f"is held by {candidate.record.holder or 'nobody'}"
        else:
            why = f"could not be renewed for {self._leadership.clock() - (candidate.renewed or 0.0):.1f} s"
        return f"the {self._place} {why}: this operator decides and writes nothing more, and ends"

    def _say(self, message: str) -> None:
        if message != self._said:
            log.warning("%s", message)
        self._said = message


def record_of(lease: Json) -> Record:
    """What stands in a Lease object."""
    spec = lease.get("spec") or {}
    return Record(
        holder=spec.get("holderIdentity") or "",
        renewed=str(spec.get("renewTime") or ""),
        transitions=int(spec.get("leaseTransitions") or 0),
        seconds=float(spec.get("leaseDurationSeconds") or LEASE_SECONDS),
    )


def with_record(lease: Json, record: Record) -> Json:
    """The object as it was read, with this record: its version says that nobody wrote it since."""
    before = lease.get("spec") or {}
    taken = before.get("holderIdentity") != record.holder
    spec = {
        **before,
        "holderIdentity": record.holder,
        "leaseDurationSeconds": int(record.seconds),
        "acquireTime": record.renewed if taken else before.get("acquireTime", record.renewed),
        "renewTime": record.renewed,
        "leaseTransitions": record.transitions,
    }
    return {**lease, "spec": spec}


def _moment() -> str:
    """Now as a MicroTime of the API."""
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"


def _say(error: Exception) -> str:
    return str(error) or f"no answer within {TRY_SECONDS} s"
