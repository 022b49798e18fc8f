"""Reason and message of a job from its counts."""

from __future__ import annotations

import pytest

from tidemill_api.conditions import Reason
from tidemill_workloads.outcomes import Counts, Cut, verdict

CANCELLED = Cut(Reason.CANCELLED, "The job was cancelled.")
TOO_MANY = Cut(Reason.TOO_MANY_ROWS_FAILED, "Too many.")


@pytest.mark.parametrize(
    ("counts", "bound", "cut", "reason", "message"),
    [
        (Counts(9, 9, 0), None, None, Reason.ALL_ROWS_ANSWERED, "All 9 rows are answered."),
        (Counts(9, 9, 0), 0, None, Reason.ALL_ROWS_ANSWERED, "All 9 rows are answered."),
        (
            Counts(9, 9, 0, taken_over=4),
            None,
            None,
            Reason.ALL_ROWS_ANSWERED,
            "All 9 rows are answered (4 of them taken over).",
        ),
        (Counts(9, 7, 2), None, None, Reason.SOME_ROWS_FAILED, "7 of 9 rows are answered, 2 failed: see E"),
        (Counts(9, 7, 2), 2, None, Reason.SOME_ROWS_FAILED, "7 of 9 rows are answered, 2 failed: see E"),
        (
            Counts(9, 7, 2, invalid=1),
            None,
            None,
            Reason.SOME_ROWS_FAILED,
            "7 of 9 rows are answered, 2 failed, of them 1 bad lines: see E",
        ),
        (Counts(9, 0, 9), None, None, Reason.ALL_ROWS_FAILED, "All 9 rows failed: see E"),
        (
            Counts(9, 7, 2),
            1,
            None,
            Reason.TOO_MANY_ROWS_FAILED,
            "More rows failed than spec.maxFailedRows allows (1). 7 of 9 rows are answered, 2 failed: see E",
        ),
        (
            Counts(9, 5, 4, invalid=1, unanswered=3),
            None,
            CANCELLED,
            Reason.CANCELLED,
            "The job was cancelled. 5 of 9 rows are answered, 4 failed, of them 1 bad lines and 3 not run: see E",
        ),
        (
            Counts(9, 0, 9, unanswered=9),
            1,
            CANCELLED,
            Reason.CANCELLED,
            "The job was cancelled. All 9 rows failed, of them 9 not run: see E",
        ),
        (Counts(9, 9, 0), None, CANCELLED, Reason.ALL_ROWS_ANSWERED, "All 9 rows are answered."),
        (
            Counts(9, 7, 2),
            1,
            TOO_MANY,
            Reason.TOO_MANY_ROWS_FAILED,
            "Too many. 7 of 9 rows are answered, 2 failed: see E",
        ),
    ],
)
def test_reason_and_message_follow_from_the_counts(
    counts: Counts, bound: int | None, cut: Cut | None, reason: Reason, message: str
) -> None:
    assert verdict(counts, bound, cut, "E") == (reason, message)
