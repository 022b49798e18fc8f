"""What the operator observes of a job's queue: how old it is, when it will be done, and how fast its workers are.

The figures of `status` that the deadline law is made from and what it says; all coarse, so that a status is not written
at every look. Refuses to hold anything a user may set.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AwareDatetime, Field

from tidemill_api.v1alpha1.common import ApiModel, Count

QueueHealth = Literal["Healthy", "Warning", "Critical", "Unknown"]
"""The oldest age by its target: below 2 times, from there, from 3 times on. Unknown: no fresh figures say it."""

QueueReason = Literal["", "WithinTarget", "TwiceTarget", "ThriceTarget", "NeverClears", "SourceMissing"]
"""Why the health is what it is; empty where there is no queue."""

Rate = Annotated[str, Field(max_length=16, pattern=r"^[0-9]{1,9}([.][0-9]{1,6})?$")]
"""A number per second, as a decimal."""


class QueueStatus(ApiModel):
    """The rows that have no line yet. Every row is as old as its job, or as the planned start of its work."""

    depth: Count = Field(default=0, description="depth in rows without a line: waiting and in flight.")
    oldest_age_seconds: Count = Field(
        default=0,
        description="oldestAgeSeconds of a row without a line, in steps of 10; from the planned start with schedule"
        " LatestSafe; 0 where none is left.",
    )
    age_ratio: str = Field(
        default="0.00",
        max_length=12,
        pattern=r"^[0-9]{1,9}[.][0-9]{2}$",
        description="ageRatio of the oldest row's age to the target completion time, a decimal: above 1.00 it is late.",
    )
    health: QueueHealth = Field(
        default="Healthy", description="health: Healthy, Warning (ageRatio 2 and more), Critical (3 and more)."
    )
    reason: QueueReason = Field(default="", description="reason of the health, a constant; empty without a queue.")
    completed_per_second: Rate = Field(
        default="0", description="completedPerSecond in rows, over the last minute of work; 0 while none is known."
    )


class ForecastStatus(ApiModel):
    """When the rows left are answered, as far as the speed of workers is known; absent while it is not."""

    finish_time: AwareDatetime | None = Field(
        default=None,
        description="finishTime of the last row, to 10 seconds; of a job that pauses as if it went on now; absent where"
        " it gets no worker.",
    )
    meets_window: bool = Field(description="meetsWindow: whether finishTime is within the completion window.")
    chance_percent: int = Field(
        default=0, ge=0, le=100, description="chancePercent that the last row is answered within the window."
    )
    workers_needed: int | None = Field(
        default=None,
        ge=0,
        le=1_000_000_000,
        description="workersNeeded for the window at the expected speed, also above workers.max; absent where no number"
        " of workers is enough.",
    )


class MeasuredStatus(ApiModel):
    """How fast the workers of this job were. Other jobs of the same model and resources plan with it."""

    rows_per_second_per_worker: Rate = Field(default="0", description="rowsPerSecondPerWorker, a decimal.")
    startup_seconds: int = Field(
        default=0, ge=0, le=86_400, description="startupSeconds from the creation of a worker pod to its first row."
    )
    startups: Count = Field(default=0, description="startups that startupSeconds is the mean of.")
    rows: Count = Field(default=0, description="rows that the rate rests on; old ones fade.")
    observed_time: AwareDatetime | None = Field(default=None, description="observedTime of the newest sample.")
    observed_rows: Count = Field(default=0, description="observedRows that were answered at that time.")
    observed_workers: int = Field(
        default=0, ge=0, le=1000, description="observedWorkers that were full of rows at that time."
    )
    newest_worker_time: AwareDatetime | None = Field(
        default=None, description="newestWorkerTime of creation among the workers whose start was measured."
    )


class PlannedStatus(ApiModel):
    """When the work is planned to begin and to be done."""

    start_time: AwareDatetime = Field(description="startTime of the work: creation, or later with LatestSafe.")
    finish_time: AwareDatetime = Field(description="finishTime by which the job is planned to be done.")
