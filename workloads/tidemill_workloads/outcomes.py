"""The driver's last word: one JSON line, last on stdout, that the operator reads from the job log."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from tidemill_api.conditions import Reason
from tidemill_api.job_contract import Outcome, OutputURIs
from tidemill_workloads.validation import VALIDATION_FILE

if TYPE_CHECKING:
    from tidemill_api.job_contract import JobConfig
    from tidemill_workloads.errors import JobRefused


def refused(refusal: JobRefused, config: JobConfig) -> Outcome:
    """The outcome of a job that the user has to mend."""
    validation = ""
    if refusal.reason == Reason.VALIDATION_FAILED:
        validation = config.output_uri.rstrip("/") + "/" + VALIDATION_FILE
    return Outcome(
        reason=refusal.reason,
        message=refusal.message,
        invalid_lines=refusal.invalid_lines,
        output=OutputURIs(validation=validation),
    )


def say(outcome: Outcome) -> None:
    """Prints the outcome as the last line of the log."""
    sys.stderr.flush()
    sys.stdout.write(outcome.to_log_line() + "\n")
    sys.stdout.flush()
