"""What alerts about one object come to: the scaling boost that it is to have. Pure; beside `boost.py`, which reads it.

A boost is made of the alert alone, never of the moment at which it was told: the same alert told again, or to another
replica of the operator, is the same boost. So it fades even while its alert goes on firing.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from tidemill_operator.core.boost import MAX_ALERT, MOST_FACTOR, Boost

if TYPE_CHECKING:
    from collections.abc import Iterable

LASTING = timedelta(minutes=15)
"""From the moment that an alert began to fire until its boost has faded to nothing. Long enough for a GPU node to come
and load a model, short enough that a wrong alert costs little."""


@dataclass(frozen=True)
class Call:
    """One alert about one object: the boost that it asks for while it fires, None once it is resolved."""

    alert: str
    boost: Boost | None


def firing(alert: str, factor: float, began: datetime) -> Call:
    """An alert that fires since then. A factor outside of 1 to `MOST_FACTOR` counts as the nearer of the two."""
    name = alert[:MAX_ALERT]
    since = began.astimezone(UTC).replace(microsecond=0)
    return Call(name, Boost(round(min(max(factor, 1.0), MOST_FACTOR), 2), since + LASTING, name))


def resolved(alert: str) -> Call:
    """An alert that does not fire any more."""
    return Call(alert[:MAX_ALERT], None)


def settled(standing: Boost | None, calls: Iterable[Call], now: datetime) -> Boost | None:
    """The boost that an object is to have after these calls; it equals `standing` where nothing is to be written.

    The strongest at this moment wins. One whose alert is resolved goes, and one that has faded is none. An alert that
    is both resolved and firing fires: another of its name, with other labels (`pod`, `instance`), took its place. The
    order of the calls, and how often they are told, make no difference.
    """
    told = tuple(calls)
    wanted = {call.boost for call in told if call.boost is not None}
    over = {call.alert for call in told if call.boost is None} - {boost.alert for boost in wanted}
    if standing is not None and standing.alert not in over:
        wanted.add(standing)
    return max(
        (boost for boost in wanted if boost.factor_at(now) > 1.0),
        key=lambda boost: (boost.factor_at(now), boost.until, boost == standing, boost.alert),
        default=None,
    )
