"""Claims that more than one rule makes, so that they read alike wherever they are made. Pure."""

from __future__ import annotations

from tidemill_api.conditions import ConditionType, Reason
from tidemill_operator.core.decision import Claim


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
