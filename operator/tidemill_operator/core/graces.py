"""How long the operator waits for what is slow, silent or away before it acts, and how soon it looks again.

All of its patience on one page, and no rule: who waits for what, and what is done after it, stands with the rules.
(Waits that grow with each failed try are a law of their own: `backoff.py`, `attempts.py`.)
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from tidemill_operator.core.decision import Case

SAFETY_NET = timedelta(seconds=30)
"""Another look where a change of the RayCluster is awaited, in case its watch event was missed."""

STOP_POLL = timedelta(seconds=1)
"""Another look at a driver that is being stopped, or at workers that are leaving."""

AGENT_GRACE = timedelta(seconds=60)
"""How long after HeadPodReady Ray's job agent may still be starting."""

START_GRACE = timedelta(seconds=60)
"""How long an attempt may take to publish its first figures, and how long its start is watched closely."""

HEADLESS_GRACE = timedelta(minutes=10)
"""How long workers are kept where no driver can be at work: the head is away, or takes no driver."""

SILENCE_GRACE = timedelta(minutes=30)
"""How long workers are kept while Ray and the driver are silent. Longer: they may work on, cut off from us alone."""

STOP_GRACE = timedelta(seconds=120)
"""How long a driver may take to stop (Ray kills it after 60 s). Then its head is beyond reach, and goes with it."""

LEAVE_GRACE = timedelta(seconds=60)
"""How long the workers of a job that has ended or pauses may leave by themselves before their cluster goes: a drain."""

ENDING_GRACE = timedelta(hours=1)
"""How long after a cancel or the window's end is tried to write lines and results, whoever dies meanwhile."""

ENDING_LIMIT = timedelta(hours=12)
"""How long an attempt that is at it may go on: joining the results of a large job takes more than an hour."""


def until(case: Case, moment: datetime | None = None) -> timedelta | None:
    """Until the next try, the end of the window or of the grace after it: the first of those that lie ahead."""
    given_up = case.driver.ending_time + ENDING_GRACE if case.driver.ending_time else None
    ahead = [m for m in (case.seen.deadline, given_up) if m is not None and m > case.seen.now]
    moments = [m for m in (moment, *ahead) if m is not None]
    return max(min(moments) - case.seen.now, timedelta(0)) if moments else None
