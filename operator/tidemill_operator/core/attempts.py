"""Accounting for the driver's attempts: what an end means for the next one.

The ledger is `status.driver`; an attempt's end is booked exactly once, when `endedAttempt` catches up with `attempt`.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from tidemill_operator.core.backoff import backoff
from tidemill_operator.core.halts import mark
from tidemill_operator.core.snapshot import AttemptState

if TYPE_CHECKING:
    from datetime import datetime

    from tidemill_api.v1alpha1.batch_inference_job_status import DriverStatus
    from tidemill_operator.core.snapshot import Snapshot

MAX_FAILURES = 5
"""Deaths without one new row after which the next attempt waits: a bug would otherwise burn the head for ever."""

REFUSED_MIN = timedelta(seconds=2)
REFUSED_MAX = timedelta(seconds=60)

ENDS = frozenset({AttemptState.ENDED, AttemptState.STOPPED, AttemptState.LOST})


def open_attempt(driver: DriverStatus) -> bool:
    """Whether an attempt was submitted whose end is not booked yet."""
    return driver.attempt > driver.ended_attempt


def book(seen: Snapshot) -> DriverStatus:
    """The ledger with the open attempt's end or join in it, and with what is asked of the job since when."""
    driver = mark(_booked(seen), seen)
    joins = open_attempt(driver) and seen.metrics is not None and seen.metrics.phase == "finalising"
    return driver.model_copy(update={"finalising_attempt": driver.attempt}) if joins else driver


def finalising(driver: DriverStatus) -> bool:
    """Whether the newest attempt was seen to join the results. None goes back: looks without figures change nothing."""
    return 0 < driver.attempt == driver.finalising_attempt


def _booked(seen: Snapshot) -> DriverStatus:
    """The ledger with the end of the open attempt in it; the same ledger where nothing ended.

    An awaited outcome waits longer each time. A death without an outcome is restarted at once while it comes with new
    rows, and after five in a row without one it waits; one that only brings the job to its end runs no row, and waits
    after its first death. A stop on request counts as neither.
    """
    driver = seen.job.status.driver
    attempt = seen.attempt
    if not open_attempt(driver) or attempt.state not in ENDS:
        return driver
    ended = driver.model_copy(update={"ended_attempt": driver.attempt, "retry_time": None})
    if attempt.outcome is not None:
        return wait_longer(ended, seen) if attempt.outcome.awaited else ended
    if attempt.state is AttemptState.STOPPED:
        return ended
    answered = seen.job.status.rows.completed + seen.job.status.rows.failed
    if answered > driver.rows_at_failure and driver.ending is None:
        return ended.model_copy(update={"failures": 0, "waits": 0, "rows_at_failure": answered})
    failures = driver.failures + 1
    bearable = 1 if driver.ending else MAX_FAILURES
    wait = backoff(failures - bearable + 1, seen.tuning.backoff_min, seen.tuning.backoff_max)
    retry = seen.now + wait if failures >= bearable else None
    return ended.model_copy(update={"failures": failures, "waits": 0, "retry_time": retry})


def wait_longer(driver: DriverStatus, seen: Snapshot) -> DriverStatus:
    """The ledger after one more try that ended by waiting for something outside."""
    waits = driver.waits + 1
    wait = backoff(waits, seen.tuning.backoff_min, seen.tuning.backoff_max)
    return driver.model_copy(update={"waits": waits, "retry_time": seen.now + wait})


def refused_backoff(since: datetime | None, now: datetime) -> timedelta:
    """How long to leave Ray alone that refuses the driver since then: as long as it has lasted, 2 s to 60 s.

    Each wait is thereby twice the one before it, and nothing has to be remembered.
    """
    lasted = now - since if since is not None else timedelta(0)
    return min(max(lasted, REFUSED_MIN), REFUSED_MAX)


def failing(driver: DriverStatus, answered: int) -> bool:
    """Whether the driver keeps dying: true from the fifth death without a new row until rows come again."""
    return driver.failures >= MAX_FAILURES and answered <= driver.rows_at_failure
