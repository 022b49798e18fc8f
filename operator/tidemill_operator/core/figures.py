"""What the driver's live figures say of the rows, whatever is decided about them. Pure reading of a snapshot."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill_api.conditions import ConditionType
from tidemill_api.v1alpha1.batch_inference_job_status import RowsStatus, TokensStatus
from tidemill_operator.core.claims import input_read
from tidemill_operator.core.decision import Case, Claim, Decision

if TYPE_CHECKING:
    from tidemill_operator.core.snapshot import DriverMetrics


def figures(case: Case) -> Decision:
    """Rows and tokens, and at the first figures also what became of the input; nothing where there are no figures."""
    metrics = case.seen.metrics
    if metrics is None:
        return Decision()
    claims: tuple[Claim, ...] = ()
    may_skip = case.spec.input.on_invalid == "Skip"
    counted = metrics.rows_completed is not None or not may_skip  # bad lines are told by the rows that failed
    if metrics.phase != "validating" and counted and not case.is_true(ConditionType.VALIDATED):
        total = metrics.rows_validated or None if metrics.rows_total is None else metrics.rows_total
        claims = (input_read(total, None if may_skip and metrics.rows_failed > 0 else 0),)
    return Decision(claims=claims, rows=rows_of(case, metrics), tokens=_tokens(case, metrics))


def rows_of(case: Case, metrics: DriverMetrics) -> RowsStatus:
    """The rows as the driver counts them; before it has counted lines and answers, what the status knows already."""
    if metrics.phase == "validating" or metrics.rows_total is None or metrics.rows_completed is None:
        return case.status.rows
    return RowsStatus.counted(metrics.rows_total, metrics.rows_completed, metrics.rows_failed)


def _tokens(case: Case, metrics: DriverMetrics) -> TokensStatus:
    """The tokens of the answers that the driver counts; before it has counted, what the status knows already."""
    if metrics.phase == "validating" or metrics.prompt_tokens is None or metrics.completion_tokens is None:
        return case.status.tokens
    return TokensStatus(prompt=metrics.prompt_tokens, completion=metrics.completion_tokens)
