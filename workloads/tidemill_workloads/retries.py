"""Which answers are worth a second try, and when. Pure: chance and time are given.

A status that says "not now" is tried again on the same engine, a refusal of the request itself never. The death of an
engine is no answer and is not counted here: see `suspects`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_WAIT_SECONDS = 300.0
"""However often a row was tried, and the bound of `backoffSeconds`; a row must not sleep through its job's window."""

PASSING = frozenset({408, 429, *range(500, 600)}) - {501, 505}
"""Statuses of a fault that can pass: a time-out, too many requests, and the server's own, but for "not implemented"
and "HTTP version not supported", which the same server answers for ever (RFC 9110, 15.6)."""


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """A row is tried `max_attempts` times; before its second try it waits up to `backoff_seconds`, then twice that."""

    max_attempts: int = 3
    backoff_seconds: float = 2.0

    def wait(self, status_code: int, tries: int, chance: Callable[[], float]) -> float | None:
        """Seconds until the next try of a row that was tried `tries` times, or None where its answer stands.

        Exponential with full jitter: anything between nothing and the bound is as likely. `chance` is within [0, 1).
        """
        if status_code not in PASSING or tries >= self.max_attempts:
            return None
        bound = self.backoff_seconds * 2.0 ** min(tries - 1, 30)
        return chance() * min(LONGEST_WAIT_SECONDS, bound)
