"""How long to wait for something outside: from the least wait, doubling, to the longest."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import timedelta

MAX_DOUBLINGS = 32
"""More would only overflow a timedelta; the longest wait is reached long before."""


def backoff(waits: int, least: timedelta, longest: timedelta) -> timedelta:
    """The wait after so many failed tries in a row, 1 for the first: least * 2^(waits-1), at most longest."""
    doublings = min(max(waits - 1, 0), MAX_DOUBLINGS)
    return min(least * (1 << doublings), longest)
