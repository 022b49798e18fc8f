"""What the user or the clock asks of a job beside its work: an end before all rows are answered, or a pause.

Pure reading of a snapshot. Since when it is asked stands in the ledger (`status.driver`), written at the first look,
because spec and clock say that it is asked but not since when; every grace is counted from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import datetime

    from tidemill_api.job_contract import Ending
    from tidemill_api.v1alpha1.batch_inference_job_status import DriverStatus
    from tidemill_operator.core.snapshot import Snapshot


def ending(seen: Snapshot) -> Ending | None:
    """The end that is asked for: a cancel beats the end of the window, which ends a job unless it is to continue.

    None for a job that has ended.
    """
    spec, deadline = seen.job.spec, seen.deadline
    if spec is None or deadline is None or seen.job.status.completion_time is not None:
        return None
    if spec.cancel:
        return "Cancelled"
    return "Expired" if seen.now >= deadline and spec.on_deadline == "Expire" else None


def suspending(seen: Snapshot) -> bool:
    """Whether the job is to pause. An end beats a pause: it needs pods for a moment, and then none for ever."""
    spec = seen.job.spec
    if spec is None or seen.job.status.completion_time is not None:
        return False
    return spec.suspend and ending(seen) is None


def mark(driver: DriverStatus, seen: Snapshot) -> DriverStatus:
    """The ledger with the moments since which an end or a pause is asked for.

    Where either begins, whatever was awaited before is forgotten: an end needs neither input nor model, and a job that
    goes on after a pause tries at once.
    """
    if seen.job.spec is None or seen.job.status.completion_time is not None:
        return driver
    ending_time = _since(driver.ending_time, seen.now, asked=ending(seen) is not None)
    suspend_time = _since(driver.suspend_time, seen.now, asked=suspending(seen))
    begins = (driver.ending_time is None and ending_time is not None) or (
        driver.suspend_time is None and suspend_time is not None
    )
    fresh: dict[str, object] = {"retry_time": None, "waits": 0, "failures": 0} if begins else {}
    return driver.model_copy(update={**fresh, "ending_time": ending_time, "suspend_time": suspend_time})


def _since(before: datetime | None, now: datetime, *, asked: bool) -> datetime | None:
    return (before or now) if asked else None
