"""The scaling boost: a firing queue-health alert asks for more workers than the law says, for a while and by a bound.

It stands as an annotation of the job or endpoint (`tidemill.dev/scaling-boost`), whichever replica of the operator
wrote it: `{"factor": 1.5, "until": "2026-01-01T12:10:00Z", "alert": "TidemillQueueCritical"}`. The webhook receiver
writes it, both laws read it with `now`. Refuses to trust what it reads: whoever may edit an object can write one.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MOST_FACTOR = 2.0
"""An alert says that there is too little, not how much too little: never more than twice what the law says."""

FADE = timedelta(minutes=5)
"""The last part of a boost's time, in which it fades evenly to nothing, so that its end is no step."""

MAX_ALERT = 200
"""Characters of the alert's name that are read."""


@dataclass(frozen=True)
class Boost:
    """How many times the size is to be (1 to `MOST_FACTOR`), until when, and the alert that asked for it."""

    factor: float
    until: datetime
    alert: str

    def factor_at(self, now: datetime) -> float:
        """The factor at this moment: whole at first, fading in the last `FADE`, and 1 from `until` on."""
        left = (self.until - now) / FADE
        return 1.0 + (self.factor - 1.0) * min(max(left, 0.0), 1.0)

    def to_annotation(self) -> str:
        """The text of the annotation; the same boost gives the same text."""
        until = self.until.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        return json.dumps({"factor": round(self.factor, 2), "until": until, "alert": self.alert}, sort_keys=True)


def read_boost(text: str | None) -> Boost | None:
    """The boost in an annotation, its factor brought within the bound; None where there is none that can be read.

    Something else in the annotation is no reason to stop a job, and no boost either.
    """
    if not text:
        return None
    try:
        given = json.loads(text)
        factor, until = float(given["factor"]), datetime.fromisoformat(given["until"])
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        return None
    if not math.isfinite(factor) or until.tzinfo is None:
        return None
    return Boost(min(max(factor, 1.0), MOST_FACTOR), until, str(given.get("alert", ""))[:MAX_ALERT])
