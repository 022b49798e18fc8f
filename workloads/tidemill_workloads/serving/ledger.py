"""One bound for the requests that wait in all ingress replicas together. Pure: the clock is a parameter.

Each ingress replica tells how many wait with it and asks for places; what it tells replaces what it told before, so
that a ledger that starts anew knows all again after one round, and a replica that falls silent gives its places back.
A few places are each replica's own, to let in without asking; nobody else gets those.
"""

from __future__ import annotations

from dataclasses import dataclass, field

SILENT_SECONDS = 3.0
"""A replica that told nothing for so long is gone. They tell every second at the latest."""


OWN_SHARE = 16
"""All places that are somebody's own are together at most this part of the bound: the price of not asking is that a
bound can be refused from 15/16 of it on. A bound below it leaves none, and every place is asked for."""


def own_places(bound: int, replicas: int) -> int:
    """Requests that one of so many replicas may have waiting without asking; all of them where it is alone."""
    return bound if replicas == 1 else bound // (OWN_SHARE * replicas)


@dataclass(frozen=True, slots=True)
class Share:
    """The ledger's answer to one replica."""

    granted: int
    """How many of the asked places it has now."""
    replicas: int
    """How many replicas tell, this one included."""


@dataclass(slots=True)
class Ledger:
    """What each ingress replica told last."""

    _told: dict[str, tuple[float, int]] = field(default_factory=dict)

    def exchange(self, replica: str, waiting: int, asked: int, bound: int, now: float) -> Share:
        """`waiting` requests wait with this replica and it asks for `asked` more places, of `bound` in all."""
        self._told = {name: told for name, told in self._told.items() if now - told[0] <= SILENT_SECONDS}
        others = [count for name, (_, count) in self._told.items() if name != replica]
        own = own_places(bound, len(others) + 1)
        taken = sum(max(count, own) for count in others)
        granted = max(0, min(asked, bound - taken - waiting))
        self._told[replica] = (now, waiting + granted)
        return Share(granted, len(self._told))
