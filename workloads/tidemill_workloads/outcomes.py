"""What a driver says at its end: reason and message from the counts, and the one JSON line for the operator.

The line is the last one on stdout; the operator reads it from the job log.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tidemill_api.conditions import Reason
from tidemill_api.job_contract import Outcome, OutputURIs
from tidemill_workloads.discretion import without_secrets
from tidemill_workloads.validation_report import VALIDATION_FILE

if TYPE_CHECKING:
    from tidemill_api.job_contract import JobConfig
    from tidemill_workloads.errors import JobRefused


@dataclass(frozen=True, slots=True)
class Cut:
    """Why a job ends before each of its rows was run. `message` is one sentence, without counts."""

    reason: Reason
    message: str


@dataclass(frozen=True, slots=True)
class Counts:
    """Rows of a job whose rows all have a line. total = completed + failed.

    Of the failed ones `invalid` are bad lines of the input and `unanswered` were never run; of the completed ones
    `taken_over` were answered by the job that this one resubmits.
    """

    total: int
    completed: int
    failed: int
    invalid: int = 0
    unanswered: int = 0
    taken_over: int = 0


def verdict(counts: Counts, max_failed_rows: int | None, cut: Cut | None, errors_uri: str) -> tuple[Reason, str]:
    """Reason and message of a job whose rows all have a line.

    A job that was to be cut short but had nothing left to cut ends as if it had not been; the bound on failed rows
    holds however late the failures came.
    """
    summary = _summary(counts, errors_uri)
    if cut is not None and (counts.unanswered or cut.reason == Reason.TOO_MANY_ROWS_FAILED):
        return cut.reason, f"{cut.message} {summary}"
    if max_failed_rows is not None and counts.failed > max_failed_rows:
        return Reason.TOO_MANY_ROWS_FAILED, f"{too_many_failed(max_failed_rows)} {summary}"
    if not counts.failed:
        return Reason.ALL_ROWS_ANSWERED, summary
    return (Reason.SOME_ROWS_FAILED if counts.completed else Reason.ALL_ROWS_FAILED), summary


def too_many_failed(max_failed_rows: int) -> str:
    """The sentence for a job that its failures ended."""
    return f"More rows failed than spec.maxFailedRows allows ({max_failed_rows})."


def _summary(counts: Counts, errors_uri: str) -> str:
    taken = f" ({counts.taken_over} of them taken over)" if counts.taken_over else ""
    if not counts.failed:
        return f"All {counts.total} rows are answered{taken}."
    kinds = {"bad lines": counts.invalid, "not run": counts.unanswered}
    named = " and ".join(f"{number} {kind}" for kind, number in kinds.items() if number)
    of_them = f", of them {named}" if named else ""
    if counts.completed:
        answered = f"{counts.completed} of {counts.total} rows are answered{taken}, {counts.failed} failed"
    else:
        answered = f"All {counts.total} rows failed"
    return f"{answered}{of_them}: see {errors_uri}"


def refused(refusal: JobRefused, config: JobConfig) -> Outcome:
    """The outcome of a job that the user has to mend."""
    validation = ""
    if refusal.reason == Reason.VALIDATION_FAILED:
        validation = config.output_uri.rstrip("/") + "/" + VALIDATION_FILE
    return Outcome(
        reason=refusal.reason,
        message=without_secrets(refusal.message),
        invalid_lines=refusal.invalid_lines,
        output=OutputURIs(validation=validation),
    )


def say(outcome: Outcome) -> None:
    """Prints the outcome as the last line of the log."""
    sys.stderr.flush()
    sys.stdout.write(outcome.to_log_line() + "\n")
    sys.stdout.flush()
