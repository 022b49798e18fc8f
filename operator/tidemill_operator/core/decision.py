"""What one rule says: a `Case` goes in, a `Decision` comes out, `status.py` turns it into a status and events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from tidemill_operator.core.graces import HEADLESS_GRACE
from tidemill_operator.core.halts import ending

if TYPE_CHECKING:
    from datetime import timedelta

    from tidemill_api.conditions import ConditionType, Reason
    from tidemill_api.job_contract import Ending
    from tidemill_api.v1alpha1.batch_inference_job import BatchInferenceJobSpec
    from tidemill_api.v1alpha1.batch_inference_job_status import (
        BatchInferenceJobStatus,
        Condition,
        DriverStatus,
        OutputStatus,
        RowsStatus,
        TokensStatus,
    )
    from tidemill_operator.core.plan import Action, Event
    from tidemill_operator.core.snapshot import Snapshot

Truth = Literal["True", "False", "Unknown"]


@dataclass(frozen=True)
class Claim:
    """What a condition is to say. A condition that no claim speaks of stays as it is."""

    type: ConditionType
    status: Truth
    reason: Reason
    message: str = ""


@dataclass(frozen=True)
class Decision:
    """What to do and what to say. None means: as it was. `ended` is True, False or None for: as it was."""

    actions: tuple[Action, ...] = ()
    claims: tuple[Claim, ...] = ()
    driver: DriverStatus | None = None
    rows: RowsStatus | None = None
    tokens: TokensStatus | None = None
    output: OutputStatus | None = None
    workers_desired: int | None = None
    ended: bool | None = None
    events: tuple[Event, ...] = ()
    recheck_after: timedelta | None = None

    def told(self, event: Event) -> Decision:
        """The same decision with one more event."""
        return replace(self, events=(*self.events, event))


@dataclass(frozen=True)
class Case:
    """A snapshot and the ledger of attempts with the newest end already booked."""

    seen: Snapshot
    driver: DriverStatus

    @property
    def spec(self) -> BatchInferenceJobSpec:
        """The spec; only the rules after `invalid_spec` may ask. Raises ValueError where it could not be read."""
        if self.seen.job.spec is None:
            raise ValueError(f"the spec of {self.seen.job.namespace}/{self.seen.job.name} could not be read")
        return self.seen.job.spec

    @property
    def status(self) -> BatchInferenceJobStatus:
        """The status as it stands in the API server."""
        return self.seen.job.status

    @property
    def just_booked(self) -> bool:
        """Whether an attempt's end is booked by this very decision."""
        return self.driver.ended_attempt != self.status.driver.ended_attempt

    @property
    def ending(self) -> Ending | None:
        """The end before all rows are answered that the job is to come to; None where it is to go on."""
        return ending(self.seen)

    @property
    def ending_begins(self) -> bool:
        """Whether that end is asked for since this very decision."""
        return self.driver.ending_time is not None and self.status.driver.ending_time is None

    @property
    def suspending_begins(self) -> bool:
        """Whether a pause is asked for since this very decision."""
        return self.driver.suspend_time is not None and self.status.driver.suspend_time is None

    @property
    def head_away_for_good(self) -> bool:
        """Whether the head has been away for so long that nothing waits for it any more (`HEADLESS_GRACE`)."""
        away = self.seen.cluster.head_away_since if self.seen.cluster else None
        return away is not None and self.seen.now >= away + HEADLESS_GRACE

    @property
    def source_folder(self) -> str:
        """The output folder of the job that this one continues: as written down, else as that job says it now."""
        uri = self.driver.resubmit_of_uri or (self.seen.source.output_uri if self.seen.source else "")
        return f"{uri}/" if uri and not uri.endswith("/") else uri

    @property
    def rows_answered(self) -> int:
        """Rows that have a line, as far as the status knows."""
        return self.status.rows.completed + self.status.rows.failed

    def condition(self, of: ConditionType) -> Condition | None:
        """The condition of this type in the status."""
        return next((condition for condition in self.status.conditions if condition.type == of), None)

    def is_true(self, of: ConditionType) -> bool:
        """Whether the condition stands at True."""
        condition = self.condition(of)
        return condition is not None and condition.status == "True"

    def reason(self, of: ConditionType) -> str:
        """The condition's reason, empty where there is none."""
        condition = self.condition(of)
        return condition.reason if condition else ""
