"""Claims that more than one rule makes, so that they read alike wherever they are made. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tidemill_api.conditions import ConditionType, Reason
from tidemill_operator.core.decision import Claim

if TYPE_CHECKING:
    from datetime import datetime

    from tidemill_operator.core.decision import Case

NEXT_TRY = "Tried again at"
"""Begins the last sentence of a message about something that is waited for."""

WAITED = " It was waiting: "
"""Begins what an end adds to its message: what the job was waiting for until then."""


def next_try(moment: datetime | None) -> str:
    """When the next try is due, as the last sentence of a message; empty where no moment is set."""
    return f"{NEXT_TRY} {moment:%Y-%m-%dT%H:%M:%SZ}." if moment else ""


def awaited(case: Case) -> str:
    """What the job was waiting for when its end came, so that nobody has to look for it in old events."""
    said = case.condition(ConditionType.PROGRESSING)
    if said is None or said.reason == Reason.SUSPEND_REQUESTED:
        return ""
    if WAITED in said.message:
        return WAITED + said.message.partition(WAITED)[2]
    head_starting = said.reason == Reason.CLUSTER_STARTING and case.seen.cluster is not None
    if said.status != "False" and said.reason != Reason.RAY_UNREACHABLE and not head_starting:
        return ""
    return f"{WAITED}{said.reason}: {said.message.partition(NEXT_TRY)[0].rstrip()}"


def log_lines(case: Case) -> str:
    """The end of the log of the attempt that ended, as the last lines of a message; empty where none was read."""
    tail = case.seen.attempt.log_tail
    return f"\nLast lines of the driver's log:\n{tail}" if tail else ""


def input_read(total: int | None, invalid: int | None) -> Claim:
    """Validation passed: how many requests there are, and how many of them are bad lines that were skipped.

    None for a figure that is not known: the count while nobody says it, the bad lines while the job runs.
    """
    if invalid == 0:
        message = "Every line of the input is valid" + (f": {total} requests." if total is not None else ".")
        return Claim(ConditionType.VALIDATED, "True", Reason.ALL_LINES_VALID, message)
    requests = f"The input has {total} lines; " if total is not None else "The input is read; "
    skipped = "bad lines are skipped" if invalid is None else f"{invalid} bad lines were skipped"
    message = f"{requests}{skipped}, with an error line each."
    return Claim(ConditionType.VALIDATED, "True", Reason.BAD_LINES_SKIPPED, message)
