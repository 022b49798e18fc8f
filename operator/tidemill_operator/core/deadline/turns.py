"""When a job's turn comes: what a shared budget leaves it until its window ends. Pure arithmetic over all jobs' work.

The share of one tick says who works now, and nothing of later: a job that has no worker yet is not at risk while those
before it will be done in good time. Jobs are taken to work in the order of their windows' ends, each with as many
workers as it may have, and those that have lost their windows after all others. Refuses to decide who works:
`shares.py` does.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from tidemill_operator.core.deadline.forecast import forecast

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tidemill_operator.core.deadline.forecast import Forecast
    from tidemill_operator.core.deadline.load import Load


@dataclass(frozen=True, slots=True)
class Work:
    """What a job still has to do: `seconds` of one worker, of which it may have `most`, of `cost` GPUs each.

    `key` is unique; `deadline` is the window's end in seconds since the epoch, `lost` whether it can no longer be met.
    """

    key: str
    seconds: float
    most: int
    cost: float
    deadline: float
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Turn:
    """A job may count on `workers`, but for the first `waits` seconds from now, in which others are before it."""

    workers: int
    waits: float


def turns(works: Iterable[Work], budget: float | None) -> dict[str, Turn]:
    """The turn of every job by its key. `budget`: GPUs that jobs may have, endpoints' taken off; None for no bound.

    By the end of a job's turn all work of windows that end before its own is done as well. So with n workers of its own
    it takes max(work of all those before and its own / budget, own work / n) from now, and what this is more than its
    own work alone takes, it waits. One that the budget cannot hold a single worker of waits for ever.
    """
    found: dict[str, Turn] = {}
    before = 0.0
    for work in sorted(works, key=lambda work: (work.lost, work.deadline, work.key)):
        if budget is None or work.cost <= 0:
            found[work.key] = Turn(work.most, 0.0)
            continue
        workers = min(work.most, int((budget + 1e-9) // work.cost))
        if workers <= 0:
            found[work.key] = Turn(0, math.inf)
            continue
        before += work.seconds * work.cost
        found[work.key] = Turn(workers, max(before / budget - work.seconds / workers, 0.0))
    return found


def forecast_in_turn(load: Load, now: float, size: int, turn: Turn) -> Forecast:
    """The forecast of a job that has `size` workers now (its share among others), and its turn to come.

    Workers that no row is left for are not counted on. The finish goes by the workers it has; by its turn while it has
    none. The chance is the better of both: the law gives no worker away that the window's end needs, and asks for more
    when the turn comes.
    """
    turn = replace(turn, workers=min(turn.workers, load.reach))
    waiting = replace(load, idle_seconds=max(load.idle_seconds, turn.waits))
    in_turn = forecast(waiting, now, size, turn.workers)
    if size:
        going = forecast(load, now, size, size)
        return replace(in_turn, finish=going.finish, chance=max(going.chance, in_turn.chance))
    needed = in_turn.workers_needed
    planned = turn.workers if needed is None else min(max(needed, 1), turn.workers)
    return forecast(waiting, now, planned, turn.workers)
