"""Which requests are here and how far they are: stamped on arrival, counted once. Pure: the clock is a parameter.

An ingress replica keeps one for the requests that it stamped, an engine replica one for those that it has now.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Place(Enum):
    """How far a request is. HELD and TAKEN ones are waiting."""

    AT_THE_DOOR = "at the door"  # stamped, and not let in or refused yet
    HELD = "held"  # no engine has it
    TAKEN = "taken"  # an engine has it and has made no token of its answer
    RUNNING = "running"  # the first token is there, the last one is not
    ENDED = "ended"


WAITING = frozenset({Place.HELD, Place.TAKEN})


@dataclass(slots=True, eq=False)
class Ticket:
    """One request, from its arrival to its last byte. `arrived` is monotonic seconds."""

    arrived: float
    place: Place = Place.AT_THE_DOOR
    begun: bool = False
    """Whether a first token was ever made for it, by an engine that was lost since or by the one that answers."""

    @property
    def admitted(self) -> bool:
        """Whether it was let in."""
        return self.place is not Place.AT_THE_DOOR


@dataclass(slots=True)
class Desk:
    """All tickets of one process. `changed` is called after every change of the number that waits."""

    changed: Callable[[], None] = lambda: None
    _waiting: dict[Ticket, None] = field(default_factory=dict)
    _counts: dict[Place, int] = field(default_factory=lambda: dict.fromkeys(Place, 0))

    def arrive(self, now: float) -> Ticket:
        """A request comes in; it counts nowhere until it is let in."""
        return Ticket(now)

    def admit(self, ticket: Ticket) -> None:
        """It is let in, and held until an engine takes it."""
        self._move(ticket, Place.HELD)

    def taken(self, ticket: Ticket) -> None:
        """An engine has it."""
        if ticket.place is Place.HELD:
            self._move(ticket, Place.TAKEN)

    def first_token(self, ticket: Ticket) -> bool:
        """The first token of an engine is there; whether it is the first one that was ever made for this request."""
        if ticket.place not in WAITING:
            return False
        self._move(ticket, Place.RUNNING)
        news, ticket.begun = not ticket.begun, True
        return news

    def lost(self, ticket: Ticket) -> None:
        """Its engine is gone: it waits again, as old as it is."""
        if ticket.place in (Place.TAKEN, Place.RUNNING):
            self._move(ticket, Place.HELD)

    def end(self, ticket: Ticket) -> None:
        """Its last byte is written, or nobody wants it any more. A second end is none."""
        if ticket.place is not Place.ENDED:
            self._move(ticket, Place.ENDED)

    @property
    def held(self) -> int:
        """Requests that no engine has."""
        return self._counts[Place.HELD]

    @property
    def waiting(self) -> int:
        """Requests without a first token: held ones, and those of an engine."""
        return len(self._waiting)

    @property
    def running(self) -> int:
        """Requests between first and last token."""
        return self._counts[Place.RUNNING]

    def oldest_waiting(self, now: float) -> float:
        """Age of the oldest waiting request in seconds, 0 without one."""
        waiting = list(self._waiting)  # a copy in one step: the figures are read from another thread
        return max(0.0, now - min((ticket.arrived for ticket in waiting), default=now))

    def _move(self, ticket: Ticket, place: Place) -> None:
        before, ticket.place = ticket.place, place
        self._counts[before] = max(0, self._counts[before] - 1)  # at the door nobody was counted
        self._counts[place] += place is not Place.ENDED
        if (before in WAITING) is (place in WAITING):
            return
        if place in WAITING:
            self._waiting[ticket] = None
        else:
            del self._waiting[ticket]
        self.changed()
