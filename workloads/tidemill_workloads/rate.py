"""Rows a second over the last minute of work. Pure: the clock is a parameter."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

WINDOW_SECONDS = 60.0
KNOWN_AFTER_SECONDS = 10.0
"""Less than this of work says too little about a rate."""


@dataclass(slots=True)
class RateMeter:
    """A minute without rows in flight is no work: the rate of before stands while workers are away."""

    _worked: float = 0.0
    _last: float | None = None
    _seen: deque[tuple[float, int]] = field(default_factory=deque)

    def add(self, now: float, answered: int, busy: bool) -> None:
        """At `now` seconds, `answered` rows in all; `busy` where rows are in flight."""
        news = bool(self._seen) and answered != self._seen[-1][1]
        if self._last is not None and (busy or news):
            self._worked += now - self._last
        elif self._seen:
            self._last = now
            return
        self._last = now
        self._seen.append((self._worked, answered))
        while len(self._seen) > 2 and self._worked - self._seen[1][0] >= WINDOW_SECONDS:
            self._seen.popleft()

    @property
    def rows_per_second(self) -> float | None:
        """None until there are 10 s of work."""
        if not self._seen:
            return None
        (begin, before), (end, after) = self._seen[0], self._seen[-1]
        return (after - before) / (end - begin) if end - begin >= KNOWN_AFTER_SECONDS else None
